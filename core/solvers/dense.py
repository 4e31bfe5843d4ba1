"""Maps as dense matrices: the last resort of a solve, and the oracle of its tests."""

from __future__ import annotations

import math

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.broadcasting import of_type
from haarflow.core.groups.matrices import EPSILON, precision
from haarflow.core.solvers.refinement import refined
from haarflow.core.solvers.rows import Map, counts, rows_of
from haarflow.core.solvers.solution import Solution

MEMORY = 2**30  # bytes that the matrices of a batch and their factors may take


def fits(b: Array, batch_axes: int = 0) -> bool:
    """Return whether the dense matrices of the maps of a batch fit into MEMORY, with their factors.

    >>> import numpy as np
    >>> fits(np.zeros((4, 100)), 1), fits(np.zeros(10**5))
    (True, False)
    """
    size = 16 if array_namespace(b).isdtype(b.dtype, "complex floating") else 8
    needed: int = 3 * size * math.prod(b.shape[:batch_axes]) * math.prod(b.shape[batch_axes:]) ** 2
    return needed <= MEMORY


def matrix(apply: Map, like: Array, batch_axes: int = 0) -> Array:
    """Return the matrices `(batch, n, n)` of a linear map of fields shaped as `like`, from its images of unit vectors.

    >>> import numpy as np
    >>> matrix(lambda x: x[::-1], np.zeros(2)).tolist()
    [[[0.0, 1.0], [1.0, 0.0]]]
    """
    system, xp = rows_of(apply, like, batch_axes), array_namespace(like)
    n = system.b.shape[1]

    def column(carry: None, unit: Array) -> tuple[None, Array]:
        return None, system.apply(unit + xp.zeros_like(system.b))

    units = xp.eye(n, dtype=like.dtype, device=backends.place(like))[:, None, :]
    _, columns = backends.of(like).scan(column, None, units)
    return xp.permute_dims(columns, (1, 2, 0))


def invertible(matrices: Array) -> Array:
    """Return matrices `(batch, n, n)` whose diagonal is shifted by rounding, so that LU finds no pivot that is exactly zero.

    Where a matrix was singular the solution is of no use, which its residual says; libraries would raise for all of them.

    >>> import numpy as np
    >>> bool(np.isfinite(np.linalg.inv(invertible(np.ones((1, 2, 2))))).all())
    True
    """
    xp, n = array_namespace(matrices), matrices.shape[-1]
    size = xp.max(xp.abs(matrices), axis=(-2, -1), keepdims=True)
    shift = EPSILON[precision(matrices)] * xp.where(size > 0.0, size, xp.ones_like(size))
    return matrices + of_type(shift, matrices) * xp.eye(n, dtype=matrices.dtype, device=backends.place(matrices))


def dense(apply: Map, b: Array, tolerance: float = 1e-10, batch_axes: int = 0) -> Solution:
    """Return the solution of A x = b by the LU decomposition of the map's matrix, its residual computed from the map.

    Arguments and result are those of `cg`; the one step is the decomposition. Raises ValueError where the matrices do not fit
    into memory.

    >>> import numpy as np
    >>> dense(lambda x: x[::-1], np.asarray([1.0, 2.0])).x.round(12).tolist()
    [2.0, 1.0]
    """
    if not fits(b, batch_axes):
        n = math.prod(b.shape[batch_axes:])
        raise ValueError(f"matrices of {n} x {n} for each configuration exceed {MEMORY / 2**30:.0f} GiB: solve by cg")
    matrices = invertible(matrix(apply, b, batch_axes))

    def solve(_: Map, r: Array, wanted: Array, budget: Array) -> tuple[Array, Array]:
        return array_namespace(r).linalg.solve(matrices, r[..., None])[..., 0], array_namespace(r).minimum(
            budget, counts(r, 1)
        )

    return refined(solve, apply, b, tolerance, 8, batch_axes)
