"""The bodies of the compiled surroundings of links (flows/loops/link_kernel.py): N x N matrices in vector registers.

A matrix is a row of 2 N^2 components, a complex number one of 2, a form S or H one of 2 N^4.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from haarflow.backends.compiled import matrices, vector
from haarflow.backends.compiled.matrices import Complex, Stored, dot
from haarflow.backends.compiled.vector import Register, Row
from haarflow.flows.loops.link_plan import KINDS
from haarflow.flows.loops.link_potential import AXES

SIDES = ((False, False), (False, True), (True, False), (True, True))  # whether the two factors are adjoint


def multiply(n: int, sides: tuple[bool, bool], add: bool, into: Row, a: Row, b: Row) -> None:
    """Store a b, or add it."""
    left, right = (Stored(row, n, side) for row, side in zip((a, b), sides, strict=True))
    matrices.product(left, right, into, add)


def trace(n: int, sides: tuple[bool, bool], into: Row, a: Row, b: Row) -> None:
    """Store tr a b / N."""
    left, right = (Stored(row, n, side) for row, side in zip((a, b), sides, strict=True))
    places = [(i, k) for i in range(n) for k in range(n)]
    total = dot([left.entry(i, k) for i, k in places], [right.entry(k, i) for i, k in places])
    into[0], into[1] = total.real * (1.0 / n), total.imaginary * (1.0 / n)


def add_multiple(n: int, adjoint: bool, into: Row, weight: Row, b: Row) -> None:
    """Add w b for a complex number w."""
    w, m = Complex(weight[0], weight[1]), Stored(b, n, adjoint)
    for i in range(n):
        for j in range(n):
            x, index = dot([w], [m.entry(i, j)]), 2 * (i * n + j)
            into[index], into[index + 1] = into[index] + x.real, into[index + 1] + x.imaginary


def add_outer(n: int, kind: tuple[bool, int], adjoint: bool, into: Row, a: Row, b: Row) -> None:
    """Add a_pq b_rs to a form at the place that `AXES` gives a pair of this kind."""
    left, right, axes = Stored(a, n, adjoint), Stored(b, n), AXES[kind]
    span = range(n)
    for p in span:
        for q in span:
            x = left.entry(p, q)
            for r in span:
                for s in span:
                    y, place, at = right.entry(r, s), (p, q, r, s), 0
                    for axis in axes:
                        at = at * n + place[axis]
                    z = dot([x], [y])
                    into[2 * at], into[2 * at + 1] = into[2 * at] + z.real, into[2 * at + 1] + z.imaginary


def read(n: int, numbers: Row, into: Row) -> None:
    """Read a matrix of complex numbers that lie one after another for all lanes."""
    for c in range(n * n):
        into[2 * c], into[2 * c + 1] = numbers.behind(c).pairs()


@cache
def addresses(n: int, register: Register, batch: int, kinds: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the addresses of products, of products that are added, of traces, multiples and outer products, and of what reads
    links of a `batch`, in this order.

    Each has one body for each of `SIDES`, multiples for an adjoint matrix or not, outer products for both and each kind:
    those among the `kinds` of use, numbers 2 kind + adjoint, as they take long to compile; else 0.
    """

    apart = register.width * register.bytes

    def made(body: Any) -> int:
        return vector.compiled(body, rows=3, stride=apart, register=register).address

    strides = (2 * register.bytes * batch, apart)
    reader = vector.compiled(partial(read, n), rows=2, stride=strides, paired=1, register=register).address

    return (
        tuple(made(partial(multiply, n, sides, False)) for sides in SIDES),
        tuple(made(partial(multiply, n, (side, False), True)) for side in (False, True)),
        tuple(made(partial(trace, n, sides)) for sides in SIDES),
        tuple(made(partial(add_multiple, n, side)) for side in (False, True)),
        tuple(
            made(partial(add_outer, n, kind, side)) if 2 * index + side in kinds else 0
            for index, kind in enumerate(KINDS)
            for side in (False, True)
        ),
        (reader,),
    )
