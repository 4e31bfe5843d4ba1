"""What the couplings on a checkerboard share: a `net` that reads the frozen sites, and the `parity` of the sites that move."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Condition, Params
from haarflow.flows.scalar.checkerboard import merge, split
from haarflow.flows.scalar.nets import ContextNet


class Coupling(Protocol):
    """A coupling that moves the sites of `parity` by what its net makes of the others."""

    @property
    def net(self) -> ContextNet:
        """The net on the frozen sites."""
        ...

    @property
    def parity(self) -> int:
        """The parity of the sites that move."""
        ...


def symmetries(coupling: Coupling) -> tuple[str, ...]:
    """The symmetries of a checkerboard coupling: the point group for tied kernels, Z2 for a symmetric net."""
    net = coupling.net
    return ("translation", *(("reflection", "hypercubic") if net.tied else ()), *(("Z2",) if net.symmetric else ()))


def periods(coupling: Coupling) -> tuple[int, ...]:
    """Two sites along each axis: a translation by one exchanges the colours."""
    return (2,) * coupling.net.d


def moves(coupling: Coupling, lattice: tuple[int, ...]) -> np.ndarray:
    """Return on the host which sites of a field move.

    >>> from haarflow.flows.scalar.affine import AffineCoupling
    >>> from haarflow.flows.scalar.nets import CheckerboardNet
    >>> AffineCoupling(CheckerboardNet(2)).moves((2, 2)).tolist()
    [[True, False], [False, True]]
    """
    sites: np.ndarray = np.indices(lattice).sum(axis=0) % 2 == coupling.parity
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
