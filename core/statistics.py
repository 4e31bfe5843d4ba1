"""Errors of Monte Carlo averages, on the host: the Gamma method, effective sample sizes, reweighting, resampling.

Series are `(draw,)` or `(draw, chain)`, as `run` records them; an ensemble file's `(chain, draw)` is transposed first.
tau_int = 1/2 + sum_{t>=1} rho(t); an independent chain has 1/2. The Gamma method is Wolff's (hep-lat/0306017) with its
automatic window. It is written out here, so that a run needs no further package and the guards below do not depend on the
version of one; the tests compare it with the exact AR(1) process and with pyerrors.

Where the error of a series cannot be estimated (NaN, constant, frozen, too short) `tau_int` and `error` are None, never a
small number, and the note says why.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy
from numpy.typing import ArrayLike

from haarflow.backends.types import Array

WINDOW = 1.5  # Wolff's S: the ratio of the exponential to the integrated autocorrelation time that the window assumes
ENOUGH = 100  # autocorrelation times of data below which an error bar is optimistic
FEWEST = 8  # draws per chain below which no autocorrelation is estimated


class Estimate(NamedTuple):
    """An average with its error and autocorrelation time (None: not known), and a note on what to keep in mind."""

    value: float | None
    error: float | None
    tau_int: float | None = None
    tau_error: float | None = None
    note: str = ""


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
    w, o = _relative(log_w), numpy.ravel(numpy.asarray(values, dtype=float))
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


def _log_weights(log_w: ArrayLike) -> numpy.ndarray:
    values = numpy.ravel(numpy.asarray(log_w, dtype=float))
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
