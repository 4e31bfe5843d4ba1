"""Kernels tied by the hypercubic group: one weight for each orbit of displacements under axis exchange and reflection.

A tied kernel commutes with every lattice rotation and reflection, and has fewer parameters: 3 instead of 9 for
3 x 3, 6 instead of 25 for 5 x 5, 4 instead of 27 for 3 x 3 x 3.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

from array_api_compat import array_namespace, device

Array = Any


@cache
def orbit_table(d: int, extent: int) -> tuple[int, ...]:
    """Return the orbit number of every tap of a d-dimensional kernel in row-major order.

    >>> orbit_table(2, 3)
    (2, 1, 2, 1, 0, 1, 2, 1, 2)
    """
    reach = range(-(extent // 2), extent // 2 + 1)
    names = [tuple(sorted(abs(step) for step in steps)) for steps in itertools.product(reach, repeat=d)]
    number = {name: position for position, name in enumerate(sorted(set(names)))}
    return tuple(number[name] for name in names)


def orbits(d: int, extent: int) -> int:
    """Return the number of orbits, the free weights of one tied kernel.

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
