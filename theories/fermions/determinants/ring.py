"""Inverses on a ring of U(1) links in closed form: W = 1 - kappa (M + M^+) with M(x, x+1) = U(x).

M is unitary and M^L is the holonomy P, so that with s = sqrt(1 - 4 kappa^2) and rho = 2 kappa / (1 + s)

    W^-1 = (1/s) sum over all integers n of rho^|n| M^n,    kappa (M - M^+) W^-1 = sum over n > 0 of rho^n (M^n - M^-n),
    ln det W = L ln((1 + s)/2) + 2 ln |1 - rho^L P|,

and windings sum to 1/(1 - rho^L P). Paths U(x) ... U(y-1) are g(x)^* g(y), with another P where they pass the end.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.axes import spread
from haarflow.core.broadcasting import of_type


class Ring(NamedTuple):
    """W^-1 and kappa (M - M^+) W^-1, `(..., L, L)`, and ln det W, `(...)`."""

    inverse: Array
    turned: Array
    log_det: Array


def ring(links: Array, kappa: Any) -> Ring:
    """Return the inverses for complex links `(..., *batch, L)` of modulus 1; kappa < 1/2 is a number or has the batch's shape.

    >>> import numpy as np
    >>> ring(np.ones((1, 1)) + 0j, 0.1).inverse.real.round(12).tolist()
    [[[1.25]]]
    """
    xp, length = array_namespace(links), links.shape[-1]
    s, rho = _roots(kappa, 1, links)
    g = _paths(links)
    p = g[..., -1:] * links[..., -1:]
    around = _power(rho, length, links) * p
    ahead, back = 1.0 / (1.0 - around), xp.conj(p / (1.0 - around))
    steps = (numpy.arange(length)[None, :] - numpy.arange(length)[:, None]) % length
    beyond = backends.of(links).asarray(
        (numpy.arange(length)[None, :] < numpy.arange(length)[:, None]) * 1.0, dtype=links.dtype
    )
    paths = xp.conj(g)[..., :, None] * g[..., None, :] * (1.0 + beyond * (p[..., None] - 1.0))
    wide = _roots(kappa, 2, links)
    forth, home = (_powers(wide[1], power, links) for power in (steps, length - steps))
    first, second = forth * ahead[..., None] * paths, home * back[..., None] * paths
    one = xp.eye(length, dtype=links.dtype, device=backends.place(links))
    half = 0.5 * (1.0 + s)
    log_det = length * (xp.log(half) if hasattr(s, "dtype") else math.log(half)) + 2.0 * xp.log(xp.abs(1.0 - around))
    return Ring((first + second) / _like(wide[0], links), first - second - one, log_det[..., 0])


def _roots(kappa: Any, rank: int, like: Array) -> tuple[Any, Any]:
    """s and rho, numbers or arrays with `rank` axes of extent one behind the batch's."""
    if not hasattr(kappa, "dtype"):
        s = math.sqrt(1.0 - 4.0 * kappa * kappa)
        return s, 2.0 * kappa / (1.0 + s)
    k = spread(kappa, rank)
    s = array_namespace(like).sqrt(1.0 - 4.0 * k * k)
    return s, 2.0 * k / (1.0 + s)


def _paths(links: Array) -> Array:
    """g(x) = U(0) ... U(x-1), by doubling."""
    xp, length, reach = array_namespace(links), links.shape[-1], 1
    g = xp.concat([xp.ones_like(links[..., :1]), links[..., :-1]], axis=-1)
    while reach < length:
        g = g * xp.concat([xp.ones_like(g[..., :reach]), g[..., :-reach]], axis=-1)
        reach *= 2
    return g


def _power(rho: Any, power: int, like: Array) -> Any:
    return _like(rho**power, like)


def _powers(rho: Any, powers: numpy.ndarray, like: Array) -> Array:
    """rho to the powers of a table."""
    backend = backends.of(like)
    if not hasattr(rho, "dtype"):
        return backend.asarray(rho ** powers.astype("float64"), dtype=like.dtype)
    return of_type(rho ** backend.asarray(powers.astype("float64"), dtype=rho.dtype), like)


def _like(x: Any, like: Array) -> Any:
    return of_type(x, like) if hasattr(x, "dtype") else x
