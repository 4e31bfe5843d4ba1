"""Pulls: the deviation of a Monte Carlo mean in units of its standard error, (mean - expected) / error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy

from haarflow.core.laws.law import to_host

LIMIT = 5.0
LUCK = "5 standard errors per number, a chance failure has probability 6e-7 each; the seed is fixed"


def largest_pull(rows: Any, expected: Any = 0.0, scale: float = 0.0) -> float:
    """Return the largest |mean - expected| / error of independent rows `(n, ...)` over all components.

    Differences below `scale` are rounding and count as zero; a NaN counts as infinite. Raises ValueError for fewer than
    two rows.

    >>> round(largest_pull([1.0, -1.0, 3.0, 1.0], expected=0.0), 3)
    1.225
    """
    host = to_host(rows).astype("float64")
    if host.shape[0] < 2:
        raise ValueError(f"a pull needs at least two rows, got {host.shape[0]}")
    off = numpy.abs(host.mean(axis=0) - expected)
    error = host.std(axis=0, ddof=1) / math.sqrt(host.shape[0])
    pulls = numpy.where(off <= scale, 0.0, off / numpy.where(error > 0, error, 1e-300))
    return math.inf if bool(numpy.isnan(off).any()) else float(numpy.max(pulls, initial=0.0))


def named_columns(observables: Mapping[str, Any]) -> Iterator[tuple[str, numpy.ndarray]]:
    """Yield the numbers `(n,)` of a dict of observables `(n,)` or `(n, k)` by name, on the host in float64.

    >>> [name for name, _ in named_columns({"m": numpy.zeros(3), "C": numpy.zeros((3, 2))})]
    ['m', 'C[0]', 'C[1]']
    """
    for name, values in observables.items():
        host = to_host(values).astype("float64")
        if host.ndim == 1:
            yield name, host
            continue
        for index, column in enumerate(host.reshape(host.shape[0], -1).T):
            yield f"{name}[{index}]", column
