"""Kernels tied by the hypercubic group: one weight for each orbit of displacements under axis exchange and reflection.

A tied kernel commutes with all lattice rotations and reflections and has fewer parameters: 3 instead of 9 for 3 x 3, 6
instead of 25 for 5 x 5, 4 instead of 27 for 3 x 3 x 3.
"""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
from array_api_compat import array_namespace, device

from haarflow.backends.host_table import host_table
from haarflow.backends.types import Array


@host_table
def orbit_numbers(steps: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """Return the index of each displacement's orbit, counted from the nearest orbit outwards.

    >>> orbit_numbers(((0, 0), (0, 1), (-1, 0), (1, -1))).tolist()
    [0, 1, 1, 2]
    """
    names = [tuple(sorted(abs(step) for step in displacement)) for displacement in steps]
    index = {name: position for position, name in enumerate(sorted(set(names)))}
    return np.asarray([index[name] for name in names])


def count_orbits(steps: tuple[tuple[int, ...], ...]) -> int:
    """Return the number of orbits among displacements.

    >>> count_orbits(((0, 1), (1, 0), (0, -1), (-1, 0)))
    1
    """
    return int(orbit_numbers(steps).max()) + 1


@cache
def orbit_table(d: int, extent: int) -> tuple[int, ...]:
    """Return the index of the orbit of every tap of a d-dimensional kernel, in row-major order.

    >>> orbit_table(2, 3)
    (2, 1, 2, 1, 0, 1, 2, 1, 2)
    """
    reach = range(-(extent // 2), extent // 2 + 1)
    return tuple(orbit_numbers(tuple(itertools.product(reach, repeat=d))).tolist())


def orbits(d: int, extent: int) -> int:
    """Return the number of orbits, that is of free weights of a tied kernel.

    >>> orbits(2, 3), orbits(2, 5), orbits(3, 3)
    (3, 6, 4)
    """
    return max(orbit_table(d, extent)) + 1


def expand(weight: Array, d: int, extent: int) -> Array:
    """Return the full kernel `(out, in, *[extent] * d)` of orbit weights `(out, in, orbits)`."""
    xp = array_namespace(weight)
    table = xp.asarray(orbit_table(d, extent), dtype=xp.int32, device=device(weight))
    full = xp.take(weight, table, axis=-1)
    return xp.reshape(full, (*weight.shape[:-1], *[extent] * d))
