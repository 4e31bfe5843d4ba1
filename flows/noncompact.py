"""Mixtures of non-compact projections of the circle, with their inverse to rounding.

    h(x) = mean_c 2 atan(e^{s_c} tan(x/2)) + t,    h'(x) = mean_c [e^{-s_c} cos^2(x/2) + e^{s_c} sin^2(x/2)]^{-1}

Each projection is the Moebius map with the centre tanh(s_c/2) on the real axis, and is computed so: one sine and cosine
serve all components, and no tangent meets its pole. Source: arXiv:2002.02428, section 2.2; arXiv:2101.08176, section 4.

Shapes: angles `(*batch, *lattice)`; raw numbers s_1 ... s_n, t along `axis`, zero for the identity.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from haarflow.core.groups import wrap
from haarflow.flows.moebius import inverse_mixture, mixture, part

Array = Any


def noncompact_channels(components: int) -> int:
    """Return how many raw numbers a mixture reads: one scale for each projection, and a shift.

    >>> noncompact_channels(2)
    3
    """
    return components + 1


def noncompact(x: Array, raw: Array, axis: int) -> tuple[Array, Array]:
    """Return (y, log dy/dx) of a mixture of non-compact projections, y in [-pi, pi).

    Raises ValueError where there is no scale beside the shift.

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
    return inverse_mixture(y - shift, centre, axis)


def _centres(raw: Array, axis: int) -> tuple[tuple[Array, None], Array]:
    xp = array_namespace(raw)
    if raw.shape[axis] < 2:
        raise ValueError(f"n projections read n + 1 raw numbers along axis {axis}, got {raw.shape[axis]}")
    centre = xp.tanh(0.5 * part(raw, axis, 0, -1))
    return (centre, None), xp.squeeze(part(raw, axis, -1, None), axis=axis)
