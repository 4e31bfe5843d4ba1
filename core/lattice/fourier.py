"""Real momentum space: the Hartley transform along lattice axes, x(site) <-> x(p), in real arithmetic.

`x(p) = sum_x prod_mu cas(2 pi p_mu x_mu / L_mu) / sqrt(V) x(x)` with `cas = cos + sin`. The matrix is symmetric and
orthogonal, so it is its own inverse, and it diagonalises every kernel that is even in each coordinate: a function of
the lattice momenta `phat^2 = sum_mu 4 sin^2(p_mu/2)`, p = 2 pi k / L. Source: Hartley, Proc. IRE 30 (1942) 144.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from array_api_compat import array_namespace

from haarflow.backends import of
from haarflow.backends.host_table import host_table
from haarflow.backends.types import Array


def hartley(x: Array, d: int) -> Array:
    """Return the orthonormal Hartley transform of `x (*batch, *lattice)` over its last `d` axes; it is its own inverse.

    >>> import numpy as np
    >>> hartley(hartley(np.asarray([1.0, 2.0, 4.0]), 1), 1).round(12).tolist()
    [1.0, 2.0, 4.0]
    """
    backend = of(x)
    return along_axes(x, [backend.asarray(cas_matrix(n), dtype=x.dtype) for n in x.shape[x.ndim - d :]], d)


def along_axes(x: Array, matrices: Sequence[Array], d: int) -> Array:
    """Return `x (*batch, *lattice)` with each of its last `d` axes multiplied by its own symmetric matrix.

    >>> import numpy as np
    >>> along_axes(np.asarray([[1.0, 2.0]]), [np.asarray([[0.0, 1.0], [1.0, 0.0]])], 1).tolist()
    [[2.0, 1.0]]
    """
    xp = array_namespace(x)
    shape = x.shape
    for axis, matrix in zip(range(x.ndim - d, x.ndim), matrices, strict=True):
        rest = math.prod(shape[axis + 1 :])
        if rest == 1:
            x = xp.reshape(x, (-1, shape[axis])) @ matrix
        else:
            x = matrix @ xp.reshape(x, (-1, shape[axis], rest))
    return xp.reshape(x, shape)


@host_table
def cas_matrix(extent: int) -> np.ndarray:
    """Return the symmetric orthogonal matrix cas(2 pi k x / L) / sqrt(L) of one axis, on the host."""
    products = np.outer(np.arange(extent), np.arange(extent)) % extent
    angle = 2.0 * np.pi * products / extent
    matrix: np.ndarray = (np.cos(angle) + np.sin(angle)) / math.sqrt(extent)
    return matrix


@host_table
def momentum_squared(lattice: tuple[int, ...]) -> np.ndarray:
    """Return phat^2 = sum_mu 4 sin^2(p_mu/2) on every momentum of the lattice, on the host.

    >>> momentum_squared((4,)).round(12).tolist()
    [0.0, 2.0, 4.0, 2.0]
    """
    squares = [4.0 * np.sin(np.pi * np.arange(extent) / extent) ** 2 for extent in lattice]
    total: np.ndarray = np.sum(np.meshgrid(*squares, indexing="ij"), axis=0)
    return total
