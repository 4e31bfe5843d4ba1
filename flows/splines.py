"""Monotone rational-quadratic splines, on the circle, on an interval, and on the line.

Bin k between the knots (x_k, y_k) with slopes d_k maps, with w = x_{k+1} - x_k, h = y_{k+1} - y_k, s = h/w and
xi = (x - x_k)/w,

    y = y_k + h (s xi^2 + d_k xi (1 - xi)) / (s + (d_{k+1} + d_k - 2 s) xi (1 - xi)),

and its inverse solves a quadratic equation for xi in closed form. Source: arXiv:1906.04032, eqs. 4 to 8; on the circle
arXiv:2002.02428.

Shapes: the raw parameters from a network have the bins along an additional axis, `axis`: `(*batch, channel, *lattice)` for
x of shape `(*batch, *lattice)`. If they all vanish, the spline is the identity. Every function returns the value and the
logarithm of the slope, both of x's shape.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy
from array_api_compat import array_namespace, device

from haarflow.backends.types import Array
from haarflow.core.axes import part
from haarflow.core.groups.additive import wrap

MINIMUM = 1e-3  # the smallest bin, as a fraction of the interval, and the smallest slope at a knot


class Table(NamedTuple):
    """The bins of a monotone spline: edge and size in x and in y, and the slopes at both ends of each bin, along `axis`."""

    left: Array
    width: Array
    bottom: Array
    height: Array
    slope: Array
    next_slope: Array


TableMap = Callable[[Array, Table, int], tuple[Array, Array]]


def spline(x: Array, table: Table, axis: int) -> tuple[Array, Array]:
    """Map x, which lies within the knots, by a table; returns (y, log dy/dx)."""
    return _forward(x, table, axis)


def inverse_spline(y: Array, table: Table, axis: int) -> tuple[Array, Array]:
    """Undo `spline`; returns (x, log dx/dy)."""
    return _inverse(y, table, axis)


def circular_channels(bins: int) -> int:
    """Return the number of raw parameters of a circular spline: widths, heights and slopes of all bins, and a shift."""
    return 3 * bins + 1


def line_channels(bins: int) -> int:
    """Return the number of raw parameters of a spline with linear tails: widths and heights, bins - 1 inner slopes."""
    return 3 * bins - 1


def circular_spline(x: Array, raw: Array, axis: int) -> tuple[Array, Array]:
    """Map the circle to itself by a spline with a continuous slope at the seam, followed by a learnt shift.

    x: angles, any real numbers; raw: 3 bins + 1 parameters along `axis`; y in [-pi, pi).
    Raises ValueError if the number of raw parameters is not 3 bins + 1.  Source: arXiv:2002.02428, section 2.4.

    >>> import numpy as np
    >>> y, log_slope = circular_spline(np.asarray([0.5, 3.0]), np.zeros((25, 2)), axis=0)
    >>> [round(float(v), 12) for v in y]
    [0.5, 3.0]
    """
    table, shift = _circular_table(raw, axis)
    y, log_slope = _forward(wrap(x), table, axis)
    return wrap(y + shift), log_slope


def inverse_circular_spline(y: Array, raw: Array, axis: int) -> tuple[Array, Array]:
    """Undo `circular_spline`; the second result is the logarithm of the inverse's slope.

    >>> import numpy as np
    >>> x, log_slope = inverse_circular_spline(np.asarray([0.5, 3.0]), np.zeros((25, 2)), axis=0)
    >>> [round(float(v), 12) for v in x]
    [0.5, 3.0]
    """
    table, shift = _circular_table(raw, axis)
    x, log_slope = _inverse(wrap(y - shift), table, axis)
    return wrap(x), log_slope


def line_spline(x: Array, raw: Array, bound: float, axis: int) -> tuple[Array, Array]:
    """Map the line to itself: a spline on [-bound, bound] with slope one at its ends, the identity beyond.

    x: real numbers; raw: 3 bins - 1 parameters along `axis`.  Raises ValueError for another number of them or bound <= 0.
    Source: arXiv:1906.04032, section 3.1.

    >>> import numpy as np
    >>> y, log_slope = line_spline(np.asarray([0.5, 7.0]), np.zeros((23, 2)), bound=3.0, axis=0)
    >>> [round(float(v), 12) for v in y]
    [0.5, 7.0]
    """
    return _with_tails(_forward, x, raw, bound, axis)


def inverse_line_spline(y: Array, raw: Array, bound: float, axis: int) -> tuple[Array, Array]:
    """Undo `line_spline`; the second result is the logarithm of the inverse's slope.

    >>> import numpy as np
    >>> x, log_slope = inverse_line_spline(np.asarray([0.5, 7.0]), np.zeros((23, 2)), bound=3.0, axis=0)
    >>> [round(float(v), 12) for v in x]
    [0.5, 7.0]
    """
    return _with_tails(_inverse, y, raw, bound, axis)


def _with_tails(run: TableMap, x: Array, raw: Array, bound: float, axis: int) -> tuple[Array, Array]:
    if not bound > 0:
        raise ValueError(f"a spline with linear tails needs bound > 0, got {bound}")
    xp = array_namespace(x, raw)
    bins = _bins(raw, axis, extra=-1, kind="a spline with linear tails")
    one = xp.ones_like(part(raw, axis, 0, 1))
    inner = _slopes(part(raw, axis, 2 * bins, 3 * bins - 1))
    table = _table(raw, bins, xp.concat([one, inner, one], axis=axis), bound, axis)
    inside = (x > -bound) & (x < bound)
    # Outside, the spline is evaluated at a harmless point, so that the unused branch adds no NaN to the gradient.
    y, log_slope = run(xp.where(inside, x, 0 * x), table, axis)
    return xp.where(inside, y, x), xp.where(inside, log_slope, 0 * x)


def _circular_table(raw: Array, axis: int) -> tuple[Table, Array]:
    xp = array_namespace(raw)
    bins = _bins(raw, axis, extra=1, kind="a circular spline")
    slopes = _slopes(part(raw, axis, 2 * bins, 3 * bins))
    seam = part(slopes, axis, 0, 1)
    table = _table(raw, bins, xp.concat([slopes, seam], axis=axis), math.pi, axis)
    return table, _only(raw, axis, 3 * bins)


def _table(raw: Array, bins: int, slopes: Array, bound: float, axis: int) -> Table:
    left, width = _bin_edges(part(raw, axis, 0, bins), bound, axis)
    bottom, height = _bin_edges(part(raw, axis, bins, 2 * bins), bound, axis)
    return Table(left, width, bottom, height, part(slopes, axis, 0, bins), part(slopes, axis, 1, bins + 1))


def _bin_edges(raw: Array, bound: float, axis: int) -> tuple[Array, Array]:
    """Left edges and sizes of bins that fill [-bound, bound]."""
    xp = array_namespace(raw)
    bins = raw.shape[axis]
    weight = xp.exp(raw - xp.max(raw, axis=axis, keepdims=True))
    fraction = weight / xp.sum(weight, axis=axis, keepdims=True)
    size = 2 * bound * (MINIMUM + (1 - MINIMUM * bins) * fraction)
    return _before(size, axis) - bound, size


def _before(size: Array, axis: int) -> Array:
    """Sums of all earlier entries along an axis, by a triangular matrix: for XLA a scan is slower to compile and to run."""
    xp, bins = array_namespace(size), size.shape[axis]
    earlier = xp.asarray(numpy.tri(bins, k=-1), dtype=size.dtype, device=device(size))
    last = axis % size.ndim + 1
    flat = xp.reshape(size, (*size.shape[:last], -1))
    return xp.reshape(xp.matmul(earlier, flat), size.shape)


def _slopes(raw: Array) -> Array:
    """Positive slopes, one at raw = 0: a softplus above the smallest slope."""
    xp = array_namespace(raw)
    raw = raw + math.log(math.expm1(1 - MINIMUM))
    return MINIMUM + xp.maximum(raw, 0 * raw) + xp.log1p(xp.exp(-xp.abs(raw)))


def _forward(x: Array, table: Table, axis: int) -> tuple[Array, Array]:
    xp = array_namespace(x)
    left, width, bottom, height, slope, next_slope = _bin_of(x, table.left, table, axis)
    xi = (x - left) / width
    rest = xi * (1 - xi)
    steepness = height / width
    excess = slope + next_slope - 2 * steepness
    denominator = steepness + excess * rest
    y = bottom + height * (steepness * xi * xi + slope * rest) / denominator
    return y, _log_slope(xp, xi, steepness, slope, next_slope, denominator)


def _inverse(y: Array, table: Table, axis: int) -> tuple[Array, Array]:
    xp = array_namespace(y)
    left, width, bottom, height, slope, next_slope = _bin_of(y, table.bottom, table, axis)
    steepness = height / width
    excess = slope + next_slope - 2 * steepness
    rise = (y - bottom) / height
    quadratic = steepness - slope + rise * excess
    linear = slope - rise * excess
    # Positive in exact arithmetic; rounding must make neither it negative nor the slope of its root infinite.
    discriminant = linear * linear + 4 * quadratic * steepness * rise
    root = xp.sqrt(xp.where(discriminant > 1e-30, discriminant, 0 * discriminant + 1e-30))
    # The form of the root that does not cancel: near a slope far above the bin's steepness, linear is negative.
    falls = linear < 0
    above = xp.where(falls, root - linear, 2 * steepness * rise)
    xi = above / xp.where(falls, 2 * quadratic, linear + root)
    denominator = steepness + excess * xi * (1 - xi)
    return left + width * xi, -_log_slope(xp, xi, steepness, slope, next_slope, denominator)


def _log_slope(xp: Any, xi: Array, steepness: Array, slope: Array, next_slope: Array, denominator: Array) -> Array:
    rest = 1 - xi
    numerator = next_slope * xi * xi + 2 * steepness * xi * rest + slope * rest * rest
    return 2 * xp.log(steepness) + xp.log(numerator) - 2 * xp.log(denominator)


def _bin_of(x: Array, edges: Array, table: Table, axis: int) -> list[Array]:
    """The table's row for the bin of x, selected by the difference of two step functions, without a gather."""
    xp = array_namespace(x)
    bins = edges.shape[axis]
    passed = xp.astype(xp.expand_dims(x, axis=axis) >= part(edges, axis, 1, bins), x.dtype)
    one = xp.ones_like(part(passed, axis, 0, 1))
    chosen = xp.concat([one, passed], axis=axis) - xp.concat([passed, 0 * one], axis=axis)
    return [xp.sum(chosen * row, axis=axis) for row in table]


def _bins(raw: Array, axis: int, extra: int, kind: str) -> int:
    channels: int = raw.shape[axis]
    bins, remainder = divmod(channels - extra, 3)
    if remainder or bins < 1 or bins * MINIMUM >= 1:
        raise ValueError(f"{kind} takes 3 bins {extra:+d} raw parameters along axis {axis}, got {channels}")
    return bins


def _only(table: Array, axis: int, index: int) -> Array:
    return array_namespace(table).squeeze(part(table, axis, index, index + 1), axis=axis)
