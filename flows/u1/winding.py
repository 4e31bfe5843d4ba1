"""The mean direction of the winding lines of two-dimensional U(1), and a map of it that leaves all fluxes as they are.

A line is the angle of a straight loop around the torus, W(x) = sum_t theta_0(t, x), and its neighbours differ by the flux
between them. To add delta to theta_0(T-1, x) for all x moves all lines by delta and no plaquette. The mean direction

    M = arg sum_x e^{i W(x)},   R = |sum_x e^{i W(x)}| / X

moves by delta too, so that M -> h(M | fluxes) has the log-determinant log h'. Here h is the circular spline with the density

    e^{R sum_k (c_k cos k M + s_k sin k M)}

whose coefficients a net computes from the moments of the lines about M, which no common shift changes, and from further
invariants. At R = 0, where M has no meaning, h is the identity.
"""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Key, Params
from haarflow.core.groups.additive import wrap
from haarflow.flows.nets import ConvNet
from haarflow.flows.splines import inverse_spline, spline
from haarflow.flows.u1.sweep import circle_knots

SPLINES = {"forward": spline, "inverse": inverse_spline}
MOMENTS = 3


@dataclass(frozen=True)
class WindingShift:
    """A map of the mean direction of lines `(line, batch)`; `bins` of the spline, `waves` k, `hidden` channels of the net,
    `context` further features. It starts as the identity.

    >>> import numpy as np
    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> shift = WindingShift(bins=8, waves=2, hidden=4, context=1)
    >>> params = shift.init(random.key(0, backend))
    >>> delta, log_det = shift.apply("forward", params, np.asarray([[0.5], [0.7]]), np.ones((1, 1)), np.ones((1, 1)))
    >>> abs(delta.round(12)).tolist(), abs(log_det.round(12)).tolist()
    ([0.0], [0.0])
    """

    bins: int
    waves: int
    hidden: int
    context: int

    @property
    def net(self) -> ConvNet:
        """The net, from moments and context to coefficients of cosines and sines; batch as its only axis."""
        channels = (2 * MOMENTS + self.context, self.hidden, 2 * self.waves)
        return ConvNet(1, channels, 1, "silu", final_scale=0.0)

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the parameters of the net."""
        return self.net.init(key, dtype)

    def apply(
        self, direction: str, params: Params, lines: Array, context: Array, mirrored: Array
    ) -> tuple[Array, Array]:
        """Return the common shift of all lines `(batch,)` and log_det.

        `context` `(feature, batch)` are features of the fluxes, `mirrored` the same for the field with theta -> -theta, of
        which the map is the mirror image.
        """
        xp = array_namespace(lines)
        moments, middle, size = about_mean(lines)
        even, odd = self._coefficients(params, moments, context, mirrored)
        new, log_slope = SPLINES[direction](middle, circle_knots(size * even, size * odd, self.bins), axis=0)
        return xp.reshape(wrap(new - middle), middle.shape), log_slope

    def _coefficients(self, params: Params, moments: Array, context: Array, mirrored: Array) -> tuple[Array, Array]:
        """Coefficients of cosines from the even, of sines from the odd part of the net."""
        xp = array_namespace(moments)
        image = xp.concat([moments[:MOMENTS, :], -moments[MOMENTS:, :]], axis=0)
        features = xp.concat([xp.concat([moments, context], axis=0), xp.concat([image, mirrored], axis=0)], axis=1)
        net = self.net.apply(params, features)
        one, other = net[:, : moments.shape[1]], net[:, moments.shape[1] :]
        even, odd = 0.5 * (one + other), 0.5 * (one - other)
        return even[: self.waves, :], odd[self.waves :, :]


def about_mean(lines: Array) -> tuple[Array, Array, Array]:
    """Return the moments of angles `(line, batch)` about their mean direction, that direction, and the resultant's length R.

    The moments are the means of cos k(W - M) and of sin k(W - M), `(2 MOMENTS, batch)`.

    >>> import numpy as np
    >>> moments, middle, size = about_mean(np.asarray([[0.5], [0.7]]))
    >>> middle.round(12).tolist(), (size == moments[0]).tolist()
    ([0.6], [True])
    """
    xp = array_namespace(lines)
    north, east = xp.mean(xp.sin(lines), axis=0), xp.mean(xp.cos(lines), axis=0)
    middle = xp.atan2(north, east)
    angles = [k * (lines - middle[None, :]) for k in range(1, MOMENTS + 1)]
    cosines, sines = ([xp.mean(wave(angle), axis=0) for angle in angles] for wave in (xp.cos, xp.sin))
    return xp.stack([*cosines, *sines], axis=0), middle, cosines[0]
