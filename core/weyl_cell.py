"""Coordinates of the conjugacy classes of SU(2) and SU(3): the canonical (Weyl) cell of eigen-angles as a box.

The falling angles of `core.eigenframes` meet every class once. With r = (theta_1 - theta_N) / 2 pi in [0, 1],

    SU(2):  theta = pi r (1, -1),
    SU(3):  theta = (pi r / 3) (3 + v, -2 v, v - 3),    v = -3 theta_2 / (2 pi r) in [-1, 1],

so that the gaps are pi r (1 + v), pi r (1 - v) and 2 pi (1 - r). r = 0 is the unit matrix, v = 0 the real characters,
charge conjugation v -> -v. Every wall of the box but r = 0 is a wall of the cell, where two eigenvalues meet. Up to a
constant the density of Haar measure in (r, v) is (Weyl's integration formula)

    SU(2):  sin^2(pi r),        SU(3):  r sin^2(pi r) sin^2(pi r (1+v)/2) sin^2(pi r (1-v)/2).

Shapes: angles a list of N arrays, coordinates a list of N - 1, all of one shape.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.core.matrices import precision

Array = Any
MARGIN = {"float64": 1e-13, "float32": 1e-6}  # how far from the walls coordinates stay: classes on them have a limit


def check_rank(n: int) -> None:
    """Raise ValueError unless n is 2 or 3.

    >>> check_rank(4)
    Traceback (most recent call last):
        ...
    ValueError: the cell of eigen-angles has coordinates for N = 2 and 3, got N = 4
    """
    if n not in (2, 3):
        raise ValueError(f"the cell of eigen-angles has coordinates for N = 2 and 3, got N = {n}")


def coordinates(angles: list[Array]) -> list[Array]:
    """Return r, and v for SU(3), inside the box by the margin, with the derivatives that they have without it.

    >>> import numpy as np
    >>> [float(x) for x in coordinates([np.asarray(np.pi / 2), np.asarray(0.0), np.asarray(-np.pi / 2)])]
    [0.5, 0.0]
    """
    check_rank(len(angles))
    r = _inside((angles[0] - angles[-1]) / (2.0 * math.pi), 0.0)
    return [r] if len(angles) == 2 else [r, _inside(-1.5 / math.pi * angles[1] / r, -1.0)]


def angles_at(place: list[Array]) -> list[Array]:
    """Return the falling eigen-angles of coordinates, the inverse of `coordinates`.

    >>> [round(x, 6) for x in angles_at([0.3, 0.5])]
    [1.099557, -0.314159, -0.785398]
    """
    r = math.pi * place[0]
    if len(place) == 1:
        return [r, -r]
    third, v = r / 3.0, place[1]
    return [third * (3.0 + v), -2.0 * third * v, third * (v - 3.0)]


def log_haar(place: list[Array]) -> Array:
    """Return the logarithm of the density of Haar measure in the coordinates, up to a constant.

    >>> import numpy as np
    >>> round(float(log_haar([np.asarray(0.5)])), 12), round(float(log_haar([np.asarray(0.5), np.asarray(0.0)])), 6)
    (0.0, -2.079442)
    """
    xp, backend = array_namespace(place[0]), backends.of(place[0])
    half = math.pi * place[0]
    if len(place) == 1:
        return 2.0 * xp.log(backend.sincos(half)[0])
    r, v = place
    sines = [backend.sincos(x)[0] for x in (half, 0.5 * half * (1.0 + v), 0.5 * half * (1.0 - v))]
    return xp.log(r) + 2.0 * xp.log(sines[0] * sines[1] * sines[2])


def characters(angles: list[Array]) -> list[Array]:
    """Return 1, Re tr U / N, its square, and for SU(3) Re tr U^2 / N: real class functions, even in the angles.

    >>> import numpy as np
    >>> [round(float(x), 6) for x in characters([np.asarray(1.0), np.asarray(-1.0)])]
    [1.0, 0.540302, 0.291927]
    """
    xp, backend, n = array_namespace(angles[0]), backends.of(angles[0]), len(angles)
    cosines = [backend.sincos(angle)[1] for angle in angles]
    trace = sum(cosines[1:], cosines[0]) / float(n)
    found = [xp.ones_like(trace), trace, trace * trace]
    return found if n == 2 else [*found, sum(2.0 * c * c - 1.0 for c in cosines) / float(n)]


def _inside(x: Array, low: float) -> Array:
    """x moved to between low and 1, less the margin; its slope stays one."""
    xp, margin = array_namespace(x), MARGIN[precision(x)]
    moved = xp.where(
        x < low + margin, 0.0 * x + (low + margin), xp.where(x > 1.0 - margin, 0.0 * x + (1.0 - margin), x)
    )
    return x + backends.of(x).stop_gradient(moved - x)
