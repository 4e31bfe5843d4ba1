"""The generators of SU(N), tr T_a T_b = delta_ab / 2: generalised Gell-Mann matrices over two, in their usual order."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy


def offset(i: int, j: int) -> int:
    """Return the index of the symmetric generator of rows i < j; the antisymmetric one follows.

    >>> [offset(0, 1), offset(0, 2), offset(1, 2)]
    [0, 3, 5]
    """
    return j * j - 1 + 2 * i


@lru_cache(maxsize=16)
def generators(n: int) -> tuple[numpy.ndarray, ...]:
    """Return the generalised Gell-Mann matrices over two: for j = 1 ... n-1 the pairs (i, j), i < j, then a diagonal.

    >>> generators(2)[2].real.tolist()
    [[0.5, 0.0], [0.0, -0.5]]
    """
    basis = []
    for j in range(1, n):
        for i in range(j):
            symmetric, antisymmetric = numpy.zeros((n, n), dtype=complex), numpy.zeros((n, n), dtype=complex)
            symmetric[i, j] = symmetric[j, i] = 0.5
            antisymmetric[i, j], antisymmetric[j, i] = -0.5j, 0.5j
            basis += [symmetric, antisymmetric]
        levels = [1.0] * j + [-float(j)] + [0.0] * (n - j - 1)
        basis.append(numpy.diag(levels).astype(complex) / math.sqrt(2.0 * j * (j + 1)))
    for matrix in basis:
        matrix.flags.writeable = False
    return tuple(basis)
