"""Wrong groups SU(N), wrong theories and a wrong HMC of matrices, each with the laws that must catch it."""

from dataclasses import dataclass
from functools import partial

import pytest
from array_api_compat import array_namespace

from haarflow.backends import simd
from haarflow.core import heatbath_sun, loops, matrices
from haarflow.core.heatbath_sun import SubgroupHeatBath
from haarflow.core.lattice import shift
from haarflow.core.sun import SU
from haarflow.theories import Wilson
from haarflow.verification.core_objects import heat_bath_of_matrices, hmc_of_matrices
from haarflow.verification.core_objects import matrices as chained
from tests.mutants import Mutant

# --- groups


class SecondOrder(SU):
    """exp(w) = 1 + iH - H^2/2, made unitary again."""

    def exp(self, w):
        h = self.algebra(w)
        return self.project(self.identity(h) + 1j * h - 0.5 * self.compose(h, h))


class OfTheConjugate(SU):
    """exp(-i w_a T_a^*): a representation too, but another one."""

    def exp(self, w):
        return array_namespace(w).conj(super().exp(w))


class ExpOnTheRight(SU):
    def update(self, u, w):
        return self.compose(u, self.exp(w))


class TransposeForInverse(SU):
    def inverse(self, a):
        return matrices.transpose(a, self.d)


class ExponentialsOfNormals(SU):
    """Of normal coordinates: left and right look alike, but it is not Haar."""

    def haar(self, key, shape, dtype="float64"):
        return self.exp(1.2 * self.algebra_normal(key, shape, dtype))


class UnitaryAlone(SU):
    """Keeps a phase in the determinant."""

    def project(self, u):
        return matrices.polar(u, self.d) * (1.0 + 1e-3j)


class TracesOfSquares(SU):
    """Momenta for a kinetic term tr P^2 / 2."""

    def algebra_normal(self, key, shape, dtype="float64"):
        return 2.0**0.5 * super().algebra_normal(key, shape, dtype)


class LogTooLong(SU):
    def log(self, u):
        return super().log(u) * 1.001


def group(kind, *laws, n=3):
    return Mutant(f"{kind.__name__} of SU({n})", "group", lambda lattice: kind(n, len(lattice)), laws)


GROUPS = (
    group(SecondOrder, "exponential", "one_parameter"),
    group(OfTheConjugate, "exponential"),
    group(ExpOnTheRight, "update_by_exponential"),
    group(TransposeForInverse, "inverses"),
    group(TransposeForInverse, "inverses", n=2),
    group(ExponentialsOfNormals, "haar_moments", "left_invariance", "right_invariance"),
    group(ExponentialsOfNormals, "haar_moments", "left_invariance", n=2),
    group(UnitaryAlone, "projection", "closure"),
    group(TracesOfSquares, "momenta"),
    group(LogTooLong, "logarithm"),
)

# --- theories


class ForceWithoutN(Wilson):
    """beta Im tr for beta/N Im tr."""

    def force(self, field, couplings=None):
        return float(self.n) * super().force(field, couplings)


class StapleReversed(Wilson):
    def staple(self, field, mu):
        return self.group.inverse(super().staple(field, mu))


class StaplesAheadAlone(Wilson):
    """Forgets the plaquettes behind the link."""

    def staples(self, field):
        found = []
        for mu in range(self.d):
            both = loops.staples(field, mu, self.d, self.group)
            rest = (slice(None),) * (self.d + 2)
            found.append(2.0 * sum(both[(..., nu) + rest] for nu in range(0, both.shape[-self.d - 3], 2)))
        return found


class LinkNotTurned(Wilson):
    """A plaquette whose last link is not inverted."""

    def action(self, field, couplings=None):
        xp, d, group = array_namespace(field), self.d, self.group
        first, second = (loops.direction(field, mu, d, group) for mu in (0, 1))
        there = group.compose(first, shift(second, 0, d))
        loop = group.compose(group.compose(there, group.inverse(shift(first, 1, d))), second)
        return -self._beta(field, couplings, 0) * xp.sum(xp.real(group.trace(loop)), axis=(-2, -1)) / self.n


class ForceOnTheRight(Wilson):
    """tr T_a V U: the force at the link's other end."""

    def force(self, field, couplings=None):
        xp, group, beta = array_namespace(field), self.group, self._beta(field, couplings, self.d + 1)
        parts = [
            group.coordinates(1j * group.compose(staple, loops.direction(field, mu, self.d, group)))
            for mu, staple in enumerate(self.staples(field))
        ]
        return -0.5 / self.n * beta * xp.stack(parts, axis=-2 - self.d)


def improved(kind):
    return lambda lattice: kind(lattice, rectangle=-1 / 12)


FORCES = ("force_by_differences", "force_by_autodiff")
TINY = {"lattice": (2, 2)}
THEORIES = (
    Mutant("an SU(N) force without 1/N", "theory", ForceWithoutN, FORCES, TINY),
    Mutant("an SU(N) force of the other end", "theory", ForceOnTheRight, ("gauge_orbit", *FORCES), TINY),
    Mutant("staples ahead alone", "theory", StaplesAheadAlone, FORCES, {"lattice": (3, 3)}),
    Mutant("improved staples reversed", "theory", improved(StapleReversed), ("link_staple",), {"lattice": (3, 3)}),
    Mutant("matrix staples reversed", "theory", StapleReversed, ("link_staple",), TINY),
    Mutant("a link that is not turned", "theory", LinkNotTurned, ("gauge_invariance", "reflection_invariance"), TINY),
)

# --- kernels


class WilsonWithTracesOfSquares(Wilson):
    @property
    def group(self):
        return TracesOfSquares(self.n, self.d)


@dataclass(frozen=True)
class HalfTheForce(Wilson):
    def force(self, field, couplings=None):
        return 0.5 * super().force(field, couplings)


def hmc(theory):
    return lambda lattice: chained(hmc_of_matrices(n=2, theory=theory), reversible=True)


class TooCold(Wilson):
    """The heat bath's weight at 1.2 beta."""

    def local_coupling(self, field, couplings=None):
        return 1.2 * super().local_coupling(field, couplings)


class StaplesOfTheLinkBehind(Wilson):
    """Staples of another link, so that the heat bath draws where its own neighbours are not."""

    plaquettes_alone = False

    def staple(self, field, mu):
        return shift(super().staple(field, mu), mu, self.d, -1)


@dataclass(frozen=True)
class KeepsTheLastProposal(SubgroupHeatBath):
    """Where all tries fail the last proposal is taken: too often one that was refused."""

    def step(self, key, state):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(simd, "is_present", lambda: False)
            patch.setattr(heatbath_sun, "one_minus_cosine", last_proposal)
            return super().step(key, state)


def last_proposal(u, k, draw=heatbath_sun.one_minus_cosine):
    taken, found = draw(u, k)
    willing = [u[i, ...] if i != u.shape[0] - 1 else 0.0 * u[i, ...] for i in range(u.shape[0])]
    refused, _ = draw(array_namespace(u).stack(willing[-4:]), k)
    return array_namespace(u).where(found, taken, refused), k >= 0.0


@dataclass(frozen=True)
class HalfReflected(SubgroupHeatBath):
    """Over-relaxation by g = v^+, which changes the action."""

    def step(self, key, state):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(simd, "is_present", lambda: False)
            patch.setattr(
                heatbath_sun, "reflection", lambda place, size, unit: ([unit[0], *(-x for x in unit[1:])], size >= 0.0)
            )
            return super().step(key, state)


class RectanglesByPlaquetteColours(Wilson):
    """Rectangles, whose links the heat bath moves as if there were plaquettes alone."""

    reach = 1


def bath(**words):
    return lambda lattice: chained(heat_bath_of_matrices(**words))


KERNELS = (
    Mutant("a heat bath of SU(2) too cold", "kernel", bath(theory=TooCold), ("stationary", "equilibrium")),
    Mutant("a heat bath of other links' staples", "kernel", bath(theory=StaplesOfTheLinkBehind), ("stationary",)),
    Mutant(
        "the last proposal of SU(2) kept",
        "kernel",
        bath(kind=KeepsTheLastProposal, tries=1, lattice=(4, 4)),
        ("stationary",),
    ),
    Mutant(
        "half a reflection",
        "kernel",
        bath(kind=HalfReflected, overrelaxation=1),
        ("stationary", "reflections_keep_action"),
    ),
    Mutant(
        "a heat bath of rectangles in the colours of plaquettes",
        "kernel",
        lambda lattice: heat_bath_of_matrices(
            lattice=(4, 4), theory=partial(RectanglesByPlaquetteColours, rectangle=-1 / 12)
        ),
        ("reflections_keep_action",),
    ),
    Mutant(
        "momenta of matrices for tr P^2 / 2",
        "kernel",
        hmc(WilsonWithTracesOfSquares),
        ("exp_minus_dh", "stationary"),
    ),
    Mutant("half the force on matrices", "kernel", hmc(HalfTheForce), ("energy_order",)),
)
