"""SU(N): special unitary matrices, N >= 2, stored with the lattice last.

Elements are complex `(*batch, N, N, *lattice)` with d lattice axes (d = 0: matrices last), algebra elements real
`(*batch, N^2-1, *lattice)`: A = i w_a T_a with Hermitian traceless T_a, tr T_a T_b = delta_ab / 2, the generalised
Gell-Mann matrices over two in their usual order. Measure: normalised Haar. All draws take the shape of an array of
elements; draws of algebra elements then have N^2-1 in place of (N, N).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core import random
from haarflow.core.groups import jacobi, logarithms, matrices
from haarflow.core.groups.exponentials import exponential
from haarflow.core.groups.generators import generators, offset
from haarflow.core.groups.matrices import complex_array, precision


@dataclass(frozen=True)
class SU:
    """The group SU(n) on `d` lattice axes, both static.

    Raises ValueError for n < 2 or d < 0.

    >>> import numpy as np
    >>> group = SU(3)
    >>> group.name, group.dim, group.exp(np.zeros(8)).real.tolist()
    ('SU(3)', 8, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    """

    n: int
    d: int = 0

    matrix_axes = 2

    def __post_init__(self) -> None:
        if int(self.n) != self.n or self.n < 2 or int(self.d) != self.d or self.d < 0:
            raise ValueError(
                f"SU(n, d) has an integer n >= 2 and d >= 0 lattice axes, got n = {self.n!r}, d = {self.d!r}"
            )

    @property
    def name(self) -> str:
        """The group's name, such as "SU(3)"."""
        return f"SU({self.n})"

    @property
    def dim(self) -> int:
        """The number of generators, N^2 - 1."""
        return self.n**2 - 1

    def compose(self, a: Array, b: Array) -> Array:
        """Return the matrix products a b."""
        return matrices.matmul(a, b, self.d)

    def inverse(self, a: Array) -> Array:
        """Return the adjoint matrices, the inverse elements."""
        return matrices.dagger(a, self.d)

    def quotient(self, a: Array, b: Array) -> Array:
        """Return a b^{-1}."""
        return self.compose(a, self.inverse(b))

    def trace(self, u: Array) -> Array:
        """Return the complex traces, `(*batch, *lattice)`."""
        return matrices.trace(u, self.d)

    def identity(self, u: Array) -> Array:
        """Return identity elements of u's shape."""
        return matrices.identity(u, self.d) + array_namespace(u).zeros_like(u)

    def zeros(self, u: Array) -> Array:
        """Return the algebra elements w = 0 for an array of elements, real `(*batch, N^2-1, *lattice)`.

        >>> import numpy as np
        >>> SU(3).zeros(np.ones((5, 3, 3), dtype=complex)).shape
        (5, 8)
        """
        xp, end = array_namespace(u), u.ndim - self.d
        shape = (*u.shape[: end - 2], self.dim, *u.shape[end:])
        return xp.zeros(shape, dtype=xp.float32 if precision(u) == "float32" else xp.float64, device=backends.place(u))

    def basis(self) -> tuple[numpy.ndarray, ...]:
        """Return the generators T_a as host matrices.

        >>> [round(float(abs(t @ t).trace()), 12) for t in SU(3).basis()] == [0.5] * 8
        True
        """
        return generators(self.n)

    def inner(self, v: Array, w: Array) -> Array:
        """Return sum_a v_a w_a per element, `(*batch, *lattice)`: for v = w twice the kinetic energy, 2 tr P^2."""
        return array_namespace(v, w).sum(v * w, axis=-self.d - 1)

    def algebra(self, w: Array) -> Array:
        """Return the Hermitian matrices w_a T_a, `(*batch, N, N, *lattice)`.

        >>> import numpy as np
        >>> SU(2).algebra(np.asarray([0.0, 2.0, 0.0])).tolist()
        [[0j, -1j], [1j, 0j]]
        """
        rest = (slice(None),) * self.d
        parts = [w[(..., a) + rest] for a in range(self.dim)]
        diagonal = self._diagonal([parts[(j + 1) ** 2 - 2] for j in range(1, self.n)])
        zero = array_namespace(w).zeros_like(diagonal[0])
        rows: list[list[Any]] = [[None] * self.n for _ in range(self.n)]
        for i in range(self.n):
            rows[i][i] = complex_array(diagonal[i], zero)
        for i, j in itertools.combinations(range(self.n), 2):
            x, y = 0.5 * parts[offset(i, j)], 0.5 * parts[offset(i, j) + 1]
            rows[i][j], rows[j][i] = complex_array(x, -y), complex_array(x, y)
        return matrices.assemble(rows, self.d)

    def coordinates(self, m: Array) -> Array:
        """Return w_a = 2 tr T_a P, with P the traceless part of (m + m^+)/2, of any complex matrices: the inverse of `algebra`.

        `coordinates(-1j * m)` are those of the anti-Hermitian part.

        >>> import numpy as np
        >>> SU(3).coordinates(SU(3).algebra(np.arange(8.0))).round(12).tolist()
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
        """
        xp, rows = array_namespace(m), matrices.entries(m, self.d)
        w: list[Any] = [None] * self.dim
        for i, j in itertools.combinations(range(self.n), 2):
            w[offset(i, j)] = xp.real(rows[i][j] + rows[j][i])
            w[offset(i, j) + 1] = xp.imag(rows[j][i] - rows[i][j])
        total = xp.real(rows[0][0])
        for j in range(1, self.n):
            diagonal = xp.real(rows[j][j])
            w[(j + 1) ** 2 - 2] = (2.0 / math.sqrt(2.0 * j * (j + 1))) * (total - j * diagonal)
            total = total + diagonal
        return xp.stack(w, axis=-self.d - 1)

    def exp(self, w: Array) -> Array:
        """Return exp(i w_a T_a), with all derivatives at w = 0 and at degenerate spectra.

        NaN beyond |w| = 24 for N > 2, see `core.exponentials`.

        >>> import numpy as np
        >>> SU(2).exp(np.asarray([0.0, 0.0, np.pi])).round(12) + 0.0
        array([[0.+1.j, 0.+0.j],
               [0.+0.j, 0.-1.j]])
        """
        return exponential(self.algebra(w), self.inner(w, w), self.d)

    def update(self, u: Array, w: Array) -> Array:
        """Return exp(w) u."""
        return matrices.matmul(self.exp(w), u, self.d)

    def move(self, u: Array, w: Array, scale: float | Array) -> Array:
        """Return exp(scale w) u for a number or an array `scale` that broadcasts."""
        return self.update(u, scale * w)

    def log(self, u: Array) -> Array:
        """Return the algebra coordinates w of least size with exp(w) = u.

        The eigen-angles lie in (-pi, pi), except those shifted by a turn so that all sum to zero; where several w are of
        least size (at -1 in SU(2), at the other elements of the centre) one of them is returned. Away from there first
        derivatives are exact, at degenerate spectra too; higher ones only for N = 2.

        >>> import numpy as np
        >>> SU(3).log(SU(3).exp(0.1 * np.arange(1.0, 9.0))).round(12).tolist()
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
        """
        if self.n == 2:
            return logarithms.of_quaternion(self.quaternion(u, 0, 1), self.d)
        values, vectors = jacobi.diagonalise(u, self.d)
        return self.coordinates(-1j * logarithms.by_eigenvalues(u, values, vectors, self.d))

    def project(self, u: Array) -> Array:
        """Return the elements nearest to invertible matrices: the unitary polar factor with det = 1.

        The phase of the determinant is distributed evenly. This is the nearest element for N = 2, and up to terms of second
        order in the deviation for N > 2. NaN for singular matrices.

        >>> import numpy as np
        >>> SU(2).project(np.asarray([[2.0, 0.0], [0.0, 1.0]]) + 0j).real.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
        """
        if self.n == 2:
            a = self.quaternion(u, 0, 1)
            xp = array_namespace(a)
            return self._from_quaternion(a / xp.sqrt(xp.sum(a * a, axis=-self.d - 1, keepdims=True)))
        unitary = matrices.polar(u, self.d)
        return unitary * self._beside(_phase(matrices.determinant(unitary, self.d), -1.0 / self.n))

    def restore(self, u: Array) -> Array:
        """Return unitary matrices with det = 1, given elements that deviate by no more than the rounding of a few updates.

        This is `project` to first order: a deviation e becomes one of e^2. Use `project` for larger ones.

        >>> import numpy as np
        >>> bool(np.abs(SU(3).restore((1 + 1e-9j) * np.eye(3)) - np.eye(3)).max() < 1e-15)
        True
        """
        d = self.d
        defect = matrices.matmul(matrices.matmul(u, matrices.dagger(u, d), d), u, d)
        unitary = backends.of(u).materialise(1.5 * u - 0.5 * defect)
        off = (matrices.determinant(unitary, d) - 1.0) / float(self.n)
        return unitary - self._beside(off) * unitary

    def haar(self, key: Array, shape: tuple[int, ...], dtype: Any = "float64") -> Array:
        """Return elements of the given shape `(..., N, N, *lattice)`, Haar distributed.

        Gram-Schmidt of normal vectors; the last row makes the determinant one.

        >>> from haarflow.backends import numpy as backend
        >>> from haarflow.core import random
        >>> u = SU(3).haar(random.key(1, backend), (5, 3, 3))
        >>> bool(abs(numpy.linalg.det(u) - 1).max() < 1e-14)
        True
        """
        lead, lattice = self._split(shape)
        n, rest = self.n, (slice(None),) * self.d
        drawn = random.normal(key, (*lead, 2, n - 1, n, *lattice), precision(dtype))
        vectors = complex_array(
            drawn[(..., 0, slice(None), slice(None)) + rest], drawn[(..., 1, slice(None), slice(None)) + rest]
        )
        return matrices.assemble(_orthonormal(matrices.entries(vectors, self.d)), self.d)

    def algebra_normal(self, key: Array, shape: tuple[int, ...], dtype: Any = "float64") -> Array:
        """Return w_a ~ N(0, 1) for elements of the given shape, `(..., N^2-1, *lattice)`.

        >>> from haarflow.backends import numpy as backend
        >>> from haarflow.core import random
        >>> SU(3, d=1).algebra_normal(random.key(1, backend), (5, 3, 3, 4)).shape
        (5, 8, 4)
        """
        lead, lattice = self._split(shape)
        return random.normal(key, (*lead, self.dim, *lattice), precision(dtype))

    @property
    def subgroups(self) -> tuple[tuple[int, int], ...]:
        """The pairs (i, j), i < j, of rows whose SU(2) subgroups generate the group.

        >>> SU(3).subgroups
        ((0, 1), (0, 2), (1, 2))
        """
        return tuple(itertools.combinations(range(self.n), 2))

    def quaternion(self, m: Array, i: int, j: int) -> Array:
        """Return the real a = (a0, a1, a2, a3), `(*batch, 4, *lattice)`, of the block (i, j) of any matrices m.

        a0 + i a.sigma is the part of the block that is a multiple of SU(2): Re tr(g m) of an element g = b0 + i b.sigma
        of that subgroup depends on the block as 2 (b0 a0 - b.a).
        """
        xp, d = array_namespace(m), self.d
        a, b, c, e = (matrices.entry(m, *pair, d) for pair in ((i, i), (i, j), (j, i), (j, j)))
        parts = [xp.real(a + e), xp.imag(b + c), xp.real(b - c), xp.imag(a - e)]
        return 0.5 * xp.stack(parts, axis=-d - 1)

    def _from_quaternion(self, a: Array) -> Array:
        a0, a1, a2, a3 = (a[(..., k) + (slice(None),) * self.d] for k in range(4))
        rows = [[complex_array(a0, a3), complex_array(a2, a1)], [complex_array(-a2, a1), complex_array(a0, -a3)]]
        return matrices.assemble(rows, self.d)

    def _diagonal(self, parts: list[Array]) -> list[Array]:
        """The diagonal of w_a T_a from the coordinates of its N-1 diagonal generators."""
        scaled = [part / math.sqrt(2.0 * j * (j + 1)) for j, part in enumerate(parts, start=1)]
        diagonal = []
        for row in range(self.n):
            terms = [-float(row) * scaled[row - 1]] if row else []
            terms += scaled[row:]
            diagonal.append(sum(terms[1:], terms[0]))
        return diagonal

    def _split(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The axes before and behind the matrix axes of a shape of elements."""
        end = len(shape) - self.d
        if end < 2 or tuple(shape[end - 2 : end]) != (self.n, self.n):
            raise ValueError(
                f"{self.name} on {self.d} lattice axes has elements of shape (..., {self.n}, {self.n}, *lattice), "
                f"got the shape {tuple(shape)}"
            )
        return tuple(shape[: end - 2]), tuple(shape[end:])

    def _beside(self, x: Array) -> Array:
        return x[(..., None, None) + (slice(None),) * self.d]


def _phase(z: Array, power: float) -> Array:
    """The phase of z, raised to a power on the principal branch."""
    xp = array_namespace(z)
    angle = power * xp.atan2(xp.imag(z), xp.real(z))
    return complex_array(xp.cos(angle), xp.sin(angle))


def _orthonormal(rows: matrices.Rows) -> matrices.Rows:
    """N-1 rows made orthonormal (Gram-Schmidt, twice), and the last row for which the determinant is one."""
    xp = array_namespace(rows[0][0])
    done: matrices.Rows = []
    for row in rows:
        for _ in range(2):
            for other in done:
                overlap = sum(xp.conj(x) * y for x, y in zip(other, row, strict=True))
                row = [y - overlap * x for x, y in zip(other, row, strict=True)]
            size = xp.sqrt(sum(xp.real(x) ** 2 + xp.imag(x) ** 2 for x in row))
            row = [x / size for x in row]
        done.append(row)
    return [*done, _closing(done)]


def _closing(rows: matrices.Rows) -> list[Array]:
    """The conjugate cofactors of the last row: orthogonal to N-1 orthonormal rows, with determinant one."""
    xp, n = array_namespace(rows[0][0]), len(rows[0])
    closing = []
    for column in range(n):
        inner = [[x for index, x in enumerate(row) if index != column] for row in rows]
        d = inner[0][0].ndim  # here all axes come after the matrix axes
        cofactor = matrices.determinant(matrices.assemble(inner, d), d)
        closing.append((-1.0) ** (n - 1 + column) * xp.conj(cofactor))
    return closing
