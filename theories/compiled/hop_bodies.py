"""The hop of Wilson's operator at one site: bodies for `backends.compiled.vector`, see theories/compiled/hop.py.

Spinors are rows of components, real and imaginary part of (spin, colour) at 2 (spin N + colour) and one behind. The reference is
theories/fermions/hopping.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from haarflow.backends.compiled.vector import Row
from haarflow.core.lattice import spinors
from haarflow.theories.compiled.matrices import Complex, Stored, dot
from haarflow.theories.fermions.hopping import directions

BEHIND = (0, 1, 2)  # axes along which a backward hop leaves the row, at most
Body = Callable[..., None]
Half = list[list[Complex]]  # for each spin the colours


def hop(d: int, n: int, sign: int, apart: int, fused: bool, doubled: bool) -> Body:
    """Return `body(into, base, *neighbours, *behind, links, factor)`, which writes H psi at one site, or base - factor H psi if `fused`.

    H^+ stands in the place of H for the sign -1. The first 2 d `neighbours` are the rows of psi there; for
    `links`, `behind` and `doubled` see `link_of`. The complex entries of `into` and `base` are `apart` bytes from one another.
    """

    def body(into: Row, base: Row, *rest: Row) -> None:
        *around, links, factor = rest
        neighbours, behind = around[: -len(BEHIND)], around[-len(BEHIND) :]
        stored = [link_of(row, d, n, links, behind, doubled) for row in range(2 * d)]
        fetch(links, 2 * n * n, 2 * d if doubled else d + 1)
        halves = hopped(neighbours, stored, d, n, sign)
        strength = factor[0] if fused else None
        for component, total in enumerate(z for half in halves for spin in half for z in spin):
            real, imaginary = total.real, total.imaginary
            if fused:
                old = base.further(component * apart).pairs()
                real, imaginary = old[0] - strength * real, old[1] - strength * imaginary
            into.further(component * apart).put_pairs(real, imaginary)

    return body


def spread(components: int, apart: int) -> Body:
    """Return `body(psi, into)`, which writes real and imaginary parts of complex entries `apart` bytes from one another."""

    def body(psi: Row, into: Row) -> None:
        for component in range(components):
            into[2 * component], into[2 * component + 1] = psi.further(component * apart).pairs()

    return body


def copy(count: int) -> Body:
    """Return `body(x, into)`, which copies `count` components."""

    def body(x: Row, into: Row) -> None:
        for component in range(count):
            into[component] = x[component]

    return body


def link_of(row: int, d: int, n: int, links: Row, behind: list[Row], doubled: bool) -> Stored:
    """Return the link of a direction, forward for row < d, backward for the others.

    If they are `doubled`, `links` has those of all directions one after another. Otherwise it has the forward ones and after them
    the backward one along the last axis; the others backward are adjoint ones of the rows `behind`.
    """
    size = 2 * n * n
    if doubled or row < d:
        return Stored(links.behind(row * size), n)
    mu = row - d
    return Stored(links.behind(d * size), n) if mu == d - 1 else Stored(behind[mu].behind(mu * size), n, adjoint=True)


def fetch(links: Row, size: int, count: int) -> None:
    """Ask for the links half a row ahead, so that their way from memory is hidden."""
    for number in range(count * size):
        links.prefetch((number + count // 2 * size) * links.stride)


def hopped(neighbours: list[Row], links: list[Stored], d: int, n: int, sign: int) -> tuple[Half, Half]:
    """Return the upper and the lower half of H psi."""
    upper: Any = None
    lower: Any = None
    for row, (mu, projector) in enumerate(directions(2 * d)):
        s = sign * projector
        moved = carried(links[row], projected(neighbours[row], d, n, mu, s))
        turned = [[moved[column][a] for a in range(n)] for column, _ in adjoint(d, mu)]
        factors = [s * entry for _, entry in adjoint(d, mu)]
        upper = added(upper, moved, [1] * len(moved))
        lower = added(lower, turned, factors)
    return upper, lower


def projected(psi: Row, d: int, n: int, mu: int, s: int) -> Half:
    """Return up + s G_mu down."""
    rows = spinors.G[d][mu]
    up, down = ([[entry(psi, spin, a, n) for a in range(n)] for spin in half] for half in halves(len(rows)))
    return added(up, [down[column] for column, _ in rows], [s * factor for _, factor in rows])


def halves(count: int) -> tuple[range, range]:
    """Return the upper and the lower spins, `count` of each."""
    return range(count), range(count, 2 * count)


def entry(psi: Row, spin: int, colour: int, n: int) -> Complex:
    """Load one component of a spinor."""
    index = 2 * (spin * n + colour)
    return Complex(psi[index], psi[index + 1])


def carried(link: Stored, half: Half) -> Half:
    """Return U h."""
    span = range(link.n)
    return [[dot([link.entry(a, b) for b in span], spin) for a in span] for spin in half]


def adjoint(d: int, mu: int) -> list[tuple[int, complex]]:
    """Return the column and the entry of every row of G_mu^+."""
    found = sorted((column, row, complex(factor).conjugate()) for row, (column, factor) in enumerate(spinors.G[d][mu]))
    return [(row, factor) for _, row, factor in found]


def added(total: Half | None, x: Half, factors: list[complex]) -> Half:
    """Return total + factor x for every spin, with factors 1, -1, i, -i that cost no product."""
    if total is None:
        zero = Complex(0.0, 0.0)
        total = [[zero] * len(spin) for spin in x]
    return [
        [plus(z, w, factor) for z, w in zip(old, new, strict=True)]
        for old, new, factor in zip(total, x, factors, strict=True)
    ]


def plus(z: Complex, w: Complex, factor: complex) -> Complex:
    """Return z + factor w."""
    if factor.imag:
        return Complex(with_sign(z.real, w.imaginary, -factor.imag), with_sign(z.imaginary, w.real, factor.imag))
    return Complex(with_sign(z.real, w.real, factor.real), with_sign(z.imaginary, w.imaginary, factor.real))


def with_sign(x: Any, y: Any, sign: float) -> Any:
    """Return x + y or x - y."""
    return x + y if sign > 0 else x - y
