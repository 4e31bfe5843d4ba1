"""Flows of pairs (U, phi) of gauge links and a pseudofermion field, q(U, phi) = q(U) q(phi|U).

A marginal flow maps the links, a conditional one what lives on them; the pair is weighed by one theory of both fields, so that
no determinant is computed (arXiv:2207.08945, 2208.03832).

A joint flow is a `Chain` of `Moves`, whose layers move one of the fields and are told the other, in turn (arXiv:2106.05934),

    (U, phi) -> (f_1(U | phi), phi),    (U, phi) -> (U, g_2(phi | U)),    (U, phi) -> (f_3(U | phi), phi),  ...

The Jacobian of each is triangular, its log-determinant that of the field that moves at the other one fixed. A layer of U alone and one
of phi are a `PairFlow`; the same in the other order is q(phi) q(U|phi), whose second factor proposes U at fixed phi.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core import random
from haarflow.core.spaces import Pair, Space
from haarflow.flows.fermions.factorised import FactorisedHopping
from haarflow.flows.fermions.hopping import HoppingExponential
from haarflow.flows.fermions.local_hopping import LocalHopping, LocalHops
from haarflow.flows.fermions.transport import transport_layers
from haarflow.flows.flow import Chain, Flow, Model, Prior
from haarflow.flows.loops.flow import LoopFlow
from haarflow.flows.priors import HaarLinks, Noise
from haarflow.flows.symmetries import common
from haarflow.flows.traits import traits
from haarflow.flows.u1.autoregressive import autoregressive


@dataclass(frozen=True)
class PairPrior:
    """Independent links and noise, each of its own prior.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.priors import Noise, UniformLinks
    >>> prior = PairPrior(UniformLinks((4, 4)), Noise((2, 8)))
    >>> [part.shape for part in prior.sample(random.key(0, backend), 3)]
    [(3, 2, 4, 4), (3, 2, 8)]
    """

    links: Prior
    noise: Prior

    @property
    def lattice(self) -> tuple[int, ...]:
        """The links' lattice."""
        return self.links.lattice

    @property
    def spaces(self) -> Pair:
        """The spaces of both fields."""
        return Pair(*(Space(prior.group, prior.field_shape) for prior in (self.links, self.noise)))

    @property
    def group(self) -> Pair:
        """The groups of both fields."""
        return Pair(self.links.group, self.noise.group)

    @property
    def symmetries(self) -> tuple[str, ...]:
        """The symmetries of both."""
        return common([self.links, self.noise])

    def sample(self, key: Key, n: int, dtype: str = "float64") -> Pair:
        """Return n pairs."""
        return Pair(*(p.sample(random.fold_in(key, i), n, dtype) for i, p in enumerate((self.links, self.noise))))

    def log_density(self, x: Pair) -> Array:
        """Return log r(V) + log r(chi), `(*batch,)`."""
        return self.links.log_density(x.U) + self.noise.log_density(x.phi)


@dataclass(frozen=True)
class PairFlow:
    """U = f(V), phi = g(chi | U); parameters `{"marginal": ..., "conditional": ...}`.

    The conditional flow gets the links in its condition, `{"links": U}`, beside what both get. Jacobians of this order are
    triangular: the log-determinants add.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.fermions.hopping import HoppingExponential
    >>> from haarflow.flows.flow import Model, Translate
    >>> from haarflow.flows.priors import Noise, UniformLinks
    >>> from haarflow.theories.fermions.hops import OddHops
    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> hops = OddHops(Wilson((4, 4)), kappa=0.1)
    >>> flow = PairFlow(Translate((0, 0), internal=1), HoppingExponential(hops))
    >>> model = Model(PairPrior(UniformLinks((4, 4)), Noise(hops.shape)), flow)
    >>> pair, log_q = model.sample(model.init(random.key(0, backend)), random.key(1, backend), 3)
    >>> pair.phi.shape, log_q.shape
    ((3, 2, 8), (3,))
    """

    marginal: Flow
    conditional: Flow

    @property
    def integrated(self) -> bool:
        """Whether a log-determinant is that of continuous time."""
        return any(traits(flow).integrated for flow in (self.marginal, self.conditional))

    @property
    def fixed(self) -> dict[str, float]:
        """The couplings by which a part is defined."""
        return {**(traits(self.marginal).fixed or {}), **(traits(self.conditional).fixed or {})}

    @property
    def hasenbusch(self) -> tuple[float, ...] | None:
        """The hopping parameters of the factors of the pseudofermions, None where the conditional flow says nothing."""
        return traits(self.conditional).hasenbusch

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return fresh parameters of both."""
        parts = {"marginal": self.marginal, "conditional": self.conditional}
        return {name: flow.init(random.fold_in(key, i), dtype) for i, (name, flow) in enumerate(parts.items())}

    def forward(self, params: Params, x: Pair, condition: Condition = None) -> tuple[Pair, Array]:
        """Return (U, phi) and the sum of the log-determinants."""
        links, log_det = self.marginal.forward(params["marginal"], x.U, condition)
        phi, log_det_given = self.conditional.forward(params["conditional"], x.phi, _given(links, condition))
        return Pair(links, phi), log_det + log_det_given

    def inverse(self, params: Params, y: Pair, condition: Condition = None) -> tuple[Pair, Array]:
        """Return (V, chi) and the sum of the log-determinants."""
        links, log_det = self.marginal.inverse(params["marginal"], y.U, condition)
        chi, log_det_given = self.conditional.inverse(params["conditional"], y.phi, _given(y.U, condition))
        return Pair(links, chi), log_det + log_det_given


def _given(links: Array, condition: Condition) -> dict[str, Any]:
    return {**(condition or {}), "links": links}


# field that moves -> the name under which its flow is told the other
TOLD = {"U": "pseudofermions", "phi": "links"}


class Features(Protocol):
    """What a flow of U is told of the pseudofermions: fields of the condition, by name."""

    def of(self, phi: Array) -> dict[str, Array]:
        """Return the features of pseudofermion fields."""
        ...


@dataclass(frozen=True)
class Moves:
    """A layer of pairs that moves one field, "U" or "phi", by a flow that is told the other.

    The other field stands in the flow's condition, U as "links" and phi as "pseudofermions"; the parameters are those of the flow.
    Raises ValueError for another name of a field.

    >>> import numpy as np
    >>> from haarflow.flows.flow import Translate
    >>> layer = Moves("U", Translate((1,)))
    >>> layer.forward({}, Pair(np.asarray([[1.0, 2.0]]), np.asarray([[3.0, 4.0]])))[0]
    Pair(U=array([[2., 1.]]), phi=array([[3., 4.]]))
    """

    field: str
    flow: Flow

    def __post_init__(self) -> None:
        if self.field not in TOLD:
            raise ValueError(f'a layer of pairs moves "U" or "phi", got {self.field!r}')

    @property
    def fixed(self) -> dict[str, float]:
        """The couplings by which the flow is defined."""
        return traits(self.flow).fixed or {}

    @property
    def integrated(self) -> bool:
        """Whether the flow's log-determinant is that of continuous time."""
        return traits(self.flow).integrated

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return fresh parameters of the flow."""
        return self.flow.init(key, dtype)

    def forward(self, params: Params, x: Pair, condition: Condition = None) -> tuple[Pair, Array]:
        """Return the pair with one field moved, and log |det|."""
        return self._moved(self.flow.forward, params, x, condition)

    def inverse(self, params: Params, y: Pair, condition: Condition = None) -> tuple[Pair, Array]:
        """Move the field back."""
        return self._moved(self.flow.inverse, params, y, condition)

    def _moved(self, apply: Any, params: Params, x: Pair, condition: Condition) -> tuple[Pair, Array]:
        own, other = (x.U, x.phi) if self.field == "U" else (x.phi, x.U)
        own, log_det = apply(params, own, {**(condition or {}), TOLD[self.field]: other})
        return (Pair(own, other) if self.field == "U" else Pair(other, own)), log_det


@dataclass(frozen=True)
class Featured:
    """A flow of U that is told features of the pseudofermions in their place, on what their condition is "pseudofermions".

    >>> import numpy as np
    >>> from haarflow.theories.fermions.staggered.free_staggered import FreeStaggered
    >>> from haarflow.theories.fermions.staggered.staggered import Staggered
    >>> from haarflow.flows.fermions.bilinears import EVEN, ODD, Bilinears
    >>> from haarflow.flows.scalar.architectures import couplings
    >>> from haarflow.flows.scalar.nets import CheckerboardNet
    >>> about = Bilinears(FreeStaggered(Staggered((4, 4)), g=0.5))
    >>> net = CheckerboardNet(2, hidden=(4,), features=EVEN, odd_features=ODD)
    >>> flow = Featured(couplings(net), about)
    >>> params, given = flow.init(np.asarray([0, 1], "int32")), {"pseudofermions": np.ones((3, 2, 4, 4))}
    >>> flow.forward(params, np.ones((3, 4, 4)), given)[0].shape
    (3, 4, 4)
    """

    flow: Flow
    bilinears: Features

    condition = ("pseudofermions",)

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return fresh parameters of the flow."""
        return self.flow.init(key, dtype)

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move U; raises ValueError where the condition lacks the pseudofermions."""
        return self.flow.forward(params, x, self._told(condition))

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move U back."""
        return self.flow.inverse(params, y, self._told(condition))

    def _told(self, condition: Condition) -> dict[str, Any]:
        if not condition or "pseudofermions" not in condition:
            raise ValueError('this flow wants the pseudofermions as its condition, {"pseudofermions": phi}')
        rest = {name: value for name, value in condition.items() if name != "pseudofermions"}
        return {**rest, **self.bilinears.of(condition["pseudofermions"])}


def loops_and_hops(
    lattice: tuple[int, ...],
    hops: Callable[[float], LocalHops],
    n: int = 3,
    beta: float = 1.0,
    kappa: float = 0.1,
    hop_order: int = 2,
    order: int = 2,
    degree: int = 1,
    steps: int = 1,
    antiperiodic: bool = True,
    lines: bool = True,
    hasenbusch: tuple[float, ...] = (),
    hop_net: tuple[int, ...] = (),
) -> Model:
    """Return SU(n) links along loops, and on them pseudofermions by a hopping exponential of `hop_order`: nothing is trained.

    The links are those of the coupling that the leading term of two flavours makes of beta, see `effective_beta`, and with
    `lines` of that of straight lines where an extent is 4, see `effective_lines`. With `hasenbusch`, hopping parameters below kappa,
    there is a pseudofermion field for each ratio of determinants between them. With `hop_net`, numbers of features, a net of the links'
    loops computes the coefficients of the exponential at every site, at first those without it.

    >>> from haarflow.theories.models.qcd import QCD
    >>> loops_and_hops((4, 4, 4, 4), QCD((4, 4, 4, 4)).hops, kappa=0.1).flow.marginal.beta
    1.0096
    """
    around = effective_lines(kappa, lattice, antiperiodic) if lines else ()
    coupling = effective_beta(beta, kappa, n, len(lattice))
    links = LoopFlow(n, len(lattice), order, coupling, steps, degree, lines=around if any(around) else ())
    conditional = conditional_of(hops(kappa), kappa, hop_order, hasenbusch, hop_net)
    return Model(PairPrior(HaarLinks(tuple(lattice), n), Noise(conditional.shape)), PairFlow(links, conditional))


def autoregressive_and_hops(
    lattice: tuple[int, ...],
    hops: Callable[[float], LocalHops],
    beta: float = 2.0,
    kappa: float = 0.2,
    hop_order: int = 2,
    hasenbusch: tuple[float, ...] = (),
    hop_net: tuple[int, ...] = (),
    **options: Any,
) -> Model:
    """Return U(1) links in two dimensions, at first exact draws of pure gauge theory at `effective_beta`, and on them pseudofermions by
    a hopping exponential, as in `loops_and_hops`. `options` are those of `autoregressive` but for its images.

    >>> from haarflow.theories.models.schwinger import schwinger_pairs
    >>> autoregressive_and_hops((4, 4), schwinger_pairs((4, 4)).hops).flow.marginal.beta
    2.0256
    """
    links = autoregressive(lattice, effective_beta(beta, kappa, 1, len(lattice)), **options)
    conditional = conditional_of(hops(kappa), kappa, hop_order, hasenbusch, hop_net)
    return Model(PairPrior(links.prior, Noise(conditional.shape)), PairFlow(links.flow, conditional))


def conditional_of(
    hops: LocalHops, kappa: float, order: int = 2, hasenbusch: tuple[float, ...] = (), hop_net: tuple[int, ...] = ()
) -> HoppingExponential | FactorisedHopping | LocalHopping:
    """Return the hopping exponential of the pseudofermions, one for each of Hasenbusch's factors, or one with the coefficients of a net.

    Raises ValueError for both factors and a net.

    >>> from haarflow.theories.models.qcd import QCD
    >>> conditional_of(QCD((4, 4)).hops(0.2), 0.2, hasenbusch=(0.1,)).shares
    (0.25,)
    """
    if hasenbusch and hop_net:
        raise ValueError(
            "a net computes the coefficients of one pseudofermion field, not of Hasenbusch's factors: remove one of them"
        )
    if hop_net:
        return LocalHopping(hops, order, hop_net)
    shares = tuple((heavier / kappa) ** 2 for heavier in hasenbusch)
    return FactorisedHopping(hops, shares, order) if shares else HoppingExponential(hops, order)


def loops_and_transport(
    lattice: tuple[int, ...],
    n: int = 3,
    beta: float = 1.0,
    kappa: float = 0.1,
    repeats: int = 1,
    order: int = 2,
    degree: int = 1,
    steps: int = 1,
    antiperiodic: bool = True,
) -> Model:
    """Return SU(n) links along loops at `effective_beta`, and on them pseudofermions by parallel-transport couplings, which are
    at first the identity.

    >>> len(loops_and_transport((4, 4), n=2, order=1).flow.conditional.flows)
    8
    """
    links = LoopFlow(n, len(lattice), order, effective_beta(beta, kappa, n, len(lattice)), steps, degree)
    layers = transport_layers(tuple(lattice), n, repeats, antiperiodic)
    prior = PairPrior(HaarLinks(tuple(lattice), n), Noise(layers[0].shape))
    return Model(prior, PairFlow(links, Chain(layers)))


def effective_beta(beta: float, kappa: float, n: int, d: int) -> float:
    """Return beta + 8 s n kappa^4, s = 2^(d/2): two flavours weigh every plaquette with e^{8 s kappa^4 Re tr U_P} and more.

    >>> effective_beta(1.0, 0.1, 3, 4)
    1.0096
    """
    return beta + 8.0 * (1 << d // 2) * n * kappa**4


def effective_lines(kappa: float, lattice: tuple[int, ...], antiperiodic: bool = True) -> tuple[float, ...]:
    """Return a_mu = -+ 32 s kappa^4, s = 2^(d/2): two flavours weigh a straight line L around an extent of 4 with
    e^{a_mu Re tr L}; a_mu is positive for antiperiodic time, axis 0, and 0 for other extents.

    A line of four links comes with kappa^4 as a plaquette does, with 8 s for the spin trace of its projectors and not -2 s.

    >>> effective_lines(0.1, (4, 4, 4, 6))
    (0.0128, -0.0128, -0.0128, 0.0)
    """
    size = 32.0 * (1 << len(lattice) // 2) * kappa**4
    signs = [1.0 if antiperiodic and axis == 0 else -1.0 for axis in range(len(lattice))]
    return tuple(round(sign * size, 15) if extent == 4 else 0.0 for sign, extent in zip(signs, lattice, strict=True))
