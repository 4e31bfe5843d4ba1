"""Masks of gauge couplings: which links are active, which loops contain them, and strided access to their sublattice.

A mask is the tuple `(kind, direction, plane, period, offset)`: the active links point along mu = `direction`, and their
pattern is periodic in the plane (mu, nu) with nu = `plane`. There are two kinds:

- "stripes": the links with x_nu = offset modulo period; `period` and `offset` are integers.
- "cells": one link in each cell of the plane, (x_mu, x_nu) = offset modulo period; both are pairs (along mu, nu).

A loop is the tuple `(plane, extents, displacement)`: the rectangle in the directions `plane` = (rho, sigma) with
`extents` = (R, T) links, its corner displaced from the active site by a vector of d integers. A loop is frozen if it
contains no active link; a link traversed in both directions does not count.

The active sublattice of x `(*batch, *lattice)` is `(*batch, *coarse)`, coarse = lattice / period. It is read and written
by reshapes (L -> L/p, p), slices and concatenations; nothing is set in place.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow.backends.types import Array
from haarflow.core.lattice.geometry import check_divisible

Loop = tuple[tuple[int, int], tuple[int, int], tuple[int, ...]]

Mask = tuple[str, int, int, int | tuple[int, int], int | tuple[int, int]]  # a LinkMask as definitions hold it

KINDS = ("stripes", "cells")


class LinkMask(NamedTuple):
    """The five entries of a mask, as explained at the top of this file.

    >>> periods(LinkMask("stripes", direction=0, plane=1, period=4, offset=0), d=2)
    (1, 4)
    """

    kind: str
    direction: int
    plane: int
    period: int | tuple[int, int]
    offset: int | tuple[int, int]


def check_mask(mask: Sequence[Any], d: int) -> LinkMask:
    """Return the mask as a `LinkMask`. Raises ValueError for one that is not a mask of d dimensions.

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
    wanted = "two integers (along direction, along plane)" if mask.kind == "cells" else "one integer"
    if isinstance(mask.period, int) == (mask.kind == "cells") or isinstance(mask.offset, int) == (mask.kind == "cells"):
        raise ValueError(f"the period and offset of {mask.kind!r} are {wanted}, got {mask.period!r}, {mask.offset!r}")
    if periods(mask, d)[nu] < 2 or periods(mask, d)[mu] < 1:
        raise ValueError(f"a mask needs a period >= 2 along its plane and >= 1 along its direction, got {mask.period}")
    return mask


def periods(mask: LinkMask, d: int) -> tuple[int, ...]:
    """Return the mask's period along every axis, 1 where it does not depend on the coordinate."""
    return _per_axis(mask, mask.period, 1, d)


def offsets(mask: LinkMask, d: int) -> tuple[int, ...]:
    """Return the active site's position within its cell along every axis, 0 where the period is 1."""
    pairs = zip(_per_axis(mask, mask.offset, 0, d), periods(mask, d), strict=True)
    return tuple(offset % period for offset, period in pairs)


def _per_axis(mask: LinkMask, value: int | tuple[int, int], default: int, d: int) -> tuple[int, ...]:
    along, across = (default, value) if isinstance(value, int) else value
    return tuple(along if axis == mask.direction else across if axis == mask.plane else default for axis in range(d))


def check_extents(mask: LinkMask, lattice: tuple[int, ...]) -> None:
    """Raise ValueError if a period does not divide the extent of its axis.

    >>> check_extents(LinkMask("stripes", 0, 1, 4, 0), (8, 6))
    Traceback (most recent call last):
        ...
    ValueError: a mask of period 4 along axis 1 needs an extent divisible by 4, got extent 6 of the lattice (8, 6)
    """
    for axis, period in enumerate(periods(mask, len(lattice))):
        check_divisible(tuple(lattice), axis, period)


def extract(x: Array, period: tuple[int, ...], offset: tuple[int, ...]) -> Array:
    """Return the sublattice x(offset + period n) of `(*batch, *lattice)` for any integer offset, `(*batch, *coarse)`.

    >>> import numpy as np
    >>> extract(np.arange(8), (4,), (1,)).tolist()
    [1, 5]
    """
    xp, d = array_namespace(x), len(period)
    for axis, (step, start) in enumerate(zip(period, offset, strict=True)):
        if step == 1 and start:
            x = xp.roll(x, -start, axis=axis - d)
        if step > 1:
            x = _pick(_split(x, axis - d, step), axis - d, start % step)
            if start // step:
                x = xp.roll(x, -(start // step), axis=axis - d)
    return x


def spread(values: Array, period: tuple[int, ...], offset: tuple[int, ...]) -> Array:
    """Return zeros on the lattice `(*batch, *lattice)` with `values` `(*batch, *coarse)` on the sublattice.

    >>> import numpy as np
    >>> spread(np.asarray([1, 5]), (4,), (1,)).tolist()
    [0, 1, 0, 0, 0, 5, 0, 0]
    """
    xp, d = array_namespace(values), len(period)
    for axis, (step, start) in enumerate(zip(period, offset, strict=True)):
        if step > 1:
            zero = xp.zeros_like(values)
            row = [values if index == start % step else zero for index in range(step)]
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
    """Return on the host which links `(d, *lattice)` are active.

    >>> moving(LinkMask("stripes", 0, 1, 2, 0), 2, (1, 4)).astype(int).tolist()
    [[[1, 0, 1, 0]], [[0, 0, 0, 0]]]
    """
    coarse = tuple(extent // step for extent, step in zip(lattice, periods(mask, d), strict=True))
    active: numpy.ndarray = move_links(numpy.zeros((d, *lattice)), numpy.ones(coarse), mask, d) > 0
    return active


def contains_active(loop: Loop, mask: LinkMask, d: int) -> bool:
    """Return whether a loop, displaced from an active site, contains an active link.

    >>> mask = LinkMask("stripes", 0, 1, 4, 0)
    >>> [contains_active(((0, 1), (1, 1), (0, y)), mask, d=2) for y in range(4)]
    [True, False, False, True]
    """
    return active_count(loop, mask, d) > 0


def active_count(loop: Loop, mask: LinkMask, d: int) -> int:
    """Return how many active links a loop contains."""
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


def frozen_loops(
    mask: Sequence[Any],
    d: int,
    extents: Iterable[tuple[int, int]],
    planes: Iterable[tuple[int, int]] | None = None,
) -> tuple[Loop, ...]:
    """Return all frozen rectangles of some extents, one for each position in the mask's cell around the active link.

    `extents` are pairs of links along (mu, nu), `planes` pairs of directions, by default only the mask's plane.

    >>> frozen_loops(LinkMask("stripes", 0, 1, 4, 0), 2, [(1, 1)])
    (((0, 1), (1, 1), (0, 1)), ((0, 1), (1, 1), (0, 2)))
    """
    checked, frozen = check_mask(mask, d), list[Loop]()
    for rho, sigma in planes or [(checked.direction, checked.plane)]:
        for r, t in extents:
            centre = {rho: (r - 1) // 2, sigma: (t - 1) // 2 if sigma == checked.plane else 0}
            ranges = [_corners(step, centre.get(axis, 0)) for axis, step in enumerate(periods(checked, d))]
            loops: list[Loop] = [((rho, sigma), (r, t), corner) for corner in itertools.product(*ranges)]
            frozen += [loop for loop in loops if not contains_active(loop, checked, d)]
    return tuple(frozen)


def _corners(period: int, centre: int) -> range:
    """The coordinates of a loop's corner, one for each position in a period, that centre the loops on the active site."""
    first = 1 - (period + 1) // 2 - centre
    return range(first, first + period)


def _split(x: Array, axis: int, step: int) -> Array:
    """(..., L, ...) -> (..., L/step, step, ...), the new axis behind the old."""
    shape = list(x.shape)
    first = len(shape) + axis
    return array_namespace(x).reshape(x, (*shape[:first], shape[first] // step, step, *shape[first + 1 :]))


def _join(x: Array, axis: int) -> Array:
    """Undo `_split`."""
    shape = list(x.shape)
    first = len(shape) + axis - 1
    return array_namespace(x).reshape(x, (*shape[:first], shape[first] * shape[first + 1], *shape[first + 2 :]))


def _pick(x: Array, axis: int, index: int) -> Array:
    """One entry of the axis that `_split` added behind `axis`."""
    return x[(..., index) + (slice(None),) * (-axis - 1)]
