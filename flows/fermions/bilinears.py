"""Bilinears of real pseudofermion fields, which tell a flow of the scalar field in which direction they pull it.

To leading order in phi, with Y = D^-1 chi and X = D^-T Y about free massless fermions, the action of pseudofermions is

    sum_f chi_f^T (M M^T)^-1 chi_f = sum_f Y_f^T Y_f - 2 g sum_x phi(x) sum_f X_f(x) Y_f(x) + ...,    M = D + g phi.

As phi -> -phi goes with chi(x) -> (-1)^x chi(x), for which D turns its sign, X Y is odd while X X and Y Y are even.
"""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.flows.fermions.shears import FreeFermions

EVEN, ODD = ("pseudofermion_density", "pseudofermion_bend"), ("pseudofermion_pull",)


@dataclass(frozen=True)
class Bilinears:
    """The fields sum_f Y_f Y_f and sum_f X_f X_f, which are even, and sum_f X_f Y_f, which is odd, `(*batch, *lattice)`, of
    pseudofermions `(*batch, flavours, *lattice)`.

    Each b is tamed to b / (1 + b^2)^(1/4). The free fermions must have no zero mode.

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
        xp = array_namespace(a)
        total = xp.sum(a * b, axis=-1 - len(self.free.lattice))
        return total / xp.sqrt(xp.sqrt(1.0 + total * total))
