"""The Yukawa model: phi^4 with two flavours of staggered fermions.

    S = sum_x [ sum_mu (phi(x+mu) - phi(x))^2 + m2 phi^2 + lam phi^4 ] - 2 ln|det M|,    M = D_st + g phi

In two dimensions it is the first theory with fermions for which flows were written (arXiv:2106.05934).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from haarflow.backends.types import Array, Couplings
from haarflow.core.groups.additive import Real
from haarflow.core.parts import Symmetries
from haarflow.theories.composite import Sum
from haarflow.theories.exact import yukawa
from haarflow.theories.fermions.pseudofermions.real_pairs import WithRealPseudofermions
from haarflow.theories.fermions.staggered.staggered import Staggered
from haarflow.theories.fermions.staggered.yukawa_coupling import YukawaCoupling
from haarflow.theories.scalar.phi4 import Phi4
from haarflow.theories.theory import Derived, no_subclass, number_of


@final
@dataclass(frozen=True)
class Yukawa:
    """The sum of `Phi4` and `YukawaCoupling`, couplings `m2`, `lam` and `g`; fermions antiperiodic or periodic in time.

    Raises ValueError for an odd extent other than 1.

    >>> import numpy as np
    >>> couplings = {"m2": 1.0, "lam": 1.0, "g": 1.0}  # 24 (0.3^2 + 0.3^4) - 2 ln det(D_st + 0.3)
    >>> round(float(Yukawa((4, 6)).action(np.full((4, 6), 0.3), couplings)), 9)
    1.892748113
    """

    lattice: tuple[int, ...]
    antiperiodic: bool = True

    group = Real()
    correlators = YukawaCoupling.correlators

    def __post_init__(self) -> None:
        object.__setattr__(self, "lattice", self.operator.lattice)

    def __init_subclass__(cls, **options: Any) -> None:
        raise no_subclass(cls)

    @property
    def scalar(self) -> Phi4:
        """The action of the scalar field."""
        return Phi4(self.lattice)

    @property
    def operator(self) -> Staggered:
        """The operator of the fermions."""
        return Staggered(self.lattice, self.antiperiodic)

    @property
    def fermions(self) -> YukawaCoupling:
        """The action of the flavours."""
        return YukawaCoupling(self.operator)

    @property
    def terms(self) -> tuple[Phi4, YukawaCoupling]:
        """The terms of the action."""
        return self.scalar, self.fermions

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one scalar field."""
        return self.lattice

    @property
    def couplings(self) -> dict[str, float]:
        """The couplings' names and defaults."""
        return self._sum.couplings

    @property
    def labels(self) -> dict[str, str]:
        """What a report calls the observables."""
        return self._sum.labels

    @property
    def symmetries(self) -> Symmetries:
        """Those of both terms; phi -> -phi is one, as det M is even."""
        return self._sum.symmetries

    @property
    def derived(self) -> dict[str, Derived]:
        """Those of the scalar field."""
        return self.scalar.derived

    @property
    def conjugates(self) -> dict[str, dict[str, float]]:
        """What m2 and lam multiply in the action, which is not linear in g: -dS/dg = 2 V phi_condensate."""
        return self.scalar.conjugates

    @property
    def summary(self) -> tuple[str, ...]:
        """The observables of a report."""
        return (*self.scalar.summary, *self.fermions.summary)

    def check(self, couplings: Couplings = None) -> dict[str, Any]:
        """Return all couplings; raises ValueError and TypeError as the terms do."""
        return self._sum.check(couplings)

    def action(self, field: Array, couplings: Couplings = None) -> Array:
        """Return S of the batch's shape, for fields `(*batch, *lattice)`."""
        return self._sum.action(field, couplings)

    def force(self, field: Array, couplings: Couplings = None) -> Array:
        """Return F = dS/dphi."""
        force: Array = self._sum.force(field, couplings)
        return force

    def difference(self, new: Array, old: Array, couplings: Couplings = None) -> Array:
        """Return S(new) - S(old), that of the scalar field site by site."""
        return self._sum.difference(new, old, couplings)

    def observables(self, field: Array, couplings: Couplings = None) -> dict[str, Array]:
        """Return those of `Phi4` and of `YukawaCoupling`, with the action of both.

        identity, the mean of phi dS/dphi, has the expectation 1: that of phi^4 less 2 g phi_condensate.
        """
        values = self._sum.observables(field, couplings)
        return values | {"identity": values["identity"] - 2.0 * self.check(couplings)["g"] * values["phi_condensate"]}

    def exact(self, couplings: Couplings = None) -> dict[str, float]:
        """Return what is known: identity = 1, m = condensate = 0; on lattices of four sites or fewer means by quadrature.

        >>> round(Yukawa((2, 2)).exact({"m2": -4.0, "lam": 8.0, "g": 0.0})["phi2"], 9)
        0.171434423
        """
        known = {"identity": 1.0, "m": 0.0, "condensate": 0.0}
        m2, lam, g = (number_of(self, couplings, name) for name in ("m2", "lam", "g"))
        if not yukawa.tractable(self.lattice):
            return known
        return known | yukawa.observables(self.lattice, m2, lam, g, self.antiperiodic)

    @property
    def _sum(self) -> Sum:
        return Sum(self.terms)


def yukawa_pairs(lattice: tuple[int, ...], antiperiodic: bool = True) -> WithRealPseudofermions:
    """Return the model as pairs (phi, chi), in which two real pseudofermion fields stand for the determinant of two flavours.

    >>> yukawa_pairs((4, 4)).spaces.phi.shape
    (2, 4, 4)
    """
    operator = Staggered(lattice, antiperiodic)
    return WithRealPseudofermions(Phi4(operator.lattice), operator)
