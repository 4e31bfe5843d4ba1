"""Wrong groups SU(N), wrong theories and a wrong HMC of matrices, each with the laws that must catch it."""

from dataclasses import dataclass, replace
from functools import partial

import pytest
from array_api_compat import array_namespace

from haarflow.core.chains import heatbath_sun
from haarflow.core.chains.heatbath_sun import SUNHeatBath
from haarflow.core.groups import matrices
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import loops
from haarflow.core.lattice.geometry import shift
from haarflow.theories import SUNGauge
from haarflow.theories.gauge.links import beta_for
from haarflow.verification.core_objects import heat_bath_of_matrices, hmc_of_matrices
from haarflow.verification.core_objects import matrices as chained
from tests.mutants import Mutant, kept

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


def force_without_n(lattice):
    """beta Im tr for beta/N Im tr."""
    theory = SUNGauge(lattice)
    return kept(theory, force=lambda field, couplings=None: float(theory.n) * theory.force(field, couplings))


def staple_reversed(lattice, **words):
    theory = SUNGauge(lattice, **words)

    def staple(field, mu, couplings=None):
        return theory.group.inverse(theory.staple(field, mu))

    return kept(theory, conditional=replace(theory.conditional, staple=staple))


def staples_ahead_only(lattice):
    """Forgets the plaquettes behind the link."""
    theory, d, group = SUNGauge(lattice), len(lattice), SUNGauge(lattice).group

    def staple(field, mu):
        both, rest = loops.staples(field, mu, d, group), (slice(None),) * (d + 2)
        return 2.0 * sum(both[(..., nu, *rest)] for nu in range(0, both.shape[-d - 3], 2))

    def force(field, couplings=None):
        parts = [
            group.coordinates(1j * group.compose(loops.direction(field, mu, d, group), staple(field, mu)))
            for mu in range(d)
        ]
        strength = beta_for(theory, field, couplings, d + 1) / theory.n
        return -0.5 * strength * array_namespace(field).stack(parts, axis=-2 - d)

    return kept(theory, force=force)


def link_not_turned(lattice):
    """A plaquette whose last link is not inverted."""
    theory, d, group = SUNGauge(lattice), len(lattice), SUNGauge(lattice).group

    def action(field, couplings=None):
        xp = array_namespace(field)
        first, second = (loops.direction(field, mu, d, group) for mu in (0, 1))
        there = group.compose(first, shift(second, 0, d))
        loop = group.compose(group.compose(there, group.inverse(shift(first, 1, d))), second)
        sums = xp.sum(xp.real(group.trace(loop)), axis=(-2, -1))
        return -beta_for(theory, field, couplings, 0) * sums / theory.n

    return kept(theory, action=action)


def force_on_the_right(lattice):
    """tr T_a V U: the force at the link's other end."""
    theory, d, group = SUNGauge(lattice), len(lattice), SUNGauge(lattice).group

    def force(field, couplings=None):
        xp, beta = array_namespace(field), beta_for(theory, field, couplings, d + 1)
        parts = [
            group.coordinates(1j * group.compose(staple, loops.direction(field, mu, d, group)))
            for mu, staple in enumerate(theory.staples(field))
        ]
        return -0.5 / theory.n * beta * xp.stack(parts, axis=-2 - d)

    return kept(theory, force=force)


FORCES = ("force_by_differences", "force_by_autodiff")
TINY = {"lattice": (2, 2)}
THEORIES = (
    Mutant("an SU(N) force without 1/N", "theory", force_without_n, FORCES, TINY),
    Mutant("an SU(N) force of the other end", "theory", force_on_the_right, ("gauge_orbit", *FORCES), TINY),
    Mutant("staples ahead alone", "theory", staples_ahead_only, FORCES, {"lattice": (3, 3)}),
    Mutant(
        "improved staples reversed",
        "theory",
        partial(staple_reversed, rectangle=-1 / 12),
        ("link_staple",),
        {"lattice": (3, 3)},
    ),
    Mutant("matrix staples reversed", "theory", staple_reversed, ("link_staple",), TINY),
    Mutant("a link that is not turned", "theory", link_not_turned, ("gauge_invariance", "reflection_invariance"), TINY),
)

# --- kernels


def wilson_with_traces_of_squares(lattice, n):
    return kept(SUNGauge(lattice, n), group=TracesOfSquares(n, len(lattice)))


def half_the_force(lattice, n):
    theory = SUNGauge(lattice, n)
    return kept(theory, force=lambda field, couplings=None: 0.5 * theory.force(field, couplings))


def hmc(theory):
    return lambda lattice: chained(hmc_of_matrices(n=2, theory=theory), reversible=True)


def too_cold(lattice, n):
    """The heat bath's weight at 1.2 beta."""
    theory = SUNGauge(lattice, n)

    def strength(field, couplings=None):
        return 1.2 * theory.local_coupling(field, couplings)

    return kept(theory, conditional=replace(theory.conditional, strength=strength))


def staples_of_the_link_behind(lattice, n):
    """Staples of another link, so that the heat bath draws where its own neighbours are not."""
    theory = SUNGauge(lattice, n)

    def staple(field, mu, couplings=None):
        return shift(theory.staple(field, mu), mu, len(lattice), -1)

    return kept(theory, conditional=replace(theory.conditional, staple=staple, plaquettes_only=False))


@dataclass(frozen=True)
class KeepsTheLastProposal(SUNHeatBath):
    """Where all tries fail the last proposal is taken: too often one that was refused."""

    def step(self, key, state):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(heatbath_sun, "one_minus_cosine", last_proposal)
            return SUNHeatBath.step(replace(self, sweep=SUNHeatBath.by_arrays), key, state)


def last_proposal(u, k, draw=heatbath_sun.one_minus_cosine):
    taken, found = draw(u, k)
    willing = [u[i, ...] if i != u.shape[0] - 1 else 0.0 * u[i, ...] for i in range(u.shape[0])]
    refused, _ = draw(array_namespace(u).stack(willing[-4:]), k)
    return array_namespace(u).where(found, taken, refused), k >= 0.0


@dataclass(frozen=True)
class HalfReflected(SUNHeatBath):
    """Over-relaxation by g = v^+, which changes the action."""

    def step(self, key, state):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                heatbath_sun, "reflection", lambda place, size, unit: ([unit[0], *(-x for x in unit[1:])], size >= 0.0)
            )
            return SUNHeatBath.step(replace(self, sweep=SUNHeatBath.by_arrays), key, state)


def rectangles_by_plaquette_colours(lattice, n):
    """Rectangles, whose links the heat bath moves as if there were plaquettes only."""
    theory = SUNGauge(lattice, n, rectangle=-1 / 12)
    return kept(theory, conditional=replace(theory.conditional, reach=1))


def bath(**words):
    return lambda lattice: chained(heat_bath_of_matrices(**words))


KERNELS = (
    Mutant("a heat bath of SU(2) too cold", "kernel", bath(theory=too_cold), ("stationary", "equilibrium")),
    Mutant("a heat bath of other links' staples", "kernel", bath(theory=staples_of_the_link_behind), ("stationary",)),
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
        lambda lattice: heat_bath_of_matrices(lattice=(4, 4), theory=rectangles_by_plaquette_colours),
        ("reflections_keep_action",),
    ),
    Mutant(
        "momenta of matrices for tr P^2 / 2",
        "kernel",
        hmc(wilson_with_traces_of_squares),
        ("exp_minus_dh", "stationary"),
    ),
    Mutant("half the force on matrices", "kernel", hmc(half_the_force), ("energy_order",)),
)
