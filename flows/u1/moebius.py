"""Moebius maps of the circle and mixtures of them, with their inverse to rounding.

With a centre omega = (a, b) inside the unit disk and u = (cos x, sin x), the angle x is mapped to

    f(x) = x + 2 atan( (a sin x - b cos x) / (1 - a cos x - b sin x) ),    f'(x) = (1 - |omega|^2) / |u - omega|^2,

a map of the circle onto itself; a mixture is the mean of n such maps plus a shift t. Every expression is periodic in x, so
that there is no seam. Source: arXiv:2002.02428, sections 2.3 (Moebius) and 2.2, 2.4 (mixtures).

Shapes: angles `(*batch, *lattice)`; raw parameters with 2 n + 1 entries along `axis`, zero for the identity.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Tree
from haarflow.core.axes import part
from haarflow.core.groups.additive import wrap

LARGEST = 0.999  # bound on |omega|: slopes stay below about 2000
NEWTON_STEPS = 18

Centre = tuple[Array, Array | None]  # real and imaginary parts
State = tuple[Array, Array, Array, Array]  # x, lower and upper end of the bracket, last residual


def moebius_channels(components: int) -> int:
    """Return the number of raw parameters of a mixture of Moebius maps: two for each centre, and a shift.

    >>> moebius_channels(3)
    7
    """
    return 2 * components + 1


def moebius(x: Array, raw: Array, axis: int) -> tuple[Array, Array]:
    """Return (y, log dy/dx) of a mixture of Moebius maps, y in [-pi, pi).

    omega = LARGEST z / sqrt(1 + |z|^2) of the raw pair z. Raises ValueError for a wrong number of raw parameters.

    >>> import numpy as np
    >>> y, log_slope = moebius(np.asarray([0.5]), np.zeros((5, 1)), axis=0)
    >>> y.tolist(), log_slope.tolist()
    ([0.5], [0.0])
    """
    centre, shift = _centres(raw, axis)
    y, slope = mixture(x, centre, axis)
    return wrap(y + shift), array_namespace(x).log(slope)


def inverse_moebius(y: Array, raw: Array, axis: int) -> tuple[Array, Array]:
    """Undo `moebius`; the second result is the logarithm of the inverse's slope.

    >>> import numpy as np
    >>> x, log_slope = inverse_moebius(np.asarray([0.5]), np.zeros((5, 1)), axis=0)
    >>> x.tolist(), log_slope.tolist()
    ([0.5], [-0.0])
    """
    centre, shift = _centres(raw, axis)
    return inverse_mixture(y - shift, centre, axis)


def mixture(x: Array, centre: Centre, axis: int) -> tuple[Array, Array]:
    """Return the unwrapped value and the slope of the mean of Moebius maps with centres (a, b) stacked along `axis`.

    The value differs from x by less than pi. `b` is None for centres on the real axis.
    """
    xp = array_namespace(x)
    sine, cosine = (xp.expand_dims(part, axis=axis) for part in backends.of(x).sincos(x))
    a, b = centre
    rise, run, size = a * sine, 1.0 - a * cosine, 1.0 - a * a
    if b is not None:
        rise, run, size = rise - b * cosine, run - b * sine, size - b * b
    slope = size / (2.0 * run - size)
    return x + 2.0 * xp.mean(xp.atan(rise / run), axis=axis), xp.mean(slope, axis=axis)


def inverse_mixture(y: Array, centre: Centre, axis: int) -> tuple[Array, Array]:
    """Return (x, log dx/dy) with mixture(x) = y modulo 2 pi, x in [-pi, pi).

    A single Moebius map is undone by the opposite centre; Newton's method starts from the mean of these inverses.
    """
    y, (a, b) = wrap(y), centre
    guess, _ = mixture(y, (-a, None if b is None else -b), axis)
    x = solve_increasing(lambda x, centre: mixture(x, centre, axis), y, centre, guess, math.pi)
    _, slope = mixture(x, centre, axis)
    return wrap(x), -array_namespace(x).log(slope)


def solve_increasing(
    f: Callable[[Array, Tree], tuple[Array, Array]], y: Array, params: Tree, guess: Array, reach: float
) -> Array:
    """Return x in [y - reach, y + reach] with f(x, params) = y, for an increasing f that gives (value, slope).

    Newton's method within a bracket that shrinks in every step: where a step would leave it, or the last one did not halve
    the residual, the bracket is halved instead. NEWTON_STEPS steps are taken without derivatives, then one more that
    carries the derivatives with respect to y and params (implicit function theorem).
    """
    backend, xp = backends.of(y), array_namespace(y)
    target, frozen, guess = backend.stop_gradient((y, params, guess))

    def step(state: State, _: None) -> tuple[State, None]:
        x, low, high, last = state
        value, slope = f(x, frozen)
        miss = target - value
        low, high = xp.where(miss > 0, x, low), xp.where(miss > 0, high, x)
        newton, size = x + miss / slope, xp.abs(miss)
        # Near rounding the residual no longer halves, and Newton's step is good as it is.
        good = (newton >= low) & (newton <= high) & ((size <= 0.5 * last) | (size < 1e-8))
        return (xp.where(good, newton, 0.5 * (low + high)), low, high, size), None

    start = (guess, target - reach, target + reach, xp.full_like(target, 2.0 * reach))
    (x, _, _, _), _ = backend.scan(step, start, None, length=NEWTON_STEPS)
    value, slope = f(x, params)
    return x + (y - value) / backend.stop_gradient(slope)


def _centres(raw: Array, axis: int) -> tuple[tuple[Array, Array], Array]:
    xp = array_namespace(raw)
    components, rest = divmod(raw.shape[axis] - 1, 2)
    if rest or components < 1:
        raise ValueError(f"n Moebius maps take 2 n + 1 raw parameters along axis {axis}, got {raw.shape[axis]}")
    a, b, shift = (part(raw, axis, *ends) for ends in ((0, components), (components, 2 * components), (-1, None)))
    scale = LARGEST / xp.sqrt(1.0 + a * a + b * b)
    return (scale * a, scale * b), xp.squeeze(shift, axis=axis)
