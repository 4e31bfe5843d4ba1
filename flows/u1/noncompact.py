"""Mixtures of non-compact projections of the circle, with their inverse to rounding.

    h(x) = mean_c 2 atan(e^{s_c} tan(x/2)) + t,    h'(x) = mean_c [e^{-s_c} cos^2(x/2) + e^{s_c} sin^2(x/2)]^{-1}

Each projection is the Moebius map with the centre tanh(s_c/2) on the real axis and is computed as such: one sine and cosine
serve all components, and the pole of the tangent is avoided. Sources: arXiv:2002.02428, section 2.2; arXiv:2101.08176,
section 4.

Shapes: angles `(*batch, *lattice)`; raw parameters s_1 ... s_n, t along `axis`, zero for the identity.
"""

from __future__ import annotations

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.axes import part
from haarflow.core.groups.additive import wrap
from haarflow.flows.u1.moebius import inverse_mixture, mixture


def noncompact_channels(components: int) -> int:
    """Return the number of raw parameters of a mixture: one scale for each projection, and a shift.

    >>> noncompact_channels(2)
    3
    """
    return components + 1


def noncompact(x: Array, raw: Array, axis: int) -> tuple[Array, Array]:
    """Return (y, log dy/dx) of a mixture of non-compact projections, y in [-pi, pi).

    Raises ValueError if there is no scale besides the shift.

    >>> import numpy as np
    >>> y, log_slope = noncompact(np.asarray([0.5]), np.zeros((3, 1)), axis=0)
    >>> y.tolist(), log_slope.tolist()
    ([0.5], [0.0])
    """
    centre, shift = _centres(raw, axis)
    y, slope = mixture(x, centre, axis)
    return wrap(y + shift), array_namespace(x).log(slope)


def inverse_noncompact(y: Array, raw: Array, axis: int) -> tuple[Array, Array]:
    """Undo `noncompact`; the second result is the logarithm of the inverse's slope.

    >>> import numpy as np
    >>> x, log_slope = inverse_noncompact(np.asarray([0.5]), np.zeros((3, 1)), axis=0)
    >>> x.tolist(), log_slope.tolist()
    ([0.5], [-0.0])
    """
    centre, shift = _centres(raw, axis)
    if raw.shape[axis] == 3:
        return _inverse_of_two(y - shift, raw, centre, axis)
    return inverse_mixture(y - shift, centre, axis)


def _inverse_of_two(y: Array, raw: Array, centre: tuple[Array, None], axis: int) -> tuple[Array, Array]:
    """Two projections with scales a, b undone in closed form: w = tan(x/2) solves a b sin(y) w^2 + (a + b) cos(y) w = sin(y).

    The root has the sign of sin y and is written as sine and cosine, so that no digits are lost near w = 0 or its pole.
    """
    xp = array_namespace(y)
    sine, cosine = backends.of(y).sincos(y)
    a, b = (xp.squeeze(part(raw, axis, c, c + 1), axis=axis) for c in (0, 1))
    # a and b times e^{-(s_a + s_b)/2}: the equation in w e^{(s_a + s_b)/2} contains only cosh((s_a - s_b)/2).
    middle, spread = xp.exp(0.5 * (a + b)), 0.5 * (xp.exp(0.5 * (a - b)) + xp.exp(0.5 * (b - a))) * cosine
    size = xp.sqrt(spread * spread + sine * sine)
    large = size + xp.abs(spread)
    up, down = xp.where(spread >= 0, xp.abs(sine), large), xp.where(spread >= 0, large, xp.abs(sine))
    x = 2.0 * xp.atan2(xp.where(sine >= 0, up, -up), middle * down)
    _, slope = mixture(x, centre, axis)
    return wrap(x), -xp.log(slope)


def _centres(raw: Array, axis: int) -> tuple[tuple[Array, None], Array]:
    xp = array_namespace(raw)
    if raw.shape[axis] < 2:
        raise ValueError(f"n projections take n + 1 raw parameters along axis {axis}, got {raw.shape[axis]}")
    centre = xp.tanh(0.5 * part(raw, axis, 0, -1))
    return (centre, None), xp.squeeze(part(raw, axis, -1, None), axis=axis)
