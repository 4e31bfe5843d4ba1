"""Gaussian elimination for small symmetric positive matrices with the lattice last: determinant, solution and inverse.

No pivoting, two unknowns at a time (first a single one if their number is odd), all sites at once. With the pivot block P,
the rest B of its rows, the remaining block C and X = P^-1 B:

    C <- C - X^T B,     x_first = P^-1 r_first - X x_rest,     S = [[P^-1 + X S' X^T, -X S'], [-S' X^T, S']],

where S' is the inverse of the new C. Shapes: matrices `(*batch, n, n, *lattice)` with `d` lattice axes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from operator import add
from typing import NamedTuple

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.groups import matrices
from haarflow.flows.flow import is_number


class Step(NamedTuple):
    """The determinant of a pivot block, the rows of its inverse, and the rows of X, each `(*batch, n, *lattice)`."""

    pivot: Array
    inverse: list[list[Array]]
    shares: list[Array]


def eliminate(m: Array, d: int) -> list[Step]:
    """Return the steps of the elimination; the product of the pivots is the determinant.

    >>> import numpy as np
    >>> [float(step.pivot) for step in eliminate(np.asarray([[2.0, 1.0], [1.0, 1.0]]), 0)]
    [1.0]
    """
    rest, keep, size = (slice(None),) * d, backends.of(m).materialise, m.shape[m.ndim - d - 1]
    steps = []
    while size:
        count = 2 - size % 2
        behind = slice(count, None)
        rows = [m[(..., i, behind) + rest] for i in range(count)]
        pivot, inverse = _inverted([[m[(..., i, j) + rest] for j in range(count)] for i in range(count)], keep)
        shares = [keep(total(beside(x, 1, d) * row for x, row in zip(line, rows, strict=True))) for line in inverse]
        m = m[(..., behind, behind) + rest] - total(outer(*pair, d) for pair in zip(shares, rows, strict=True))
        m, size = keep(m), size - count
        steps.append(Step(pivot, inverse, shares))
    return steps


def solution(steps: list[Step], right: Array, d: int) -> Array:
    """Return x of m x = right, `(*batch, n, *lattice)`, from the steps of m.

    >>> import numpy as np
    >>> solution(eliminate(np.asarray([[2.0, 1.0], [1.0, 1.0]]), 0), np.asarray([3.0, 2.0]), 0).tolist()
    [1.0, 1.0]
    """
    xp, rest, solved = array_namespace(right), (slice(None),) * d, []
    for _, inverse, shares in steps:
        first = [right[(..., i) + rest] for i in range(len(shares))]
        behind = right[(..., slice(len(shares), None)) + rest]
        right = behind - total(s * beside(x, 1, d) for s, x in zip(shares, first, strict=True))
        solved.append([total(x * y for x, y in zip(line, first, strict=True)) for line in inverse])
    x: list[Array] = []
    for step, first in zip(reversed(steps), reversed(solved), strict=True):
        if x:
            known = xp.stack(x, axis=-d - 1)
            first = [y - xp.sum(share * known, axis=-d - 1) for y, share in zip(first, step.shares, strict=True)]
        x = first + x
    return xp.stack(x, axis=-d - 1)


def inverse(steps: list[Step], d: int) -> Array:
    """Return the inverse of the matrix from the steps of its elimination.

    >>> import numpy as np
    >>> inverse(eliminate(np.asarray([[2.0, 1.0], [1.0, 1.0]]), 0), 0).tolist()
    [[1.0, -1.0], [-1.0, 2.0]]
    """
    xp, keep = array_namespace(steps[0].pivot), backends.of(steps[0].pivot).materialise
    block = keep(matrices.assemble(steps[-1].inverse, d))
    for step in reversed(steps[:-1]):
        shares = -xp.stack(step.shares, axis=-d - 2)
        across = matrices.matmul(shares, block, d)
        down = matrices.transpose(across, d)
        first = keep(matrices.assemble(step.inverse, d) + matrices.matmul(shares, down, d))
        above, below = (xp.concat(pair, axis=-d - 1) for pair in ((first, across), (down, block)))
        block = keep(xp.concat([above, below], axis=-d - 2))
    return block


def outer(a: Array, b: Array, d: int) -> Array:
    """Return a_i b_j, `(*batch, n, n, *lattice)`.

    >>> import numpy as np
    >>> outer(np.asarray([1.0, 2.0]), np.asarray([3.0, 4.0]), 0).tolist()
    [[3.0, 4.0], [6.0, 8.0]]
    """
    rest = (slice(None),) * d
    return a[(..., slice(None), None) + rest] * b[(..., None, slice(None)) + rest]


def applied(m: Array, x: Array, d: int) -> Array:
    """Return matrices times vectors, `(*batch, n, *lattice)`, term by term: XLA is slow at sums over a leading axis.

    >>> import numpy as np
    >>> applied(np.asarray([[1.0, 2.0], [3.0, 4.0]]), np.asarray([1.0, 1.0]), 0).tolist()
    [3.0, 7.0]
    """
    rest = (slice(None),) * d
    columns = range(x.shape[x.ndim - d - 1])
    return total(m[(..., slice(None), b) + rest] * beside(x[(..., b) + rest], 1, d) for b in columns)


def dot(a: Array, b: Array, d: int) -> Array:
    """Return a_i b_i, `(*batch, *lattice)`, term by term.

    >>> import numpy as np
    >>> float(dot(np.asarray([1.0, 2.0]), np.asarray([3.0, 4.0]), 0))
    11.0
    """
    rest = (slice(None),) * d
    return total(a[(..., i) + rest] * b[(..., i) + rest] for i in range(a.shape[a.ndim - d - 1]))


def beside(x: Array, axes: int, d: int) -> Array:
    """Return one number per link with axes of extent one for the algebra; Python numbers pass unchanged.

    >>> import numpy as np
    >>> beside(np.ones((5, 4)), 2, 1).shape
    (5, 1, 1, 4)
    """
    return x if is_number(x) else x[(..., *(None,) * axes) + (slice(None),) * d]


def total(terms: Iterable[Array]) -> Array:
    """Return the sum of the terms, without a zero to start from.

    >>> total([1.0, 2.0])
    3.0
    """
    return reduce(add, terms)


def _inverted(block: list[list[Array]], keep: Callable[[Array], Array]) -> tuple[Array, list[list[Array]]]:
    """The determinant and the inverse of one number or of a symmetric 2 x 2 matrix."""
    if len(block) == 1:
        return block[0][0], [[keep(1.0 / block[0][0])]]
    (a, b), (_, c) = block
    pivot = keep(a * c - b * b)
    over = keep(1.0 / pivot)
    return pivot, [[c * over, -b * over], [-b * over, a * over]]
