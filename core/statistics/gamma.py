"""The error of a Markov chain's average by the Gamma method.

Series are `(draw,)` or `(draw, chain)`, as `run` records them; an ensemble file's `(chain, draw)` is transposed first.
tau_int = 1/2 + sum_{t>=1} rho(t); an independent chain has 1/2. The Gamma method is Wolff's (hep-lat/0306017) with its
automatic window. It is written out here, so that a run needs no further package and the guards below do not depend on the
version of one; the tests compare it with the exact AR(1) process and with pyerrors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

from haarflow.core.statistics.estimate import ENOUGH, Estimate

WINDOW = 1.5  # Wolff's S: the ratio of the exponential to the integrated autocorrelation time that the window assumes
FEWEST = 8  # draws per chain below which no autocorrelation is estimated


def gamma_method(series: Any, function: Callable[..., Any] | None = None, window: float = WINDOW) -> Estimate:
    """Return the mean of a series, or `function` of several means, with its error by the Gamma method.

    `series` is an array `(draw,)` or `(draw, chain)`; with `function` a sequence of such arrays, measured on the same
    draws, of whose means it makes a number (a ratio, a Binder cumulant). The error is
    sqrt(2 tau_int Gamma(0) / N), summed up to the first W at which exp(-W/tau) < tau / sqrt(W N), tau from tau_int and
    S = `window`; the bias of the subtracted mean is corrected by eq. 49 and the error of tau_int is eq. 42 of
    hep-lat/0306017.
    Raises ValueError for arrays of other shapes, and for several arrays without a function (chains belong side by side
    in one array, as its columns).

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(1000, 4))
    >>> estimate = gamma_method(x)
    >>> abs(estimate.value) < 4 * estimate.error, round(estimate.tau_int, 1)
    (True, 0.5)
    """
    if function is None and isinstance(series, list | tuple) and any(numpy.ndim(one) for one in series):
        raise ValueError(
            f"without a function, one array (draw,) or (draw, chain) wanted, got {len(series)} of them: "
            "stack chains along axis 1"
        )
    rows = _rows([series] if function is None else series)
    if not numpy.all(numpy.isfinite(rows)):
        bad = int(numpy.sum(~numpy.isfinite(rows)))
        return Estimate(None, None, note=f"{bad} of {rows.size} values are NaN or infinite")
    means = rows.mean(axis=(1, 2))
    value = float(means[0] if function is None else function(*means))
    if not math.isfinite(value):
        return Estimate(None, None, note=f"the function of the means is {value}")
    return _with_error(value, _projected(rows, means, function), window)


def _rows(series: Any) -> numpy.ndarray:
    """All series as one array (observable, draw, chain)."""
    arrays = [numpy.asarray(one, dtype=float) for one in series]
    arrays = [one[:, None] if one.ndim == 1 else one for one in arrays]
    shapes = {one.shape for one in arrays}
    if len(shapes) != 1 or any(one.ndim != 2 or one.size == 0 for one in arrays):
        shown = ", ".join(str(numpy.shape(one)) for one in series)
        raise ValueError(f"non-empty series of one shape (draw,) or (draw, chain) wanted, got {shown}")
    return numpy.stack(arrays)


def _projected(rows: numpy.ndarray, means: numpy.ndarray, function: Callable[..., Any] | None) -> numpy.ndarray:
    """The fluctuations (draw, chain) of the derived quantity, by its gradient at the means."""
    centred = rows - means[:, None, None]
    if function is None:
        return _without_rounding(centred[0], numpy.abs(rows).max())
    steps = centred.std(axis=(1, 2)) / math.sqrt(rows[0].size)
    gradient = numpy.zeros(len(means))
    for index, step in enumerate(steps):
        if step > 0.0:
            shift = step * (numpy.arange(len(means)) == index)
            gradient[index] = (function(*(means + shift)) - function(*(means - shift))) / (2.0 * step)
    projected = numpy.tensordot(gradient, centred, axes=1)
    return _without_rounding(projected, numpy.max(numpy.abs(gradient) * numpy.abs(rows).max(axis=(1, 2))))


def _without_rounding(fluctuations: numpy.ndarray, scale: float) -> numpy.ndarray:
    tiny = 64.0 * numpy.finfo(float).eps * scale
    return numpy.zeros_like(fluctuations) if numpy.abs(fluctuations).max() <= tiny else fluctuations


def _with_error(value: float, fluctuations: numpy.ndarray, window: float) -> Estimate:
    draws, chains = fluctuations.shape
    n = fluctuations.size
    if n == 1:
        return Estimate(value, None, note="a single value has no error bar")
    if not fluctuations.any():
        return Estimate(value, None, note=f"constant over all {n} values: its error is not known")
    if draws > 1 and not numpy.ptp(fluctuations, axis=0).any():
        return Estimate(value, None, note=f"frozen: each of the {chains} chains is constant, the error is not known")
    if draws < FEWEST:
        error = float(fluctuations.std(ddof=1)) / math.sqrt(n)
        return Estimate(
            value, error, note=f"{draws} draws per chain are too few to estimate tau_int: the error assumes 1/2"
        )
    return _windowed(value, _autocovariance(fluctuations), draws, n, window)


def _windowed(value: float, gamma: numpy.ndarray, draws: int, n: int, s: float) -> Estimate:
    rho = gamma[1:] / gamma[0]
    tau = 0.5 + numpy.cumsum(rho)  # tau[W-1] is the sum up to W
    tau = numpy.where(tau > 0.5, tau, 0.5 + numpy.cumsum(numpy.abs(rho)))  # alternating series: use the decay of |rho|
    w, tau = numpy.arange(1, len(gamma)), numpy.maximum(tau, 0.5 + 1e-12)
    slow = s / numpy.log((2.0 * tau + 1.0) / (2.0 * tau - 1.0))
    closed = numpy.exp(-w / slow) - slow / numpy.sqrt(w * n) < 0.0
    if not closed.any():
        return Estimate(
            value, None, note=f"autocorrelations are longer than the chains of {draws} draws: tau_int is not known"
        )
    last = int(w[numpy.argmax(closed)])
    corrected = gamma[: last + 1] + (gamma[0] + 2.0 * gamma[1 : last + 1].sum()) / n
    total = corrected[0] + 2.0 * corrected[1:].sum()
    if total <= 0.0:
        return Estimate(value, None, note="the autocorrelation sum is not positive: too few draws for an error")
    tau_int = float(total / (2.0 * corrected[0]))
    tau_error = tau_int * math.sqrt(4.0 / n * max(last + 0.5 - tau_int, 0.5))
    return Estimate(value, math.sqrt(total / n), tau_int, tau_error, _shortness(n, draws, tau_int))


def _shortness(n: int, draws: int, tau_int: float) -> str:
    if n < ENOUGH * tau_int:
        return f"{n / tau_int:.0f} autocorrelation times of data, below {ENOUGH}: the error bar is optimistic"
    if draws < 10.0 * tau_int:
        return f"chains of {draws / tau_int:.0f} autocorrelation times each: the error bar is optimistic"
    return ""


def _autocovariance(fluctuations: numpy.ndarray) -> numpy.ndarray:
    """Gamma(t) for t < draws / 2, averaged over all pairs of all chains, by Fourier transform."""
    draws, chains = fluctuations.shape
    power = numpy.abs(numpy.fft.rfft(fluctuations, n=2 * draws, axis=0)) ** 2
    sums: numpy.ndarray = numpy.fft.irfft(power.sum(axis=1), n=2 * draws)[: draws // 2]
    gamma: numpy.ndarray = sums / (chains * (draws - numpy.arange(len(sums))))
    return gamma
