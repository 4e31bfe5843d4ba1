"""Theories with one thing wrong, each of which must fail the laws that are named beside it in MUTANTS."""

import itertools
import math
from dataclasses import dataclass
from types import MappingProxyType

from array_api_compat import array_namespace

from haarflow.backends import of
from haarflow.core import loops
from haarflow.core.groups import Real
from haarflow.core.lattice import shift
from haarflow.theories import Phi4, U1Gauge, bessel
from haarflow.theories.theory import couplings_for
from tests.mutants import Mutant, matrices


def at_the_origin(x, d):
    """The value at site 0, one number a field."""
    return x[(..., *(0,) * d)]


def parts_of(links, d):
    """The links of each direction."""
    return [loops.direction(links, mu, d) for mu in range(d)]


class ForceTooStrong(Phi4):
    def force(self, field, couplings=None):
        return 1.001 * super().force(field, couplings)


class BackwardNeighbourSubtracted(Phi4):
    def force(self, field, couplings=None):
        return super().force(field, couplings) + 4.0 * shift(field, self.d - 1, self.d, -1)


class QuarticForceQuartered(Phi4):
    def force(self, field, couplings=None):
        lam = couplings_for(self, field, couplings)["lam"]
        return super().force(field, couplings) - 3.0 * lam * field**3


class GaugeForceAlongTheOrbit(U1Gauge):
    def force(self, field, couplings=None):
        sine = of(field).sincos(field)[0]
        return super().force(field, couplings) + 1e-3 * sine


class BondCountedTwice(Phi4):
    def action(self, field, couplings=None):
        return Phi4(self.lattice).action(field, couplings)

    def density(self, field, couplings=None):
        bond = (shift(field, 0, self.d) - field) ** 2
        return super().density(field, couplings) + bond[(..., None) + (slice(None),) * self.d]


class DensityWithoutTerms(Phi4):
    def action(self, field, couplings=None):
        return Phi4(self.lattice).action(field, couplings)

    def density(self, field, couplings=None):
        return super().density(field, couplings)[(..., 0) + (slice(None),) * self.d]


class NoReach(Phi4):
    reach = 0


class LinkForgotten(U1Gauge):
    def action(self, field, couplings=None):
        (first, second), xp = parts_of(field, 2), array_namespace(field)
        open_loop = first + shift(second, 0, 2) - shift(first, 1, 2)
        return -self._beta(field, couplings, 0) * xp.sum(xp.cos(open_loop), axis=(-2, -1))


class OpenBoundary(U1Gauge):
    """Links that leave the lattice are taken to be 1."""

    def action(self, field, couplings=None):
        (first, second), xp = parts_of(field, 2), array_namespace(field)
        ahead = xp.concat([second[..., 1:, :], xp.zeros_like(second[..., :1, :])], axis=-2)
        above = xp.concat([first[..., 1:], xp.zeros_like(first[..., :1])], axis=-1)
        return -self._beta(field, couplings, 0) * xp.sum(xp.cos(first + ahead - above - second), axis=(-2, -1))


class ObservableOfOneLink(U1Gauge):
    def observables(self, field, couplings=None):
        xp = array_namespace(field)
        return super().observables(field, couplings) | {"link": xp.mean(xp.cos(field), axis=(-3, -2, -1))}


class ChargeWithoutWrap(U1Gauge):
    def _flux(self, angles):
        turns = array_namespace(angles).sum(angles, axis=(-2, -1)) / (2 * math.pi)
        return turns


class EvenCharge(U1Gauge):
    """Takes Q for invariant under what turns it round."""

    odd = MappingProxyType({})


class StapleOfTheOtherOrientation(U1Gauge):
    def staple(self, field, mu):
        real, imaginary = super().staple(field, mu)
        return real, -imaginary


class HeatBathOfTheOtherOrientation(U1Gauge):
    def local_weight(self, field, mu, couplings=None):
        a, b = super().local_weight(field, mu, couplings)
        return a, -b


class MapWithoutKappa(Phi4):
    def other_form(self, couplings=None):
        other, mapped, factor = Phi4(self.lattice, self.parameterisation).other_form(couplings)
        return other, {**mapped, "lam": mapped["lam"] * self.check(couplings)["kappa"]}, factor


class ExactWithoutKappa(Phi4):
    def exact(self, couplings=None):
        found = super().exact(couplings)
        return found | {"phi2": found["phi2"] * self.check(couplings)["kappa"]}


class NextBessel(U1Gauge):
    def exact(self, couplings=None):
        return super().exact(couplings) | {"plaquette": float(bessel.ratios(self.check(couplings)["beta"], 2)[2])}


class HalfThePlaquettes(U1Gauge):
    @property
    def conjugates(self):
        return {"beta": {"plaquette": -0.5 * math.prod(self.lattice)}}


class MixedBatch(Phi4):
    def action(self, field, couplings=None):
        xp, whole = array_namespace(field), super().action(field, couplings)
        return whole + 1e-6 * xp.mean(whole)


class SumOverTheBatch(Phi4):
    def action(self, field, couplings=None):
        return array_namespace(field).sum(super().action(field, couplings))


class WritesItsInput(Phi4):
    def action(self, field, couplings=None):
        field[...] = 0.5 * field
        return super().action(field, couplings)


class Defect(Phi4):
    def action(self, field, couplings=None):
        return super().action(field, couplings) + 1e-3 * at_the_origin(field, self.d) ** 2


class Cubic(Phi4):
    def action(self, field, couplings=None):
        xp = array_namespace(field)
        return super().action(field, couplings) + 1e-3 * xp.sum(field**3, axis=tuple(range(-self.d, 0)))


class ObservableWithASign(Phi4):
    """Takes m for even."""

    odd = MappingProxyType({})


class OneWay(Phi4):
    """Translations and Z2 hold, but phi(x)^3 phi(x + 0) knows ahead from behind."""

    def action(self, field, couplings=None):
        xp, more = array_namespace(field), field**3 * shift(field, 0, self.d)
        return super().action(field, couplings) + 1e-3 * xp.sum(more, axis=tuple(range(-self.d, 0)))


class Anisotropic(Phi4):
    def action(self, field, couplings=None):
        xp, more = array_namespace(field), field * shift(field, 0, self.d)
        return super().action(field, couplings) + 1e-3 * xp.sum(more, axis=tuple(range(-self.d, 0)))


class SineOfThePlaquette(U1Gauge):
    def action(self, field, couplings=None):
        xp, angles = array_namespace(field), loops.plaquettes(field, self.d)
        return super().action(field, couplings) + 1e-3 * xp.sum(xp.sin(angles), axis=(-3, -2, -1))


class NotOnTheCircle(U1Gauge):
    def action(self, field, couplings=None):
        xp, angles = array_namespace(field), loops.plaquettes(field, self.d)
        return super().action(field, couplings) + 1e-3 * xp.sum(angles**2, axis=(-3, -2, -1))


class MeanCoupling(U1Gauge):
    def action(self, field, couplings=None):
        values = dict(couplings or {})
        if getattr(values.get("beta"), "shape", ()):
            values["beta"] = array_namespace(field).mean(values["beta"])
        return super().action(field, values)


class NoBorder(Phi4):
    def check(self, couplings=None):
        known = couplings if isinstance(couplings, dict) else {}
        return {name: known.get(name, value) for name, value in self.couplings.items()}


@dataclass(frozen=True)
class Drifting:
    """Every call adds far more than the one before, whoever makes it."""

    lattice: tuple[int, ...]
    calls = itertools.count()
    group = Real()

    def action(self, field, couplings=None):
        xp = array_namespace(field)
        return xp.sum(field**2, axis=(-2, -1)) + 1e-6 * 100.0 ** next(self.calls)


TINY = {"lattice": (2, 2)}


def hopping(kind):
    """Make a mutant of the hopping form."""
    return lambda lattice: kind(lattice, "hopping")


BOTH_FORCES = ("force_by_differences", "force_by_autodiff")
MUTANTS = (
    Mutant("a force off by a factor", "theory", ForceTooStrong, BOTH_FORCES),
    Mutant("a backward neighbour of the wrong sign", "theory", BackwardNeighbourSubtracted, BOTH_FORCES),
    Mutant("lam phi^3 in the force for 4 lam phi^3", "theory", QuarticForceQuartered, BOTH_FORCES),
    Mutant("a force along the gauge orbit", "theory", GaugeForceAlongTheOrbit, ("gauge_orbit", *BOTH_FORCES), TINY),
    Mutant("a density that counts a bond twice", "theory", BondCountedTwice, ("density_sums",)),
    Mutant("a density without the axis of terms", "theory", DensityWithoutTerms, ("density_sums",)),
    Mutant("a reach that is too short", "theory", NoReach, ("density_reach",)),
    Mutant("a plaquette of three links", "theory", LinkForgotten, ("gauge_invariance",), TINY),
    Mutant("an open boundary", "theory", OpenBoundary, ("gauge_invariance", "translation_invariance"), TINY),
    Mutant("an observable of one link", "theory", ObservableOfOneLink, ("gauge_invariance",), TINY),
    Mutant("a charge without the wrap", "theory", ChargeWithoutWrap, ("charge_of_flux",), TINY),
    Mutant(
        "a charge declared even",
        "theory",
        EvenCharge,
        ("reflection_invariance", "exchange_invariance", "conjugation_invariance"),
        {"lattice": (3, 3)},
    ),
    Mutant("a staple of the other orientation", "theory", StapleOfTheOtherOrientation, ("link_weight",), TINY),
    Mutant(
        "a heat bath of the other orientation",
        "theory",
        HeatBathOfTheOtherOrientation,
        ("link_weight", "staple_weight"),
        TINY,
    ),
    Mutant("a map of the forms off by kappa", "theory", hopping(MapWithoutKappa), ("forms_agree",), TINY),
    Mutant("exact values off by kappa", "theory", hopping(ExactWithoutKappa), ("exact_by_quadrature",), TINY),
    Mutant(
        "a plaquette of I_2",
        "theory",
        NextBessel,
        ("exact_by_quadrature", "exact_by_samples", "thermodynamic_identity"),
    ),
    Mutant(
        "half the plaquettes in dS/dbeta",
        "theory",
        HalfThePlaquettes,
        ("conjugate_observables", "thermodynamic_identity"),
        TINY,
    ),
    Mutant("an action that mixes the batch", "theory", MixedBatch, ("batch_rows",)),
    Mutant("an action that sums over the batch", "theory", SumOverTheBatch, ("action_values", "batch_rows")),
    Mutant("an action that writes to its input", "theory", WritesItsInput, ("inputs_unchanged",)),
    Mutant("a defect", "theory", Defect, ("translation_invariance",)),
    Mutant("a cubic term", "theory", Cubic, ("sign_invariance",)),
    Mutant("an odd observable declared even", "theory", ObservableWithASign, ("sign_invariance",)),
    Mutant("a term that knows ahead from behind", "theory", OneWay, ("reflection_invariance",)),
    Mutant("an axis of its own weight", "theory", Anisotropic, ("exchange_invariance",)),
    Mutant(
        "sines of plaquettes", "theory", SineOfThePlaquette, ("conjugation_invariance", "reflection_invariance"), TINY
    ),
    Mutant("squares of angles", "theory", NotOnTheCircle, ("winding_invariance",), TINY),
    Mutant("one beta for all chains", "theory", MeanCoupling, ("couplings_by_row",), TINY),
    Mutant("a theory without a border", "theory", NoBorder, ("border",)),
    Mutant("an action that drifts from call to call", "theory", Drifting, ("compiled_as_eager", "equals_numpy")),
    *matrices.THEORIES,
)
