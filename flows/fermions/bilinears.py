"""Bilinears of real pseudofermion fields, which tell a flow of the scalar field in which direction they pull it.

To leading order in phi, with Y = D^-1 chi and X = D^-T Y about free massless fermions, the action of pseudofermions is

    sum_f chi_f^T (M M^T)^-1 chi_f = sum_f Y_f^T Y_f - 2 g sum_x phi(x) sum_f X_f(x) Y_f(x) + ...,    M = D + g phi.

As phi -> -phi goes with chi(x) -> (-1)^x chi(x), for which D turns its sign, X Y is odd while X X and Y Y are even. Flows of links are
told |phi|^2, which is gauge invariant whatever the links are.
"""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.flows.fermions.shears import FreeFermions, tamed

SQUARE = "pseudofermion_square"
EVEN, ODD = ("pseudofermion_density", "pseudofermion_bend"), ("pseudofermion_pull",)


@dataclass(frozen=True)
class Bilinears:
    """The fields sum_f Y_f Y_f and sum_f X_f X_f, which are even, and sum_f X_f Y_f, which is odd, `(*batch, *lattice)`, of
    pseudofermions `(*batch, flavours, *lattice)`.

    Each is `tamed`. The free fermions must have no zero mode.

    >>> import numpy as np
    >>> from haarflow.theories.fermions.staggered.free_staggered import FreeStaggered
    >>> from haarflow.theories.fermions.staggered.staggered import Staggered
    >>> found = Bilinears(FreeStaggered(Staggered((2, 2)), g=0.5)).of(np.ones((3, 2, 2, 2)))
    >>> {name: field.shape for name, field in found.items()}
    {'pseudofermion_density': (3, 2, 2), 'pseudofermion_bend': (3, 2, 2), 'pseudofermion_pull': (3, 2, 2)}
    """

    free: FreeFermions

    def of(self, phi: Array) -> dict[str, Array]:
        """Return the features by name."""
        massless = backends.of(phi).asarray(0.0, dtype=phi.dtype)
        y = self.free.solve(massless, phi)
        x = -self.free.solve(massless, y)  # D^T = -D
        return {name: self._summed(a, b) for name, (a, b) in zip((*EVEN, *ODD), ((y, y), (x, x), (x, y)), strict=True)}

    def _summed(self, a: Array, b: Array) -> Array:
        return tamed(array_namespace(a).sum(a * b, axis=-1 - len(self.free.lattice)))


@dataclass(frozen=True)
class MeanSquare:
    """The mean of |phi|^2 over the components of pseudofermions of `axes` axes, one number per configuration.

    It stands in the condition where a coupling of the theory does, so that each flow of links that can be conditioned can be told it.

    >>> import numpy as np
    >>> MeanSquare(axes=2).of(np.full((3, 2, 8), 2.0j))
    {'pseudofermion_square': array([4., 4., 4.])}
    """

    axes: int

    def of(self, phi: Array) -> dict[str, Array]:
        """Return the mean by its name."""
        xp = array_namespace(phi)
        return {SQUARE: xp.mean(xp.real(xp.conj(phi) * phi), axis=tuple(range(-self.axes, 0)))}
