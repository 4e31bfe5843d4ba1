"""The circle maps that a gauge coupling can use, as a literal table: name -> (number of parameters, map, inverse, start).

Each map takes `(x, raw, axis)` and returns (y, log dy/dx); if all raw parameters vanish it is the identity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from haarflow.backends.types import Array
from haarflow.flows import splines
from haarflow.flows.u1 import moebius, moebius_pairs, noncompact

Map = Callable[[Array, Array, int], tuple[Array, Array]]  # (x, raw, axis) -> (y, log dy/dx)


def _at_zero(pieces: int) -> tuple[float, ...]:
    return ()


class CircleMap(NamedTuple):
    """A family of circle maps with `channels(pieces)` raw parameters: map, inverse, and initial values.

    `start(pieces)` are biases added to those of a fresh net: none (), or one for each raw parameter.
    """

    channels: Callable[[int], int]
    forward: Map
    inverse: Map
    start: Callable[[int], tuple[float, ...]] = _at_zero


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
    """Return a family of maps by name. Raises ValueError, with the known names, for another one.

    >>> circle_map("spline").channels(8)
    25
    """
    if name not in CIRCLE_MAPS:
        raise ValueError(f"a circle map is one of {', '.join(CIRCLE_MAPS)}, got {name!r}")
    return CIRCLE_MAPS[name]
