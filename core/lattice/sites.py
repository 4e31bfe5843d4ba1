"""Sites in one flat axis: tables of neighbours, and of the even and the odd sites, for arrays `(..., V)`.

Sites are numbered in row-major order, so that a field `(..., *lattice)` becomes `(..., V)` by a reshape. A hop takes values
at the sites that a table names. Its inner loop is the whole lattice, where a roll's would be the last axis alone.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy

from haarflow.core.lattice.evenodd import packable


@lru_cache(maxsize=64)
def neighbours(lattice: tuple[int, ...]) -> numpy.ndarray:
    """Return the sites one step on and, in the rows after them, one step back along every axis, `(2 d, V)`.

    >>> neighbours((2, 3)).tolist()
    [[3, 4, 5, 0, 1, 2], [1, 2, 0, 4, 5, 3], [3, 4, 5, 0, 1, 2], [2, 0, 1, 5, 3, 4]]
    """
    sites, axes = numpy.arange(math.prod(lattice), dtype="int32").reshape(lattice), range(len(lattice))
    return numpy.stack([numpy.roll(sites, steps, axis).reshape(-1) for steps in (-1, 1) for axis in axes])


@lru_cache(maxsize=64)
def parities(lattice: tuple[int, ...]) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the even and the odd sites, each `(V/2,)`, in the order of `evenodd.split`; raises ValueError for odd extents.

    >>> [sites.tolist() for sites in parities((2, 4))]
    [[0, 2, 5, 7], [1, 3, 4, 6]]
    """
    if not packable(lattice):
        raise ValueError(f"even and odd sites alternate only on lattices with even extents, got {lattice}")
    parity = numpy.indices(lattice).sum(axis=0).reshape(-1) % 2
    even, odd = (numpy.flatnonzero(parity == own).astype("int32") for own in (0, 1))
    return even, odd


@lru_cache(maxsize=64)
def positions(lattice: tuple[int, ...]) -> numpy.ndarray:
    """Return where each site stands in the row of all even sites followed by all odd ones, `(V,)`.

    >>> positions((2, 4)).tolist()
    [0, 4, 1, 5, 6, 2, 7, 3]
    """
    return numpy.argsort(numpy.concatenate(parities(lattice))).astype("int32")


@lru_cache(maxsize=64)
def neighbours_across(lattice: tuple[int, ...]) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return `neighbours` of the even sites among the odd ones, and of the odd ones among the even, each `(2 d, V/2)`.

    >>> neighbours_across((2, 2))[0].tolist()
    [[1, 0], [0, 1], [1, 0], [0, 1]]
    """
    (even, odd), place = parities(lattice), positions(lattice)
    table = neighbours(lattice)
    return place[table[:, even]] - len(even), place[table[:, odd]]
