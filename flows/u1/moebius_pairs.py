"""Chains of means of two Moebius maps, with their inverse in closed form.

On the unit circle z = e^{ix}, the mean of the Moebius maps with centres u, v inside the unit disk and its slope are

    z' = z P / |P|,   P = (1 - u conj(z)) (1 - v conj(z)),   dy/dx = [(1 - |u|^2)/|z - u|^2 + (1 - |v|^2)/|z - v|^2] / 2,

as both factors of P have positive real parts. z' is the image of z where Im[conj(z') (z - (u + v) + u v conj(z))] = 0, a
quadratic equation in z, of which this root is the correct one:

    z = A (q + i b) / (q^2 + b^2),   A = z' - u v conj(z'),   b = Im[(u + v) conj(z')],
    q^2 = |A|^2 - b^2 = (1 - |u|^2)(1 - |v|^2) + Re[(u - v) conj(z')]^2,

where the sum of squares loses no digits. A chain of such maps of any length costs one sine and cosine, one arc tangent and
one logarithm in either direction. Single maps: arXiv:2002.02428, section 2.3.

Shapes: angles `(*batch, *lattice)`; raw parameters with 4 n + 1 entries along `axis`, zero for the identity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.axes import part
from haarflow.core.groups.additive import wrap
from haarflow.flows.u1.moebius import LARGEST

APART = 0.5  # initial raw parameters of the centres of a pair are +-APART


class Point(NamedTuple):
    """A complex number for each angle, by its real and imaginary parts."""

    re: Array
    im: Array


class Pair(NamedTuple):
    """Two centres u, v, stacked along `axis`: real parts, imaginary parts, and 1 - |u|^2, 1 - |v|^2."""

    re: Array
    im: Array
    rest: Array


PairMap = Callable[[Point, Pair, int], tuple[Point, Array]]


def pairs_channels(pieces: int) -> int:
    """Return the number of raw parameters of a chain of `pieces` pairs: two for each centre, and a shift.

    >>> pairs_channels(2)
    9
    """
    return 4 * pieces + 1


def pairs_start(pieces: int) -> tuple[float, ...]:
    """Return raw parameters to start a training from: the centres of each pair apart, along the axes in turn.

    Equal centres are a saddle point: no gradient separates them, and training leaves it slowly.

    >>> pairs_start(2)
    (0.5, -0.5, 0.0, 0.0, 0.0, 0.0, 0.5, -0.5, 0.0)
    """
    apart, along = (APART, -APART), [n % 2 for n in range(pieces)]
    real = [value if axis == 0 else 0.0 for axis in along for value in apart]
    imaginary = [value if axis == 1 else 0.0 for axis in along for value in apart]
    return (*real, *imaginary, 0.0)


def moebius_pairs(x: Array, raw: Array, axis: int) -> tuple[Array, Array]:
    """Return (y, log dy/dx) of a chain of pairs and a shift, y in [-pi, pi).

    Centres are LARGEST w / sqrt(1 + |w|^2) of a raw pair w. Raises ValueError for a wrong number of raw parameters.

    >>> import numpy as np
    >>> y, log_slope = moebius_pairs(np.asarray([0.5]), np.zeros((5, 1)), axis=0)
    >>> y.tolist(), log_slope.tolist()
    ([0.5], [0.0])
    """
    pairs, shift = _pairs(raw, axis)
    y, slope = _chain(_mean, x, pairs, axis)
    return wrap(y + shift), array_namespace(x).log(slope)


def inverse_moebius_pairs(y: Array, raw: Array, axis: int) -> tuple[Array, Array]:
    """Undo `moebius_pairs`; the second result is the logarithm of the inverse's slope.

    >>> import numpy as np
    >>> x, log_slope = inverse_moebius_pairs(np.asarray([0.5]), np.zeros((5, 1)), axis=0)
    >>> x.tolist(), log_slope.tolist()
    ([0.5], [-0.0])
    """
    pairs, shift = _pairs(raw, axis)
    x, slope = _chain(_undone, y - shift, pairs[::-1], axis)
    return x, -array_namespace(y).log(slope)


def _chain(step: PairMap, x: Array, pairs: list[Pair], axis: int) -> tuple[Array, Array]:
    """Apply one step for each pair and multiply the slopes, which are those of the forward map."""
    sine, cosine = backends.of(x).sincos(x)
    point, slope = Point(cosine, sine), 1.0
    for pair in pairs:
        point, factor = step(point, pair, axis)
        slope = factor * slope
    return array_namespace(x).atan2(point.im, point.re), slope


def _mean(z: Point, pair: Pair, axis: int) -> tuple[Point, Array]:
    """Return z' and the slope at z."""
    xp = array_namespace(z.re)
    factors, squares, slope = _factors(z, pair, axis)
    (f, g), (f_im, g_im), (f_size, g_size) = (xp.unstack(both, axis=axis) for both in (*factors, squares))
    turned = _times(z, _times(Point(f, f_im), Point(g, g_im)))
    return _scaled(turned, 1.0 / xp.sqrt(f_size * g_size)), slope


def _undone(image: Point, pair: Pair, axis: int) -> tuple[Point, Array]:
    """Return z for the image z', and the slope at z."""
    xp = array_namespace(image.re)
    re, im, rest = (xp.unstack(both, axis=axis) for both in pair)
    u, v, conjugate = Point(re[0], im[0]), Point(re[1], im[1]), Point(image.re, -image.im)
    away = (u.re - v.re) * image.re + (u.im - v.im) * image.im
    b = (u.im + v.im) * image.re - (u.re + v.re) * image.im
    square = rest[0] * rest[1] + away * away
    product = _times(_times(u, v), conjugate)
    a = Point(image.re - product.re, image.im - product.im)
    z = _scaled(_times(a, Point(xp.sqrt(square), b)), 1.0 / (square + b * b))
    return z, _factors(z, pair, axis)[2]


def _factors(z: Point, pair: Pair, axis: int) -> tuple[Point, Array, Array]:
    """Return the factors 1 - u conj(z) and 1 - v conj(z) of P, their squared sizes, and the slope at z."""
    xp = array_namespace(z.re)
    re, im = (xp.expand_dims(each, axis=axis) for each in z)
    factors = Point(1.0 - (pair.re * re + pair.im * im), pair.re * im - pair.im * re)
    squares = factors.re * factors.re + factors.im * factors.im
    return factors, squares, xp.mean(pair.rest / squares, axis=axis)


def _times(a: Point, b: Point) -> Point:
    return Point(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re)


def _scaled(a: Point, size: Array) -> Point:
    return Point(size * a.re, size * a.im)


def _pairs(raw: Array, axis: int) -> tuple[list[Pair], Array]:
    """The chain's pairs and its shift; raw parameters are real parts of all centres, imaginary parts, the shift."""
    xp, (pieces, rest) = array_namespace(raw), divmod(raw.shape[axis] - 1, 4)
    if rest or pieces < 1:
        raise ValueError(
            f"n pairs of Moebius maps take 4 n + 1 raw parameters along axis {axis}, got {raw.shape[axis]}"
        )
    a, b, shift = (part(raw, axis, *ends) for ends in ((0, 2 * pieces), (2 * pieces, 4 * pieces), (-1, None)))
    square = a * a + b * b
    share = 1.0 / (1.0 + square)
    scale = LARGEST * xp.sqrt(share)
    centres = Pair(scale * a, scale * b, (1.0 + (1.0 - LARGEST**2) * square) * share)
    pairs = [Pair(*(part(values, axis, 2 * n, 2 * n + 2) for values in centres)) for n in range(pieces)]
    return pairs, xp.squeeze(shift, axis=axis)
