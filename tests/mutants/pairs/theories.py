"""Wrong theories of pairs: pseudofermions that stand for another power of the determinant than the marginal theory has."""

from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from haarflow.core.groups.additive import Complex, Real
from haarflow.core.spaces import Pair, Space
from haarflow.theories.composite import Sum
from haarflow.theories.fermions.action import Fermions
from haarflow.theories.models.yukawa import yukawa_pairs
from haarflow.verification.pair_objects import links_with_pseudofermions
from tests.mutants import Mutant


@dataclass(frozen=True)
class Changed:
    """A theory of pairs with another space of phi, other pseudofermions or another marginal theory."""

    right: Any
    spaces: Any
    action: Any
    marginal: Any

    @property
    def lattice(self):
        return self.right.lattice

    @property
    def group(self):
        return self.right.group

    @property
    def couplings(self):
        return self.right.couplings


def one_real_field(lattice):
    """One real field for two flavours: one power of the determinant too few."""
    theory = yukawa_pairs(lattice)
    spaces = Pair(theory.spaces.U, Space(Real(), (1, *lattice)))

    def action(field, couplings=None):
        both = array_namespace(field.phi).concat([field.phi, 0.0 * field.phi], axis=-3)
        return theory.action(Pair(field.U, both), couplings)

    return Changed(theory, spaces, action, theory.marginal)


def complex_fields(lattice):
    """Two complex fields in place of two real ones: two powers too many."""
    theory = yukawa_pairs(lattice)
    spaces = Pair(theory.spaces.U, Space(Complex(), (2, *lattice)))

    def action(field, couplings=None):
        xp = array_namespace(field.phi)
        real, imaginary = (Pair(field.U, part(field.phi)) for part in (xp.real, xp.imag))
        return theory.action(real, couplings) + theory.pseudofermion(imaginary, theory.check(couplings)["g"])

    return Changed(theory, spaces, action, theory.marginal)


def half_the_weight(lattice):
    """chi^T (M M^T)^-1 chi / 2, whose Gaussian has another norm."""
    theory = yukawa_pairs(lattice)

    def action(field, couplings=None):
        return theory.action(field, couplings) - 0.5 * theory.pseudofermion(field, theory.check(couplings)["g"])

    return Changed(theory, theory.spaces, action, theory.marginal)


def one_flavour(lattice):
    """A complex field on links beside the determinant of one flavour."""
    theory = links_with_pseudofermions(lattice)
    return Changed(theory, theory.spaces, theory.action, Sum((theory.gauge, Fermions(theory.operator, 1))))


def every_factor_whole(lattice):
    """Each of Hasenbusch's factors stands for its own determinant, not for a ratio to the next."""
    theory = links_with_pseudofermions(lattice, (0.07,))
    whole = links_with_pseudofermions(lattice)

    def action(field, couplings=None):
        heavy = whole.pseudofermion(Pair(field.U, field.phi[..., 1, :, :]), 0.07)[0]
        return whole.action(Pair(field.U, field.phi[..., 0, :, :]), couplings) + heavy

    return Changed(theory, theory.spaces, action, theory.marginal)


TWO = {"lattice": (2, 2)}
LAW = ("marginal_weight",)
MUTANTS: tuple[Mutant, ...] = (
    Mutant("one real field for two flavours", "pairs", one_real_field, LAW, TWO),
    Mutant("complex fields where real ones are enough", "pairs", complex_fields, LAW, TWO),
    Mutant("pseudofermions of twice the variance", "pairs", half_the_weight, LAW, TWO),
    Mutant("a complex field for one flavour", "pairs", one_flavour, LAW, TWO),
    Mutant("Hasenbusch's factors that are no ratios", "pairs", every_factor_whole, LAW, TWO),
)
