"""The order in which a compiled trajectory visits the rows of a lattice, see theories/compiled/gauge_trajectory.py.

A row is a line of sites along the last axis. The plaquettes with corners in a row contain links of this row and of the rows
one site on; a row may be updated when the plaquettes at its corner and at the corners one site back are done. Corners are visited in
tubes along axis 0, ACROSS sites wide in the axes between: the rows that a tube has begun and not finished stay in the cache
even on large lattices; with lexicographic order they would on small ones only. Measured on SU(3), 16^4: a step 1.15 times faster.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy

ACROSS = 4


class Order(NamedTuple):
    """`ahead`: the row one site on along every axis, `(d, rows)`; along the last axis the row itself. `sweep`: the rows of the
    corners in the order of the visits. `done`: the rows in the order in which they are updated, the first `ready[k]` of them
    after visit k. `home`: the slots for the sums of the rows' staples, reused afterwards."""

    ahead: numpy.ndarray
    sweep: numpy.ndarray
    done: numpy.ndarray
    ready: numpy.ndarray
    home: numpy.ndarray


@cache
def order_of(lattice: tuple[int, ...]) -> Order:
    """Return the order of a lattice's rows.

    >>> order = order_of((4, 4))
    >>> order.sweep.tolist(), order.done.tolist(), order.ready.tolist(), order.home.tolist()
    ([0, 1, 2, 3], [1, 2, 0, 3], [0, 1, 2, 4], [0, 1, 2, 1])
    """
    rows = numpy.arange(math.prod(lattice[:-1])).reshape(lattice[:-1])
    ahead = numpy.stack([*(numpy.roll(rows, -1, axis) for axis in range(rows.ndim)), rows]).reshape(len(lattice), -1)
    first, *others = numpy.indices(lattice[:-1]).reshape(len(lattice) - 1, -1)
    sweep = numpy.lexsort([*others[::-1], first, *(axis // ACROSS for axis in others[::-1])])
    visit = numpy.argsort(sweep)
    last = visit.copy()
    for rows_ahead in ahead:
        numpy.maximum.at(last, rows_ahead, visit)
    done = numpy.argsort(last, kind="stable")
    ready = numpy.searchsorted(last[done], numpy.arange(len(last)), side="right")
    return Order(ahead, sweep, done, ready, _homes(ahead, sweep, done, ready))


def _homes(ahead: numpy.ndarray, sweep: numpy.ndarray, done: numpy.ndarray, ready: numpy.ndarray) -> numpy.ndarray:
    """A slot for every row from the first visit that adds to its staples until it is updated."""
    home, begin = numpy.full(len(sweep), -1), 0
    free: list[int] = []
    for corner, end in zip(sweep, ready, strict=True):
        for row in (corner, *ahead[:, corner]):
            if home[row] < 0:
                home[row] = free.pop() if free else 1 + home.max()
        free += home[done[begin:end]].tolist()
        begin = end
    return home
