"""Laws of discrete fields: a density is summed over all of them, and a field that is filled in an order depends on what came before."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.types import Array, Group, Params
from haarflow.core.groups.signs import has_algebra
from haarflow.core.laws.law import EPSILON, Verdict, judge, largest, precision_of, to_host

SITES = 12  # up to which all configurations are made
DISCRETE = "its fields are discrete: they are summed over"
CONTINUOUS = "its fields are continuous"


def configurations(shape: tuple[int, ...]) -> numpy.ndarray:
    """Return all configurations of signs of a shape, `(2^V, *shape)`.

    >>> configurations((2,)).tolist()
    [[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]
    """
    sites = math.prod(shape)
    bits = numpy.arange(1 << sites)[:, None] >> numpy.arange(sites)[None, :] & 1
    result: numpy.ndarray = (1.0 - 2.0 * bits).reshape(-1, *shape)
    return result


def not_enumerable(group: Group, shape: tuple[int, ...]) -> str | None:
    """Return why a density is not summed over all its fields, None where it is."""
    if has_algebra(group):
        return CONTINUOUS
    sites = math.prod(shape)
    return None if sites <= SITES else f"it has {sites} sites, and the sum is over at most 2^{SITES} configurations"


def sums_to_one(density: Callable[[Array], Array], group: Group, shape: tuple[int, ...], like: Array) -> Verdict:
    """sum_s q(s) = 1 over all configurations of spins.

    `density` returns log q of fields `(n, *shape)`, on the backend and in the precision of `like`.

    >>> sums_to_one(lambda y: numpy.full(len(y), -2 * math.log(2.0)), None, (2,), numpy.zeros(1)).passed
    True
    """
    y = backends.of(like).asarray(configurations(shape), dtype=like.dtype)
    total = float(numpy.exp(to_host(density(y)).astype("float64")).sum())
    tolerance = 64 * math.prod(shape) * EPSILON[precision_of(like)]
    return judge(sums_to_one, total - 1.0, tolerance, "rounding of the logarithms", total=total)


def order_of_sites(flow: Any, params: Params, spins: Array) -> Verdict:
    """The local field at a site does not depend on the spin there or on later ones: dh_j/ds_i = 0 for i >= j.

    `spins` is one configuration `(*lattice)`; each of its spins is turned in a copy.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.spins.autoregressive import dense
    >>> flow = dense((2, 2)).flow
    >>> order_of_sites(flow, flow.init(random.key(0, backend)), numpy.ones((2, 2))).passed
    True
    """
    host = to_host(spins)
    copies = numpy.repeat(host.reshape(1, -1), host.size + 1, axis=0)
    copies[numpy.arange(host.size), numpy.arange(host.size)] *= -1.0
    rows = backends.of(spins).asarray(copies.reshape(-1, *host.shape), dtype=spins.dtype)
    h = to_host(flow.local_fields(params, rows)).reshape(host.size + 1, host.size)
    change = numpy.tril(h[:-1] - h[-1:])  # row i: the spin that is turned, column j <= i
    tolerance = 64 * host.size * EPSILON[precision_of(spins)] * max(1.0, largest(h))
    return judge(order_of_sites, change, tolerance, "rounding of the sums", spins=spins)
