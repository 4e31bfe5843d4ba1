"""Objects that are wrong only at some sizes, only after another object was used, or whose exact draws are wrong."""

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.core import random
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.metropolis import IndependenceMetropolis, independence_chain
from haarflow.core.groups.additive import U1, Real, wrap
from haarflow.flows.flow import Model
from haarflow.flows.priors import Gaussian
from haarflow.theories import Phi4, SUNGauge, U1Gauge
from haarflow.theories.samplers import u1
from haarflow.verification import core_objects as objects
from haarflow.verification.core_objects import BETA, PHI4, SCALARS, STRONG, heat_bath, hmc_of_scalars, independent
from tests.mutants import Mutant

# --- paths that depend on a size


@dataclass(frozen=True)
class InPieces(IndependenceMetropolis):
    """Passes of more than 64 proposals are cut, and each piece takes its first proposal as it is."""

    def chain(self, log_w, uniforms, start=None):
        xp, count = array_namespace(log_w), log_w.shape[0]
        pieces = []
        for first in range(0, count, 64):
            piece = slice(first, min(first + 64, count))
            index, accepted = independence_chain(log_w[piece, ...], uniforms[piece, ...], None if first else start)
            pieces.append((index + first, accepted))
        return tuple(xp.concat(part, axis=0) for part in zip(*pieces, strict=True))


@dataclass(frozen=True)
class StaysAfterAThousand(IndependenceMetropolis):
    """Nothing is accepted beyond 1000 proposals."""

    def chain(self, log_w, uniforms, start=None):
        xp, count = array_namespace(log_w), log_w.shape[0]
        index, accepted = independence_chain(log_w, uniforms, start)
        if count <= 1000:
            return index, accepted
        stay = xp.stack([index[999, ...]] * (count - 1000), axis=0)
        none = xp.zeros_like(accepted[1000:, ...])
        return xp.concat([index[:1000, ...], stay]), xp.concat([accepted[:1000, ...], none])


@dataclass(frozen=True)
class DropsTheOddOne(IndependenceMetropolis):
    """The last of an odd number of proposals is not looked at."""

    def chain(self, log_w, uniforms, start=None):
        xp, even = array_namespace(log_w), log_w.shape[0] // 2 * 2
        if even in (0, log_w.shape[0]):
            return independence_chain(log_w, uniforms, start)
        index, accepted = independence_chain(log_w[:even, ...], uniforms[:even, ...], start)
        return xp.concat([index, index[-1:, ...]]), xp.concat([accepted, xp.zeros_like(accepted[-1:, ...])])


@dataclass(frozen=True)
class RestSharesMomenta(HMC):
    """The chains behind the last whole register of four all get the last chain's momenta."""

    def auxiliary(self, key, x):
        v, xp = HMC.auxiliary(self, key, x), array_namespace(x)
        whole = v.shape[0] // 4 * 4
        return xp.concat([v[:whole, ...], *[v[-1:, ...]] * (v.shape[0] - whole)], axis=0)


@dataclass(frozen=True)
class StepOfTheFirstOfEight(HMC):
    """Chains in groups of eight move by the mean of their momenta where there are more than eight."""

    def auxiliary(self, key, x):
        v, xp = HMC.auxiliary(self, key, x), array_namespace(x)
        return v if v.shape[0] <= 8 else v + 0.1 * xp.mean(v, axis=0)


# --- state that outlives an object

TABLES, COUPLINGS, UNITS, SITES = {}, {}, {}, {}


def neighbours(lattice, known=2):
    """The sites one ahead along each axis, in a cache keyed by the volume and, of a lattice, the last extent."""
    key = (math.prod(lattice), lattice[-1])[:known]
    if key not in TABLES:
        sites = numpy.arange(math.prod(lattice)).reshape(lattice)
        TABLES[key] = [numpy.roll(sites, -1, axis=mu).ravel() for mu in range(len(lattice))]
    return TABLES[key]


@dataclass(frozen=True)
class TabledU1:
    """U(1) whose plaquettes are gathered by these tables."""

    lattice: tuple[int, ...]
    known: int = 2
    group = U1()
    couplings = {"beta": 1.0}  # noqa: RUF012 (a constant, never written)

    @property
    def field_shape(self):
        return (len(self.lattice), *self.lattice)

    def action(self, field, couplings=None):
        xp, d = array_namespace(field), len(self.lattice)
        flat = xp.reshape(field, (*field.shape[: field.ndim - d], -1))
        asarray, ahead = backends.of(field).asarray, neighbours(self.lattice, self.known)
        moved = [xp.take(flat, asarray(there, dtype="int32"), axis=-1) for there in ahead]
        beta = (couplings or self.couplings)["beta"]
        planes = [(mu, nu) for mu in range(d) for nu in range(mu + 1, d)]
        angle = lambda mu, nu: flat[..., mu, :] + moved[mu][..., nu, :] - moved[nu][..., mu, :] - flat[..., nu, :]  # noqa: E731
        return -beta * sum(xp.sum(xp.cos(angle(*plane)), axis=-1) for plane in planes)

    def force(self, field, couplings=None):
        return U1Gauge(self.lattice).force(field, couplings)


@dataclass(frozen=True)
class FirstCouplings(HMC):
    """A theory keeps the couplings with which it was first sampled."""

    def trajectory(self, old, momentum):
        couplings = COUPLINGS.setdefault(self.theory, self.values.get("couplings"))
        return HMC.trajectory(replace(self, values={**self.values, "couplings": couplings}), old, momentum)


@dataclass(frozen=True)
class FirstPrecision(HMC):
    """Momenta are multiplied by an array of ones kept for the lattice, in the precision that came first."""

    def auxiliary(self, key, x):
        v = HMC.auxiliary(self, key, x)
        unit = UNITS.setdefault(self.theory.lattice, backends.of(v).to_numpy(v[:1, ...]) * 0.0 + 1.0)
        return array_namespace(v).astype(v, v.dtype) * backends.of(v).asarray(unit, dtype=str(unit.dtype))


@dataclass(frozen=True)
class FirstStrength:
    """Phi^4 with the couplings at which it was first computed on this lattice."""

    lattice: tuple[int, ...]
    group = Real()
    couplings = {"m2": 1.0, "lam": 0.5}  # noqa: RUF012 (a constant, never written)

    def action(self, field, couplings=None):
        return Phi4(self.lattice).action(field, COUPLINGS.setdefault(self, dict(couplings or self.couplings)))


@dataclass(frozen=True)
class Shuffled:
    """A flow that moves every site to its neighbour along the first axis, by tables keyed by the volume alone."""

    d: int = 2

    def init(self, key, dtype="float64"):
        return {}

    def forward(self, params, x, condition=None):
        return self._moved(x, 0)

    def inverse(self, params, y, condition=None):
        return self._moved(y, 1)

    def _moved(self, x, back):
        xp, lattice = array_namespace(x), tuple(x.shape[-self.d :])
        sites = numpy.arange(math.prod(lattice)).reshape(lattice)
        tables = SITES.setdefault(sites.size, [numpy.roll(sites, shift, axis=0).ravel() for shift in (-1, 1)])
        flat = xp.reshape(x, (*x.shape[: x.ndim - self.d], -1))
        y = xp.take(flat, backends.of(x).asarray(tables[back], dtype="int32"), axis=-1)
        return xp.reshape(y, x.shape), 0.0 * xp.sum(flat, axis=-1)


@dataclass(frozen=True)
class FirstSites:
    """x -> 2 x, whose log-determinant counts the sites in the precision in which it was first computed."""

    d: int = 2

    def init(self, key, dtype="float64"):
        return {}

    def forward(self, params, x, condition=None):
        return 2.0 * x, self._log_det(x)

    def inverse(self, params, y, condition=None):
        return 0.5 * y, -self._log_det(y)

    def _log_det(self, x):
        xp, lattice = array_namespace(x), tuple(x.shape[-self.d :])
        ones = SITES.setdefault(lattice, numpy.ones(lattice, dtype=str(x.dtype).split(".")[-1]))
        unit = backends.of(x).asarray(ones, dtype=str(ones.dtype))
        return math.log(2.0) * xp.sum(unit + 0.0 * x, axis=tuple(range(-self.d, 0)))


# --- exact draws that are not


def frozen(mu):
    """U(1) draws whose loop along mu is turned back to 1."""

    def draw(key, n):
        field = numpy.array(objects.exact_links(key, n))
        loop = field[:, mu].sum(axis=1 + mu)
        last = (slice(None), mu, -1) if mu == 0 else (slice(None), mu, slice(None), -1)
        field[last] = wrap(field[last] - loop[:, :1])
        return field

    return draw


def without_accepting(key, n):
    """U(1) draws whose last plaquette closes the torus, and all of them are taken."""
    first, second = random.split(key)
    free, _ = u1.von_mises(first, BETA["beta"], (n, 3), 8, "float64")
    flux = numpy.concatenate([free, wrap(-free.sum(axis=1, keepdims=True))], axis=1)
    return u1.random_links(second, flux.reshape(n, 2, 2))


def gaussian(key, n):
    """Scalars as they are proposed, none of them rejected."""
    return random.normal(key, (n, 2, 2)) / 2.0


def frozen_matrices(key, n):
    """SU(2) draws in the gauge in which the space-like holonomy is a unit."""
    field = numpy.array(objects.exact_matrices(SUNGauge((2, 2), 2), key, n))
    field[:, 1, :, :, :, -1] = numpy.conj(numpy.swapaxes(field[:, 1, :, :, :, 0], 1, 2))
    return field


def su2_hmc():
    return HMC(SUNGauge((2, 2), 2), values={"couplings": STRONG, "step_size": 0.3})


def with_exact(chained, exact):
    return lambda: replace(chained, exact=exact)


def kernel(name, make, *laws):
    return Mutant(name, "kernel", lambda lattice: make(), laws)


def hmc_of(kind, theory=SCALARS, couplings=PHI4):
    return lambda: kind(theory, steps=2, values={"couplings": couplings, "step_size": 0.3})


THREE, FLAT = {"lattice": (2, 2, 2)}, {"lattice": (2, 2)}
THEORIES = (
    Mutant("tables by volume and last extent", "theory", TabledU1, ("remembers_nothing",), THREE),
    Mutant("tables by volume", "theory", partial(TabledU1, known=1), ("remembers_nothing",), FLAT),
    Mutant("a theory of the first couplings", "theory", FirstStrength, ("remembers_nothing",), FLAT),
)
FLOWS = (
    Mutant(
        "a flow's tables by volume",
        "model",
        lambda lattice: Model(Gaussian(lattice), Shuffled()),
        ("remembers_nothing",),
        FLAT,
    ),
    Mutant(
        "a flow's first precision",
        "model",
        lambda lattice: Model(Gaussian(lattice), FirstSites()),
        ("remembers_nothing",),
        FLAT,
    ),
)
KERNELS = (
    kernel("a pass cut into pieces of 64", lambda: objects.scalars(independent(InPieces)), "independence_loop"),
    kernel("a pass that ends at a thousand", lambda: objects.scalars(independent(StaysAfterAThousand)), "independence_loop"),
    kernel("a pass that drops the odd one", lambda: objects.scalars(independent(DropsTheOddOne)), "independence_loop"),
    kernel("the rest of a register shares momenta", hmc_of(RestSharesMomenta), "chains_apart"),
    kernel("more than eight chains mix", hmc_of(StepOfTheFirstOfEight), "chains_apart"),
    kernel("index tables by volume and last extent", hmc_of(HMC, TabledU1((2, 2)), BETA), "remembers_nothing"),
    kernel("the first couplings stay", hmc_of(FirstCouplings), "remembers_nothing"),
    kernel("the first precision stays", hmc_of(FirstPrecision), "remembers_nothing"),
    kernel("exact draws whose loop in time is 1", with_exact(objects.links(heat_bath()), frozen(0)), "exact_draws"),
    kernel("exact draws whose loop in space is 1", with_exact(objects.links(heat_bath()), frozen(1)), "exact_draws"),
    kernel("exact draws of an open torus", with_exact(objects.links(heat_bath()), without_accepting), "exact_draws"),
    kernel("exact scalars without their rejection", with_exact(objects.scalars(hmc_of_scalars()), gaussian), "exact_draws"),
    kernel("exact matrices of one holonomy", with_exact(objects.matrices(su2_hmc()), frozen_matrices), "exact_draws"),
)  # fmt: skip
