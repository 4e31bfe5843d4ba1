"""Dense complex matrices in the bodies of backends/compiled/vector.py: products and steps of an elimination.

A matrix is `(rows, 2, columns)`, the real parts of a row before its imaginary parts, and the lanes run along a row. So a matrix
by itself fills the registers, and pivots are chosen for each without regard to others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from haarflow.backends.compiled.matrices import Complex
from haarflow.backends.compiled.vector import BYTES, Row

BLOCK = 4  # rows that a body takes at once: as many complex sums as registers hold beside what they are made of
Body = Callable[..., None]


def line(columns: int) -> int:
    """Return the bytes from one row to the next.

    >>> line(16)
    256
    """
    return 2 * columns * BYTES


def product(size: int, adjoint: bool = False, add: bool = False) -> Body:
    """Return `body(into, b, a)`, which writes BLOCK rows of a b, or of a^+ b, or adds them, for matrices of `size` rows.

    `a` begins at the first of the rows, for a^+ b at the first of the columns of a.
    """
    along, down = (line(size), BYTES) if adjoint else (BYTES, line(size))

    def body(into: Row, b: Row, a: Row) -> None:
        rows = [into.further(row * line(size)) for row in range(BLOCK)]
        totals = [Complex(row[0], row[1]) if add else Complex(0.0, 0.0) for row in rows]
        for k in range(size):
            factor = b.further(k * line(size))
            right = Complex(factor[0], factor[1])
            for row in range(BLOCK):
                left = entry(a, row * down + k * along, size, adjoint)
                totals[row] = increased(totals[row], left, right)
        for place, total in zip(rows, totals, strict=True):
            place[0], place[1] = total.real, total.imaginary

    return body


def step(size: int) -> Body:
    """Return `body(into, pivot, factors)`, which subtracts factor times the row `pivot` from each of BLOCK rows.

    `factors` are `(BLOCK, 2)` numbers, real and imaginary part.
    """

    def body(into: Row, pivot: Row, factors: Row) -> None:
        taken = Complex(pivot[0], pivot[1])
        for row in range(BLOCK):
            place, at = into.further(row * line(size)), 2 * row * BYTES
            factor = Complex(-factors.everywhere(at), -factors.everywhere(at + BYTES))
            total = increased(Complex(place[0], place[1]), factor, taken)
            place[0], place[1] = total.real, total.imaginary

    return body


def entry(a: Row, distance: int, size: int, conjugate: bool) -> Complex:
    """Return the entry of a matrix that lies some bytes further, in all lanes."""
    return Complex(a.everywhere(distance), a.everywhere(distance + size * BYTES), conjugate)


def increased(total: Complex, x: Complex, y: Complex) -> Complex:
    """Return total + x y, of which x may be conjugate, in an order that leaves four products and sums to be fused."""
    real, imaginary = total.real + x.real * y.real, total.imaginary + x.real * y.imaginary
    crossed: Any = x.imaginary * y.imaginary
    turned: Any = x.imaginary * y.real
    if x.conjugate:
        return Complex(real + crossed, imaginary - turned)
    return Complex(real - crossed, imaginary + turned)
