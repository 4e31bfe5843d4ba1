"""Averages over weighted independent draws, log_w = -S - log q: ln Z, reweighting.

An error bar is the spread of the weights that were drawn: below `LEAST` effective draws there is none, and a note says
where it rests on a few weights or on a heavy tail.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy
from numpy.typing import ArrayLike

from haarflow.backends.types import Array
from haarflow.core.statistics.effective import (
    LEAST,
    ess,
    log_weights,
    nan_note,
    no_error,
    relative_weights,
    weight_note,
)
from haarflow.core.statistics.estimate import Estimate
from haarflow.core.statistics.gamma import gamma_method
from haarflow.core.statistics.series import real_numbers


class Weights(NamedTuple):
    """What all averages over the same weighted draws share: weights `(n,)` over the largest one, e^top, and their ESS.

    `missing` says why there is no average, `note` what to keep in mind of error bars.
    """

    relative: numpy.ndarray
    top: float
    ess: float
    missing: str = ""
    note: str = ""

    @property
    def effective(self) -> float:
        """How many draws they are worth."""
        return self.ess * self.relative.size


def weights_of(log_w: ArrayLike | Weights) -> Weights:
    """Return the weights of draws with their note, which averages of several observables then share.

    Raises ValueError without draws and for an infinite weight.

    >>> weights_of([0.0, float("-inf")]).note
    '1.0 effective draws, below 10: the error is not known'
    """
    if isinstance(log_w, Weights):
        return log_w
    if missing := nan_note(log_w):
        return Weights(numpy.zeros(numpy.size(log_w)), math.nan, 0.0, missing)
    values = log_weights(log_w)
    found = Weights(relative_weights(values), float(values.max()), ess(values))
    if found.ess == 0.0:
        return found._replace(missing="every weight is zero")
    few = found.effective < LEAST
    return found._replace(note=no_error(found.effective) if few else weight_note(values))


def log_z(log_w: ArrayLike | Weights) -> Estimate:
    """Return log mean w, the estimate of log Z for log_w = -S - log q, with its error by the delta method.

    >>> log_z([0.0, 0.0]).value
    0.0
    """
    found = weights_of(log_w)
    if found.missing:
        return Estimate(None, None, note=found.missing)
    value = found.top + math.log(float(numpy.mean(found.relative)))
    error = math.sqrt(max(1.0 / found.ess - 1.0, 0.0) / found.relative.size)
    return _noted(Estimate(value, error, 0.5), found)


def mode_aware_ess(target_log_w: ArrayLike, exact_log_z: float) -> Estimate:
    """Return ESS = Z / E_p[w] from log weights of samples of the target p, and the exact or measured log Z.

    A model that misses a mode has a good `ess` on its own samples and a bad one here. The error assumes independent target
    samples.

    >>> mode_aware_ess([1.0, 1.0], 1.0).value
    1.0
    """
    mean = log_z(target_log_w)
    if mean.value is None:
        return Estimate(None, None, note=mean.note)
    value = math.exp(min(exact_log_z - mean.value, 700.0))
    return Estimate(value, None if mean.error is None else value * mean.error, None, None, mean.note)


def reweight(log_w: ArrayLike | Weights, values: Array) -> Estimate:
    """Return sum w O / sum w over independent samples, error sqrt(sum w^2 (O - mean)^2) / sum w.

    No error bar below ten effective samples. For several observables take `weights_of` once in the place of `log_w`, for a
    function of several means `reweight_derived`, for a chain's correlated draws `gamma_method((w * O, w), lambda a, b: a / b)`.
    Raises ValueError for shapes that differ.

    >>> reweight([0.0, float("-inf")], [2.0, 100.0])[:2]
    (2.0, None)
    """
    found, o = weights_of(log_w), numpy.ravel(real_numbers(values))
    w = found.relative
    if o.size != w.size:
        raise ValueError(f"one value for each log weight wanted, got {o.size} values and {w.size} weights")
    if found.missing:
        return Estimate(None, None, note=found.missing)
    if not numpy.all(numpy.isfinite(o[w > 0.0])):
        return Estimate(None, None, note="values of positive weight are NaN or infinite")
    o = numpy.where(w > 0.0, o, 0.0)
    value = float(numpy.sum(w * o) / numpy.sum(w))
    error = float(numpy.sqrt(numpy.sum((w * (o - value)) ** 2)) / numpy.sum(w))
    return _noted(Estimate(value, error, 0.5), found)


def reweight_derived(function: Callable[..., Any], log_w: ArrayLike | Weights, *values: ArrayLike) -> Estimate:
    """Return `function` of the reweighted means of several observables over independent samples, with its error.

    >>> reweight_derived(lambda a, b: a / b, [0.0] * 40, [2.0, 4.0] * 20, [1.0, 2.0] * 20).value
    2.0
    """
    found = weights_of(log_w)
    if found.missing:
        return Estimate(None, None, note=found.missing)

    def of_means(weight: float, *means: float) -> Any:
        return function(*(mean / weight for mean in means))

    series = [found.relative, *(found.relative * numpy.ravel(real_numbers(one)) for one in values)]
    return _noted(gamma_method(series, of_means), found)


def _noted(estimate: Estimate, weights: Weights) -> Estimate:
    """The estimate with the weights' note, without its error bar where there are too few effective draws."""
    if weights.effective < LEAST:
        return estimate._replace(error=None, note=weights.note)
    return estimate if estimate.error is None else estimate._replace(note=weights.note or estimate.note)
