"""HMC with fermions, with one thing wrong, each with the laws that must catch it."""

from dataclasses import dataclass

from haarflow.core.chains.involution import Involutive
from haarflow.core.solvers.rational import zolotarev
from haarflow.theories.fermions.pseudofermions.hasenbusch import factors
from haarflow.theories.fermions.pseudofermions.one_flavour import Root
from haarflow.theories.fermions.pseudofermions.pseudofermion_hmc import PseudofermionHMC
from haarflow.verification.fermion_objects import MODEL, SCALES, chained, one_flavour_hmc, pseudofermion_hmc
from tests.mutants import Mutant


@dataclass(frozen=True)
class NoiseOfVarianceOne(PseudofermionHMC):
    """chi of variance 1 for each real component, not 1/2."""

    def _drawn(self, key, x):
        v, solves = PseudofermionHMC._drawn(self, key, x)
        return v._replace(phi=tuple(2.0**0.5 * phi for phi in v.phi)), solves


@dataclass(frozen=True)
class AcceptsByGaugeEnergy(PseudofermionHMC):
    """The change of S_pf is left out of dH."""

    def _moved(self, x, v):
        image, solves = PseudofermionHMC._moved(self, x, v)
        return image._replace(
            change=self.gauge.action(image.field, {"beta": 1.0}) - self.gauge.action(x, {"beta": 1.0})
        ), solves


@dataclass(frozen=True)
class HeavierFactorTwice(PseudofermionHMC):
    """The ratio is taken to the next but one mass, so that a factor is missing from the determinant."""

    def _factors(self):
        light, heavy = factors(self.values["couplings"]["kappa"], self.values["masses"])
        return light, heavy._replace(kappa=0.5 * heavy.kappa)


@dataclass(frozen=True)
class LosesMomentum(PseudofermionHMC):
    """The trajectory has friction, so that it is neither reversible nor preserves volume."""

    def _trajectory(self, x, v):
        new, final, solves = PseudofermionHMC._trajectory(self, x, v)
        return new, 0.9 * final, solves


class DropsAPole(Root):
    """The action and its force lack the partial fraction of the smallest pole, the draw has all factors."""

    @property
    def rational(self):
        found = zolotarev(self.poles, self.lowest)
        return found._replace(residues=(*found.residues[:-1], 0.0))


@dataclass(frozen=True)
class ThreeFlavours(PseudofermionHMC):
    """One flavour is approximated, and two more are there as a pair."""

    def _factors(self):
        (own,) = PseudofermionHMC._factors(self)
        return (*factors(own.kappa), own)


MUTANTS = (
    Mutant("pseudofermions of variance one", "kernel", lambda lattice: chained(pseudofermion_hmc(NoiseOfVarianceOne)), ("stationary",)),
    Mutant("pseudofermions left out of dH", "kernel", lambda lattice: chained(pseudofermion_hmc(AcceptsByGaugeEnergy)), ("stationary",)),
    Mutant("pseudofermions with friction", "kernel", lambda lattice: Involutive(MODEL, pseudofermion_hmc(LosesMomentum)), ("applied_twice", "involution_volume")),
    Mutant("one flavour with a pole dropped", "kernel", lambda lattice: chained(one_flavour_hmc(root=DropsAPole(2, 0.2)), 1), ("stationary",)),
    Mutant("one flavour and a pair", "kernel", lambda lattice: chained(one_flavour_hmc(kind=ThreeFlavours, root=Root(3, 0.2)), 1), ("stationary",)),
    Mutant("a Hasenbusch factor at another mass", "kernel", lambda lattice: chained(pseudofermion_hmc(HeavierFactorTwice, (0.1,), SCALES)), ("stationary",)),
)  # fmt: skip
