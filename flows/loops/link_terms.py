"""A sum of Wilson loops as a function of one link: which products pass it, how often, and what closes their loops.

On a lattice of finite extents a product may pass a link several times, also by winding around the lattice. With U the link, a
term is

    (share) c_i  prod_f tau_f  prod_cycles tr(U^s1 F_1 U^s2 F_2 ...)/N,     s = 1 or -1,

with loops f that avoid the link and pieces F of loops between its passages: none of them holds U. A term with a single
passage is turned, by complex conjugation, such that s = 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from haarflow.flows.loops import algebra
from haarflow.flows.loops.algebra import Loop, Product, Site, Steps, images, reverse, unit

Cycle = tuple[tuple[int, Loop], ...]  # the passages of one loop: s, and the piece that follows


class Term(NamedTuple):
    """One image of one product at one place, as a function of the link U_0(0); `share` is one over the number of images."""

    product: int
    share: float
    frozen: tuple[Loop, ...]
    cycles: tuple[Cycle, ...]

    @property
    def passages(self) -> int:
        """How often the term passes the link."""
        return sum(map(len, self.cycles))


def terms(products: tuple[Product, ...], lattice: tuple[int, ...], line: bool = False) -> tuple[Term, ...]:
    """Return all terms of sum_i c_i W_i that hold the link U_0(0) on a lattice; with `line` also, as one more product, the
    straight line through it that closes around the lattice.

    >>> plaquette = algebra.tower(3, 2, 1)
    >>> [(term.passages, term.cycles[0][0][1][0]) for term in terms(plaquette, (4, 4))]
    [(1, (2, -1, -2)), (1, (-2, -1, 2))]
    >>> [term.passages for term in terms(plaquette, (4, 1))]
    [2]
    """
    found = [
        _term(index, 1.0 / len(images(loops)), _moved(image, tuple(-x for x in site)), lattice)
        for index, loops in enumerate(products)
        for image in images(loops)
        for site in _distinct(image, lattice)
    ]
    return (*found, *([_term(len(products), 1.0, _line(lattice), lattice)] if line else []))


def conflicts(products: tuple[Product, ...], lattice: tuple[int, ...], line: bool = False) -> set[Site]:
    """Return the displacements, not zero, between two links along axis 0 that one image of a product, or with `line` a
    straight line around the lattice, holds.

    >>> sorted(conflicts(algebra.tower(3, 2, 1), (4, 4)))
    [(0, 1), (0, 3)]
    """
    found = set()
    for image in [image for loops in products for image in images(loops)] + ([_line(lattice)] if line else []):
        sites = list(_distinct(image, lattice))
        found |= {_folded(tuple(a - b for a, b in zip(x, y, strict=True)), lattice) for x in sites for y in sites}
    return found - {(0,) * len(lattice)}


def conjugate(term: Term) -> Term:
    """Return the complex conjugate of a term: all loops reversed.

    >>> (one,) = terms(algebra.tower(3, 2, 1), (4, 1))
    >>> conjugate(conjugate(one)) == one
    True
    """
    frozen = tuple(_reversed(loop) for loop in term.frozen)
    cycles = []
    for cycle in term.cycles:
        signs, pieces = zip(*cycle, strict=True)
        back = [_reversed(piece) for piece in reversed(pieces)]
        cycles.append(tuple(zip((-s for s in (signs[0], *reversed(signs[1:]))), back, strict=True)))
    return term._replace(frozen=frozen, cycles=tuple(cycles))


def end(start: Site, steps: Steps) -> Site:
    """Return the end of a path.

    >>> end((0, 0), (1, 1, -2))
    (2, -1)
    """
    for step in steps:
        start = tuple(a + b for a, b in zip(start, unit(step, len(start)), strict=True))
    return start


def _term(product: int, share: float, image: Product, lattice: tuple[int, ...]) -> Term:
    cycles, frozen = [], []
    for loop in image:
        cycle = tuple(_cycle(loop, lattice))
        if cycle:
            cycles.append(cycle)
        else:
            frozen.append(loop)
    term = Term(product, share, tuple(frozen), tuple(cycles))
    return conjugate(term) if term.passages == 1 and cycles[0][0][0] < 0 else term


def _cycle(loop: Loop, lattice: tuple[int, ...]) -> Iterator[tuple[int, Loop]]:
    """The passages of U_0(0) by a loop, and the pieces between them."""
    steps, position = loop
    cuts = []
    for k, step in enumerate(steps):
        ahead = end(position, (step,))
        if abs(step) == 1 and not any(_folded(position if step > 0 else ahead, lattice)):
            cuts.append((k, step, ahead))
        position = ahead
    for n, (k, step, ahead) in enumerate(cuts):
        length = (cuts[(n + 1) % len(cuts)][0] - k - 1) % len(steps)
        yield step, ((steps + steps)[k + 1 : k + 1 + length], ahead)


def _line(lattice: tuple[int, ...]) -> Product:
    """The straight line along axis 0."""
    return (((1,) * lattice[0], (0,) * len(lattice)),)


def _distinct(image: Product, lattice: tuple[int, ...]) -> Iterator[Site]:
    """The sites of the links along axis 0 that a product holds, one for each link of the lattice."""
    seen = set()
    for loop in image:
        for passage in algebra.passing(loop):
            if passage.mu == 0 and _folded(passage.site, lattice) not in seen:
                seen.add(_folded(passage.site, lattice))
                yield passage.site


def _reversed(loop: Loop) -> Loop:
    return reverse(loop[0]), end(loop[1], loop[0])


def _moved(loops: Product, by: Site) -> Product:
    return tuple((steps, tuple(a + b for a, b in zip(start, by, strict=True))) for steps, start in loops)


def _folded(site: Site, lattice: tuple[int, ...]) -> Site:
    return tuple(x % extent for x, extent in zip(site, lattice, strict=True))
