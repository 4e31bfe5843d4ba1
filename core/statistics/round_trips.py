"""How replicas travel along a ladder of couplings: their places from recorded swaps, and the round trips that they make.

A walker is a configuration that swaps carry from rung to rung. It has made a round trip when it has been at the first
rung, then at the last, and is at the first again. A ladder along which no walker travels couples nothing, however often
neighbours are exchanged.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy
from numpy.typing import ArrayLike


class RoundTrips(NamedTuple):
    """The number of round trips of all walkers, and the mean number of draws of one, None where there was none.

    `time` = walkers x draws / number: what travels without completing a round trip counts as well.
    """

    number: int
    time: float | None


def places(swapped: ArrayLike) -> numpy.ndarray:
    """Return which walker is at each rung after each draw, `(chain, draw, R)`, from `swapped (chain, draw, R - 1)`.

    In each draw pairs 0 and 1, 2 and 3, ... were exchanged first and then 1 and 2, 3 and 4, ...; before the first draw
    walker r is at rung r. Raises ValueError for another shape.

    >>> places([[[True, False], [False, True]]]).tolist()
    [[[1, 0, 2], [1, 2, 0]]]
    """
    marks = numpy.asarray(swapped, dtype=bool)
    if marks.ndim != 3 or 0 in marks.shape:
        raise ValueError(f"swaps (chain, draw, pair) wanted, got the shape {marks.shape}")
    chains, draws, pairs = marks.shape
    now = numpy.tile(numpy.arange(pairs + 1), (chains, 1))
    found = numpy.empty((chains, draws, pairs + 1), dtype=now.dtype)
    for draw in range(draws):
        for first in (0, 1):
            lower = numpy.arange(first, pairs, 2)
            chosen, left, right = marks[:, draw, lower], now[:, lower], now[:, lower + 1]
            now[:, lower], now[:, lower + 1] = numpy.where(chosen, right, left), numpy.where(chosen, left, right)
        found[:, draw] = now
    return found


def round_trips(swapped: ArrayLike) -> RoundTrips:
    """Return the round trips of all walkers, from `swapped (chain, draw, R - 1)`.

    >>> round_trips(numpy.ones((1, 8, 1)))  # two walkers that change places in every draw
    RoundTrips(number=7, time=2.2857142857142856)
    """
    walkers = places(swapped)
    chains, draws, rungs = walkers.shape
    number = 0
    for chain in walkers:
        # 0: not yet at the first rung, 1: since then not at the last, 2: at the last
        seen = numpy.zeros(rungs, dtype=int)
        seen[0] = 1  # before the first draw
        for row in chain:
            number += int(seen[row[0]] == 2)
            seen[row[0]] = 1
            seen[row[-1]] = 2 if seen[row[-1]] else 0
    return RoundTrips(number, chains * draws * rungs / number if number else None)
