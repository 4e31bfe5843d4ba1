"""Affine couplings of scalar fields on a checkerboard.

    y_x = exp(s_x) phi_x + t_x on active sites, optionally bent by y -> y (1 + c y^2)^(-1/4) (flows/tails.py),

with s and t from a context net on the passive sites (flows/context.py); log_det = sum over active sites. With a
symmetric net s is even and t odd under phi -> -phi, and the coupling commutes with it. Source: arXiv:1605.08803
and 1904.12072.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Condition, Params
from haarflow.flows.checkerboard import merge, split
from haarflow.flows.flow import constant
from haarflow.flows.tails import inverse_quartic_tail, quartic_tail


class CheckerboardCoupling:
    """What couplings of the sites of one `parity`, told of the others by a `net`, have in common."""

    net: Any
    parity: int

    @property
    def symmetries(self) -> tuple[str, ...]:
        """Translations within a colour, the point group of tied kernels, Z2 of numbers of definite parity."""
        point_group = ("reflection", "hypercubic") if getattr(self.net, "tied", False) else ()
        return ("translation", *point_group, *(("Z2",) if self.net.symmetric else ()))

    @property
    def periods(self) -> tuple[int, ...]:
        """Two sites along each axis: one would exchange the colours."""
        return (2,) * self.net.d

    def moves(self, lattice: tuple[int, ...]) -> np.ndarray:
        """Return on the host which components of a field move: the sites of `parity`."""
        return np.indices(lattice).sum(axis=0) % 2 == self.parity


@dataclass(frozen=True)
class AffineCoupling(CheckerboardCoupling):
    """An affine coupling of the sites of `parity`; `net` is a `CheckerboardNet` or `LatticeNet`.

    `tail` > 0 bends the result by a quartic tail whose learnt strength c starts there, 0 is no bend.
    Raises ValueError for a parity other than 0 and 1, a negative tail and, on use, an odd extent.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.context import CheckerboardNet
    >>> flow = AffineCoupling(CheckerboardNet(2))
    >>> y, log_det = flow.forward(flow.init(random.key(0, backend)), backend.xp.ones((5, 4, 4)))
    >>> y.shape, log_det.shape
    ((5, 4, 4), (5,))
    """

    net: Any
    parity: int = 0
    tail: float = 0.0

    def __post_init__(self) -> None:
        check_parity(self.parity)
        if not (math.isfinite(self.tail) and self.tail >= 0.0):
            raise ValueError(f"a tail's strength is 0 (no tail) or positive, got {self.tail!r}")

    def init(self, key: Array, dtype: str = "float64") -> Params:
        """Return the net's parameters and log c."""
        params = {"net": self.net.init(key, 1, 1, dtype)}
        return {**params, "log_c": constant(key, math.log(self.tail), (), dtype)} if self.tail else params

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the active sites; log_det is that of the whole field."""
        active, passive, s, t = self._context(params, x, condition)
        xp = array_namespace(x)
        y, log_slope = xp.exp(s) * active + t, s
        if self.tail:
            y, bend = quartic_tail(y, xp.exp(params["log_c"]))
            log_slope = log_slope + bend
        return write_back(y, passive, log_slope, self.parity, x, self.net.d)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the active sites back."""
        active, passive, s, t = self._context(params, y, condition)
        xp = array_namespace(y)
        log_slope = -s
        if self.tail:
            active, bend = inverse_quartic_tail(active, xp.exp(params["log_c"]))
            log_slope = log_slope + bend
        return write_back(xp.exp(-s) * (active - t), passive, log_slope, self.parity, y, self.net.d)

    def _context(self, params: Params, x: Array, condition: Condition) -> tuple[Array, Array, Array, Array]:
        active, passive, raw = context(self.net, self.parity, 1, 1, params["net"], x, condition)
        s, t = backends.of(raw).unstack(raw)
        return active, passive, s, t


def context(
    net: Any, parity: int, even: int, odd: int, params: Params, x: Array, condition: Condition
) -> tuple[Array, Array, Array]:
    """Return the active and the passive sublattice and the net's numbers for the active one."""
    backends.of(x, params)
    active, passive = split(x, net.d, parity)
    lattice = tuple(x.shape[x.ndim - net.d :])
    return active, passive, net.apply(params, passive, lattice, parity, even, odd, condition)


def write_back(
    active: Array, passive: Array, log_slope: Array, parity: int, like: Array, d: int
) -> tuple[Array, Array]:
    """Return the field of the shape of `like` and log_det, summed over active sites, of the batch's shape."""
    xp = array_namespace(active)
    log_det = xp.reshape(xp.sum(log_slope, axis=0), tuple(like.shape[: like.ndim - d]))
    return merge(active, passive, parity, like.shape, d), log_det


def check_parity(parity: int) -> None:
    """Raise ValueError for a parity other than 0 and 1."""
    if parity not in (0, 1):
        raise ValueError(f"a checkerboard's parity is 0 (even sites active) or 1 (odd sites active), got {parity!r}")
