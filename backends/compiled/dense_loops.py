"""Loops over the rows of dense complex matrices `(rows, 2, columns)`: products, adjoints, inverses and determinants with pivots.

`Bodies` are the addresses of the machine code of backends/compiled/dense_bodies.py for matrices of one size.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy

from haarflow.backends.compiled import dense_bodies, vector
from haarflow.backends.compiled.dense_bodies import BLOCK
from haarflow.backends.compiled.loops import call, loop
from haarflow.backends.compiled.vector import BYTES, Register
from haarflow.backends.types import Array

STEP = 2 * BLOCK * BYTES  # bytes of the factors of BLOCK rows


class Bodies(NamedTuple):
    """Addresses: a b and a^+ b, written or added, and the step of an elimination."""

    times: int
    adjoint_times: int
    add_times: int
    add_adjoint_times: int
    step: int


def padded(size: int) -> int:
    """Return the number of rows and columns that a matrix is filled up to.

    >>> padded(5), padded(8)
    (8, 8)
    """
    return -(-size // BLOCK) * BLOCK


@cache
def bodies(size: int) -> Bodies:
    """Return the code for square matrices of `size` rows, a multiple of BLOCK."""
    register, stride = Register(width=8 if size % 8 == 0 else 4), size * BYTES
    ways = [(False, False), (True, False), (False, True), (True, True)]
    made = [vector.compiled(dense_bodies.product(size, *way), 3, stride, fixed=1, register=register) for way in ways]
    times, adjoint_times, add_times, add_adjoint_times = (code.address for code in made)
    return Bodies(times, adjoint_times, add_times, add_adjoint_times, step_of(size))


@cache
def step_of(size: int) -> int:
    """Return the code of a step of an elimination of matrices of `size` rows."""
    register = Register(width=8 if size % 8 == 0 else 4)
    return vector.compiled(dense_bodies.step(size), 3, size * BYTES, fixed=1, register=register).address


@loop
def times(body: int, into: Array, a: Array, b: Array) -> None:
    """Write a b into a matrix, or add it, by the body for it."""
    size, row = len(into), into.strides[0]
    for first in range(0, size, BLOCK):
        call(body, size * BYTES, (into.ctypes.data + first * row, b.ctypes.data, a.ctypes.data + first * row))


@loop
def adjoint_times(body: int, into: Array, a: Array, b: Array) -> None:
    """Write a^+ b into a matrix, or add it, by the body for it."""
    size, row = len(into), into.strides[0]
    for first in range(0, size, BLOCK):
        call(body, size * BYTES, (into.ctypes.data + first * row, b.ctypes.data, a.ctypes.data + first * BYTES))


@loop
def adjoint(into: Array, a: Array) -> None:
    """Write a^+ into a matrix."""
    for row in range(len(a)):
        for column in range(len(a)):
            into[column, 0, row] = a[row, 0, column]
            into[column, 1, row] = -a[row, 1, column]


@loop
def pivot_row(a: Array, k: int) -> int:
    """Bring the largest entry of column k, from row k on, into row k; return the row where it was."""
    best, found = a[k, 0, k] ** 2 + a[k, 1, k] ** 2, k
    for row in range(k + 1, len(a)):
        size = a[row, 0, k] ** 2 + a[row, 1, k] ** 2
        if size > best:
            best, found = size, row
    if found != k:
        for part in range(2):
            for column in range(a.shape[2]):
                a[k, part, column], a[found, part, column] = a[found, part, column], a[k, part, column]
    return found


@loop
def determinant(step: int, a: Array, factors: Array) -> tuple[float, complex]:
    """Return ln |det a| and its phase, by elimination with pivots; a is overwritten, `factors` is room for `(rows, 2)`."""
    log_abs, phase, size, row = 0.0, 1.0 + 0.0j, len(a), a.strides[0]
    for k in range(size):
        if pivot_row(a, k) != k:
            phase = -phase
        pivot = complex(a[k, 0, k], a[k, 1, k])
        modulus = abs(pivot)
        if modulus == 0.0:
            return -numpy.inf, 0.0j
        log_abs, phase = log_abs + numpy.log(modulus), phase * (pivot / modulus)
        begin, over = (k + 1) // BLOCK * BLOCK, 1.0 / pivot
        for i in range(begin, size):
            factor = complex(a[i, 0, k], a[i, 1, k]) * over if i > k else 0.0j
            factors[i, 0], factors[i, 1] = factor.real, factor.imag
        left = (k // 8) * 8 * BYTES
        for i in range(begin, size, BLOCK):
            place, pivots = a.ctypes.data + i * row + left, a.ctypes.data + k * row + left
            call(step, size * BYTES - left, (place, pivots, factors.ctypes.data + i // BLOCK * STEP))
    return log_abs, phase


@loop
def invert(step: int, a: Array, factors: Array, order: Array) -> tuple[float, complex]:
    """Write a^-1 over a by Gauss-Jordan steps with pivots, and return ln |det a| and its phase.

    `factors` and `order` are room for `(rows, 2)` numbers and `(rows,)` integers.
    """
    log_abs, phase, size, row = 0.0, 1.0 + 0.0j, len(a), a.strides[0]
    for k in range(size):
        order[k] = pivot_row(a, k)
        if order[k] != k:
            phase = -phase
        pivot = complex(a[k, 0, k], a[k, 1, k])
        modulus = abs(pivot)
        log_abs, phase = log_abs + numpy.log(modulus), phase * (pivot / modulus)
        over = 1.0 / pivot
        for i in range(size):
            factors[i, 0], factors[i, 1] = a[i, 0, k], a[i, 1, k]
            a[i, 0, k] = a[i, 1, k] = 0.0
        factors[k, 0] = factors[k, 1] = 0.0
        a[k, 0, k] = 1.0
        for column in range(size):
            scaled = complex(a[k, 0, column], a[k, 1, column]) * over
            a[k, 0, column], a[k, 1, column] = scaled.real, scaled.imag
        for i in range(0, size, BLOCK):
            place = (a.ctypes.data + i * row, a.ctypes.data + k * row, factors.ctypes.data + i // BLOCK * STEP)
            call(step, size * BYTES, place)
    for k in range(size - 1, -1, -1):
        other = order[k]
        if other != k:
            for i in range(size):
                for part in range(2):
                    a[i, part, k], a[i, part, other] = a[i, part, other], a[i, part, k]
    return log_abs, phase
