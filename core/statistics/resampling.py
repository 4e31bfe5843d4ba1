"""Errors by leaving out or resampling draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from haarflow.core.statistics.estimate import Estimate


def jackknife(function: Callable[..., Any], *series: Any, blocks: int = 50) -> Estimate:
    """Return `function(*series)` with its error by leaving out one block of draws at a time.

    Every series has the draws on axis 0 and is cut into the same blocks; `function` takes the shortened series, so that
    reweighted ratios, cumulants and logarithms of weights are all covered. Blocks must be longer than autocorrelations.
    Raises ValueError for fewer than two blocks or draws.

    >>> import numpy as np
    >>> estimate = jackknife(np.mean, np.arange(10.0), blocks=10)
    >>> estimate.value, round(estimate.error, 6)
    (4.5, 0.957427)
    """
    arrays, draws = _together(series)
    if blocks < 2:
        raise ValueError(f"a jackknife needs at least two blocks, got {blocks}")
    edges = numpy.linspace(0, draws, min(blocks, draws) + 1).astype(int)
    shortened = [
        float(function(*[numpy.delete(one, slice(low, high), axis=0) for one in arrays]))
        for low, high in itertools.pairwise(edges)
    ]
    spread = numpy.var(shortened) * (len(shortened) - 1)
    return Estimate(float(function(*arrays)), float(math.sqrt(spread)))


def bootstrap(function: Callable[..., Any], *series: Any, resamples: int = 200, seed: int = 0) -> Estimate:
    """Return `function(*series)` with its error by resampling the draws with replacement (independent draws).

    >>> import numpy as np
    >>> bootstrap(np.mean, np.ones(10)).error
    0.0
    """
    arrays, draws = _together(series)
    generator = numpy.random.default_rng(seed)
    again = [
        float(function(*[one[chosen] for one in arrays]))
        for chosen in (generator.integers(draws, size=draws) for _ in range(resamples))
    ]
    return Estimate(float(function(*arrays)), float(numpy.std(again, ddof=1)))


def _together(series: Sequence[Any]) -> tuple[list[numpy.ndarray], int]:
    arrays: list[numpy.ndarray] = [numpy.asarray(one) for one in series]
    lengths = {len(one) if one.ndim else 0 for one in arrays}
    if len(lengths) != 1 or min(lengths) < 2:
        raise ValueError(f"series of one length >= 2 wanted, got lengths {sorted(lengths)}")
    return arrays, lengths.pop()
