"""Staggered fermions of a constant mass: products, solutions and the determinant of D_st + m, by the modes of -D_st^2.

    (D_st + m)^-1 = (m - D_st) (m^2 - D_st^2)^-1,    ln det(D_st + m) = 1/2 sum_k ln(m^2 + lambda_k)

with the eigenvalues lambda_k of the symmetric matrix -D_st^2, in a basis that does not depend on the mass.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.lattice.geometry import volume
from haarflow.theories.fermions.staggered.staggered import Staggered, free_matrix


@final
@dataclass(frozen=True)
class FreeStaggered:
    """D_st + m of fields `(*batch, *lattice)` and masses `(*batch,)`, for a scalar field of coupling g, m = g phi.

    Raises ValueError for periodic fermions, of which a mode has no eigenvalue.

    >>> import numpy as np
    >>> free = FreeStaggered(Staggered((4, 4)), g=0.5)
    >>> x, mass = np.ones((3, 4, 4)), np.asarray([0.0, 0.1, 0.2])
    >>> bool(np.allclose(free.solve(mass, free.apply(mass, x)), x))
    True
    """

    operator: Staggered
    g: float

    def __post_init__(self) -> None:
        if not self.operator.antiperiodic:
            raise ValueError(
                "an expansion about free staggered fermions wants antiperiodic ones, which have no zero mode"
            )

    @property
    def lattice(self) -> tuple[int, ...]:
        """The extents."""
        return self.operator.lattice

    def apply(self, mass: Array, x: Array) -> Array:
        """Return (D_st + m) x."""
        return self.operator.hop(x) + self._wide(mass) * x

    def solve(self, mass: Array, x: Array) -> Array:
        """Return (D_st + m)^-1 x."""
        xp, sites, d = array_namespace(x), volume(self.lattice), self.operator.d
        values, basis = self._modes(x)
        modes = xp.reshape(x, (*x.shape[:-d], sites)) @ basis
        modes = modes / (values + (mass * mass)[..., None])
        y = xp.reshape(modes @ xp.matrix_transpose(basis), x.shape)
        return self._wide(mass) * y - self.operator.hop(y)

    def log_det(self, mass: Array) -> Array:
        """Return ln det(D_st + m), of the masses' shape."""
        xp = array_namespace(mass)
        return 0.5 * xp.sum(xp.log(self._modes(mass)[0] + (mass * mass)[..., None]), axis=-1)

    def _wide(self, mass: Array) -> Any:
        return mass[(..., *(None,) * self.operator.d)]

    def _modes(self, like: Array) -> tuple[Array, Array]:
        backend = backends.of(like)
        values, basis = _spectrum(self.operator)
        return backend.asarray(values, dtype=like.dtype), backend.asarray(basis, dtype=like.dtype)


@lru_cache(maxsize=16)
def _spectrum(operator: Staggered) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The eigenvalues and eigenvectors of -D_st^2."""
    free = free_matrix(operator)
    values, basis = numpy.linalg.eigh(free.T @ free)
    return values, basis
