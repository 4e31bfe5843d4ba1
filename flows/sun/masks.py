"""Static tables of the links that are active together: transverse colours, and gathers on the active sites.

The colour of a link along mu is the sum of x_nu over nu != mu, modulo `period`; links of one colour are active at once,
whatever x_mu. Two of them share no plaquette, and no rectangle of one link along mu and fewer than `period` links across.
The active sites are packed along the last transverse axis, whose extent is divided by the period.
"""

from __future__ import annotations

import math

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.host_table import host_table
from haarflow.backends.types import Array
from haarflow.core.lattice.geometry import check_divisible
from haarflow.flows.links import layout

Lattice = tuple[int, ...]


def flat(links: Array, d: int) -> Array:
    """Return links `(*batch, d, N, N, *lattice)` as `(N, N, d V, batch)`.

    >>> flat(numpy.zeros((5, 2, 3, 3, 4, 4)), 2).shape
    (3, 3, 32, 5)
    """
    return array_namespace(links).permute_dims(layout.rows(links, d), (1, 2, 0, 3))


def links_of(flat: Array, shape: tuple[int, ...], d: int) -> Array:
    """Return flat links in a shape `(*batch, d, N, N, *lattice)`, the inverse of `flat`.

    >>> links = numpy.arange(5 * 2 * 9 * 16.0).reshape(5, 2, 3, 3, 4, 4)
    >>> bool((links_of(flat(links, 2), links.shape, 2) == links).all())
    True
    """
    return layout.links_of(array_namespace(flat).permute_dims(flat, (2, 0, 1, 3)), shape, d)


def check_extents(lattice: Lattice, mu: int, period: int) -> None:
    """Raise ValueError if a transverse extent is not divisible by the period.

    >>> check_extents((3, 6), 0, 4)
    Traceback (most recent call last):
        ...
    ValueError: a mask of period 4 along axis 1 needs an extent divisible by 4, got extent 6 of the lattice (3, 6)
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
    """Return the flat indices of the active sites plus a displacement, in the order of the packed lattice.

    >>> active_sites((2, 4), 0, 2, 1, (0, 0)).tolist()
    [1, 3, 5, 7]
    """
    sites, across = list(numpy.indices(packed(lattice, mu, period))), _across(len(lattice), mu)
    others = sum(sites[axis] for axis in range(len(lattice)) if axis not in (mu, across))
    sites[across] = period * sites[across] + (colour - others) % period
    moved = [(x + step) % extent for x, step, extent in zip(sites, displacement, lattice, strict=True)]
    table: numpy.ndarray = numpy.ravel_multi_index(moved, lattice).ravel().astype("int32")
    return table


@host_table
def links(lattice: Lattice, mu: int, period: int, colour: int, nu: int, displacement: Lattice) -> numpy.ndarray:
    """Return the rows, among those of all directions, of the links along nu at the active sites plus a displacement.

    >>> links((2, 4), 0, 2, 1, 1, (0, 0)).tolist()
    [9, 11, 13, 15]
    """
    return (nu * math.prod(lattice) + active_sites(lattice, mu, period, colour, displacement)).astype("int32")


@host_table
def places(lattice: Lattice, mu: int, period: int, colour: int) -> numpy.ndarray:
    """Return each link's index in (all old links, new active ones): the table of `replaced`.

    >>> places((1, 4), 0, 2, 1).tolist()
    [0, 8, 2, 9, 4, 5, 6, 7]
    """
    rows = numpy.arange(len(lattice) * math.prod(lattice))
    active = links(lattice, mu, period, colour, mu, (0,) * len(lattice))
    rows[active] = len(rows) + numpy.arange(len(active))
    return rows.astype("int32")


def gathered(rows: Array, table: numpy.ndarray) -> Array:
    """Return the links listed in a table from rows `(N, N, links, batch)`, merged with the batch, `(N, N, links * batch)`.

    >>> gathered(numpy.arange(8).reshape(1, 1, 4, 2), numpy.asarray([3, 0])).tolist()
    [[[6, 7, 0, 1]]]
    """
    xp, backend = array_namespace(rows), backends.of(rows)
    taken = xp.take(rows, backend.asarray(table, dtype="int32"), axis=2)
    return backend.materialise(xp.reshape(taken, (*rows.shape[:2], -1)))


def replaced(rows: Array, new: Array, table: numpy.ndarray) -> Array:
    """Return rows with new links `(N, N, links * batch)`, by the table of `places`."""
    xp = array_namespace(rows)
    both = xp.concat([rows, xp.reshape(new, (*rows.shape[:2], -1, rows.shape[-1]))], axis=2)
    return xp.take(both, backends.of(rows).asarray(table, dtype="int32"), axis=2)


def _across(d: int, mu: int) -> int:
    """The last transverse axis."""
    return d - 1 if mu != d - 1 else d - 2
