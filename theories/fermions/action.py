"""The action of N_f degenerate flavours, S = -N_f ln|det D|: what the integral over the fermions leaves behind.

For two flavours it is exact, det D being real. For an odd number the weight is that of |det D|, and the sign of det D is an
observable with which to reweight: <O> = <O sign>/<sign>.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

from haarflow.backends.types import Array, Couplings
from haarflow.core.parts import Symmetries
from haarflow.theories.fermions.determinants.determinant import log_det, log_det_force
from haarflow.theories.fermions.propagator import condensate_and_pion
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.theory import couplings_for, no_subclass

KAPPA = 0.2  # the default hopping parameter
LOG_DET, SIGN = "ln|det D|, of one flavour", "sign det D, of one flavour"
CONDENSATE, PION = "Re tr D⁻¹/V, chiral condensate of one flavour", "C(t), pion correlator"
LARGEST = 1024  # rows of D up to which the propagator is computed as a dense inverse


@final
@dataclass(frozen=True)
class Fermions:
    """-N_f ln|det D| as a term of an action, for links of U(1) or SU(N); the coupling is `kappa`.

    Observables: log_det, ln|det D| of one flavour; sign, that of det D; and on lattices where D has at most LARGEST rows
    condensate, Re tr D^-1 / V, and pion `(*batch, T)`, see `propagator.pion_correlator`.
    Raises ValueError for flavours < 1.

    >>> import numpy as np
    >>> free = Fermions(Wilson((4, 4)), flavours=2)
    >>> round(float(free.action(np.zeros((2, 4, 4)), {"kappa": 0.276})), 9)  # -2 ln det D, a product over momenta
    -4.498346354
    """

    operator: Wilson
    flavours: int = 2

    def __post_init__(self) -> None:
        if int(self.flavours) != self.flavours or self.flavours < 1:
            raise ValueError(f"flavours must be a whole number >= 1, got {self.flavours!r}")

    def __init_subclass__(cls, **options: Any) -> None:
        raise no_subclass(cls)

    @property
    def name(self) -> str:
        """The number of flavours, in words of a message."""
        return f"{self.flavours} flavour{'s' if self.flavours > 1 else ''}"

    @property
    def lattice(self) -> tuple[int, ...]:
        """The extents, time first."""
        return self.operator.lattice

    @property
    def group(self) -> Any:
        """The group of the links."""
        return self.operator.group

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one field of links."""
        return self.operator.field_shape

    @property
    def couplings(self) -> dict[str, float]:
        """The coupling's name and default."""
        return {"kappa": KAPPA}

    @property
    def labels(self) -> dict[str, str]:
        """What a report calls the observables."""
        return {"log_det": LOG_DET, "sign": SIGN, "condensate": CONDENSATE, "pion": PION}

    @property
    def symmetries(self) -> Symmetries:
        """Those of the operator: the sign of the boundary tells time from space."""
        words = ("translation", "reflection", "gauge", "charge_conjugation")
        if self.operator.antiperiodic:
            return Symmetries(words)
        return Symmetries((*words, "hypercubic"), tied={"pion": ("hypercubic",)})

    def action(self, field: Array, couplings: Couplings = None) -> Array:
        """Return -N_f ln|det D| of the batch's shape."""
        return -float(self.flavours) * log_det(self.operator, field, self._kappa(field, couplings))[0]

    def force(self, field: Array, couplings: Couplings = None) -> Array:
        """Return -N_f d ln|det D| along the group, shaped as the algebra."""
        return -float(self.flavours) * log_det_force(self.operator, field, self._kappa(field, couplings))

    def observables(self, field: Array, couplings: Couplings = None) -> dict[str, Array]:
        """Return the per-configuration values by name."""
        kappa = self._kappa(field, couplings)
        value, sign = log_det(self.operator, field, kappa)
        found = {"log_det": value, "sign": sign, "action": -float(self.flavours) * value}
        if rows(self.operator) > LARGEST:
            return found
        condensate, pion = condensate_and_pion(self.operator, field, kappa)
        return found | {"condensate": condensate, "pion": pion}

    def _kappa(self, field: Array, couplings: Couplings) -> Any:
        return couplings_for(self, field, couplings, over=0)["kappa"]


def rows(operator: Wilson) -> int:
    """Return the number of rows of D.

    >>> rows(Wilson((8, 8)))
    128
    """
    return math.prod(operator.spinor_shape)
