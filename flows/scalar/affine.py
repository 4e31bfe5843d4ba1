"""Affine couplings of scalar fields on a checkerboard.

    y_x = exp(s_x) phi_x + t_x on active sites, optionally followed by y -> y (1 + c y^2)^(-1/4) (flows/scalar/tails.py),

where a context net computes s and t from the frozen sites (flows/scalar/nets.py); log_det is a sum over active sites. With a
symmetric net s is even and t odd under phi -> -phi, and the coupling commutes with it. Sources: arXiv:1605.08803 and
1904.12072.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Condition, Params
from haarflow.flows.flow import constant
from haarflow.flows.scalar import coupling
from haarflow.flows.scalar.coupling import check_parity, context, write_back
from haarflow.flows.scalar.nets import ContextNet
from haarflow.flows.scalar.tails import inverse_quartic_tail, quartic_tail


@dataclass(frozen=True)
class AffineCoupling:
    """An affine coupling that moves the sites of `parity`; `net` is a `CheckerboardNet` or `LatticeNet`.

    With `tail` > 0 a quartic tail follows, whose learnt strength c starts at `tail`.
    Raises ValueError for a parity other than 0 and 1, a negative tail and, on use, an odd extent.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.scalar.nets import CheckerboardNet
    >>> flow = AffineCoupling(CheckerboardNet(2))
    >>> y, log_det = flow.forward(flow.init(random.key(0, backend)), backend.xp.ones((5, 4, 4)))
    >>> y.shape, log_det.shape
    ((5, 4, 4), (5,))
    """

    net: ContextNet
    parity: int = 0
    tail: float = 0.0

    symmetries = property(coupling.symmetries)
    periods = property(coupling.periods)
    moves = coupling.moves

    def __post_init__(self) -> None:
        check_parity(self.parity)
        if not (math.isfinite(self.tail) and self.tail >= 0.0):
            raise ValueError(f"a tail's strength is 0 (no tail) or positive, got {self.tail!r}")

    def init(self, key: Array, dtype: str = "float64") -> Params:
        """Return the net's parameters and log c."""
        params = {"net": self.net.init(key, 1, 1, dtype)}
        return {**params, "log_c": constant(key, math.log(self.tail), (), dtype)} if self.tail else params

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the active sites and return log_det of the whole field."""
        moving, frozen, s, t = self._context(params, x, condition)
        xp = array_namespace(x)
        y, log_slope = xp.exp(s) * moving + t, s
        if self.tail:
            y, bend = quartic_tail(y, xp.exp(params["log_c"]))
            log_slope = log_slope + bend
        return write_back(y, frozen, log_slope, self.parity, x, self.net.d)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the active sites back."""
        moving, frozen, s, t = self._context(params, y, condition)
        xp = array_namespace(y)
        log_slope = -s
        if self.tail:
            moving, bend = inverse_quartic_tail(moving, xp.exp(params["log_c"]))
            log_slope = log_slope + bend
        return write_back(xp.exp(-s) * (moving - t), frozen, log_slope, self.parity, y, self.net.d)

    def _context(self, params: Params, x: Array, condition: Condition) -> tuple[Array, Array, Array, Array]:
        moving, frozen, raw = context(self.net, self.parity, 1, 1, params["net"], x, condition)
        s, t = backends.of(raw).unstack(raw)
        return moving, frozen, s, t
