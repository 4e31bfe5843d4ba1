"""Averages over weighted independent draws, log_w = -S - log q: effective sample size, ln Z, reweighting."""

from __future__ import annotations

import math

import numpy
from numpy.typing import ArrayLike

from haarflow.backends.types import Array
from haarflow.core.statistics.estimate import ENOUGH, Estimate
from haarflow.core.statistics.series import real_numbers


def ess(log_w: ArrayLike) -> float:
    """Return (sum w)^2 / (n sum w^2) in (0, 1]; weights of zero count as samples, a NaN log weight as zero.

    0.0 when every weight is zero. Raises ValueError without samples.

    >>> round(ess([0.0, 0.0, 0.0, float("-inf")]), 6)
    0.75
    """
    w = _relative(log_w)
    squares = float(numpy.sum(w * w))
    return float(numpy.sum(w)) ** 2 / (w.size * squares) if squares > 0.0 else 0.0


def log_z(log_w: ArrayLike) -> Estimate:
    """Return log mean w, the estimate of log Z for log_w = -S - log q, with its error by the delta method.

    >>> log_z([0.0, 0.0]).value
    0.0
    """
    values = _log_weights(log_w)
    quality = ess(values)
    if quality == 0.0:
        return Estimate(None, None, note="every weight is zero")
    top = float(values.max())
    value = top + math.log(float(numpy.mean(numpy.exp(values - top))))
    return Estimate(value, math.sqrt(max(1.0 / quality - 1.0, 0.0) / values.size), 0.5, None, _few(values))


def mode_aware_ess(target_log_w: ArrayLike, exact_log_z: float) -> Estimate:
    """Return ESS = Z / E_p[w] from log weights of samples of the target p, and the exact or measured log Z.

    A model that misses a mode has a good `ess` on its own samples and a bad one here. The error assumes independent target
    samples.

    >>> mode_aware_ess([1.0, 1.0], 1.0).value
    1.0
    """
    mean = log_z(target_log_w)
    if mean.value is None or mean.error is None:
        return Estimate(None, None, note=mean.note)
    value = math.exp(exact_log_z - mean.value)
    return Estimate(value, value * mean.error, None, None, mean.note)


def reweight(log_w: ArrayLike, values: Array) -> Estimate:
    """Return sum w O / sum w over independent samples, error sqrt(sum w^2 (O - mean)^2) / sum w.

    For a chain's correlated draws use `gamma_method((w * O, w), lambda a, b: a / b)`. Raises ValueError for shapes
    that differ.

    >>> reweight([0.0, float("-inf")], [2.0, 100.0])[:2]
    (2.0, 0.0)
    """
    w, o = _relative(log_w), numpy.ravel(real_numbers(values))
    if w.shape != o.shape:
        raise ValueError(f"one value for each log weight wanted, got {o.size} values and {w.size} weights")
    if not w.any():
        return Estimate(None, None, note="every weight is zero")
    if not numpy.all(numpy.isfinite(o[w > 0.0])):
        return Estimate(None, None, note="values of positive weight are NaN or infinite")
    o = numpy.where(w > 0.0, o, 0.0)
    value = float(numpy.sum(w * o) / numpy.sum(w))
    error = float(numpy.sqrt(numpy.sum((w * (o - value)) ** 2)) / numpy.sum(w))
    return Estimate(value, error, 0.5, None, _few(log_w))


def _log_weights(log_w: ArrayLike) -> numpy.ndarray:
    values = numpy.ravel(real_numbers(log_w, "log weights"))
    if values.size == 0:
        raise ValueError("log weights of one sample or more wanted, got none")
    values = numpy.where(numpy.isnan(values), -math.inf, values)
    if numpy.any(values == math.inf):
        raise ValueError("a log weight is +infinity: the model gave a sample density zero")
    return values


def _relative(log_w: ArrayLike) -> numpy.ndarray:
    """Weights over the largest one; all zero when every log weight is -infinity."""
    values = _log_weights(log_w)
    top = values.max()
    return numpy.exp(values - top) if math.isfinite(top) else numpy.zeros_like(values)


def _few(log_w: ArrayLike) -> str:
    values = _log_weights(log_w)
    effective = ess(values) * values.size
    return (
        f"{effective:.0f} effective samples, below {ENOUGH}: the error bar is optimistic" if effective < ENOUGH else ""
    )
