"""Periodic hypercubic lattices: the last d axes of every field, shifts along them, and checks of extents."""

from __future__ import annotations

import math
from collections.abc import Iterable

from haarflow import backends
from haarflow.backends.types import Array


def shift(x: Array, mu: int, d: int, steps: int = 1) -> Array:
    """Return `x(site + steps mu)`: the lattice occupies the last `d` axes, periodic.

    >>> import numpy as np
    >>> shift(np.asarray([0, 1, 2]), mu=0, d=1)
    array([1, 2, 0])
    """
    return backends.of(x).roll(x, -steps, mu - d)


def volume(lattice: tuple[int, ...]) -> int:
    """Return the number of sites.

    >>> volume((4, 8))
    32
    """
    return math.prod(lattice)


def check_lattice(lattice: Iterable[int]) -> tuple[int, ...]:
    """Return the extents as a tuple of integers >= 1; raises ValueError for anything else."""
    try:
        extents = tuple(int(extent) for extent in lattice)
    except TypeError:
        raise ValueError(f"a lattice is a tuple of extents such as (8, 8), got {lattice!r}") from None
    if not extents or any(extent < 1 or extent != value for extent, value in zip(extents, lattice, strict=True)):
        raise ValueError(f"a lattice is a tuple of integer extents >= 1 such as (8, 8), got {lattice!r}")
    return extents


def check_divisible(lattice: tuple[int, ...], axis: int, period: int) -> None:
    """Raise ValueError when the extent of a lattice axis is not a multiple of a mask's period."""
    if lattice[axis] % period:
        raise ValueError(
            f"a mask of period {period} along axis {axis} needs an extent divisible by {period}, got extent "
            f"{lattice[axis]} of the lattice {tuple(lattice)}"
        )
