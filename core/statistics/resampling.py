"""Errors by leaving out or resampling draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from haarflow.core.statistics.estimate import Estimate
from haarflow.core.statistics.series import number, numbers


def jackknife(function: Callable[..., Any], *series: Any, blocks: int = 50) -> Estimate:
    """Return `function(*series)` with its error by leaving out one block of draws at a time.

    A series is `(draw,)` or `(chain, draw[, n])`, real or complex, and all are cut into the same blocks of draws;
    `function` takes the shortened series to a real number, so that reweighted ratios, cumulants and logarithms of weights
    are all covered. Blocks must be longer than autocorrelations. Raises ValueError for fewer than two blocks or draws.

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
        number(function(*[numpy.delete(one, slice(low, high), axis=_axis(one)) for one in arrays]))
        for low, high in itertools.pairwise(edges)
    ]
    spread = numpy.var(shortened) * (len(shortened) - 1)
    return Estimate(number(function(*arrays)), float(math.sqrt(spread)))


def bootstrap(function: Callable[..., Any], *series: Any, resamples: int = 200, seed: int = 0) -> Estimate:
    """Return `function(*series)` with its error by resampling the draws with replacement (independent draws).

    Series as in `jackknife`.

    >>> import numpy as np
    >>> bootstrap(np.mean, np.ones(10)).error
    0.0
    """
    arrays, draws = _together(series)
    generator = numpy.random.default_rng(seed)
    again = [
        number(function(*[numpy.take(one, chosen, axis=_axis(one)) for one in arrays]))
        for chosen in (generator.integers(draws, size=draws) for _ in range(resamples))
    ]
    return Estimate(number(function(*arrays)), float(numpy.std(again, ddof=1)))


def _together(series: Sequence[Any]) -> tuple[list[numpy.ndarray], int]:
    arrays = [numbers(one) for one in series]
    lengths = {one.shape[_axis(one)] if one.ndim else 0 for one in arrays}
    if len(lengths) != 1 or min(lengths) < 2:
        raise ValueError(f"series of one length >= 2 wanted, got lengths {sorted(lengths)}")
    return arrays, lengths.pop()


def _axis(series: numpy.ndarray) -> int:
    """The axis of the draws: `(draw,)` or `(chain, draw[, n])`."""
    return min(series.ndim - 1, 1)
