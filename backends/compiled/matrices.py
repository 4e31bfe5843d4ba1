"""Small complex matrices in the bodies of backends/compiled/vector.py: entries, adjoints and products that stay in registers.

A matrix in memory is a row of 2 N^2 components with the real and imaginary part of entry (i, j) at 2 (i N + j) and
2 (i N + j) + 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from haarflow.backends.compiled.vector import Row

Number = Any  # vector.Lanes


class Complex(NamedTuple):
    """real + i imaginary, or real - i imaginary if `conjugate`: the sign costs nothing in a product."""

    real: Number
    imaginary: Number
    conjugate: bool = False

    def adjoint(self) -> Complex:
        """The complex conjugate."""
        return self._replace(conjugate=not self.conjugate)

    def times(self, factor: Number) -> Complex:
        """The product with a real number."""
        return Complex(factor * self.real, factor * self.imaginary, self.conjugate)

    def plus(self, other: Complex) -> Complex:
        """The sum."""
        imaginary = -self.imaginary if self.conjugate else self.imaginary
        return Complex(
            self.real + other.real,
            imaginary - other.imaginary if other.conjugate else imaginary + other.imaginary,
        )


class Stored:
    """A matrix in memory, or its adjoint."""

    def __init__(self, row: Row, n: int, adjoint: bool = False):
        self.row, self.n, self.adjoint = row, n, adjoint

    def entry(self, i: int, j: int) -> Complex:
        """Load one entry."""
        i, j = (j, i) if self.adjoint else (i, j)
        index = 2 * (i * self.n + j)
        return Complex(self.row[index], self.row[index + 1], self.adjoint)

    def dagger(self) -> Stored:
        """The adjoint, without moving anything."""
        return Stored(self.row, self.n, not self.adjoint)

    def loaded(self) -> Entries:
        """All entries in registers, before they are overwritten."""
        return Entries([[self.entry(i, j) for j in range(self.n)] for i in range(self.n)])


class Entries:
    """A matrix in registers."""

    def __init__(self, rows: list[list[Complex]]):
        self.rows, self.n = rows, len(rows)

    def entry(self, i: int, j: int) -> Complex:
        """One entry."""
        return self.rows[i][j]

    def plus(self, number: Number) -> Entries:
        """The matrix with a real number added to its diagonal."""
        return Entries(
            [
                [z.plus(Complex(number, 0.0)) if i == j else z for j, z in enumerate(row)]
                for i, row in enumerate(self.rows)
            ]
        )


def dot(xs: list[Complex], ys: list[Complex]) -> Complex:
    """Return sum_k x_k y_k."""
    real = imaginary = None
    for x, y in zip(xs, ys, strict=True):
        crossed, cross = x.imaginary * y.imaginary, (x.real * y.imaginary, x.imaginary * y.real)
        real = x.real * y.real if real is None else real + x.real * y.real
        real = real + crossed if x.conjugate != y.conjugate else real - crossed
        for part, negative in zip(cross, (y.conjugate, x.conjugate), strict=True):
            if imaginary is None:
                imaginary = -part if negative else part
            else:
                imaginary = imaginary - part if negative else imaginary + part
    return Complex(real, imaginary)


def store(m: Entries, into: Row) -> None:
    """Store a matrix in the row `into`."""
    for index, z in enumerate(z for row in m.rows for z in row):
        into[2 * index], into[2 * index + 1] = z.real, -z.imaginary if z.conjugate else z.imaginary


def product(a: Any, b: Any, into: Row, add: bool = False) -> None:
    """Store a b in the row `into`, or add it to the row."""
    n = a.n
    for i in range(n):
        left = [a.entry(i, k) for k in range(n)]
        for j in range(n):
            x, index = dot(left, [b.entry(k, j) for k in range(n)]), 2 * (i * n + j)
            into[index] = into[index] + x.real if add else x.real
            into[index + 1] = into[index + 1] + x.imaginary if add else x.imaginary


def product_entries(a: Any, b: Any) -> list[list[Complex]]:
    """Return the entries of a b."""
    span = range(a.n)
    return [[dot([a.entry(i, k) for k in span], [b.entry(k, j) for k in span]) for j in span] for i in span]
