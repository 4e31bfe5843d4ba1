"""Products of Wilson loops on fields of links: values and the gradient of their sum, from a plan made once on the host.

Internally links are rows `(d V, N, N, batch)` (flows/links/layout.py): the sites of all directions on the first axis, the batch last, so that every
gather moves whole matrices of all configurations. A path is the product of its halves, computed once for all loops
(`Plan.levels`); the trace of a loop needs only its halves. With t_w the trace of loop w over N and E = sum_x sum_i c_i Re
prod_l t_l(x), the gradient is propagated backwards along the same tree: with dE = Re tr sum_P A_P dP for every path P, and
P(x) = L(x) R(x + s) one of them,

    g_w(x) = dE/dt_w(x)   (products of the other traces),
    A_L(x) += g_w(x) R(x + s),    A_R(x + s) += g_w(x) L(x)          for the halves of a loop (N dt_w = tr dL R + tr L dR),
    A_L(x) += R(x + s) A_P(x),    A_R(x + s) += A_P(x) L(x)          for those of a path,

down to the links: d_a E = Re tr(i T_a U_mu A_mu)/N. This takes two products per path, whereas a sum over all paths that close
a link takes one for each of those.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.broadcasting import scaled
from haarflow.core.groups import matrices
from haarflow.core.groups.sun import SU
from haarflow.flows.loops import algebra
from haarflow.flows.loops.algebra import Loop, Product, Site, Steps, images

Pair = tuple[numpy.ndarray, numpy.ndarray]
Named = tuple[Steps, Site, bool]  # a loop, its start, and whether it stands for its conjugate
Image = tuple[int, list[Named]]  # the index of a product, and the loops of one of its images
Use = tuple[Steps, int]  # a path or loop, and which of its halves
Uses = dict[Steps, tuple[list[Use], list[Use]]]  # where a path is used: in longer paths, in loops


class Plan(NamedTuple):
    """Tables of a set of products on a lattice: int32 gathers `(..., V)` and weights.

    `levels`: the rows of the halves of each level's paths among those before; `traces`: those of the loops' halves,
    `(loop, V)`. `factors`: the loops of each image of each product, `(image, most factors, V)` rows of (traces, their
    conjugates, 1); `means` `(product, image)` averages over images; `slopes` the tables of the gradient, if there is one.
    """

    levels: tuple[Pair, ...]
    traces: Pair
    factors: numpy.ndarray
    means: numpy.ndarray
    slopes: Slopes | None


class Slopes(NamedTuple):
    """Tables of the gradient. A term is one loop of one image of one product.

    `others` `(term, most - 1, V)`: the image's other loops; `heads` `(loop, term)`: the loop of each term; `owners` and
    `shares` `(term,)`: its product and one over the number of images; `back`: the levels in reverse, links last.
    """

    others: numpy.ndarray
    heads: numpy.ndarray
    owners: numpy.ndarray
    shares: numpy.ndarray
    back: tuple[Back, ...]


class Back(NamedTuple):
    """Tables of one level of the backward pass, path by path: the terms of each A.

    `paths`: rows (first, second) of the products A R or L A among the paths and all A before; `halves`: rows of the other
    half of a loop and of its slope. `groups`: (number of paths, products for each, halves for each).
    """

    paths: Pair
    halves: Pair
    groups: tuple[tuple[int, int, int], ...]


def traces(plan: Plan, rows: Array, lattice: tuple[int, ...]) -> tuple[Array, Array]:
    """Return the paths of the plan as rows and tr/N of its loops, their conjugates and ones, `(2W+1, V, batch)`."""
    xp, volume = array_namespace(rows), math.prod(lattice)
    keep = backends.of(rows).materialise
    store = keep(letters(rows, lattice))
    for left, right in plan.levels:
        paths = matrices.matmul(gather(store, left), gather(store, right), 1)
        store = keep(xp.concat([store, paths], axis=0))
    loops = xp.reshape(traced(*(gather(store, table) for table in plan.traces)), (-1, volume, rows.shape[-1]))
    return store, xp.concat([loops, xp.conj(loops), xp.ones_like(loops[:1, :, :])], axis=0)


def traced(left: Array, right: Array) -> Array:
    """Return tr L R / N, `(row, batch)`."""
    xp = array_namespace(left)
    return xp.sum(left * xp.permute_dims(right, (0, 2, 1, 3)), axis=(1, 2)) / float(left.shape[1])


def values(plan: Plan, loops: Array) -> Array:
    """Return the products W_i `(product, batch)` from the loops' traces."""
    return averages(plan, _multiplied(loops, plan.factors))


def averages(plan: Plan, images: Array) -> Array:
    """Return sum_x Re of every product, averaged over its images `(image, V, batch)`: `(product, batch)`."""
    xp = array_namespace(images)
    sums = xp.sum(xp.real(images), axis=1)
    return xp.matmul(backends.of(images).asarray(plan.means, dtype=sums.dtype), sums)


def gradient(plan: Plan, store: Array, loops: Array, coefficients: Array, lattice: tuple[int, ...]) -> Array:
    """Return d_a sum_i c_i W_i over the plan's moving products, rows `(d V, N^2-1, batch)`; c is `(product, batch or 1)`.

    Raises ValueError for a plan without moving products.
    """
    xp, n, (volume, batch) = array_namespace(store), store.shape[1], loops.shape[1:]
    backend, tables = backends.of(store), plan.slopes
    if tables is None:
        raise ValueError("this plan is for values only: make one with moving products")
    parts = xp.take(coefficients, backend.asarray(tables.owners), axis=0)
    shares = parts * backend.asarray(tables.shares, dtype=parts.dtype)
    terms = scaled(shares[:, None, :], _multiplied(loops, tables.others))
    heads = backend.asarray(tables.heads, dtype=parts.dtype)
    weights = [
        xp.reshape(xp.matmul(heads, xp.reshape(part, (part.shape[0], -1))), (-1, volume, batch))
        for part in (xp.real(terms), xp.imag(terms))
    ]
    slopes = xp.reshape(matrices.complex_array(*weights), (-1, batch))
    joined, level_a = store, store
    for level in tables.back:
        level_a = _back(level, joined, slopes, volume)
        joined = backend.materialise(xp.concat([joined, level_a], axis=0))
    half = level_a.shape[0] // 2
    ahead = gather(level_a[half:, ...], _beside(tuple(lattice), 1))
    links = level_a[:half, ...] + matrices.dagger(ahead, 1)
    return (-0.5 / n) * SU(n, 1).coordinates(-1j * matrices.matmul(store[:half, ...], links, 1))


def _back(level: Back, joined: Array, slopes: Array, volume: int) -> Array:
    """The A of a level's paths, as rows."""
    xp, sums, starts = array_namespace(joined), [], [0, 0]
    first, second = (gather(joined, table) for table in level.paths)
    other, slope = level.halves
    weight = xp.take(slopes, backends.of(joined).asarray(slope.reshape(-1)), axis=0)
    terms = (matrices.matmul(first, second, 1), gather(joined, other) * weight[:, None, None, :])
    for paths, *uses in level.groups:
        total: Array = 0.0
        for kind, count in enumerate(uses):
            size = paths * count * volume
            if count:
                part = terms[kind][starts[kind] : starts[kind] + size, ...]
                part = xp.sum(xp.reshape(part, (paths, count, volume, *part.shape[1:])), axis=1)
                total = total + xp.reshape(part, (-1, *part.shape[2:]))
            starts[kind] += size
        sums.append(total)
    return xp.concat(sums, axis=0)


def letters(rows: Array, lattice: tuple[int, ...]) -> Array:
    """Return the links, followed by the reversed ones U_mu(x - mu)^+."""
    behind = gather(rows, _beside(tuple(lattice), -1))
    return array_namespace(rows).concat([rows, matrices.dagger(behind, 1)], axis=0)


def gather(store: Array, table: numpy.ndarray) -> Array:
    """Return the rows listed in a table."""
    backend = backends.of(store)
    return backend.materialise(array_namespace(store).take(store, backend.asarray(table.reshape(-1)), axis=0))


def _multiplied(loops: Array, table: numpy.ndarray) -> Array:
    """The product of traces over the table's middle axis, `(term, V, batch)`."""
    xp, (_, volume, batch) = array_namespace(loops), loops.shape
    flat, product = xp.reshape(loops, (-1, batch)), None
    for factor in range(table.shape[1]):
        rows = xp.take(flat, backends.of(loops).asarray(table[:, factor, :].reshape(-1)), axis=0)
        product = rows if product is None else product * rows
    return xp.reshape(product, (-1, volume, batch))


@lru_cache(maxsize=64)
def plan(products: tuple[Product, ...], lattice: tuple[int, ...], moving: int | None = None) -> Plan:
    """Return the plan of some products on a lattice, with a gradient for the first `moving` of them (None: all).

    Raises ValueError if a product winds around the lattice.
    """
    wide = algebra.span(products)
    if min(lattice) <= wide:
        raise ValueError(
            f"loops of extent {wide} need a lattice with extents of at least {wide + 1}, got the lattice {lattice}: take a larger "
            "lattice or a lower order"
        )
    names = _cut([(i, [_named(loop) for loop in image]) for i, loops in enumerate(products) for image in images(loops)])
    shapes = {steps: index for index, steps in enumerate(dict.fromkeys(_steps(names)))}
    steep = [(i, image) for i, image in names if moving is None or i < moving]
    sites = _Sites(tuple(lattice), shapes, _slots([half for steps in shapes for half in halves(steps)]))
    most = max(len(image) for _, image in names)
    counts = numpy.asarray([len(images(loops)) for loops in products])
    return Plan(
        tuple(sites.products(level) for level in _levels(sites.slots)),
        sites.products(list(shapes)),
        numpy.stack([sites.factors(image, image[0][1], most) for _, image in names]),
        (numpy.arange(len(products))[:, None] == [i for i, _ in names]) / counts[:, None],
        _slopes(steep, counts, sites, max(most - 1, 1)) if steep else None,
    )


def _steps(names: list[Image]) -> list[Steps]:
    """The steps of all loops of some images."""
    return [steps for _, image in names for steps, _, _ in image]


def _slopes(names: list[Image], counts: numpy.ndarray, sites: _Sites, most: int) -> Slopes:
    """The gradient's tables, from the images `names`."""
    terms = [(i, l, image) for i, image in names for l in range(len(image))]
    others, heads = [], numpy.zeros((len(sites.loops), len(terms)))
    for index, (_, l, image) in enumerate(terms):
        own, start, turned = image[l]
        rest = [(steps, site, conj != turned) for m, (steps, site, conj) in enumerate(image) if m != l]
        others.append(sites.factors(rest, start, most))
        heads[sites.loops[own], index] = 1.0
    owners = numpy.asarray([i for i, *_ in terms], dtype="int32")
    back = sites.back(list(dict.fromkeys(_steps(names))))
    return Slopes(numpy.stack(others), heads, owners, 1.0 / counts[owners][:, None], back)


def halves(steps: Steps) -> tuple[Steps, Steps]:
    """Return a path's halves.

    >>> halves((1, 2, -1))
    ((1,), (2, -1))
    """
    return steps[: len(steps) // 2], steps[len(steps) // 2 :]


def _named(loop: Loop) -> Named:
    """A loop in its canonical orientation, its starting site, and whether that is its conjugate."""
    back = algebra.first_rotation((algebra.reverse(loop[0]), loop[1]))
    forward = algebra.first_rotation(loop)
    return (*back, True) if back[0] < forward[0] else (*forward, False)


def _cut(names: list[Image]) -> list[Image]:
    """Images whose loops start, and are oriented, such that each shares as many halves as possible with shorter ones."""
    have: set[Steps] = set()
    cuts = {}
    for steps in sorted(dict.fromkeys(_steps(names)), key=len):
        turns = [(path, k) for path in (steps, algebra.reverse(steps)) for k in range(len(steps))]
        path, k = min(turns, key=lambda turn: len(_tree(halves(_turned(*turn))) - have))
        have |= _tree(halves(_turned(path, k)))
        cuts[steps] = _turned(path, k), _ahead((0,) * len(names[0][1][0][1]), path[:k]), path is not steps

    def rotated(steps: Steps, start: Site, conj: bool) -> Named:
        turned, step, back = cuts[steps]
        return turned, tuple(a + b for a, b in zip(start, step, strict=True)), conj != back

    return [(i, [rotated(*loop) for loop in image]) for i, image in names]


def _turned(steps: Steps, k: int) -> Steps:
    return steps[k:] + steps[:k]


def _tree(paths: Sequence[Steps]) -> set[Steps]:
    """Paths, their halves, the halves of these, and so on, without single steps."""
    paths_of: set[Steps] = set()
    waiting = list(paths)
    while waiting:
        steps = waiting.pop()
        if len(steps) > 1 and steps not in paths_of:
            paths_of.add(steps)
            waiting += halves(steps)
    return paths_of


def _slots(paths: list[Steps]) -> dict[Steps, int]:
    """The index of each path of more than one link: ordered by length, halves before wholes."""
    longer = sorted(_tree(paths), key=lambda steps: (_level(steps), steps))
    return {steps: index for index, steps in enumerate(longer)}


def _level(steps: Steps) -> int:
    return (len(steps) - 1).bit_length()


def _levels(slots: dict[Steps, int]) -> list[list[Steps]]:
    return [list(level) for _, level in itertools.groupby(slots, key=_level)]


class _Sites:
    """The sites of a lattice by index, and the rows of paths and loops."""

    def __init__(self, lattice: tuple[int, ...], loops: dict[Steps, int], slots: dict[Steps, int]) -> None:
        self.lattice, self.loops, self.slots, self.volume = lattice, loops, slots, math.prod(lattice)
        self.coordinates = numpy.indices(lattice).reshape(len(lattice), -1)

    def at(self, step: Site) -> numpy.ndarray:
        """The indices of all sites plus a displacement."""
        moved = [(x + s) % extent for x, s, extent in zip(self.coordinates, step, self.lattice, strict=True)]
        return numpy.ravel_multi_index(moved, self.lattice)

    def path(self, steps: Steps, step: Site) -> numpy.ndarray:
        """The rows of a path that starts at x + step."""
        d = len(self.lattice)
        slot = (abs(steps[0]) - 1 + (0 if steps[0] > 0 else d)) if len(steps) == 1 else 2 * d + self.slots[steps]
        return slot * self.volume + self.at(step)

    def products(self, paths: list[Steps], start: Site | None = None) -> Pair:
        """The rows of the halves of paths from x + start, `(path, V)` each."""
        start = start or (0,) * len(self.lattice)
        left, right = [], []
        for steps in paths:
            first, second = halves(steps)
            left.append(self.path(first, start))
            right.append(self.path(second, _ahead(start, first)))
        return numpy.stack(left).astype("int32"), numpy.stack(right).astype("int32")

    def trace(self, steps: Steps, conj: bool) -> int:
        """The index of a loop's trace, or of its conjugate."""
        return self.loops[steps] + conj * len(self.loops)

    def factors(self, image: list[Named], origin: Site, most: int) -> numpy.ndarray:
        """The rows of the traces of a product relative to `origin`, padded with ones, `(most, V)`."""
        rows = [
            self.trace(steps, conj) * self.volume + self.at(tuple(a - b for a, b in zip(start, origin, strict=True)))
            for steps, start, conj in image
        ]
        ones = 2 * len(self.loops) * self.volume + numpy.arange(self.volume)
        return numpy.stack(rows + [ones] * (most - len(rows))).astype("int32")

    def back(self, loops: list[Steps]) -> tuple[Back, ...]:
        """The levels of the backward pass from the traces of loops to the links, the longest paths first."""
        d = len(self.lattice)
        slots = _slots([half for steps in loops for half in halves(steps)])
        letters: list[Steps] = [(sign * (mu + 1),) for sign in (1, -1) for mu in range(d)]
        uses: Uses = {path: ([], []) for path in (*slots, *letters)}
        for kind, wholes in enumerate((slots, loops)):
            for whole in wholes:
                for side, half in enumerate(halves(whole)):
                    uses[half][kind].append((whole, side))
        levels: list[Back] = []
        rows: dict[Steps, int] = {}
        for level in reversed(_levels(slots)):
            levels.append(self._back(sorted(level, key=lambda path: [len(kind) for kind in uses[path]]), uses, rows))
        return (*levels, self._back(letters, uses, rows))

    def _back(self, paths: list[Steps], uses: Uses, rows: dict[Steps, int]) -> Back:
        """The tables of one level; `rows` has the indices of the A of longer paths and receives those of this level."""
        products, terms = [], []
        done = 2 * len(self.lattice) + len(self.slots) + len(rows)
        rows |= {path: done + k for k, path in enumerate(paths)}
        for path in paths:
            for whole, side in uses[path][0]:
                start, other = self._other(whole, side)
                pair = (self.path(*other), rows[whole] * self.volume + self.at(start))
                products.append(pair if side == 0 else pair[::-1])
            for whole, side in uses[path][1]:
                start, other = self._other(whole, side)
                terms.append((self.path(*other), self.loops[whole] * self.volume + self.at(start)))
        groups = itertools.groupby((len(uses[path][0]), len(uses[path][1])) for path in paths)
        counted = tuple((len(list(same)), *counts) for counts, same in groups)
        return Back(self._pair(products), self._pair(terms), counted)

    def _other(self, whole: Steps, side: int) -> tuple[Site, tuple[Steps, Site]]:
        """The start of a path or loop relative to one of its halves, and the other half with its start."""
        zero = (0,) * len(self.lattice)
        first, second = halves(whole)
        if side == 0:
            return zero, (second, _ahead(zero, first))
        back = tuple(-step for step in _ahead(zero, first))
        return back, (first, back)

    def _pair(self, pairs: list[Pair]) -> Pair:
        shape = (len(pairs), self.volume)
        one, two = (numpy.asarray([pair[k] for pair in pairs], dtype="int32").reshape(shape) for k in (0, 1))
        return one, two


def _ahead(site: Site, steps: Steps) -> Site:
    """The end of a path."""
    for step in steps:
        site = tuple(a + b for a, b in zip(site, algebra.unit(step, len(site)), strict=True))
    return site


@lru_cache(maxsize=64)
def _beside(lattice: tuple[int, ...], sign: int) -> numpy.ndarray:
    """The rows of U_mu(x +- mu)."""
    sites, d = _Sites(lattice, {}, {}), len(lattice)
    steps = (algebra.unit(sign * (mu + 1), d) for mu in range(d))
    return numpy.stack([mu * sites.volume + sites.at(step) for mu, step in enumerate(steps)]).astype("int32")
