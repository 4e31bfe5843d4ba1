"""The circle maps a gauge coupling may name, as a literal table: name -> (raw numbers, map, inverse, start).

Each map takes `(x, raw, axis)` and returns (y, log dy/dx); all raw numbers zero give the identity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from haarflow.flows import moebius, moebius_pairs, noncompact, splines


def _at_zero(pieces: int) -> tuple[float, ...]:
    return ()


class CircleMap(NamedTuple):
    """A family of circle maps: `channels(pieces)` raw numbers, forward, inverse, and where raw numbers start.

    `start(pieces)` are biases added to a fresh net's: none (), or one for each raw number.
    """

    channels: Callable
    forward: Callable
    inverse: Callable
    start: Callable = _at_zero


CIRCLE_MAPS = {
    "spline": CircleMap(splines.circular_channels, splines.circular_spline, splines.inverse_circular_spline),
    "noncompact": CircleMap(noncompact.noncompact_channels, noncompact.noncompact, noncompact.inverse_noncompact),
    "moebius": CircleMap(moebius.moebius_channels, moebius.moebius, moebius.inverse_moebius),
    "moebius_pairs": CircleMap(
        moebius_pairs.pairs_channels,
        moebius_pairs.moebius_pairs,
        moebius_pairs.inverse_moebius_pairs,
        moebius_pairs.pairs_start,
    ),
}


def circle_map(name: str) -> CircleMap:
    """Return a family of maps by name, or raise ValueError with the names there are.

    >>> circle_map("spline").channels(8)
    25
    """
    if name not in CIRCLE_MAPS:
        raise ValueError(f"a circle map is one of {', '.join(CIRCLE_MAPS)}, got {name!r}")
    return CIRCLE_MAPS[name]
