"""The algebra of Wilson loops: products of traced loops, their Laplacian and the scalar products of their gradients.

A loop is (steps, start), steps as in `core.loops.path`; a product, a tuple of loops, stands for the function of SU(N) links

    W = mean over the images under the point group of  sum_x Re prod_l tau_l(x),     tau = tr/N,

a `Sum` {product: number} for sum_i c_i W_i. With d_a the derivative along T_a of a link, d_a U = i T_a U, Fierz's identity
sum_a (T_a)_ij (T_a)_kl = (delta_il delta_jk - delta_ij delta_kl / N)/2 keeps derivatives within the algebra: for two passages
of the same link, e and e' = 1 or -1 their directions, A and B the two parts of a loop cut there, X and Y two loops cut open,

    Laplacian   of one passage -C_F tau,  of two in a loop  -e e' (N tau_A tau_B - tau_AB/N),  in two  -e e' (tau_XY - tau_X tau_Y)/N,
    d_a tau_X d_a tau_Y = -e e' (tau_XY - tau_X tau_Y)/2N,        C_F = (N^2-1)/2N.

Loops are cyclic and without backtracking; those that differ by a translation, the point group or complex conjugation are
identified. On a torus this holds if no loop of a product winds around it: extents larger than `span`.

Sources: trivialising maps by this algebra, arXiv:0907.5491, section 3; loop equations, Makeenko and Migdal 1979.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import NamedTuple

Steps = tuple[int, ...]
Site = tuple[int, ...]
Loop = tuple[Steps, Site]
Product = tuple[Loop, ...]
Sum = dict[Product, float]

PLAQUETTE: Steps = (1, 2, -1, -2)
RECTANGLE: Steps = (1, 1, 2, -1, -1, -2)


class Passage(NamedTuple):
    """Where a loop passes a link: U_mu(site) forward (sign 1) or back (-1), and the loop cut open at `site`."""

    mu: int
    site: Site
    sign: int
    opened: Steps
    first: int


def wilson(d: int, rectangle: float = 0.0) -> Sum:
    """Return S/beta = -[(1 - 8 c1) sum_P + c1 sum_R] Re tau, c1 = `rectangle`: the action of `theories.Wilson`.

    >>> wilson(2)
    {(((-2, -1, 2, 1), (0, 0)),): -1.0}
    """
    parts = {PLAQUETTE: 1.0 - 8.0 * rectangle, RECTANGLE: rectangle}
    loops = {product([(steps, (0,) * d)]): weight for steps, weight in parts.items() if weight}
    return {loop: -weight * len(images(loop)) for loop, weight in loops.items()}


def product(loops: list[Loop]) -> Product:
    """Return the canonical form of a product of loops, () for a constant.

    >>> product([((1, 1, 2, -1, -1, -2), (3, 4))]) == product([((-2, 1, 2, 2, -1, -2), (0, 0))])
    True
    """
    return images(_oriented(tuple(loops)))[0]


@cache
def images(loops: Product) -> tuple[Product, ...]:
    """Return the images of a product under the point group, distinct up to translations and conjugation.

    >>> len(images(product([((1, 1, 2, -1, -1, -2), (0, 0))])))
    2
    """
    if not loops:
        return ((),)
    return tuple(sorted({_oriented(_turned(loops, *turn)) for turn in _point_group(len(loops[0][1]))}))


def laplacian(loops: Product, n: int) -> Sum:
    """Return sum over links and a of d_a d_a W.

    >>> laplacian(product([((1, 2, -1, -2), (0, 0))]), 3)
    {(((-2, -1, 2, 1), (0, 0)),): -5.333333333333333}
    """
    result: Sum = {}
    passages = [(k, passage) for k, loop in enumerate(loops) for passage in passing(loop)]
    _add(result, list(loops), -len(passages) * (n * n - 1) / (2.0 * n))
    for (k, a), (l, b) in itertools.combinations(passages, 2):
        if (a.mu, a.site) != (b.mu, b.site):
            continue
        rest, sign = [loop for m, loop in enumerate(loops) if m not in (k, l)], float(a.sign * b.sign)
        if k == l:
            cut = (b.first - a.first) % len(a.opened)
            halves = [(a.opened[:cut], a.site), (a.opened[cut:], a.site)]
            _add(result, rest + halves, -sign * n)
        else:
            _add(result, [*rest, (a.opened + b.opened, a.site)], -sign / n)
        _add(result, list(loops), sign / n)
    return _cleaned(result)


def gradients(loops: Product, other: Sum, n: int) -> Sum:
    """Return sum over links and a of d_a W d_a S, W the product and S the other sum.

    >>> plaquette = product([((1, 2, -1, -2), (0, 0))])
    >>> len(gradients(plaquette, wilson(2), 3))
    8
    """
    result: Sum = {}
    through = {mu: list(_through(other, mu)) for mu in range(len(loops[0][1]))}
    for k, loop in enumerate(loops):
        rest = [another for m, another in enumerate(loops) if m != k]
        for one in passing(loop):
            for weight, two, company in through[one.mu]:
                step = tuple(a - b for a, b in zip(one.site, two.site, strict=True))
                near = [(steps, _moved(start, step)) for steps, start in company]
                share = -one.sign * two.sign * weight / (2.0 * n)
                joined = (one.opened + two.opened, one.site)
                _add(result, [*rest, *near, joined], share)
                _add(result, [*loops, *near, (two.opened, one.site)], -share)
    return _cleaned(result)


def combined(terms: Iterator[tuple[float, Sum]]) -> Sum:
    """Return sum_i c_i S_i."""
    total: Sum = {}
    for weight, part in terms:
        for loops, coefficient in part.items():
            total[loops] = total.get(loops, 0.0) + weight * coefficient
    return total


@lru_cache(maxsize=32)
def tower(n: int, d: int, order: int, rectangle: float = 0.0) -> tuple[Product, ...]:
    """Return the products in Luescher's series up to an order, in the order in which they appear.

    Order 1 has the loops of the action; order k + 1 those in the scalar products of the gradients of order k with that of
    the action, and those in their Laplacians. Raises ValueError for an order below 1.

    >>> [len(tower(3, 2, order)) for order in (1, 2, 3)], len(tower(3, 4, 2))
    ([1, 8, 44], 12)
    """
    if order < 1:
        raise ValueError(f"the series starts at order 1, got {order}")
    action = wilson(d, rectangle)
    known = dict.fromkeys(_closed(list(action), n))
    newest = list(known)
    for _ in range(order - 1):
        ahead = [loops for known_loops in newest for loops in gradients(known_loops, action, n)]
        newest = [loops for loops in _closed(ahead, n) if loops not in known]
        known |= dict.fromkeys(newest)
    return tuple(known)


def span(products: tuple[Product, ...]) -> int:
    """Return the largest extent of the products along an axis, which must be smaller than that of the lattice.

    >>> span(tower(3, 2, 1)), span(tower(3, 2, 2)), span(tower(3, 2, 3))
    (1, 2, 3)
    """
    return max(
        (
            max(corner[axis] for corner in corners) - min(corner[axis] for corner in corners)
            for corners in map(_corners, products)
            for axis in range(len(corners[0]))
        ),
        default=0,
    )


def passing(loop: Loop) -> list[Passage]:
    """Return the passages of a loop, in order.

    >>> [(p.mu, p.site, p.sign) for p in passing(((1, 2, -1, -2), (0, 0)))]
    [(0, (0, 0), 1), (1, (1, 0), 1), (0, (0, 1), -1), (1, (0, 0), -1)]
    """
    steps, position = loop
    passages = []
    for k, step in enumerate(steps):
        ahead = _moved(position, unit(step, len(position)))
        site, first = (position, k) if step > 0 else (ahead, k + 1)
        opened = steps[first:] + steps[:first]
        passages.append(Passage(abs(step) - 1, site, 1 if step > 0 else -1, opened, first))
        position = ahead
    return passages


def unit(step: int, d: int) -> Site:
    """Return the displacement of one step.

    >>> unit(-2, 3)
    (0, -1, 0)
    """
    return tuple((1 if step > 0 else -1) if axis == abs(step) - 1 else 0 for axis in range(d))


def reverse(steps: Steps) -> Steps:
    """Return the reversed path.

    >>> reverse((1, 2))
    (-2, -1)
    """
    return tuple(-step for step in reversed(steps))


def _through(terms: Sum, mu: int) -> Iterator[tuple[float, Passage, list[Loop]]]:
    """All passages along mu of the terms' images and conjugates, with their weights and the other loops of the product."""
    for loops, weight in terms.items():
        for image in images(loops):
            for turned in (image, tuple((reverse(steps), start) for steps, start in image)):
                for k, loop in enumerate(turned):
                    company = [other for m, other in enumerate(turned) if m != k]
                    for passage in passing(loop):
                        if passage.mu == mu:
                            yield 0.5 * weight / len(images(loops)), passage, company


def _closed(products: list[Product], n: int) -> list[Product]:
    """The smallest set of products that contains these and is closed under the Laplacian, without constants."""
    closed: dict[Product, None] = {}
    waiting = [loops for loops in products if loops]
    while waiting:
        loops = waiting.pop(0)
        if loops not in closed:
            closed[loops] = None
            waiting += [more for more in laplacian(loops, n) if more]
    return list(closed)


def _add(total: Sum, loops: list[Loop], weight: float) -> None:
    name = product(loops)
    total[name] = total.get(name, 0.0) + weight


def _cleaned(total: Sum) -> Sum:
    """The sum without terms that have cancelled."""
    largest = max(map(abs, total.values()), default=0.0)
    return {loops: weight for loops, weight in total.items() if abs(weight) > 1e-13 * largest}


@cache
def _oriented(loops: Product) -> Product:
    """One representative of all translates of a product and of its conjugate."""
    reduced = [loop for loop in map(_reduced, loops) if loop[0]]
    if not reduced:
        return ()
    back = [(reverse(steps), start) for steps, start in reduced]
    return min(_at_origin([first_rotation(loop) for loop in side]) for side in (reduced, back))


def _reduced(loop: Loop) -> Loop:
    """The loop without backtracking."""
    kept: list[int] = []
    for step in loop[0]:
        if kept and kept[-1] == -step:
            kept.pop()
        else:
            kept.append(step)
    start = loop[1]
    while len(kept) > 1 and kept[0] == -kept[-1]:
        start, kept = _moved(start, unit(kept[0], len(start))), kept[1:-1]
    return tuple(kept), start


def first_rotation(loop: Loop) -> Loop:
    """Return the lexicographically first cyclic rotation of the loop.

    >>> first_rotation(((1, 2, -1, -2), (0, 0)))
    ((-2, 1, 2, -1), (0, 1))
    """
    steps, position = loop
    rotations = []
    for k, step in enumerate(steps):
        rotations.append((steps[k:] + steps[:k], position))
        position = _moved(position, unit(step, len(position)))
    return min(rotations)


def _at_origin(loops: list[Loop]) -> Product:
    """The first of the translates with one of the first loops at the origin."""
    first = min(steps for steps, _ in loops)
    origins = [start for steps, start in loops if steps == first]
    return min(
        tuple(sorted((steps, tuple(a - b for a, b in zip(start, origin, strict=True))) for steps, start in loops))
        for origin in origins
    )


def _turned(loops: Product, axes: tuple[int, ...], signs: tuple[int, ...]) -> Product:
    """The product with axis k mapped to signs[k] axes[k]."""

    def step(s: int) -> int:
        return (1 if s > 0 else -1) * signs[abs(s) - 1] * (axes[abs(s) - 1] + 1)

    def site(x: Site) -> Site:
        image = [0] * len(x)
        for axis, coordinate in enumerate(x):
            image[axes[axis]] = signs[axis] * coordinate
        return tuple(image)

    return tuple((tuple(map(step, steps)), site(start)) for steps, start in loops)


@cache
def _point_group(d: int) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    return tuple(itertools.product(itertools.permutations(range(d)), itertools.product((1, -1), repeat=d)))


def _corners(loops: Product) -> list[Site]:
    """All sites on the loops of a product."""
    sites = []
    for steps, position in loops:
        sites.append(position)
        for step in steps[:-1]:
            position = _moved(position, unit(step, len(position)))
            sites.append(position)
    return sites


def _moved(site: Site, step: Site) -> Site:
    return tuple(a + b for a, b in zip(site, step, strict=True))
