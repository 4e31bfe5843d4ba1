"""Flows, priors and theories of pseudofermions and pairs as ones of a single array: what the laws are checked on.

A complex field is its real and imaginary part, a pair of real fields is stacked; both are a first axis of two. Links that a
conditional flow is told are drawn once, from a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Condition, Couplings, Key, Params
from haarflow.core import random
from haarflow.core.groups.additive import Real
from haarflow.core.groups.matrices import complex_array, precision
from haarflow.core.spaces import Pair
from haarflow.flows.fermions.factorised import FactorisedHopping
from haarflow.flows.fermions.hopping import HoppingExponential
from haarflow.flows.fermions.local_hopping import LocalHopping
from haarflow.flows.fermions.shears import Shears
from haarflow.flows.fermions.transport import TransportCoupling
from haarflow.flows.flow import Model, constant
from haarflow.flows.pairs import PairFlow, PairPrior
from haarflow.flows.priors import Gaussian, Noise
from haarflow.flows.scalar.tails import QuarticTail
from haarflow.theories import U1Gauge
from haarflow.theories.fermions.hops import OddHops
from haarflow.theories.fermions.pseudofermions.pairs import WithPseudofermions
from haarflow.theories.fermions.pseudofermions.real_pairs import WithRealPseudofermions
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.models.qcd import QCD
from haarflow.theories.models.yukawa import yukawa_pairs
from haarflow.verification.entry import Entry
from haarflow.verification.joint_objects import JOINT_ENTRIES

SEED = 5

Join = Callable[[Array, Array], Any]


def joined(x: Array, axes: int, join: Join) -> Any:
    """Return `join` of the two halves of the first of the field's axes, of which there are `axes` and that one."""
    rest = (slice(None),) * axes
    return join(x[(..., 0, *rest)], x[(..., 1, *rest)])


def parted(first: Array, second: Array, axes: int) -> Array:
    """Undo `joined`."""
    return array_namespace(first).stack([first, second], axis=-1 - axes)


@dataclass(frozen=True)
class Parted:
    """A prior of complex fields, or of pairs of real ones, as one of real fields `(*batch, 2, *shape)`."""

    prior: Any

    group = Real()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one half."""
        return tuple(self.prior.links.field_shape if isinstance(self.prior, PairPrior) else self.prior.field_shape)

    @property
    def lattice(self) -> tuple[int, ...]:
        """The axes of the real fields."""
        return (2, *self.shape)

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one real field."""
        return self.lattice

    def sample(self, key: Key, n: int, dtype: str = "float64") -> Array:
        """Return n real fields."""
        drawn = self.prior.sample(key, n, dtype)
        return parted(*_halves(drawn), axes=len(self.shape))

    def log_density(self, x: Array) -> Array:
        """Return the log-density of the field that they stand for."""
        join: Join = Pair if isinstance(self.prior, PairPrior) else complex_array
        density: Array = self.prior.log_density(joined(x, len(self.shape), join))
        return density


@dataclass(frozen=True)
class AtLinks:
    """A flow of pseudofermions at fixed links, as one of real and imaginary parts; the links are those of `hops`, by default the
    flow's own. `shape` is that of the complex field where the flow does not say it."""

    flow: Any
    hops: Any = None
    shape: tuple[int, ...] | None = None

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the parameters of the flow."""
        return self.flow.init(key, dtype)

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Map the complex field that x stands for."""
        return self._apply(self.flow.forward, params, x)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Undo `forward`."""
        return self._apply(self.flow.inverse, params, y)

    def _apply(self, apply: Any, params: Params, x: Array) -> tuple[Array, Array]:
        hops = self.hops or self.flow.hops
        axes, operator = len(self.flow.shape if self.shape is None else self.shape), hops.operator
        links = operator.group.haar(random.key(SEED, backends.get("numpy")), operator.field_shape)
        kind = precision(x) if operator.n == 1 else {"float32": "complex64", "float64": "complex128"}[precision(x)]
        condition = {"links": backends.of(x).asarray(links, dtype=kind)}
        y, log_det = apply(params, joined(x, axes, complex_array), condition)
        return parted(*_halves(y), axes=axes), log_det


@dataclass(frozen=True)
class Scaled:
    """phi e^{a tanh U}, site by site: the simplest conditional flow of a real field."""

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return a = 1/2."""
        return {"a": constant(key, 0.5, (), dtype)}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return phi and the sum of the exponents."""
        return self._apply(params, x, condition, 1.0)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Undo `forward`."""
        return self._apply(params, y, condition, -1.0)

    def _apply(self, params: Params, x: Array, condition: Condition, sign: float) -> tuple[Array, Array]:
        assert condition is not None
        xp = array_namespace(x)
        exponent = sign * params["a"] * xp.tanh(condition["links"])
        return x * xp.exp(exponent), xp.sum(exponent, axis=(-2, -1))


@dataclass(frozen=True)
class Stacked:
    """A flow of pairs of real fields as one of fields `(*batch, 2, *lattice)`, of two dimensions."""

    flow: PairFlow

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the parameters of the flow."""
        return self.flow.init(key, dtype)

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Map both fields."""
        y, log_det = self.flow.forward(params, joined(x, 2, Pair), condition)
        return parted(*y, axes=2), log_det

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Undo `forward`."""
        x, log_det = self.flow.inverse(params, joined(y, 2, Pair), condition)
        return parted(*x, axes=2), log_det


@dataclass(frozen=True)
class AtNoise:
    """A theory of pairs as one of its links, or of its scalar field, at fixed pseudofermions."""

    theory: WithPseudofermions | WithRealPseudofermions

    @property
    def lattice(self) -> tuple[int, ...]:
        """The lattice's extents."""
        return self.theory.lattice

    @property
    def group(self) -> Any:
        """The group of the field."""
        return self.theory.group

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one field."""
        shape: tuple[int, ...] = self.theory.spaces.U.shape
        return shape

    @property
    def couplings(self) -> dict[str, float]:
        """The couplings' names and defaults."""
        return self.theory.couplings

    def check(self, couplings: Couplings = None) -> dict[str, Any]:
        """Return all couplings as the theory checks them."""
        return self.theory.check(couplings)

    def action(self, field: Array, couplings: Couplings = None) -> Array:
        """Return S(U, phi)."""
        return self.theory.action(self._pair(field), couplings)

    def observables(self, field: Array, couplings: Couplings = None) -> dict[str, Array]:
        """Return the theory's observables of the pair."""
        return self.theory.observables(self._pair(field), couplings)

    def _pair(self, field: Array) -> Pair:
        xp, space = array_namespace(field), self.theory.spaces.phi
        batch = tuple(field.shape[: field.ndim - len(self.field_shape)])
        noise = space.group.algebra_normal(random.key(SEED, backends.get("numpy")), space.shape, precision(field))
        phi = backends.of(field).asarray(noise, dtype=noise.dtype.name)
        return Pair(field, xp.broadcast_to(phi, (*batch, *space.shape)))


def _halves(x: Any) -> tuple[Array, Array]:
    """Both fields of a pair, or the real and the imaginary part."""
    if isinstance(x, Pair):
        return x.U, x.phi
    xp = array_namespace(x)
    return xp.real(x), xp.imag(x)


def hopping(n: int, order: int, kappa: float = 0.15) -> Callable[[tuple[int, ...]], Model]:
    """Return the function that makes a model of pseudofermions at fixed links, for any lattice of even extents.

    >>> hopping(1, 2)((2, 4)).prior.field_shape
    (2, 2, 4)
    """

    def make(lattice: tuple[int, ...]) -> Model:
        hops = OddHops(Wilson(lattice, n), kappa)
        return Model(Parted(Noise(hops.shape)), AtLinks(HoppingExponential(hops, order)))

    return make


def factorised(lattice: tuple[int, ...]) -> Model:
    """Return a model of the pseudofermions of two of Hasenbusch's factors at fixed links.

    >>> factorised((2, 4)).prior.field_shape
    (2, 2, 2, 4)
    """
    flow = FactorisedHopping(OddHops(Wilson(lattice), 0.2), (0.4,))
    return Model(Parted(Noise(flow.shape)), AtLinks(flow))


def by_net(n: int, order: int) -> Callable[[tuple[int, ...]], Model]:
    """Return the function that makes a model of pseudofermions at fixed links by an exponential with coefficients of a net.

    >>> by_net(1, 2)((2, 4)).prior.field_shape
    (2, 2, 4)
    """

    def make(lattice: tuple[int, ...]) -> Model:
        flow = LocalHopping(OddHops(Wilson(lattice, n), 0.2), order, hidden=(3,), final_scale=4.0)
        return Model(Parted(Noise(flow.shape)), AtLinks(flow))

    return make


def transport(kind: str, n: int = 1, axis: int = 0, part: int = 0) -> Callable[[tuple[int, ...]], Model]:
    """Return the function that makes a model of pseudofermions at fixed links by one parallel-transport coupling.

    >>> transport("spins")((2, 4)).prior.field_shape
    (2, 2, 4)
    """

    def make(lattice: tuple[int, ...]) -> Model:
        flow = TransportCoupling(lattice, n, kind, axis, part, start=(0.2, 0.1))
        return Model(Parted(Noise(flow.shape)), AtLinks(flow, OddHops(Wilson(lattice, n), 0.0)))

    return make


def pairs(lattice: tuple[int, ...]) -> Model:
    """Return a model of pairs of real fields.

    >>> pairs((2, 2)).prior.lattice
    (2, 2, 2)
    """
    return Model(Parted(PairPrior(Gaussian(lattice), Gaussian(lattice))), Stacked(PairFlow(QuarticTail(2), Scaled())))


@dataclass(frozen=True)
class AtScalar:
    """The shears of pseudofermions at a fixed scalar field, drawn once."""

    flow: Shears

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return parameters that differ from the leading order."""
        shifts = {"mass": 0.1, "shears": -0.2, "scales": 0.15}
        return {name: value + shifts[name] for name, value in self.flow.init(key, dtype).items()}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Map the noise."""
        return self.flow.forward(params, x, self._given(x))

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Undo `forward`."""
        return self.flow.inverse(params, y, self._given(y))

    def _given(self, x: Array) -> dict[str, Array]:
        phi = random.normal(random.key(SEED, backends.get("numpy")), self.flow.free.lattice)
        return {"links": backends.of(x).asarray(phi, dtype=precision(x))}


def shears(lattice: tuple[int, ...]) -> Model:
    """Return a model of two real pseudofermion fields at a fixed scalar field.

    >>> shears((2, 2)).prior.lattice
    (2, 2, 2)
    """
    flow = Shears(yukawa_pairs(lattice).free(0.8))
    return Model(Gaussian((2, *lattice), 0.5**0.5), AtScalar(flow))


def links_with_pseudofermions(lattice: tuple[int, ...], hasenbusch: tuple[float, ...] = ()) -> WithPseudofermions:
    """Return U(1) links with two flavours of Wilson fermions, as pairs."""
    return WithPseudofermions(U1Gauge(lattice), Wilson(lattice), hasenbusch=hasenbusch)


PAIR_ENTRIES: tuple[Entry, ...] = (
    Entry("shears of a Yukawa model", "model", shears, ((2, 2), (4, 2))),
    Entry(
        "Yukawa model as pairs, its scalar",
        "theory",
        lambda lattice: AtNoise(yukawa_pairs(lattice)),
        ((2, 2), (4, 2)),
    ),
    Entry("Yukawa model as pairs", "pairs", yukawa_pairs, ((2, 2), (2, 1), (2, 4))),
    Entry("U(1) links and pseudofermions", "pairs", links_with_pseudofermions, ((2, 2), (2, 4))),
    Entry(
        "U(1) links and Hasenbusch's pseudofermions",
        "pairs",
        partial(links_with_pseudofermions, hasenbusch=(0.07,)),
        ((2, 2),),
    ),
    Entry("SU(2) links and pseudofermions", "pairs", partial(QCD, n=2), ((2, 2),)),
    Entry("hopping exponential", "model", hopping(1, 2), ((2, 2), (2, 4), (4, 4))),
    Entry("hopping exponential, SU(2), third order", "model", hopping(2, 3), ((2, 2),)),
    Entry("hopping exponentials of Hasenbusch's factors", "model", factorised, ((2, 2), (2, 4))),
    Entry("hopping exponential, coefficients of a net", "model", by_net(1, 2), ((2, 2), (4, 4))),
    Entry("hopping exponential, coefficients of a net, SU(2), first order", "model", by_net(2, 1), ((2, 2),)),
    Entry("transport coupling, sites", "model", transport("sites"), ((2, 2), (2, 4))),
    Entry("transport coupling, spins, SU(2)", "model", transport("spins", 2, axis=1, part=1), ((2, 2),)),
    Entry("pairs of fields", "model", pairs, ((2, 2), (1, 3))),
    Entry("QCD, two dimensions", "theory", lambda lattice: AtNoise(QCD(lattice, n=2)), ((2, 2), (4, 2))),
    Entry("noise of pseudofermions", "prior", lambda lattice: Parted(Noise((2, *lattice))), ((2,), (3,))),
    *JOINT_ENTRIES,
    Entry("prior of pairs", "prior", lambda lattice: pairs(lattice).prior, ((2, 2), (1, 3))),
)
