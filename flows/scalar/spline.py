"""Spline couplings of scalar fields on a checkerboard.

    y_x = exp(s_x) f_x(phi_x) + t_x on active sites,

where f_x is a monotone rational-quadratic spline on [-bound, bound] and the identity beyond (flows/splines.py). A context
net on the frozen sites gives its 3 bins - 1 raw parameters, s and t. A symmetric net is built such that f_x(-phi) =
-f_x(phi) for the reversed frozen field: with its even outputs e and odd outputs o, bin k has e_k + o_k, its mirror image
e_k - o_k.
Source: arXiv:1906.04032, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Condition, Params
from haarflow.flows.scalar import coupling
from haarflow.flows.scalar.coupling import check_parity, context, write_back
from haarflow.flows.scalar.nets import ContextNet
from haarflow.flows.splines import inverse_line_spline, line_channels, line_spline


@dataclass(frozen=True)
class SplineCoupling:
    """A spline coupling that moves the sites of `parity`; `net` is a `CheckerboardNet` or `LatticeNet`.

    `bins` is the number of bins of the spline on [-bound, bound]. Raises ValueError for a parity other than 0 and 1,
    a bound that is not positive, an odd number of bins under a symmetric net and, on use, an odd extent.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.scalar.nets import CheckerboardNet
    >>> flow = SplineCoupling(CheckerboardNet(2), bins=4)
    >>> y, log_det = flow.forward(flow.init(random.key(0, backend)), backend.xp.ones((5, 4, 4)))
    >>> y.shape, log_det.shape
    ((5, 4, 4), (5,))
    """

    net: ContextNet
    parity: int = 0
    bins: int = 8
    bound: float = 1.5

    symmetries = property(coupling.symmetries)
    periods = property(coupling.periods)
    moves = coupling.moves

    def __post_init__(self) -> None:
        check_parity(self.parity)
        if self.bins < 1 or not self.bound > 0.0:
            raise ValueError(f"a spline needs bins >= 1 and bound > 0, got bins={self.bins}, bound={self.bound}")
        if self.net.symmetric and self.bins % 2:
            raise ValueError(f"a spline that commutes with phi -> -phi has an even number of bins, got {self.bins}")

    def init(self, key: Array, dtype: str = "float64") -> Params:
        """Return the net's parameters."""
        return {"net": self.net.init(key, *self._counts(), dtype)}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the active sites and return log_det of the whole field."""
        moving, frozen, raw, s, t = self._context(params, x, condition)
        y, log_slope = line_spline(moving, raw, self.bound, 0)
        y = array_namespace(x).exp(s) * y + t
        return write_back(y, frozen, log_slope + s, self.parity, x, self.net.d)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the active sites back."""
        moving, frozen, raw, s, t = self._context(params, y, condition)
        x, log_slope = inverse_line_spline(array_namespace(y).exp(-s) * (moving - t), raw, self.bound, 0)
        return write_back(x, frozen, log_slope - s, self.parity, y, self.net.d)

    def _counts(self) -> tuple[int, int]:
        """The counts of even outputs (s, then tables) and of odd ones (t, then tables)."""
        half = 3 * (self.bins // 2)
        return (1 + half, half) if self.net.symmetric else (1 + line_channels(self.bins), 1)

    def _context(self, params: Params, x: Array, condition: Condition) -> tuple[Array, ...]:
        even, odd = self._counts()
        moving, frozen, outputs = context(self.net, self.parity, even, odd, params["net"], x, condition)
        s, t = outputs[0, ...], outputs[even, ...]
        tables = outputs[1:even, ...]
        raw = self._mirrored(tables, outputs[even + 1 :, ...]) if self.net.symmetric else tables
        return moving, frozen, raw, s, t

    def _mirrored(self, even: Array, odd: Array) -> Array:
        """Raw parameters of a line spline: widths, heights and inner slopes, each with its mirror image."""
        xp, half = array_namespace(even), self.bins // 2
        parts = []
        for start in (0, half):
            e, o = even[start : start + half, ...], odd[start : start + half, ...]
            parts += [e + o, xp.flip(e - o, axis=0)]
        slopes, middle, o = even[2 * half : 3 * half - 1, ...], even[3 * half - 1 :, ...], odd[2 * half :, ...]
        return xp.concat([*parts, slopes + o, middle, xp.flip(slopes - o, axis=0)], axis=0)
