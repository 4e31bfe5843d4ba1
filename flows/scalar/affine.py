"""Affine couplings of scalar fields on a checkerboard.

    y_x = exp(s_x) phi_x + t_x on active sites, optionally followed by y -> y (1 + c y^2)^(-1/4) (flows/scalar/tails.py),

where a context net computes s and t from the frozen sites (flows/scalar/nets.py); log_det is a sum over active sites. With a
symmetric net s is even and t odd under phi -> -phi, and the coupling commutes with it. Sources: arXiv:1605.08803 and
1904.12072.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Condition, Params
from haarflow.flows.flow import constant
from haarflow.flows.scalar.checkerboard import merge, split
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

    @property
    def symmetries(self) -> tuple[str, ...]:
        """Those that the net leaves to a checkerboard coupling."""
        return coupling_symmetries(self.net)

    @property
    def periods(self) -> tuple[int, ...]:
        """Two sites along each axis: a translation by one exchanges the colours."""
        return (2,) * self.net.d

    def moves(self, lattice: tuple[int, ...]) -> np.ndarray:
        """Return on the host which sites of a field move."""
        return active(lattice, self.parity)

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


def coupling_symmetries(net: ContextNet) -> tuple[str, ...]:
    """Return the symmetries of a checkerboard coupling: the point group for tied kernels, Z2 for a symmetric net."""
    return ("translation", *(("reflection", "hypercubic") if net.tied else ()), *(("Z2",) if net.symmetric else ()))


def active(lattice: tuple[int, ...], parity: int) -> np.ndarray:
    """Return on the host which sites have a parity.

    >>> active((2, 2), 0).tolist()
    [[True, False], [False, True]]
    """
    sites: np.ndarray = np.indices(lattice).sum(axis=0) % 2 == parity
    return sites


def context(
    net: ContextNet, parity: int, even: int, odd: int, params: Params, x: Array, condition: Condition
) -> tuple[Array, Array, Array]:
    """Return the active and the frozen sublattice, and the net's output for the active one."""
    backends.of(x, params)
    moving, frozen = split(x, net.d, parity)
    lattice = tuple(x.shape[x.ndim - net.d :])
    return moving, frozen, net.apply(params, frozen, lattice, parity, even, odd, condition)


def write_back(moved: Array, frozen: Array, log_slope: Array, parity: int, like: Array, d: int) -> tuple[Array, Array]:
    """Return the field, of the shape of `like`, and log_det of the batch's shape, summed over active sites."""
    xp = array_namespace(moved)
    log_det = xp.reshape(xp.sum(log_slope, axis=0), tuple(like.shape[: like.ndim - d]))
    return merge(moved, frozen, parity, like.shape, d), log_det


def check_parity(parity: int) -> None:
    """Raise ValueError for a parity other than 0 and 1."""
    if parity not in (0, 1):
        raise ValueError(f"a checkerboard's parity is 0 (even sites active) or 1 (odd sites active), got {parity!r}")
