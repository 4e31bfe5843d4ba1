"""The even and the odd sites of a lattice in two arrays, packed along the last axis: one half is updated at fixed other half.

Site x of parity s (the sum of its coordinates mod 2) is stored at y = x_last // 2 in an array `(..., *lattice')` whose last
extent is half the lattice's. All extents must be even. A step to a neighbour changes the parity: along other axes it is a
roll of the other array, along the last one a roll where the site is the right one of its pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Group
from haarflow.core.lattice.geometry import shift

Links = Sequence[Array]


def packable(lattice: tuple[int, ...]) -> bool:
    """Return whether even and odd sites alternate around every axis, that is, whether all extents are even.

    >>> packable((4, 2)), packable((4, 3))
    (True, False)
    """
    return all(extent % 2 == 0 for extent in lattice)


@lru_cache(maxsize=64)
def left_sites(lattice: tuple[int, ...]) -> numpy.ndarray:
    """Return `(2, *lattice[:-1], 1)`: whether the even (row 0) or the odd (row 1) site of a pair is its left one.

    >>> left_sites((2, 4))[0, :, 0].tolist()
    [True, False]
    """
    even = sum(numpy.indices(lattice[:-1])) % 2 == 0 if len(lattice) > 1 else numpy.asarray(True)
    return numpy.stack([even, ~even])[..., None]


def split(x: Array, lattice: tuple[int, ...]) -> tuple[Array, Array]:
    """Return the values on even and on odd sites, each `(..., *lattice[:-1], lattice[-1]/2)`.

    Raises ValueError for odd extents.

    >>> import numpy as np
    >>> even, odd = split(np.asarray([[0, 1, 2, 3], [4, 5, 6, 7]]), (2, 4))
    >>> even.tolist(), odd.tolist()
    ([[0, 2], [5, 7]], [[1, 3], [4, 6]])
    """
    if not packable(lattice):
        raise ValueError(f"even and odd sites alternate only on lattices with even extents, got {lattice}")
    xp, left = array_namespace(x), masks(x, lattice)[0, ...]
    pairs = xp.reshape(x, (*x.shape[:-1], lattice[-1] // 2, 2))
    first, second = pairs[..., 0], pairs[..., 1]
    return xp.where(left, first, second), xp.where(left, second, first)


def merge(even: Array, odd: Array, lattice: tuple[int, ...]) -> Array:
    """Return the values on all sites, the inverse of `split`.

    >>> import numpy as np
    >>> merge(*split(np.arange(8).reshape(2, 4), (2, 4)), (2, 4)).tolist()
    [[0, 1, 2, 3], [4, 5, 6, 7]]
    """
    xp, left = array_namespace(even), masks(even, lattice)[0, ...]
    pairs = xp.stack([xp.where(left, even, odd), xp.where(left, odd, even)], axis=-1)
    return xp.reshape(pairs, (*even.shape[:-1], lattice[-1]))


def masks(x: Array, lattice: tuple[int, ...]) -> Array:
    """Return `left_sites` on the backend of x."""
    return backends.of(x).asarray(left_sites(tuple(lattice)))


def hop(x: Array, mu: int, d: int, steps: int, left: Array) -> Array:
    """Return x(. + steps mu), steps = 1 or -1, on the sites whose mask is `left`; x lives on the other parity."""
    if mu != d - 1:
        return shift(x, mu, d, steps)
    moved, xp = shift(x, mu, d, steps), array_namespace(x)
    return xp.where(left, x, moved) if steps == 1 else xp.where(left, moved, x)


def staple(links: Links, others: Links, mu: int, group: Group, left: Array) -> Array:
    """Return the sum of the 2(d-1) staples V of `links` along mu, on the sites of `links`, `(*batch, N, N, *lattice')`.

    `links` are those of every direction on the parity whose mask is `left`, `others` those on the other parity. U_mu V is
    a plaquette, as in `loops.staples`.
    """
    d, right, staples = len(links), ~left, []
    for nu in range(d):
        if nu == mu:
            continue
        far, top = hop(others[nu], mu, d, 1, left), hop(others[mu], nu, d, 1, left)
        staples.append(group.compose(far, group.inverse(group.compose(links[nu], top))))
        below = group.compose(others[mu], hop(links[nu], mu, d, 1, right))
        staples.append(hop(group.compose(group.inverse(below), others[nu]), nu, d, -1, left))
    return sum(staples[1:], staples[0])
