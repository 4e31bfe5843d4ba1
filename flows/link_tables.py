"""Which links of one direction move together, as static tables: transverse colours, and gathers on the active sites.

The links along mu with colour = sum of x_nu over nu != mu, modulo `period`, move at once, whatever x_mu. Two links of one
colour share no plaquette, and no rectangle of one link along mu and fewer than `period` links across. The active sites
are packed along the last transverse axis: that extent is divided by the period, the others stay.
"""

from __future__ import annotations

import math
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.host_table import host_table
from haarflow.core.lattice import check_divisible

Array = Any
Lattice = tuple[int, ...]


def check_extents(lattice: Lattice, mu: int, period: int) -> None:
    """Raise ValueError when the period does not divide a transverse extent, with both in the message.

    >>> check_extents((3, 6), 0, 4)
    Traceback (most recent call last):
        ...
    ValueError: a mask of period 4 along axis 1 needs an extent that 4 divides, got extent 6 of the lattice (3, 6)
    """
    for axis in range(len(lattice)):
        if axis != mu:
            check_divisible(lattice, axis, period)


def packed(lattice: Lattice, mu: int, period: int) -> Lattice:
    """Return the extents of the active sites.

    >>> packed((4, 6, 8), 2, 2)
    (4, 3, 8)
    """
    across = _across(len(lattice), mu)
    return tuple(extent // period if axis == across else extent for axis, extent in enumerate(lattice))


@host_table
def active_sites(lattice: Lattice, mu: int, period: int, colour: int, displacement: Lattice) -> numpy.ndarray:
    """Return the flat numbers of the active sites moved by a displacement, in the order of the packed lattice.

    >>> active_sites((2, 4), 0, 2, 1, (0, 0)).tolist()
    [1, 3, 5, 7]
    """
    places, across = list(numpy.indices(packed(lattice, mu, period))), _across(len(lattice), mu)
    others = sum(places[axis] for axis in range(len(lattice)) if axis not in (mu, across))
    places[across] = period * places[across] + (colour - others) % period
    moved = [(x + step) % extent for x, step, extent in zip(places, displacement, lattice, strict=True)]
    return numpy.ravel_multi_index(moved, lattice).ravel().astype("int32")


@host_table
def places(lattice: Lattice, mu: int, period: int, colour: int) -> numpy.ndarray:
    """Return for each site where its link stands in (all old links, new active ones): the table of `replaced`.

    >>> places((1, 4), 0, 2, 1).tolist()
    [0, 4, 2, 5]
    """
    found = numpy.arange(math.prod(lattice))
    active = active_sites(lattice, mu, period, colour, (0,) * len(lattice))
    found[active] = len(found) + numpy.arange(len(active))
    return found.astype("int32")


def gathered(x: Array, table: numpy.ndarray, lattice: Lattice, shape: Lattice) -> Array:
    """Return the values of x `(..., *lattice)` at the sites of a table, `(..., *shape)`.

    >>> gathered(numpy.asarray([[5, 6], [7, 8]]), numpy.asarray([3, 0]), (2, 2), (1, 2)).tolist()
    [[8, 5]]
    """
    xp, lead = array_namespace(x), tuple(x.shape[: x.ndim - len(lattice)])
    flat = xp.reshape(x, (*lead, math.prod(lattice)))
    return xp.reshape(xp.take(flat, backends.of(x).asarray(table, dtype="int32"), axis=-1), (*lead, *shape))


def replaced(x: Array, new: Array, table: numpy.ndarray, lattice: Lattice) -> Array:
    """Return x `(..., *lattice)` with new values on the active sites, by the table of `places`."""
    xp, lead = array_namespace(x), tuple(x.shape[: x.ndim - len(lattice)])
    both = xp.concat([xp.reshape(part, (*lead, -1)) for part in (x, new)], axis=-1)
    return xp.reshape(xp.take(both, backends.of(x).asarray(table, dtype="int32"), axis=-1), (*lead, *lattice))


def _across(d: int, mu: int) -> int:
    """The last transverse axis."""
    return d - 1 if mu != d - 1 else d - 2
