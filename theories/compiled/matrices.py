"""Complex N x N matrices (N = 2, 3) in the bodies of backends/compiled/vector.py: algebra coordinates, exponentials, traces.

The formulas are those of core/groups/matrices.py, core/groups/sun.py and core/groups/exponentials.py, their plain twins, on
numbers that stay in registers; entries and products are those of backends/compiled/matrices.py.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

from haarflow.backends.compiled.matrices import (
    Complex,
    Entries,
    Number,
    Stored,
    dot,
    product,
    product_entries,
    store,
)
from haarflow.core.groups.generators import offset

__all__ = [
    "Complex",
    "Entries",
    "Number",
    "Stored",
    "dot",
    "product",
    "product_entries",
    "store",
]  # used with what follows


def coordinates_of_i_times(m: list[list[Complex]]) -> list[Number]:
    """Return `SU.coordinates(1j * m)`."""
    n, w = len(m), [None] * (len(m) ** 2 - 1)
    for i, j in _pairs(n):
        index = offset(i, j)
        w[index] = -(m[i][j].imaginary + m[j][i].imaginary)
        w[index + 1] = m[j][i].real - m[i][j].real
    total = m[0][0].imaginary
    for j in range(1, n):
        diagonal, scale = m[j][j].imaginary, 2.0 / math.sqrt(2.0 * j * (j + 1))
        w[(j + 1) ** 2 - 2] = scale * (float(j) * diagonal - total)
        total = total + diagonal
    return w


def real_trace(a: Any, b: Any, c: Any, d: Any) -> Number:
    """Return Re tr a b (c d)^+."""
    total, span = 0.0, range(a.n)
    for i in span:
        left = [[x.entry(i, k) for k in span] for x in (a, c)]
        for j in span:
            x, y = (dot(row, [z.entry(k, j) for k in span]) for row, z in zip(left, (b, d), strict=True))
            total = total + x.real * y.real + x.imaginary * y.imaginary
    return total


def determinant(rows: list[list[Complex]]) -> Complex:
    """Return the determinant by expansion along the first row."""
    if len(rows) == 1:
        return rows[0][0]
    minors = [determinant([row[:j] + row[j + 1 :] for row in rows[1:]]).times((-1.0) ** j) for j in range(len(rows))]
    return dot(rows[0], minors)


def restored(u: Entries) -> Entries:
    """Return `SU.restore(u)`: 3/2 u - 1/2 (u u^+) u, with the deviation of its determinant removed to first order."""
    n, span = u.n, range(u.n)
    square = {(i, j): dot(u.rows[i], [z.adjoint() for z in u.rows[j]]) for i in span for j in span if i <= j}
    square |= {(j, i): z.adjoint() for (i, j), z in square.items() if i != j}
    defect = product_entries(Entries([[square[i, j] for j in span] for i in span]), u)
    unitary = [[u.rows[i][j].times(1.5).plus(defect[i][j].times(-0.5)) for j in span] for i in span]
    off = determinant(unitary)
    factor = Complex(1.0 + (1.0 - off.real) * (1.0 / n), -off.imaginary * (1.0 / n))
    return Entries([[dot([factor], [z]) for z in row] for row in unitary])


class Hermitian(NamedTuple):
    """A Hermitian matrix: its real diagonal and the entries (i, j), i < j."""

    diagonal: list[Number]
    upper: dict[tuple[int, int], Complex]


def algebra(w: list[Number], scale: Number) -> Hermitian:
    """Return scale w_a T_a from the coordinates."""
    n = math.isqrt(len(w) + 1)
    scaled = [scale * w[(j + 1) ** 2 - 2] * (1.0 / math.sqrt(2.0 * j * (j + 1))) for j in range(1, n)]
    half = 0.5 * scale
    diagonal = []
    for row in range(n):
        terms = ([-float(row) * scaled[row - 1]] if row else []) + scaled[row:]
        diagonal.append(sum(terms[1:], terms[0]))
    upper = {(i, j): Complex(half * w[offset(i, j)], half * w[offset(i, j) + 1], True) for i, j in _pairs(n)}
    return Hermitian(diagonal, upper)


def exponential(x: Hermitian, terms: int, doublings: int) -> Entries:
    """Return exp(iX) by the power series of X / 2^doublings up to the power `terms`, squared `doublings` times.

    X^2 = p (N = 2) or X^3 = p X + q (N = 3) leaves f0 + f1 X (+ f2 X^2) with functions of the invariants.
    """
    scale = 0.5**doublings
    x = Hermitian([scale * a for a in x.diagonal], {pair: z.times(scale) for pair, z in x.upper.items()})
    size2 = {pair: z.real * z.real + z.imaginary * z.imaginary for pair, z in x.upper.items()}
    if len(x.diagonal) == 2:
        (f0, f1) = _two(x.diagonal[0] * x.diagonal[0] + size2[0, 1], terms, doublings)
        return _polynomial([f0, f1], [x])
    return _polynomial(_three(*_invariants(x, size2), terms, doublings), [x, _square(x, size2)])


def _polynomial(factors: list[Complex], powers: list[Hermitian]) -> Entries:
    """f0 + f1 X + f2 X^2."""
    n = len(powers[0].diagonal)
    rows: list[list[Any]] = [[None] * n for _ in range(n)]
    for i in range(n):
        rest = dot(factors[1:], [Complex(x.diagonal[i], 0.0) for x in powers])
        rows[i][i] = Complex(factors[0].real + rest.real, factors[0].imaginary + rest.imaginary)
    for i, j in _pairs(n):
        rows[i][j] = dot(factors[1:], [x.upper[i, j] for x in powers])
        rows[j][i] = dot(factors[1:], [x.upper[i, j].adjoint() for x in powers])
    return Entries(rows)


def _two(p: Number, terms: int, doublings: int) -> list[Complex]:
    """f0 = cos(2^k r), f1 = i sin(2^k r)/r for p = r^2, k doublings: series, then the formulas of the double angle."""
    even = _alternating(p, [1.0 / math.factorial(n) for n in range(0, terms + 1, 2)])
    odd = _alternating(p, [1.0 / math.factorial(n) for n in range(1, terms + 1, 2)])
    for _ in range(doublings):
        even, odd = 1.0 - 2.0 * p * (odd * odd), 2.0 * (even * odd)
    return [Complex(even, 0.0), Complex(0.0, odd)]


def _alternating(x: Number, coefficients: list[float]) -> Number:
    """Sum (-1)^k c_k x^k by Horner's rule."""
    total = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        total = c - total * x
    return total


def _three(p: Number, q: Number, terms: int, doublings: int) -> list[Complex]:
    """f0, f1, f2 by the recursion and the squarings of `core.exponentials.cayley_hamilton`."""
    t = [0.0, 0.0, 1.0]
    for n in range(2, terms + 1):
        t.append(p * t[n - 1] + q * t[n - 2])
    sums: list[list[Any]] = [[0.0, 0.0] for _ in range(3)]
    for n in range(terms, 0, -1):
        weight = (1.0 if n % 4 < 2 else -1.0) / math.factorial(n)
        for part, power in zip(sums, (t[n - 1], t[n + 1], t[n]), strict=True):
            part[n % 2] = part[n % 2] + weight * power
    (even, odd), one, two = sums
    f0, f1, f2 = Complex(1.0 + q * even, q * odd), Complex(*one), Complex(*two)
    for _ in range(doublings):
        f0, f1, f2 = _squared(p, q, f0, f1, f2)
    return [f0, f1, f2]


def _squared(p: Number, q: Number, f0: Complex, f1: Complex, f2: Complex) -> tuple[Complex, Complex, Complex]:
    """The coefficients of (f0 + f1 X + f2 X^2)^2."""
    mixed, top = dot([f1], [f2]), dot([f2], [f2])
    return (
        dot([f0], [f0]).plus(mixed.times(2.0 * q)),
        dot([f0, f1], [f1, f0]).plus(mixed.times(2.0 * p)).plus(top.times(q)),
        dot([f0, f1, f2], [f2, f1, f0]).plus(top.times(p)),
    )


def _invariants(x: Hermitian, size2: dict[tuple[int, int], Number]) -> tuple[Number, Number]:
    """p = tr X^2 / 2 and q = det X of a traceless 3 x 3 matrix."""
    a, b, c = x.diagonal
    cycle = dot([dot([x.upper[0, 1]], [x.upper[1, 2]])], [x.upper[0, 2].adjoint()]).real
    q = a * b * c + 2.0 * cycle - a * size2[1, 2] - b * size2[0, 2] - c * size2[0, 1]
    return 0.5 * (a * a + b * b + c * c) + (size2[0, 1] + size2[0, 2] + size2[1, 2]), q


def _square(x: Hermitian, size2: dict[tuple[int, int], Number]) -> Hermitian:
    """X^2 of a 3 x 3 matrix."""
    a, b, c = x.diagonal
    xy, yz, xz = x.upper[0, 1], x.upper[1, 2], x.upper[0, 2]
    diagonal = [
        a * a + size2[0, 1] + size2[0, 2],
        b * b + size2[0, 1] + size2[1, 2],
        c * c + size2[0, 2] + size2[1, 2],
    ]
    upper = {
        (0, 1): xy.times(a + b).plus(dot([xz], [yz.adjoint()])),
        (0, 2): xz.times(a + c).plus(dot([xy], [yz])),
        (1, 2): yz.times(b + c).plus(dot([xy.adjoint()], [xz])),
    }
    return Hermitian(diagonal, upper)


def _pairs(n: int) -> list[tuple[int, int]]:
    return list(itertools.combinations(range(n), 2))
