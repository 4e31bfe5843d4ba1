"""Random images of fields on sites: each configuration moved by a translation, reflections and an exchange of axes of its own.

Configurations of a target with these symmetries become as many more of the same target, without a chain.
"""

from __future__ import annotations

import itertools
from functools import reduce

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.host_table import host_table
from haarflow.backends.types import Array, Key
from haarflow.core import random
from haarflow.core.groups.matrices import precision


def random_images(key: Key, field: Array, d: int) -> Array:
    """Return an image of each of the fields `(n, *lattice)` on d axes, phi(R x + a) with R and a drawn uniformly for each.

    R exchanges axes of equal extents and reflects axes. Raises ValueError for fields with other axes.

    >>> from haarflow.backends import numpy as backend
    >>> one = numpy.zeros((1, 4, 4))
    >>> one[0, 1, 2] = 1.0
    >>> image = random_images(random.key(0, backend), one, 2)
    >>> image.shape, float(image.sum())
    ((1, 4, 4), 1.0)
    """
    if field.ndim != d + 1:
        raise ValueError(f"images of fields (n, *lattice) on {d} axes wanted, got the shape {tuple(field.shape)}")
    xp, backend, lattice = array_namespace(field), backends.of(field), tuple(field.shape[1:])
    turned = backend.asarray(point_group(lattice), dtype=xp.int32)
    u = random.uniform(key, (field.shape[0], d + 1), precision(field))
    moved = xp.take(turned, _drawn(u[:, d], turned.shape[0]), axis=0)  # (n, axis, site)
    sites = [(moved[:, mu, :] + _drawn(u[:, mu], extent)[:, None]) % extent for mu, extent in enumerate(lattice)]
    place = reduce(lambda number, row: number * row[0] + row[1], zip(lattice[1:], sites[1:], strict=True), sites[0])
    flat = xp.reshape(field, (field.shape[0], -1))
    return xp.reshape(xp.take_along_axis(flat, _as_index(place), axis=1), field.shape)


@host_table
def point_group(lattice: tuple[int, ...]) -> numpy.ndarray:
    """Return where every symmetry R of the lattice that keeps the origin takes each site, `(R, axis, site)`, up to translations.

    >>> point_group((3, 2)).shape, point_group((2, 2)).shape
    ((4, 2, 6), (8, 2, 4))
    """
    d, sites = len(lattice), numpy.indices(lattice).reshape(len(lattice), -1)
    orders = [order for order in itertools.permutations(range(d)) if tuple(lattice[mu] for mu in order) == lattice]
    signs = numpy.asarray(list(itertools.product((1, -1), repeat=d)))
    return numpy.concatenate([signs[:, :, None] * sites[list(order)] for order in orders])


def _drawn(u: Array, count: int) -> Array:
    """Whole numbers below count, from uniform ones in [0, 1)."""
    xp = array_namespace(u)
    return xp.clip(xp.astype(xp.floor(u * count), xp.int32), 0, count - 1)


def _as_index(place: Array) -> Array:
    """Numbers of the integer type that the array library takes as indices along an axis."""
    xp = array_namespace(place)
    return xp.astype(place, xp.arange(1, device=backends.place(place)).dtype)
