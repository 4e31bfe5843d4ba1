"""Eigenvalues and eigenvectors of small unitary matrices, lattice last, by simultaneous Jacobi rotations.

A unitary U = C + iS has commuting Hermitian parts C and S; each rotation makes the 2x2 block of a pair of rows as diagonal
as possible in both, which stays exact at degenerate spectra (Bunse-Gerstner, Byers and Mehrmann, SIAM J. Matrix Anal. 14 (1993)
927; angles as in Cardoso and Souloumiac, SIAM J. Matrix Anal. 17 (1996) 161). No gradient flows through the iteration.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.broadcasting import of_type
from haarflow.core.groups import matrices
from haarflow.core.groups.matrices import Rows, complex_array

TINY = {"float64": 1e-280, "float32": 1e-30}
SWEEPS = 8


def diagonalise(u: Array, d: int = 0, sweeps: int = SWEEPS) -> tuple[Array, Array]:
    """Return the eigenvalues `(*batch, N, *lattice)` and the eigenvectors V of normal matrices u = V diag V^+.

    The columns of V are orthonormal up to rounding, in no particular order. Values and vectors are constants to autodiff.

    >>> import numpy as np
    >>> values, vectors = diagonalise(np.asarray([[0, 1], [1, 0]]) + 0j)
    >>> sorted(values.real.round(12).tolist())
    [-1.0, 1.0]
    """
    backend = backends.of(u)
    values, vectors = _program(backend.jit, d, sweeps)(backend.stop_gradient(u))
    return values, vectors


@lru_cache(maxsize=16)
def _program(jit: Callable[..., Any], d: int, sweeps: int) -> Callable[..., Any]:
    """The compiled rotations: an eager call would compile its loop again each time."""
    program: Callable[..., Any] = jit(partial(_rotated, d=d, sweeps=sweeps))
    return program


def _rotated(u: Array, d: int, sweeps: int) -> tuple[Array, Array]:
    backend, xp, n = backends.of(u), array_namespace(u), u.shape[u.ndim - d - 2]
    eye = matrices.identity(u, d) + 0.0 * u

    def sweep(carry: tuple[Array, Array], _: Any) -> tuple[tuple[Array, Array], None]:
        rows, vectors = (matrices.entries(x, d) for x in carry)
        for i, j in itertools.combinations(range(n), 2):
            c, s = _rotation(rows[i][i], rows[i][j], rows[j][i], rows[j][j])
            rows = _rotate_rows(_rotate_columns(rows, i, j, c, s), i, j, c, s)
            vectors = _rotate_columns(vectors, i, j, c, s)
        return (matrices.assemble(rows, d), matrices.assemble(vectors, d)), None

    (diagonal, vectors), _ = backend.scan(sweep, (u, eye), None, length=sweeps)
    values = xp.stack([matrices.entry(diagonal, i, i, d) for i in range(n)], axis=-d - 1)
    return values, vectors


def _rotation(a: Array, b: Array, c: Array, e: Array) -> tuple[Array, Array]:
    """The real cosine and complex sine that make both Hermitian parts of [[a, b], [c, e]] as diagonal as possible.

    The Hermitian parts are three-vectors of Pauli coordinates; the rotation takes their principal axis to the third axis.
    """
    xp = array_namespace(a)
    first, second = _pauli(a, b, c, e)
    alpha, beta, gamma = (sum(x * y for x, y in zip(v, w, strict=True)) for v, w in _pairs(first, second))
    angle = 0.5 * xp.atan2(2.0 * beta, alpha - gamma)
    cosine, sine = xp.cos(angle), xp.sin(angle)
    axis = [cosine * x + sine * y for x, y in zip(first, second, strict=True)]
    size2 = sum(x * x for x in axis)
    flat = size2 < TINY[matrices.precision(a)]
    one, zero = xp.ones_like(size2), xp.zeros_like(size2)
    size = xp.sqrt(xp.where(flat, one, size2))
    sign = xp.where(axis[2] < 0.0, -one, one) / size
    x, y, z = (xp.where(flat, rest, sign * part) for part, rest in zip(axis, (zero, zero, one), strict=True))
    cosine = xp.sqrt(0.5 * (1.0 + z))
    return of_type(cosine, a), complex_array(x / (2.0 * cosine), y / (2.0 * cosine))


def _pairs(v: list[Array], w: list[Array]) -> list[tuple[list[Array], list[Array]]]:
    return [(v, v), (v, w), (w, w)]


def _pauli(a: Array, b: Array, c: Array, e: Array) -> tuple[list[Array], list[Array]]:
    """Twice the Pauli coordinates of the Hermitian parts (M + M^+)/2 and (M - M^+)/2i of a block."""
    xp = array_namespace(a)
    plus, minus = b + xp.conj(c), b - xp.conj(c)
    cosines = [xp.real(plus), -xp.imag(plus), xp.real(a - e)]
    sines = [xp.imag(minus), xp.real(minus), xp.imag(a - e)]
    return cosines, sines


def _rotate_columns(rows: Rows, i: int, j: int, c: Array, s: Array) -> Rows:
    """M R with R = [[c, -s*], [s, c]] on the columns i and j."""
    xp = array_namespace(s)
    rotated = []
    for row in rows:
        new = list(row)
        new[i], new[j] = c * row[i] + s * row[j], c * row[j] - xp.conj(s) * row[i]
        rotated.append(new)
    return rotated


def _rotate_rows(rows: Rows, i: int, j: int, c: Array, s: Array) -> Rows:
    """R^+ M on the rows i and j."""
    xp = array_namespace(s)
    rotated = list(rows)
    rotated[i] = [c * x + xp.conj(s) * y for x, y in zip(rows[i], rows[j], strict=True)]
    rotated[j] = [c * y - s * x for x, y in zip(rows[i], rows[j], strict=True)]
    return rotated
