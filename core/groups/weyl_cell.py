"""Coordinates of the conjugacy classes of SU(2) and SU(3): the canonical (Weyl) cell of eigen-angles as a box.

The descending angles of `core.eigenframes` represent every class once. With r = (theta_1 - theta_N) / 2 pi in [0, 1],

    SU(2):  theta = pi r (1, -1),
    SU(3):  theta = (pi r / 3) (3 + v, -2 v, v - 3),    v = -3 theta_2 / (2 pi r) in [-1, 1],

so that the differences of neighbouring angles are pi r (1 + v), pi r (1 - v) and 2 pi (1 - r). r = 0 is the unit matrix, v = 0 the real characters,
charge conjugation v -> -v. Every wall of the box but r = 0 is a wall of the cell, where two eigenvalues meet. Up to a
constant the density of Haar measure in (r, v) is (Weyl's integration formula)

    SU(2):  sin^2(pi r),        SU(3):  r sin^2(pi r) sin^2(pi r (1+v)/2) sin^2(pi r (1-v)/2).

Shapes: angles a list of N arrays, coordinates a list of N - 1, all of one shape.
"""

from __future__ import annotations

import math

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.groups.matrices import precision

NEAR = {"float64": 1e-8, "float32": 3e-4}  # distances to a wall that rounding makes inaccurate
MARGIN = {"float64": 1e-14, "float32": 1e-6}  # distance that coordinates keep from the walls, where formulas are limits


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
    """Return r, and v for SU(3), at least the margin inside the box, with the derivatives of the unconstrained ones.

    >>> import numpy as np
    >>> [float(x) for x in coordinates([np.asarray(np.pi / 2), np.asarray(0.0), np.asarray(-np.pi / 2)])]
    [0.5, 0.0]
    """
    check_rank(len(angles))
    r = _inside((angles[0] - angles[-1]) / (2.0 * math.pi), 0.0)
    return [r] if len(angles) == 2 else [r, _inside(-1.5 / math.pi * angles[1] / r, -1.0)]


def angles_at(point: list[Array]) -> list[Array]:
    """Return the descending eigen-angles of coordinates, the inverse of `coordinates`.

    >>> [round(x, 6) for x in angles_at([0.3, 0.5])]
    [1.099557, -0.314159, -0.785398]
    """
    r = math.pi * point[0]
    if len(point) == 1:
        return [r, -r]
    third, v = r / 3.0, point[1]
    return [third * (3.0 + v), -2.0 * third * v, third * (v - 3.0)]


def log_volume(old: list[Array], new: list[Array], slopes: list[Array]) -> Array:
    """Return log |det| in Haar measure of a class map of coordinates, r -> r' and v -> v' given r, with these log-slopes.

    That is the sum of the slopes and the log-ratio of the densities of Haar measure. Next to a wall, where the distances to
    it are dominated by rounding, their ratio is replaced by the slope.

    >>> import numpy as np
    >>> old, new, slope = [np.asarray(0.25)], [np.asarray(0.5)], np.log(np.asarray(2.0))
    >>> bool(abs(log_volume(old, new, [slope]) - np.log(2.0) - np.log(2.0)) < 1e-15)
    True
    """
    (r, image), slope = (old[0], new[0]), slopes[0]
    start, end = _log_ratio(r, image, slope), _log_ratio(1.0 - r, 1.0 - image, slope)
    total = slope + 2.0 * (start + end + _log_rest(image, 1.0 - image) - _log_rest(r, 1.0 - r))
    if len(old) == 1:
        return total
    total = total + 5.0 * start + slopes[1]
    for sign in (1.0, -1.0):
        gaps = [1.0 + sign * x[1] for x in (old, new)]
        total = total + 2.0 * _log_ratio(gaps[0], gaps[1], slopes[1])
        total = total + 2.0 * (_log_sine(image, gaps[1]) - _log_sine(r, gaps[0]))
    return total


def _log_ratio(before: Array, after: Array, slope: Array) -> Array:
    """log of the ratio of two distances to a wall, the slope where either is too small."""
    xp, small = array_namespace(before), NEAR[precision(before)]
    near, one = (before < small) | (after < small), xp.ones_like(before)
    return xp.where(near, slope, xp.log(xp.where(near, one, after)) - xp.log(xp.where(near, one, before)))


def _log_rest(r: Array, rest: Array) -> Array:
    """log of sin(pi r) / (r (1 - r))."""
    xp = array_namespace(r)
    x = xp.where(r < rest, r, rest)
    return xp.log(backends.of(r).sincos(math.pi * x)[0] / x) - xp.log(xp.where(r < rest, rest, r))


def _log_sine(r: Array, gap: Array) -> Array:
    """log of sin(pi r gap / 2) / (r gap), gap = 1 +- v between 0 and 2."""
    xp = array_namespace(r)
    x, other = 0.5 * r * gap, 0.5 * ((1.0 - r) * gap + (2.0 - gap))  # x + other = 1
    x, nearer = xp.where(x < other, x, other), x
    return xp.log(backends.of(r).sincos(math.pi * x)[0] / nearer)


def characters(angles: list[Array]) -> list[Array]:
    """Return 1, Re tr U / N, its square, and for SU(3) Re tr U^2 / N: real class functions, even in the angles.

    >>> import numpy as np
    >>> [round(float(x), 6) for x in characters([np.asarray(1.0), np.asarray(-1.0)])]
    [1.0, 0.540302, 0.291927]
    """
    xp, backend, n = array_namespace(angles[0]), backends.of(angles[0]), len(angles)
    cosines = [backend.sincos(angle)[1] for angle in angles]
    trace = sum(cosines[1:], cosines[0]) / float(n)
    real = [xp.ones_like(trace), trace, trace * trace]
    return real if n == 2 else [*real, sum(2.0 * c * c - 1.0 for c in cosines) / float(n)]


def _inside(x: Array, low: float) -> Array:
    """x clipped to between low and 1, less the margin; its slope stays one."""
    xp, margin = array_namespace(x), MARGIN[precision(x)]
    clipped = xp.where(
        x < low + margin, 0.0 * x + (low + margin), xp.where(x > 1.0 - margin, 0.0 * x + (1.0 - margin), x)
    )
    return x + backends.of(x).stop_gradient(clipped - x)
