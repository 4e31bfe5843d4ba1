"""The compiled heat bath of SU(N) at one site: bodies for `backends.compiled.vector`, by the formulas of core/chains/heatbath_sun.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from haarflow.backends.compiled.functions import (
    logarithm,
    logarithm_beside_one,
    one_minus_exponential,
    sine_and_cosine_of_turns,
    uniforms,
)
from haarflow.backends.compiled.vector import Row
from haarflow.core.chains.heatbath_sun import FLOOR, NUMBERS, SMALL, divided, reflected
from haarflow.core.random import UNIFORM
from haarflow.theories.compiled import matrices
from haarflow.theories.compiled.gauge_bodies import Body
from haarflow.theories.compiled.matrices import Complex, Number

KEY0, KEY1, COUNTER, COUPLING, MISSED = range(5)  # the numbers of a lane
TINY = 1e-300  # every non-zero root of a sum of squares is larger
START, STRIDE = range(2)  # of a subgroup's visit: its first counter, and the distance of two uniform numbers


def staples(n: int) -> Body:
    """The body that adds the two staples of a link in a plane, U_mu V being the plaquettes ahead and behind."""

    def body(left: Row, top: Row, far: Row, below: Row, side: Row, corner: Row, staple: Row, spare: Row) -> None:
        first, second, third, fourth = (matrices.Stored(row, n) for row in (left, top, below, corner))
        room = matrices.Stored(spare, n).dagger()
        matrices.product(first, second, spare)
        matrices.product(matrices.Stored(far, n), room, staple, add=True)
        matrices.product(third, fourth, spare)
        matrices.product(room, matrices.Stored(side, n), staple, add=True)

    return body


def loops(n: int) -> Body:
    """The body that turns the staples V into U V."""

    def body(u: Row, staple: Row) -> None:
        matrices.product(matrices.Stored(u, n), matrices.Stored(staple, n).loaded(), staple)

    return body


def heat_bath(n: int, pair: tuple[int, int], tries: int) -> Body:
    """The body of `heatbath_sun.subgroup_steps` for the rows `pair` by the rule `heatbath_sun.heat_bath`."""

    def body(u: Row, m: Row, lane: Row, visit: Row) -> None:
        key, first = (lane[KEY0].word(), lane[KEY1].word()), lane[COUNTER].word() + visit[START].word()
        stride = visit[STRIDE].word()

        def numbers(begin: int, end: int) -> list[Number]:
            return uniforms(key, [first + stride * index for index in range(begin, end)], UNIFORM)

        size, unit = _unit_quaternion(m, n, pair)
        k = (2.0 * lane[COUPLING]) * size
        height, turn, *once = numbers(0, 2 + NUMBERS)
        begins = [2 + NUMBERS * t for t in range(1, tries)]
        again: list[Callable[[], list[Number]]] = [partial(numbers, begin, begin + NUMBERS) for begin in begins]
        drop, accepted = _one_minus_cosine(k, once, again)
        cosine, height = 1.0 - drop, 2.0 * height - 1.0
        radius = accepted.below(0.5, 0.0, drop * (1.0 + cosine)).sqrt()
        sine_of, cosine_of = sine_and_cosine_of_turns(turn)
        flat = radius * (1.0 - height * height).sqrt()
        g = divided([cosine, flat * cosine_of, flat * sine_of, radius * height], unit)
        g = [accepted.below(0.5, float(index == 0), part) for index, part in enumerate(g)]
        _rotate((u, m), n, pair, g)
        lane[MISSED] = lane[MISSED] + (1.0 - accepted)

    return body


def reflection(n: int, pair: tuple[int, int]) -> Body:
    """The body of `heatbath_sun.subgroup_steps` for the rows `pair` by the rule `heatbath_sun.reflection`."""

    def body(u: Row, m: Row) -> None:
        _rotate((u, m), n, pair, reflected(_unit_quaternion(m, n, pair)[1]))

    return body


def restore(n: int) -> Body:
    """The body that brings a link back onto the group, `SU.restore`."""

    def body(u: Row) -> None:
        matrices.store(matrices.restored(matrices.Stored(u, n).loaded()), u)

    return body


def _one_minus_cosine(k: Number, once: list[Number], again: list[Callable[[], list[Number]]]) -> tuple[Number, Number]:
    """`heatbath_sun.one_minus_cosine`, and 1 where a try was accepted, 0 elsewhere.

    `once` are the uniform numbers of the first try, `again` return those of the others, until every lane has accepted one.
    """
    k = k.below(FLOOR, FLOOR, k)
    cut = k.below(SMALL, one_minus_exponential(2.0 * k.below(SMALL, k, SMALL)), 1.0)
    turns, inverse = k.below(SMALL, 0.0, 1.0), 1.0 / k

    def attempt(u: Number, angle: Number, other: Number, coin: Number) -> tuple[Number, Number]:
        cosine = sine_and_cosine_of_turns(angle)[1]
        tail = turns * (cosine * cosine) * logarithm(other)
        proposal = -(logarithm_beside_one(-((1.0 - u) * cut)) + tail) * inverse
        level = (2.0 - proposal) * k.below(SMALL, proposal, 0.5)
        return proposal, level.below(coin * coin, 0.0, 1.0)

    def after(drop: Number, accepted: Number, numbers: Callable[[], list[Number]]) -> list[Number]:
        proposal, good = attempt(*numbers())
        return [accepted.below(0.5, proposal, drop), accepted.largest(good)]

    drop, accepted = attempt(*once)
    for numbers in again:
        drop, accepted = accepted.where_any_zero([drop, accepted], partial(after, drop, accepted, numbers))
    return drop, accepted


def _unit_quaternion(m: Row, n: int, pair: tuple[int, int]) -> tuple[Number, list[Number]]:
    """|q| and q/|q| of the block `pair` of a matrix in memory, the unit quaternion where q = 0."""
    (i, j), stored = pair, matrices.Stored(m, n)
    a, b, c, e = (stored.entry(*indices) for indices in ((i, i), (i, j), (j, i), (j, j)))
    parts = [a.real + e.real, b.imaginary + c.imaginary, b.real - c.real, a.imaginary - e.imaginary]
    parts = [0.5 * part for part in parts]
    size = sum((part * part for part in parts[1:]), parts[0] * parts[0]).sqrt()
    inverse = 1.0 / size.below(TINY, 1.0, size)
    first = size.below(TINY, 1.0, parts[0] * inverse)
    return size, [first, *(part * inverse for part in parts[1:])]


def _rotate(rows: tuple[Row, ...], n: int, pair: tuple[int, int], g: list[Number]) -> None:
    """Multiply two rows of matrices in memory by the SU(2) element of a quaternion."""
    (i, j), a, b = pair, Complex(g[0], g[3]), Complex(g[2], g[1])
    for row in rows:
        stored = matrices.Stored(row, n)
        for column in range(n):
            x, y = stored.entry(i, column), stored.entry(j, column)
            new = matrices.dot([a, b], [x, y]), matrices.dot([Complex(-b.real, b.imaginary), a.adjoint()], [x, y])
            for line, z in zip(pair, new, strict=True):
                entry = 2 * (line * n + column)
                row[entry], row[entry + 1] = z.real, z.imaginary
