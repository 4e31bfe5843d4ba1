"""Means within a sector, such as the configurations of one topological charge: <O delta>/<delta>, delta = 1 in it and 0 outside.

The ratio has the error of both means (hep-lat/0306017), which is that of many draws within: where there are few, it has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
from numpy.typing import ArrayLike

from haarflow.core.statistics.effective import no_error
from haarflow.core.statistics.estimate import Estimate
from haarflow.core.statistics.gamma import LEAST, gamma_method
from haarflow.core.statistics.series import real_numbers
from haarflow.core.statistics.weights import Weights, reweight_derived, weights_of


def within(
    function: Callable[..., Any], series: list[Any], inside: ArrayLike, log_w: ArrayLike | Weights | None = None
) -> Estimate:
    """Return `function` of the means of several series that are zero outside a sector, with its error.

    `inside` is 1 for draws in the sector and 0 for others; series are `(draw,)` or `(chain, draw)`, of a Markov chain or, with
    `log_w`, of independent weighted draws. The draws within count by their weights, those of a chain by the tau_int of the ratio:
    below ten there is a value and no error, without any no value, and a note says so. Raises ValueError for shapes that differ.

    >>> charge = numpy.asarray([0.0, 1.0, 0.0, 0.0] * 10)
    >>> within(lambda a, b: a / b, [2.0 * charge, charge], charge, numpy.zeros(40)).value
    2.0
    >>> within(lambda a, b: a / b, [charge[:8], charge[:8]], charge[:8], numpy.zeros(8)).note
    '2.0 effective draws, below 10: the error is not known'
    """
    delta = real_numbers(inside)
    if not numpy.any(delta):
        return Estimate(None, None, note="no draw lies in this sector")
    if log_w is None:
        found = gamma_method(series, function)
        effective = float(delta.sum()) / (2.0 * (found.tau_int or 0.5))
    else:
        weights = weights_of(log_w)
        found = reweight_derived(function, weights, *series)
        effective = _effective(weights.relative * numpy.ravel(delta))
    return found if effective >= LEAST else found._replace(error=None, note=no_error(effective))


def _effective(w: numpy.ndarray) -> float:
    """(sum w)^2 / sum w^2, 0 where all weights are."""
    return float(w.sum() ** 2 / (w @ w)) if w.any() else 0.0
