"""Masks of gauge couplings: which links move, which loops hold them, and strided access to the active sublattice.

A mask is the tuple `(kind, direction, plane, period, offset)`: links along mu = `direction` move, seen from the plane
(mu, nu) with nu = `plane`. Two kinds:

- "stripes": the links with x_nu = offset modulo period; `period` and `offset` are whole numbers.
- "cells": one link in each cell of the plane, (x_mu, x_nu) = offset modulo period; both are pairs (along mu, nu).

A loop is the tuple `(plane, extents, displacement)`: the rectangle in the directions `plane` = (rho, sigma) with
`extents` = (R, T) links, its corner displaced from the active site by a vector of d whole numbers. Frozen means
"contains no active link"; a link that a loop passes there and back does not count as contained.

The active sublattice of x `(*batch, *lattice)` is `(*batch, *coarse)`, coarse = lattice / period. Striding and writing
back are reshapes (L -> L/p, p), slices and concatenations, nothing is set in place.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow.backends.types import Array
from haarflow.core.lattice import check_divisible

Loop = tuple[tuple[int, int], tuple[int, int], tuple[int, ...]]

KINDS = ("stripes", "cells")


class LinkMask(NamedTuple):
    """The five words of a mask, see the head of this file.

    >>> periods(LinkMask("stripes", direction=0, plane=1, period=4, offset=0), d=2)
    (1, 4)
    """

    kind: str
    direction: int
    plane: int
    period: Any
    offset: Any


def check_mask(mask: Any, d: int) -> LinkMask:
    """Return the mask as a `LinkMask`, or raise ValueError with what is wrong.

    >>> check_mask(("stripes", 0, 0, 4, 0), d=2)
    Traceback (most recent call last):
        ...
    ValueError: a mask's direction and plane are two different axes of 0 .. 1, got 0 and 0
    """
    if len(mask) != 5 or mask[0] not in KINDS:
        raise ValueError(f"a mask is (kind, direction, plane, period, offset) with kind of {KINDS}, got {mask!r}")
    mask = LinkMask(*mask)
    mu, nu = mask.direction, mask.plane
    if mu == nu or not (0 <= mu < d and 0 <= nu < d):
        raise ValueError(f"a mask's direction and plane are two different axes of 0 .. {d - 1}, got {mu} and {nu}")
    wanted = "two whole numbers (along direction, along plane)" if mask.kind == "cells" else "one whole number"
    if isinstance(mask.period, int) == (mask.kind == "cells") or isinstance(mask.offset, int) == (mask.kind == "cells"):
        raise ValueError(f"the period and offset of {mask.kind!r} are {wanted}, got {mask.period!r}, {mask.offset!r}")
    if periods(mask, d)[nu] < 2 or periods(mask, d)[mu] < 1:
        raise ValueError(f"a mask needs a period >= 2 along its plane and >= 1 along its direction, got {mask.period}")
    return mask


def periods(mask: LinkMask, d: int) -> tuple[int, ...]:
    """Return the mask's period along every axis, 1 where it does not depend on the coordinate."""
    return _per_axis(mask, mask.period, 1, d)


def offsets(mask: LinkMask, d: int) -> tuple[int, ...]:
    """Return the active site's place in its cell along every axis, 0 where the period is 1."""
    places = zip(_per_axis(mask, mask.offset, 0, d), periods(mask, d), strict=True)
    return tuple(offset % period for offset, period in places)


def _per_axis(mask: LinkMask, value: Any, default: int, d: int) -> tuple[int, ...]:
    along, across = (default, value) if mask.kind == "stripes" else value
    return tuple(along if axis == mask.direction else across if axis == mask.plane else default for axis in range(d))


def check_extents(mask: LinkMask, lattice: tuple[int, ...]) -> None:
    """Raise ValueError when a period does not divide its extent, with both in the message.

    >>> check_extents(LinkMask("stripes", 0, 1, 4, 0), (8, 6))
    Traceback (most recent call last):
        ...
    ValueError: a mask of period 4 along axis 1 needs an extent divisible by 4, got extent 6 of the lattice (8, 6)
    """
    for axis, period in enumerate(periods(mask, len(lattice))):
        check_divisible(tuple(lattice), axis, period)


def extract(x: Array, period: tuple[int, ...], offset: tuple[int, ...]) -> Array:
    """Return the sublattice x(offset + period n) of `(*batch, *lattice)`, any whole offset, `(*batch, *coarse)`.

    >>> import numpy as np
    >>> extract(np.arange(8), (4,), (1,)).tolist()
    [1, 5]
    """
    xp, d = array_namespace(x), len(period)
    for axis, (step, place) in enumerate(zip(period, offset, strict=True)):
        if step == 1 and place:
            x = xp.roll(x, -place, axis=axis - d)
        if step > 1:
            x = _pick(_split(x, axis - d, step), axis - d, place % step)
            if place // step:
                x = xp.roll(x, -(place // step), axis=axis - d)
    return x


def spread(values: Array, period: tuple[int, ...], offset: tuple[int, ...]) -> Array:
    """Return zeros on the lattice `(*batch, *lattice)` with `values` `(*batch, *coarse)` on the sublattice.

    >>> import numpy as np
    >>> spread(np.asarray([1, 5]), (4,), (1,)).tolist()
    [0, 1, 0, 0, 0, 5, 0, 0]
    """
    xp, d = array_namespace(values), len(period)
    for axis, (step, place) in enumerate(zip(period, offset, strict=True)):
        if step > 1:
            zero = xp.zeros_like(values)
            row = [values if number == place % step else zero for number in range(step)]
            values = _join(xp.stack(row, axis=axis - d), axis - d)
    return values


def active_sites(x: Array, mask: LinkMask, d: int) -> Array:
    """Return the values of `(*batch, *lattice)` on the active sublattice, `(*batch, *coarse)`."""
    return extract(x, periods(mask, d), offsets(mask, d))


def move_links(links: Array, change: Array, mask: LinkMask, d: int) -> Array:
    """Return links `(*batch, d, *lattice)` with `change` `(*batch, *coarse)` added to the active ones."""
    xp = array_namespace(links)
    full = spread(change, periods(mask, d), offsets(mask, d))
    still = xp.zeros_like(full)
    rows = [full if mu == mask.direction else still for mu in range(d)]
    return links + xp.stack(rows, axis=-1 - d)


def moving(mask: LinkMask, d: int, lattice: tuple[int, ...]) -> numpy.ndarray:
    """Return on the host which links `(d, *lattice)` a coupling with this mask moves.

    >>> moving(LinkMask("stripes", 0, 1, 2, 0), 2, (1, 4)).astype(int).tolist()
    [[[1, 0, 1, 0]], [[0, 0, 0, 0]]]
    """
    coarse = tuple(extent // step for extent, step in zip(lattice, periods(mask, d), strict=True))
    return move_links(numpy.zeros((d, *lattice)), numpy.ones(coarse), mask, d) > 0


def contains_active(loop: Loop, mask: LinkMask, d: int) -> bool:
    """Return whether a loop holds an active link: its displacement counts from an active site.

    >>> mask = LinkMask("stripes", 0, 1, 4, 0)
    >>> [contains_active(((0, 1), (1, 1), (0, y)), mask, d=2) for y in range(4)]
    [True, False, False, True]
    """
    return active_count(loop, mask, d) > 0


def active_count(loop: Loop, mask: LinkMask, d: int) -> int:
    """Return how many active links stand on a loop's boundary."""
    period = periods(mask, d)
    sites = [site for direction, site in boundary(loop) if direction == mask.direction]
    return sum(all(x % step == 0 for x, step in zip(site, period, strict=True)) for site in sites)


def boundary(loop: Loop) -> list[tuple[int, tuple[int, ...]]]:
    """Return the links (direction, displacement) of a rectangle.

    >>> boundary(((0, 1), (1, 1), (0, 0)))
    [(0, (0, 0)), (0, (0, 1)), (1, (0, 0)), (1, (1, 0))]
    """
    (rho, sigma), (r, t), corner = loop
    links = []
    for along, across, steps, far in ((rho, sigma, r, t), (sigma, rho, t, r)):
        for side, step in itertools.product((0, far), range(steps)):
            site = list(corner)
            site[along] += step
            site[across] += side
            links.append((along, tuple(site)))
    return links


def frozen_loops(mask: Any, d: int, extents: Any, planes: Any = None) -> tuple[Loop, ...]:
    """Return all frozen rectangles of the given extents, one for each place in the mask's cell around the active link.

    `extents` are pairs of links along (mu, nu), `planes` pairs of directions, by default the mask's own plane alone.

    >>> frozen_loops(LinkMask("stripes", 0, 1, 4, 0), 2, [(1, 1)])
    (((0, 1), (1, 1), (0, 1)), ((0, 1), (1, 1), (0, 2)))
    """
    mask, found = check_mask(mask, d), []
    for plane in planes or [(mask.direction, mask.plane)]:
        for shape in extents:
            centre = {plane[0]: (shape[0] - 1) // 2, plane[1]: (shape[1] - 1) // 2 if plane[1] == mask.plane else 0}
            ranges = [_places(step, centre.get(axis, 0)) for axis, step in enumerate(periods(mask, d))]
            loops = [(tuple(plane), tuple(shape), place) for place in itertools.product(*ranges)]
            found += [loop for loop in loops if not contains_active(loop, mask, d)]
    return tuple(found)


def _places(period: int, centre: int) -> range:
    """One corner for each place of a period such that the loop's middle lies around the active site."""
    first = 1 - (period + 1) // 2 - centre
    return range(first, first + period)


def _split(x: Array, axis: int, step: int) -> Array:
    """(..., L, ...) -> (..., L/step, step, ...), the new axis behind the old."""
    shape = list(x.shape)
    place = len(shape) + axis
    return array_namespace(x).reshape(x, (*shape[:place], shape[place] // step, step, *shape[place + 1 :]))


def _join(x: Array, axis: int) -> Array:
    """Undo `_split`."""
    shape = list(x.shape)
    place = len(shape) + axis - 1
    return array_namespace(x).reshape(x, (*shape[:place], shape[place] * shape[place + 1], *shape[place + 2 :]))


def _pick(x: Array, axis: int, number: int) -> Array:
    """One entry of the axis that `_split` made behind `axis`."""
    return x[(..., number) + (slice(None),) * (-axis - 1)]
