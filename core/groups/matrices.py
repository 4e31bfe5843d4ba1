"""Small complex matrices with the lattice last, `(*batch, N, N, *lattice)`: products, adjoints, traces, determinants.

The last `d` axes are the lattice (d = 0: matrices last). A matrix can be split into rows of entries, each an array
`(*batch, *lattice)`, so that closed forms for one entry become operations on the whole lattice.
"""

from __future__ import annotations

import itertools
from functools import cache, lru_cache
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.broadcasting import of_type

Rows = list[list[Array]]

SINGLE = ("float32", "complex64")
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23}  # the rounding of each precision


def precision(x: Any) -> str:
    """Return the real precision, "float64" or "float32", of an array, of a type or of a type's name.

    >>> import numpy as np
    >>> precision(np.zeros(2, dtype="complex64")), precision("complex128")
    ('float32', 'float64')
    """
    dtype: Any = x if isinstance(x, str | type) else getattr(x, "dtype", x)  # a type has no dtype
    kind: Any = type(dtype)
    return _precision(kind, dtype)


@cache
def _precision(kind: type, dtype: Any) -> str:
    """The types of the backends are called numpy.float32, torch.complex64, ...: their names take long to make, and those of
    different backends, which do not compare, are kept apart by their `kind`."""
    return "float32" if any(single in str(dtype) for single in SINGLE) else "float64"


def complex_array(real: Array, imaginary: Array) -> Array:
    """Return real + i imaginary, complex of the same precision.

    >>> import numpy as np
    >>> complex_array(np.ones(1), 2 * np.ones(1))
    array([1.+2.j])
    """
    xp = array_namespace(real, imaginary)
    wanted = xp.complex64 if precision(real) == "float32" else xp.complex128
    return xp.astype(real, wanted) + 1j * xp.astype(imaginary, wanted)


def matmul(a: Array, b: Array, d: int = 0) -> Array:
    """Return the matrix products a b, site by site.

    >>> import numpy as np
    >>> matmul(np.eye(2) + 0j, np.ones((2, 2)) + 0j).real.tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    return backends.of(a, b).matmul(a, b, d)


def transpose(m: Array, d: int = 0) -> Array:
    """Return the transposed matrices."""
    axes = list(range(m.ndim))
    axes[-d - 2], axes[-d - 1] = axes[-d - 1], axes[-d - 2]
    return array_namespace(m).permute_dims(m, tuple(axes))


def dagger(m: Array, d: int = 0) -> Array:
    """Return the adjoint matrices m^+.

    >>> import numpy as np
    >>> dagger(np.asarray([[1, 1j], [2, 1]])).imag.tolist()
    [[-0.0, -0.0], [-1.0, -0.0]]
    """
    return array_namespace(m).conj(transpose(m, d))


def entry(m: Array, row: int, column: int, d: int = 0) -> Array:
    """Return one entry of the matrices, `(*batch, *lattice)`."""
    return m[(..., row, column) + (slice(None),) * d]


def entries(m: Array, d: int = 0) -> Rows:
    """Return the matrices as rows of entries, each `(*batch, *lattice)`.

    >>> import numpy as np
    >>> [[float(x) for x in row] for row in entries(np.asarray([[1.0, 2.0], [3.0, 4.0]]))]
    [[1.0, 2.0], [3.0, 4.0]]
    """
    rows, columns = m.shape[m.ndim - d - 2], m.shape[m.ndim - d - 1]
    return [[entry(m, i, j, d) for j in range(columns)] for i in range(rows)]


def assemble(rows: Rows, d: int = 0) -> Array:
    """Return the matrices of rows of entries, the inverse of `entries`.

    >>> import numpy as np
    >>> assemble([[np.ones(4), np.zeros(4)]], d=1).shape
    (1, 2, 4)
    """
    xp = array_namespace(rows[0][0])
    return xp.stack([xp.stack(row, axis=-d - 1) for row in rows], axis=-d - 2)


def trace(m: Array, d: int = 0) -> Array:
    """Return the traces, `(*batch, *lattice)`.

    >>> import numpy as np
    >>> complex(trace(np.eye(3) + 0j))
    (3+0j)
    """
    diagonal = [entry(m, i, i, d) for i in range(m.shape[m.ndim - d - 2])]
    return sum(diagonal[1:], diagonal[0])


@lru_cache(maxsize=16)
def _eye(n: int) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(i == j) for j in range(n)) for i in range(n))


def identity(m: Array, d: int = 0) -> Array:
    """Return identity matrices that broadcast with `m`, `(1, ..., 1, N, N, 1, ..., 1)`, of its rank and type.

    >>> import numpy as np
    >>> identity(np.zeros((3, 2, 2, 4), dtype=complex), d=1).shape
    (1, 2, 2, 1)
    """
    xp, n = array_namespace(m), m.shape[m.ndim - d - 2]
    return xp.reshape(
        xp.asarray(_eye(n), dtype=m.dtype, device=backends.place(m)), (*(1,) * (m.ndim - d - 2), n, n, *(1,) * d)
    )


def determinant(m: Array, d: int = 0) -> Array:
    """Return the determinants, `(*batch, *lattice)`, by expansion in minors: N 2^(N-1) products, for small N.

    >>> import numpy as np
    >>> float(determinant(np.asarray([[1.0, 2.0], [3.0, 4.0]])))
    -2.0
    """
    rows = entries(m, d)
    minors: dict[tuple[int, ...], Array] = {(j,): rows[0][j] for j in range(len(rows))}
    for size in range(2, len(rows) + 1):
        minors = {
            columns: _expand(rows[size - 1], minors, columns)
            for columns in itertools.combinations(range(len(rows)), size)
        }
    return minors[tuple(range(len(rows)))]


def _expand(row: list[Array], minors: dict[tuple[int, ...], Array], columns: tuple[int, ...]) -> Array:
    """Expand the minor of the first rows in these columns along its last row."""
    terms = []
    for index, column in enumerate(columns):
        rest = columns[:index] + columns[index + 1 :]
        sign = 1.0 if (len(columns) - 1 - index) % 2 == 0 else -1.0
        terms.append(sign * (row[column] * minors[rest]))
    return sum(terms[1:], terms[0])


def adjugate(m: Array, d: int = 0) -> Array:
    """Return the adjugate matrices, the transposed cofactors: m adjugate(m) = det(m) 1.

    >>> import numpy as np
    >>> adjugate(np.asarray([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[4.0, -2.0], [-3.0, 1.0]]
    """
    n, rows = m.shape[m.ndim - d - 2], entries(m, d)
    if n == 3:
        return assemble([[_cyclic_minor(rows, j, i) for j in range(3)] for i in range(3)], d)

    def cofactor(i: int, j: int) -> Array:
        inner = [[rows[k][l] for l in range(n) if l != j] for k in range(n) if k != i]
        return (-1.0) ** (i + j) * determinant(assemble(inner, d), d)

    return assemble([[cofactor(j, i) for j in range(n)] for i in range(n)], d)


def _cyclic_minor(rows: Rows, i: int, j: int) -> Array:
    """The cofactor (i, j) of a 3x3 matrix; the cyclic order of indices makes all signs positive."""
    k, l, p, q = (i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3
    return rows[k][p] * rows[l][q] - rows[k][q] * rows[l][p]


def polar(m: Array, d: int = 0, sweeps: int = 10) -> Array:
    """Return the unitary polar factor of invertible matrices, the unitary matrices nearest to them.

    Newton's iteration X <- (g X + X^-+ / g)/2 with g = |det X|^(-1/N), which converges quadratically (Higham, SIAM J. Sci. Stat.
    Comput. 7 (1986) 1160). The result is NaN for singular matrices.

    >>> import numpy as np
    >>> polar(np.asarray([[2.0, 0.0], [0.0, -3.0]]) + 0j).real.tolist()
    [[1.0, 0.0], [0.0, -1.0]]
    """
    xp, n = array_namespace(m), m.shape[m.ndim - d - 2]

    def sweep(m: Array, _: Any) -> tuple[Array, None]:
        cofactors, det = transpose(adjugate(m, d), d), determinant(m, d)
        scale = of_type(_beside(xp.abs(det) ** (-1.0 / n), d), m)
        return 0.5 * (scale * m + xp.conj(cofactors / (_beside(det, d) * scale))), None

    return backends.of(m).scan(sweep, m, None, length=sweeps)[0]


def _beside(x: Array, d: int) -> Array:
    """A number for each matrix, with two axes of extent one for rows and columns."""
    return x[(..., None, None) + (slice(None),) * d]
