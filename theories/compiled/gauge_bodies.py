"""The compiled trajectory at one site, for each gauge group: bodies for `backends.compiled.vector`.

A plaquette is A B^+ with A = U_mu(x) U_nu(x+mu) and B = U_nu(x) U_mu(x+nu). From A and B come the staples of its four
links, two products each in all: six for a plane. References: `SUNGauge.staples`, `U1Gauge.force`, `density` and `restore`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from haarflow.backends.compiled.vector import Row
from haarflow.core.groups.exponentials import BOUND, DOUBLINGS, TERMS
from haarflow.theories.compiled import matrices

NEAR, NEAR_TERMS = 1.0, 16  # |w| below which 16 terms leave 1e-18: |X| <= |w|/sqrt 3, 0.58^17/17! = 2e-19


Body = Callable[..., None]  # acts on one site of rows


class Bodies(NamedTuple):
    """Components of a link and of its momentum, the factor of beta in a kick, and the bodies.

    `plane(u_mu, u_nu, far, high, v_mu, v_nu, v_high, v_far, spare)` adds a plaquette's staples to those of its links;
    `kick(u, v, w, strength, largest)` adds strength x the force to w, clears v and keeps the largest w^2;
    `near(u, w, scale)` and `far(u, w, scale)` move u by exp(scale w), the one for |scale w| <= NEAR;
    `restore(u)` brings u back onto the group; `density(u_mu, u_nu, far, high, change)` writes the plaquette's part of the
    action at beta = 1, less the previous value; `trace(u_mu, u_nu, far, high, total)` adds Re tr / N of the plaquette,
    `loop(u_mu, u_nu, far, high, result, spare)` writes the plaquette itself.
    """

    components: int
    momenta: int
    strength: float
    plane: Body
    kick: Body
    near: Body
    far: Body
    restore: Body
    density: Body
    trace: Body
    loop: Body


@cache
def su(n: int) -> Bodies:
    """The bodies of SU(n), n = 2 or 3."""
    return Bodies(
        components=2 * n * n, momenta=n * n - 1, strength=0.5 / n, **su_plaquettes(n), **su_density(n), **su_links(n)
    )


def su_plaquettes(n: int) -> dict[str, Body]:
    """The bodies of SU(n) that multiply the links of a plaquette."""

    def halves(u_mu: Row, u_nu: Row, far: Row, high: Row, spare: Row) -> tuple[matrices.Stored, matrices.Stored]:
        first, second, ahead, above = (matrices.Stored(row, n) for row in (u_mu, u_nu, far, high))
        a, b = spare, spare.behind(2 * n * n)
        matrices.product(first, ahead, a)
        matrices.product(second, above, b)
        return matrices.Stored(a, n), matrices.Stored(b, n)

    def plane(
        u_mu: Row, u_nu: Row, far: Row, high: Row, v_mu: Row, v_nu: Row, v_high: Row, v_far: Row, spare: Row
    ) -> None:
        first, second, ahead, above = (matrices.Stored(row, n) for row in (u_mu, u_nu, far, high))
        a, b = (half.dagger() for half in halves(u_mu, u_nu, far, high, spare))
        for left, right, staple in ((ahead, b, v_mu), (above, a, v_nu), (a, second, v_high), (b, first, v_far)):
            matrices.product(left, right, staple, add=True)

    def loop(u_mu: Row, u_nu: Row, far: Row, high: Row, result: Row, spare: Row) -> None:
        a, b = halves(u_mu, u_nu, far, high, spare)
        matrices.product(a, b.dagger(), result)

    return {"plane": plane, "loop": loop}


def su_density(n: int) -> dict[str, Body]:
    """The bodies of SU(n) that want a plaquette's trace alone."""

    def plaquette(u_mu: Row, u_nu: Row, far: Row, high: Row) -> matrices.Number:
        return (1.0 / n) * matrices.real_trace(*(matrices.Stored(row, n) for row in (u_mu, far, u_nu, high)))

    def density(u_mu: Row, u_nu: Row, far: Row, high: Row, change: Row) -> None:
        change[0] = 1.0 - plaquette(u_mu, u_nu, far, high) - change[0]

    def trace(u_mu: Row, u_nu: Row, far: Row, high: Row, total: Row) -> None:
        total[0] = total[0] + plaquette(u_mu, u_nu, far, high)

    return {"density": density, "trace": trace}


def su_links(n: int) -> dict[str, Body]:
    """The bodies of SU(n) that change a link or its momentum."""

    def kick(u: Row, v: Row, w: Row, strength: Row, largest: Row) -> None:
        loop = matrices.product_entries(matrices.Stored(u, n), matrices.Stored(v, n))
        size2: matrices.Number = 0.0
        for a, part in enumerate(matrices.coordinates_of_i_times(loop)):
            new = w[a] + strength[0] * part
            w[a], size2 = new, new * new + size2
        for component in range(2 * n * n):
            v[component] = 0.0
        largest[0] = size2.largest(largest[0])

    def moved(u: Row, w: Row, scale: Row, terms: int, doublings: int, bound: float) -> None:
        numbers = [w[a] for a in range(n * n - 1)]
        turn = matrices.exponential(matrices.algebra(numbers, scale[0]), terms, doublings)
        if bound:
            size2 = sum((x * x for x in numbers[1:]), numbers[0] * numbers[0]) * (scale[0] * scale[0])
            turn = turn.plus(size2.nan_beyond(bound * bound))
        matrices.product(turn, matrices.Stored(u, n).loaded(), u)

    def restore(u: Row) -> None:
        matrices.store(matrices.restored(matrices.Stored(u, n).loaded()), u)

    return {
        "kick": kick,
        "near": lambda u, w, scale: moved(u, w, scale, NEAR_TERMS, 0, 0.0),
        "far": lambda u, w, scale: moved(u, w, scale, TERMS, DOUBLINGS, BOUND),
        "restore": restore,
    }


@cache
def u1() -> Bodies:
    """The bodies of U(1): a link is its angle, its staple the sum of sines that is its force."""

    def angle(u_mu: Row, u_nu: Row, far: Row, high: Row) -> matrices.Number:
        return u_mu[0] + far[0] - high[0] - u_nu[0]

    def plane(
        u_mu: Row, u_nu: Row, far: Row, high: Row, v_mu: Row, v_nu: Row, v_high: Row, v_far: Row, spare: Row
    ) -> None:
        sine = sine_of(angle(u_mu, u_nu, far, high))
        for staple, signed in ((v_mu, sine), (v_nu, -sine), (v_high, -sine), (v_far, sine)):
            staple[0] = staple[0] + signed

    def kick(u: Row, v: Row, w: Row, strength: Row, largest: Row) -> None:
        w[0] = w[0] + strength[0] * v[0]
        v[0] = 0.0

    def move(u: Row, w: Row, scale: Row) -> None:
        u[0] = u[0] + scale[0] * w[0]

    def restore(u: Row) -> None:
        u[0] = u[0] - (2.0 * math.pi) * (u[0] * (0.5 / math.pi) + 0.5).floor()

    def density(u_mu: Row, u_nu: Row, far: Row, high: Row, change: Row) -> None:
        half = sine_of(0.5 * angle(u_mu, u_nu, far, high))
        change[0] = 2.0 * half * half - change[0]

    def trace(u_mu: Row, u_nu: Row, far: Row, high: Row, total: Row) -> None:
        half = sine_of(0.5 * angle(u_mu, u_nu, far, high))
        total[0] = total[0] + (1.0 - 2.0 * half * half)

    def loop(u_mu: Row, u_nu: Row, far: Row, high: Row, result: Row, spare: Row) -> None:
        result[0] = angle(u_mu, u_nu, far, high)

    return Bodies(
        components=1,
        momenta=1,
        strength=-1.0,
        plane=plane,
        kick=kick,
        near=move,
        far=move,
        restore=restore,
        density=density,
        trace=trace,
        loop=loop,
    )


# pi in three parts, the first two short enough that a whole number below 2^20 times them is exact (Cody and Waite)
PI = (3.1415926534682512, 1.2154201012607932e-10, 4.044532497591901e-21)


def sine_of(x: matrices.Number) -> matrices.Number:
    """sin x: the nearest multiple of pi taken away, then Taylor's series to the 21st power."""
    turns = (x * (1.0 / math.pi)).rounded()
    rest = x
    for part in PI:
        rest = rest - turns * part
    square, series = rest * rest, 0.0
    for n in range(21, 2, -2):
        series = square * (1.0 / math.factorial(n) * (-1.0) ** (n // 2) + series)
    odd = turns - 2.0 * (0.5 * turns).rounded()  # -1, 0 or 1
    return (rest + rest * series) * (1.0 - 2.0 * (odd * odd))
