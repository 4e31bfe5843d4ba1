"""The theories that the laws check: phi^4 in both forms, U(1), SU(N), sums of them, and theories as users write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from array_api_compat import array_namespace

from haarflow.core.groups.additive import Real
from haarflow.core.lattice.geometry import shift
from haarflow.core.parts import Symmetries
from haarflow.theories import Phi4, Sum, SUNGauge, U1Gauge, accelerated, with_parts
from haarflow.theories.catalogue import RING, SQUARE, THEORIES
from haarflow.theories.fermions.action import Fermions
from haarflow.theories.fermions.determinants.determinant import FORMS, log_det, log_det_force
from haarflow.theories.fermions.staggered import staggered
from haarflow.theories.fermions.staggered.staggered import Staggered
from haarflow.theories.fermions.staggered.yukawa_coupling import YukawaCoupling
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.laws.determinant import Form
from haarflow.theories.theory import couplings_for
from haarflow.verification.entry import Entry


def free_field(lattice: tuple[int, ...], parameterisation: str = "m2") -> Any:
    """Return phi^4 whose default couplings are a mass and no interaction, where everything is known."""
    couplings = {"m2": 1.0, "lam": 0.0} if parameterisation == "m2" else {"kappa": 0.1, "lam": 0.0}
    return with_parts(Phi4(lattice, parameterisation), couplings=couplings)


@dataclass(frozen=True)
class SineGordon:
    """S = sum_x [ 1/2 sum_mu (phi(x+mu) - phi(x))^2 + 1/2 m2 phi^2 - g cos phi ], as a user would write it."""

    lattice: tuple[int, ...]
    group = Real()
    couplings = MappingProxyType({"m2": 1.0, "g": 1.0})
    symmetries = Symmetries(("translation", "reflection", "hypercubic", "Z2"))

    def action(self, phi, couplings=None):
        """Return S of the batch's shape."""
        xp, d, c = array_namespace(phi), len(self.lattice), couplings_for(self, phi, couplings)
        bonds = sum((shift(phi, mu, d) - phi) ** 2 for mu in range(d))
        return xp.sum(0.5 * bonds + 0.5 * c["m2"] * phi**2 - c["g"] * xp.cos(phi), axis=tuple(range(-d, 0)))

    def force(self, phi, couplings=None):
        """Return dS/dphi."""
        xp, d, c = array_namespace(phi), len(self.lattice), couplings_for(self, phi, couplings)
        around = sum(2 * phi - shift(phi, mu, d) - shift(phi, mu, d, -1) for mu in range(d))
        return around + c["m2"] * phi + c["g"] * xp.sin(phi)

    def observables(self, phi, couplings=None):
        """Return the means of phi^2 and cos phi."""
        xp, axes = array_namespace(phi), tuple(range(-len(self.lattice), 0))
        return {"phi2": xp.mean(phi**2, axis=axes), "cos": xp.mean(xp.cos(phi), axis=axes)}


@dataclass(frozen=True)
class Source:
    """S = -h sum_x phi: a term to add to another theory's action."""

    lattice: tuple[int, ...]
    group = Real()
    couplings = MappingProxyType({"h": 0.5})
    symmetries = Symmetries(("translation", "reflection", "hypercubic"))

    def action(self, phi, couplings=None):
        """Return S of the batch's shape."""
        h, axes = couplings_for(self, phi, couplings)["h"], tuple(range(-len(self.lattice), 0))
        return -array_namespace(phi).sum(h * phi, axis=axes)

    def force(self, phi, couplings=None):
        """Return dS/dphi."""
        return 0.0 * phi - couplings_for(self, phi, couplings)["h"]


def with_source(lattice: tuple[int, ...]) -> Any:
    """Return phi^4 in an external field, a sum of two theories."""
    return Sum((Phi4(lattice), Source(lattice)))


@dataclass(frozen=True)
class Bare:
    """S = sum_x phi^2: a theory with only the required parts."""

    lattice: tuple[int, ...]
    group = Real()

    def action(self, phi, couplings=None):
        """Return S of the batch's shape."""
        return array_namespace(phi).sum(phi**2, axis=tuple(range(-len(self.lattice), 0)))


def two_actions(lattice: tuple[int, ...]) -> Any:
    """Return Wilson's SU(2) beside an improved one at the same beta."""
    return Sum((SUNGauge(lattice, 2), SUNGauge(lattice, 2, rectangle=-1 / 12)))


hopping = partial(free_field, parameterisation="hopping")


def _entries(*names: str) -> tuple[Entry, ...]:
    """The entries of the catalogue's rows."""
    return tuple(
        Entry(small.name, "theory", partial(THEORIES[name].make, **small.options), small.lattices)
        for name in names
        for small in THEORIES[name].small
    )


SCALAR = ("phi4", "phi4-hopping")
THEORY_ENTRIES: tuple[Entry, ...] = (
    *_entries(*SCALAR),
    Entry("free field d=2", "theory", free_field, SQUARE),
    Entry("free field hopping d=2", "theory", hopping, SQUARE),
    *_entries(*(name for name in THEORIES if name not in SCALAR)),
    Entry("phi^4 with a source d=2", "theory", with_source, SQUARE),
    Entry("U(1) twice d=3", "theory", lambda lattice: Sum((U1Gauge(lattice),) * 2), ((2, 2, 2), (3, 2, 4))),
    Entry("SU(2) of two actions d=2", "theory", two_actions, ((3, 4), (5, 3))),
    Entry("two staggered flavours d=2", "theory", lambda x: YukawaCoupling(Staggered(x)), ((4, 4), (2, 2))),
    Entry("two flavours d=2", "theory", lambda lattice: Fermions(Wilson(lattice)), ((4, 4), (2, 2), (3, 4))),
    Entry("an own action d=2", "theory", SineGordon, SQUARE),
    Entry("the least theory d=1", "theory", Bare, RING),
)
OPERATOR_ENTRIES: tuple[Entry, ...] = (
    Entry("Wilson U(1) d=2", "operator", Wilson, ((2, 2), (4, 6), (3, 4), (1, 2))),
    Entry("Wilson periodic d=2", "operator", partial(Wilson, antiperiodic=False), ((2, 2), (3, 4))),
    Entry("Wilson SU(2) d=2", "operator", partial(Wilson, n=2), ((2, 4), (3, 2))),
    Entry("Wilson SU(3) d=4", "operator", partial(Wilson, n=3), ((2, 2, 2, 2), (2, 1, 3, 2))),
)


def determinant_of(form: str, options: Mapping[str, Any], lattice: tuple[int, ...]) -> Form:
    """Return one form of the determinant of Wilson's operator."""
    return Form(Wilson(lattice, **options), partial(log_det, form=form), partial(log_det_force, form=form))


def compiled_determinant(lattice: tuple[int, ...]) -> Form:
    """Return the determinant of Wilson's operator by the compiled elimination of slices."""
    return Form(accelerated(Wilson(lattice)), partial(log_det, form="slices"), partial(log_det_force, form="slices"))


def staggered_determinant(lattice: tuple[int, ...]) -> Form:
    """Return the determinant of staggered fermions in a scalar field."""
    return Form(Staggered(lattice), staggered.log_det, staggered.log_det_force)


EVEN, ANY = ((4, 4), (2, 4)), ((4, 4), (3, 2), (1, 3), (4, 1), (2, 2))
DETERMINANT_ENTRIES: tuple[Entry, ...] = (
    *(
        Entry(f"{form} U(1) d=2", "determinant", partial(determinant_of, form, {}), EVEN if form == "even-odd" else ANY)
        for form in FORMS
    ),
    Entry("compiled slices U(1) d=2", "determinant", compiled_determinant, ANY),
    Entry("slices periodic d=2", "determinant", partial(determinant_of, "slices", {"antiperiodic": False}), ((3, 4),)),
    *(Entry(f"{form} SU(2) d=2", "determinant", partial(determinant_of, form, {"n": 2}), ((2, 4),)) for form in FORMS),
    *(
        Entry(f"{form} SU(3) d=4", "determinant", partial(determinant_of, form, {"n": 3}), ((2, 2, 2, 2),))
        for form in FORMS
    ),
    Entry("staggered d=2", "determinant", staggered_determinant, ((4, 4), (2, 4), (2, 2))),
)
