"""Products of Wilson loops on fields of links: their values and the gradient of their sum, from a plan made once on the host.

Inside, links are rows `(N, N, d V, batch)`: the sites of all directions on one axis, the batch last, so that every gather
moves whole rows. A path is the product of its halves, found once for all loops (`Plan.levels`); a loop's trace needs no more
than its halves. With t_w the trace of loop w over N and E = sum_x sum_i c_i Re prod_l t_l(x), the gradient comes in two steps,

    g_w(x) = dE/dt_w(x)   (products of the other traces),      X_mu(x) = U_mu(x) sum_k g_w(k)(x - s_k) V_k(x + mu),

V_k the paths that close the link to a loop; d_a E = Re tr(i T_a X)/N.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from functools import lru_cache
from typing import Any, NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.core import matrices
from haarflow.core.sun import SU
from haarflow.flows import loop_algebra
from haarflow.flows.loop_algebra import Loop, Product, Site, Steps, images

Array = Any
Pair = tuple[numpy.ndarray, numpy.ndarray]


class Plan(NamedTuple):
    """Tables of a set of products on a lattice: int32 gathers `(..., V)` and weights.

    `levels`: the halves of each level's paths in what stands before; `traces`: those of the loops' halves, `(loop, V)`.
    `factors`: the loops of each image of each product, `(image, most factors, V)` rows of (traces, their conjugates, 1);
    `means` `(product, image)` averages over images; `slopes` what the gradient wants, if any product has one.
    """

    levels: tuple[Pair, ...]
    traces: Pair
    factors: numpy.ndarray
    means: numpy.ndarray
    slopes: Slopes | None


class Slopes(NamedTuple):
    """Tables of the gradient. A term is one loop of one image of one product.

    `others` `(term, most - 1, V)`: the image's other loops; `heads` `(loop, term)`: which loop a term is; `owners` and
    `shares` `(term,)`: its product and one over the number of images. `closings`: for each direction the paths that close
    a link to a loop, by left halves, right halves, rows of the loops' slopes, and how often each appears.
    """

    others: numpy.ndarray
    heads: numpy.ndarray
    owners: numpy.ndarray
    shares: numpy.ndarray
    closings: tuple[tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray, numpy.ndarray], ...]


def rows(links: Array, d: int) -> Array:
    """Return links `(*batch, d, N, N, *lattice)` as rows `(N, N, d V, batch)`.

    >>> import numpy as np
    >>> rows(np.zeros((5, 2, 3, 3, 4, 4)), 2).shape
    (3, 3, 32, 5)
    """
    xp, n = array_namespace(links), links.shape[-d - 1]
    flat = xp.permute_dims(xp.reshape(links, (-1, d, n, n, math.prod(links.shape[-d:]))), (2, 3, 1, 4, 0))
    return xp.reshape(flat, (n, n, -1, flat.shape[-1]))


def links_of(rows: Array, shape: tuple[int, ...], d: int) -> Array:
    """Return rows as links of a shape `(*batch, d, N, N, *lattice)`.

    >>> import numpy as np
    >>> links = np.arange(5 * 2 * 9 * 16.0).reshape(5, 2, 3, 3, 4, 4)
    >>> bool((links_of(rows(links, 2), links.shape, 2) == links).all())
    True
    """
    xp, n = array_namespace(rows), rows.shape[0]
    parts = xp.reshape(rows, (n, n, d, -1, rows.shape[-1]))
    return xp.reshape(xp.permute_dims(parts, (4, 2, 0, 1, 3)), shape)


def traces(plan: Plan, rows: Array, lattice: tuple[int, ...]) -> tuple[Array, Array]:
    """Return the paths of the plan as rows and tr/N of its loops, their conjugates and ones, `(2W+1, V, batch)`."""
    xp, volume = array_namespace(rows), math.prod(lattice)
    keep = backends.of(rows).materialise
    store = keep(_letters(rows, lattice))
    for left, right in plan.levels:
        found = matrices.matmul(_gather(store, left), _gather(store, right), 2)
        store = keep(xp.concat([store, found], axis=2))
    left, right = (_gather(store, table) for table in plan.traces)
    loops = xp.sum(left * xp.permute_dims(right, (1, 0, 2, 3)), axis=(0, 1)) / float(rows.shape[0])
    loops = xp.reshape(loops, (-1, volume, rows.shape[-1]))
    return store, xp.concat([loops, xp.conj(loops), xp.ones_like(loops[:1, :, :])], axis=0)


def values(plan: Plan, loops: Array) -> Array:
    """Return the products W_i `(product, batch)` from the loops' traces."""
    xp = array_namespace(loops)
    sums = xp.sum(xp.real(_multiplied(loops, plan.factors)), axis=1)
    return xp.matmul(backends.of(loops).asarray(plan.means, dtype=sums.dtype), sums)


def gradient(plan: Plan, store: Array, loops: Array, coefficients: Array, lattice: tuple[int, ...]) -> Array:
    """Return d_a sum_i c_i W_i over the plan's moving products as rows `(N^2-1, d V, batch)`, coefficients `(product, batch or 1)`."""
    xp, n, (volume, batch) = array_namespace(store), store.shape[0], loops.shape[1:]
    backend, tables = backends.of(store), plan.slopes
    if tables is None:
        raise ValueError("this plan is one for values: let some of its products move")
    parts = xp.take(coefficients, backend.asarray(tables.owners), axis=0)
    terms = _multiplied(loops, tables.others) * (parts * backend.asarray(tables.shares, dtype=parts.dtype))[:, None, :]
    heads = backend.asarray(tables.heads, dtype=parts.dtype)
    weights = [
        xp.reshape(xp.matmul(heads, xp.reshape(part, (part.shape[0], -1))), (-1, volume, batch))
        for part in (xp.real(terms), xp.imag(terms))
    ]
    slopes = matrices.complex_array(*weights)
    slopes = xp.reshape(xp.concat([slopes, xp.conj(slopes)], axis=0), (-1, batch))
    found = []
    for mu, (left, right, table, times) in enumerate(tables.closings):
        paths = matrices.matmul(_gather(store, left), _gather(store, right), 2)
        weight = xp.take(slopes, backend.asarray(table.reshape(-1)), axis=0)
        weight = xp.reshape(weight, (-1, volume, batch)) * backend.asarray(times, dtype=parts.dtype)[:, None, None]
        paths = xp.reshape(paths, (n, n, -1, volume, batch)) * weight
        link = store[:, :, mu * volume : (mu + 1) * volume, :]
        found.append(matrices.matmul(link, xp.sum(paths, axis=2), 2))
    return (-0.5 / n) * SU(n, 2).coordinates(-1j * xp.concat(found, axis=2))


def _letters(rows: Array, lattice: tuple[int, ...]) -> Array:
    """The links forward, then those back: U_mu(x - mu)^+."""
    behind = _gather(rows, _behind(tuple(lattice)))
    return array_namespace(rows).concat([rows, matrices.dagger(behind, 2)], axis=2)


def _gather(store: Array, table: numpy.ndarray) -> Array:
    backend = backends.of(store)
    return backend.materialise(array_namespace(store).take(store, backend.asarray(table.reshape(-1)), axis=2))


def _multiplied(loops: Array, table: numpy.ndarray) -> Array:
    """prod over the table's middle axis of traces, `(term, V, batch)`."""
    xp, (_, volume, batch) = array_namespace(loops), loops.shape
    flat, found = xp.reshape(loops, (-1, batch)), None
    for place in range(table.shape[1]):
        rows = xp.take(flat, backends.of(loops).asarray(table[:, place, :].reshape(-1)), axis=0)
        found = rows if found is None else found * rows
    return xp.reshape(found, (-1, volume, batch))


@lru_cache(maxsize=64)
def plan(products: tuple[Product, ...], lattice: tuple[int, ...], moving: int | None = None) -> Plan:
    """Return the plan of some products on a lattice, the first `moving` of which have a gradient (None: all).

    Raises ValueError where a product reaches around the lattice.
    """
    wide = loop_algebra.span(products)
    if min(lattice) <= wide:
        raise ValueError(
            f"loops that cover {wide} sites want extents of at least {wide + 1}, got the lattice {lattice}: take a larger "
            "lattice or a lower order"
        )
    names = [(i, [_named(loop) for loop in image]) for i, loops in enumerate(products) for image in images(loops)]
    words = {steps: place for place, steps in enumerate(dict.fromkeys(_steps(names)))}
    steep = [(i, image) for i, image in names if moving is None or i < moving]
    closings = [_closings(list(dict.fromkeys(_steps(steep))), mu, len(lattice)) for mu in range(len(lattice))]
    paths = [*words, *(path for found in closings for path, *_ in found)]
    sites = _Sites(tuple(lattice), words, _slots([half for path in paths for half in halves(path)]))
    most = max(len(image) for _, image in names)
    counts = numpy.asarray([len(images(loops)) for loops in products])
    return Plan(
        tuple(sites.products(level) for level in _levels(sites.slots)),
        sites.products(list(words)),
        numpy.stack([sites.factors(image, image[0][1], most) for _, image in names]),
        (numpy.arange(len(products))[:, None] == [i for i, _ in names]) / counts[:, None],
        _slopes(steep, counts, closings, sites, max(most - 1, 1)) if steep else None,
    )


def _steps(names: list) -> list[Steps]:
    """The loops of some images, by their steps."""
    return [steps for _, image in names for steps, _, _ in image]


def _slopes(names: list, counts: numpy.ndarray, closings: list, sites: _Sites, most: int) -> Slopes:
    """The gradient's tables, from the images' loops `names`."""
    terms = [(i, l, image) for i, image in names for l in range(len(image))]
    others, heads = [], numpy.zeros((len(sites.words), len(terms)))
    for place, (_, l, image) in enumerate(terms):
        own, start, turned = image[l]
        rest = [(steps, site, conj != turned) for m, (steps, site, conj) in enumerate(image) if m != l]
        others.append(sites.factors(rest, start, most))
        heads[sites.words[own], place] = 1.0
    owners = numpy.asarray([i for i, *_ in terms], dtype="int32")
    tables = tuple(sites.closing(found, mu) for mu, found in enumerate(closings))
    return Slopes(numpy.stack(others), heads, owners, 1.0 / counts[owners][:, None], tables)


def halves(steps: Steps) -> tuple[Steps, Steps]:
    """Return a path's halves.

    >>> halves((1, 2, -1))
    ((1,), (2, -1))
    """
    return steps[: len(steps) // 2], steps[len(steps) // 2 :]


def _named(loop: Loop) -> tuple[Steps, Site, bool]:
    """A loop in the orientation of its name, where it starts, and whether that is its conjugate."""
    back = loop_algebra.first_rotation((loop_algebra.reverse(loop[0]), loop[1]))
    forward = loop_algebra.first_rotation(loop)
    return (*back, True) if back[0] < forward[0] else (*forward, False)


def _closings(words: list[Steps], mu: int, d: int) -> list[tuple[Steps, Steps, Site, bool, int]]:
    """(path from x + mu to x, loop, from its start to x, conjugate, how often) for the loops through U_mu(x)."""
    found: Counter = Counter()
    for steps in words:
        for here in loop_algebra.passing((steps, (0,) * d)):
            if here.mu == mu:
                opened = here.opened if here.sign > 0 else loop_algebra.reverse(here.opened)
                found[opened[1:], steps, here.site, here.sign < 0] += 1
    return [(*key, times) for key, times in found.items()]


def _slots(paths: list[Steps]) -> dict[Steps, int]:
    """Where each path stands: letters first (forward, then back), then by length, halves before wholes."""
    needed: set[Steps] = set()
    waiting = list(paths)
    while waiting:
        steps = waiting.pop()
        if len(steps) > 1 and steps not in needed:
            needed.add(steps)
            waiting += halves(steps)
    longer = sorted(needed, key=lambda steps: (_level(steps), steps))
    return {steps: place for place, steps in enumerate(longer)}


def _level(steps: Steps) -> int:
    return (len(steps) - 1).bit_length()


def _levels(slots: dict[Steps, int]) -> list[list[Steps]]:
    return [list(level) for _, level in itertools.groupby(slots, key=_level)]


class _Sites:
    """Sites of a lattice by number, and the rows in which paths and loops stand."""

    def __init__(self, lattice: tuple[int, ...], words: dict[Steps, int], slots: dict[Steps, int]) -> None:
        self.lattice, self.words, self.slots, self.volume = lattice, words, slots, math.prod(lattice)
        self.places = numpy.indices(lattice).reshape(len(lattice), -1)

    def at(self, step: Site) -> numpy.ndarray:
        """The numbers of all sites moved by a step."""
        moved = [(x + s) % extent for x, s, extent in zip(self.places, step, self.lattice, strict=True)]
        return numpy.ravel_multi_index(moved, self.lattice)

    def path(self, steps: Steps, step: Site) -> numpy.ndarray:
        """The rows of a path that starts at x + step."""
        d = len(self.lattice)
        slot = (abs(steps[0]) - 1 + (0 if steps[0] > 0 else d)) if len(steps) == 1 else 2 * d + self.slots[steps]
        return slot * self.volume + self.at(step)

    def products(self, words: list[Steps], start: Site | None = None) -> Pair:
        """The rows of the halves of paths from x + start, `(path, V)` each."""
        start = start or (0,) * len(self.lattice)
        left, right = [], []
        for steps in words:
            first, second = halves(steps)
            left.append(self.path(first, start))
            right.append(self.path(second, _ahead(start, first)))
        return numpy.stack(left).astype("int32"), numpy.stack(right).astype("int32")

    def trace(self, steps: Steps, conj: bool) -> int:
        """The place of a loop's trace, or of its conjugate."""
        return self.words[steps] + conj * len(self.words)

    def factors(self, image: list, origin: Site, most: int) -> numpy.ndarray:
        """The rows of the traces of a product seen from `origin`, filled up with ones, `(most, V)`."""
        found = [
            self.trace(steps, conj) * self.volume + self.at(tuple(a - b for a, b in zip(start, origin, strict=True)))
            for steps, start, conj in image
        ]
        ones = 2 * len(self.words) * self.volume + numpy.arange(self.volume)
        return numpy.stack(found + [ones] * (most - len(found))).astype("int32")

    def closing(self, found: list, mu: int) -> tuple:
        """The tables of the paths that close a link."""
        ahead = loop_algebra.unit(mu + 1, len(self.lattice))
        left, right = self.products([path for path, *_ in found], ahead)
        table = [
            self.trace(loop, conj) * self.volume + self.at(tuple(-s for s in site)) for _, loop, site, conj, _ in found
        ]
        return left, right, numpy.stack(table).astype("int32"), numpy.asarray([float(times) for *_, times in found])


def _ahead(place: Site, steps: Steps) -> Site:
    """Where a path ends."""
    for step in steps:
        place = tuple(a + b for a, b in zip(place, loop_algebra.unit(step, len(place)), strict=True))
    return place


@lru_cache(maxsize=64)
def _behind(lattice: tuple[int, ...]) -> numpy.ndarray:
    """The rows of U_mu(x - mu)."""
    sites = _Sites(lattice, {}, {})
    d = len(lattice)
    return numpy.stack([mu * sites.volume + sites.at(loop_algebra.unit(-mu - 1, d)) for mu in range(d)]).astype("int32")
