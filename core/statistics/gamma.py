"""The error of a Markov chain's average by the Gamma method.

Series are `(draw,)` or `(chain, draw)`, as an ensemble file stores them; the records of `run` are `(draw, chain)` and are
transposed first. tau_int = 1/2 + sum_{t>=1} rho(t); an independent chain has 1/2. The Gamma method is Wolff's
(hep-lat/0306017) with its automatic window. It is written out here, so that a run needs no further package and the guards
below do not depend on the version of one; the tests compare it with the exact AR(1) process and with pyerrors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

from haarflow.core.statistics.agreement import Disagreement, Scatter, disagreement, neighbours_correlate, scatter
from haarflow.core.statistics.effective import FEW_WEIGHTS
from haarflow.core.statistics.estimate import ENOUGH, Estimate
from haarflow.core.statistics.series import chains_of, number
from haarflow.core.statistics.window import WINDOW, autocovariance, error_of_time, summed

FEWEST = 8  # draws per chain below which no autocorrelation is estimated
LEAST = 10  # effective draws below which there is no error bar
FEWEST_CHAINS = 4  # chains below which their spread is no error
DOUBT = 2.0  # sigmas of the scatter of the means from which it enlarges the error: 2% of estimates by chance
LARGEST_STAY = 0.2  # share of the longest stay in the sum of squared stays from which it rules the error
MANY_CHAINS = 16  # chains whose spread is an error as good as any


def gamma_method(
    series: Any, function: Callable[..., Any] | None = None, window: float = WINDOW, draw_numbers: Any = None
) -> Estimate:
    """Return the mean of a series, or `function` of several means, with its error by the Gamma method.

    `series` is an array `(draw,)` or `(chain, draw)`, or a list of chains of any lengths; with `function` a sequence of
    such series, measured on the same draws, of whose means it makes a number (a ratio, a Binder cumulant). Where draws
    are missing, `draw_numbers` has the increasing whole numbers of those that are there, one list for all chains or one
    for each; tau_int is then in steps of their largest common distance.
    The error is sqrt(2 tau_int Gamma(0) / N), summed up to the first W at which exp(-W/tau) < tau / sqrt(W N), tau from
    tau_int and S = `window`; the bias of the subtracted mean is corrected by eq. 49 of hep-lat/0306017, and the error of
    tau_int is Bartlett's. Where most proposals were rejected, and each value was kept for s draws, tau_int is at least
    sum s^2 / (2 N), that of independent proposals. Chains whose means, or halves, disagree by more than chance get the spread between the chains as
    error, or none if there are fewer than four, and a note; where their means scatter by more than two sigmas of what the
    error allows, it is enlarged in proportion.
    Raises ValueError for arrays of other shapes, and for values that are no real numbers (see `real_numbers`).

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(4, 1000))
    >>> estimate = gamma_method(x)
    >>> abs(estimate.value) < 4 * estimate.error, round(estimate.tau_int, 1)
    (True, 0.5)
    """
    values, present = chains_of([series] if function is None else series, draw_numbers)
    used = values[:, present]
    if not numpy.all(numpy.isfinite(used)):
        bad = int(numpy.sum(~numpy.isfinite(used)))
        return Estimate(None, None, note=f"{bad} of {used.size} values are NaN or infinite")
    means = used.mean(axis=1)
    value = number(means[0] if function is None else function(*means))
    if not math.isfinite(value):
        return Estimate(None, None, note=f"the function of the means is {value}")
    gradient = numpy.ones(1) if function is None else _gradient(used - means[:, None], means, function)
    if not numpy.all(numpy.isfinite(gradient)):
        return Estimate(value, None, note="the function is not finite within one error of the means")
    scale = float(numpy.max(numpy.abs(gradient) * numpy.abs(used).max(axis=1)))
    fluctuations = numpy.zeros(present.shape)
    fluctuations[present] = _without_rounding(gradient @ (used - means[:, None]), scale)
    return with_error(value, fluctuations, present, window)


def _gradient(centred: numpy.ndarray, means: numpy.ndarray, function: Callable[..., Any]) -> numpy.ndarray:
    """The gradient of the function at the means, by central differences of one (naive) error."""
    steps = centred.std(axis=1) / math.sqrt(centred.shape[1])
    gradient = numpy.zeros(len(means))
    for index, step in enumerate(steps):
        if step > 0.0:
            shift = step * (numpy.arange(len(means)) == index)
            gradient[index] = (number(function(*(means + shift))) - number(function(*(means - shift)))) / (2.0 * step)
    return gradient


def _without_rounding(fluctuations: numpy.ndarray, scale: float) -> numpy.ndarray:
    tiny = 64.0 * numpy.finfo(float).eps * scale
    return numpy.zeros_like(fluctuations) if numpy.abs(fluctuations).max() <= tiny else fluctuations


def with_error(value: float, fluctuations: numpy.ndarray, present: numpy.ndarray, window: float = WINDOW) -> Estimate:
    """Return the estimate of a value whose fluctuations `(chain, slot)` are zero where no draw is `present`."""
    lengths, n = present.sum(axis=1), int(present.sum())
    if n == 1:
        return Estimate(value, None, note="a single value has no error bar")
    if not fluctuations.any():
        return Estimate(value, None, note=f"constant over all {n} values: its error is not known")
    if lengths.max() > 1 and not _moves(fluctuations, present).any():
        return Estimate(
            value, None, note=f"frozen: each of the {len(lengths)} chains is constant, the error is not known"
        )
    if correlation := neighbours_correlate(fluctuations, present):
        return Estimate(
            value,
            None,
            note=f"neighbouring chains are correlated ({correlation:.2f}), so these are not chains: the order of the "
            "axes is (chain, draw), transpose if it is (draw, chain)",
        )
    if lengths.max() < FEWEST:
        return _of_short_chains(value, fluctuations, lengths)
    estimate = _windowed(value, fluctuations, present, window)
    means = scatter(fluctuations, present) if len(lengths) > 1 else None
    apart = disagreement(fluctuations, present, means)
    return _widened(estimate, means) if apart is None else _of_disagreeing(estimate, fluctuations, lengths, apart)


def _widened(estimate: Estimate, means: Scatter | None) -> Estimate:
    """The estimate with its error in proportion to the scatter of the means, where that is large but no proof."""
    if estimate.error is None or means is None or means.sigmas < DOUBT:
        return estimate
    return estimate._replace(error=estimate.error * math.sqrt(max(1.0, means.chi2 / means.freedom)))


def _moves(fluctuations: numpy.ndarray, present: numpy.ndarray) -> numpy.ndarray:
    """Which chains are not constant."""
    top = numpy.where(present, fluctuations, -math.inf).max(axis=1)
    bottom = numpy.where(present, fluctuations, math.inf).min(axis=1)
    moves: numpy.ndarray = top > bottom
    return moves


def _of_short_chains(value: float, fluctuations: numpy.ndarray, lengths: numpy.ndarray) -> Estimate:
    """The error where no autocorrelation can be estimated: the spread of many chains, or that of independent draws."""
    few = f"{lengths.max()} draws per chain are too few to estimate tau_int"
    if len(lengths) >= MANY_CHAINS and lengths.max() > 1:
        asked = f": the error is the spread of {len(lengths)} chains (the order of the axes is (chain, draw))"
        return Estimate(value, _spread(fluctuations, lengths), note=few + asked)
    n = int(lengths.sum())
    error = math.sqrt(float((fluctuations**2).sum()) / (n - 1) / n)
    return Estimate(value, error, note=f"{few}: the error assumes 1/2")


def _spread(fluctuations: numpy.ndarray, lengths: numpy.ndarray) -> float:
    """The error of the mean from the spread of the chains' means alone."""
    mean = fluctuations.sum(axis=1) / lengths
    return math.sqrt(float((lengths * mean**2).sum()) / ((len(lengths) - 1) * int(lengths.sum())))


def _windowed(value: float, fluctuations: numpy.ndarray, present: numpy.ndarray, s: float) -> Estimate:
    n, longest = int(present.sum()), int(present.sum(axis=1).max())
    found = summed(*autocovariance(fluctuations, present), n, s)
    if found is None:
        return Estimate(
            value, None, note=f"autocorrelations are longer than the chains of {longest} draws: tau_int is not known"
        )
    variance = found.variance + found.total / n
    total = found.total * (1.0 + (2 * found.window + 1) / n)
    if total <= 0.0:
        return Estimate(value, None, note="the autocorrelation sum is not positive: too few draws for an error")
    stays = _stays(fluctuations, present)
    tau_int, by_stays = total / (2.0 * variance), float(stays @ stays) / (2.0 * n)
    if by_stays > tau_int and _mostly_rejects(fluctuations[present], len(stays)):
        total, tau_int = total * by_stays / tau_int, by_stays
    tau_error = error_of_time(found.rho, n)
    if n < 2.0 * LEAST * tau_int:
        return Estimate(
            value, None, note=f"{n / tau_int / 2.0:.0f} effective draws, below {LEAST}: too few for an error bar"
        )
    return Estimate(
        value, math.sqrt(total / n), tau_int, tau_error, _shortness(n, longest, tau_int) or _few_stays(stays)
    )


def _shortness(n: int, draws: int, tau_int: float) -> str:
    if n < ENOUGH * max(tau_int, 0.5):
        return f"{n / tau_int:.0f} autocorrelation times of data, below {ENOUGH}: the error bar is optimistic"
    if draws < 10.0 * tau_int:
        return f"chains of {draws / tau_int:.0f} autocorrelation times each: the error bar is optimistic"
    return ""


def _stays(fluctuations: numpy.ndarray, present: numpy.ndarray) -> numpy.ndarray:
    """For how many draws a chain keeps each of its values, as by rejections."""
    moved = numpy.ones(present.shape, dtype=bool)
    moved[:, 1:] = numpy.diff(fluctuations, axis=1) != 0
    return numpy.diff(numpy.append(numpy.flatnonzero(moved[present]), present.sum())).astype(float)


def _mostly_rejects(values: numpy.ndarray, stays: int) -> bool:
    """Whether most draws repeat the one before, and no value that is left comes back, as whole numbers would."""
    return 2 * stays < len(values) and len(numpy.unique(values)) == stays


def _few_stays(stays: numpy.ndarray) -> str:
    """Whether few long stays rule the sum of their squares, hence the error."""
    squares = stays * stays
    if squares.max() <= LARGEST_STAY * squares.sum() and squares.sum() ** 2 >= FEW_WEIGHTS * float(squares @ squares):
        return ""
    return f"a chain keeps one value for {stays.max():.0f} draws, which rules the error: the error bar is optimistic"


def _of_disagreeing(
    estimate: Estimate, fluctuations: numpy.ndarray, lengths: numpy.ndarray, apart: Disagreement
) -> Estimate:
    """The spread between the chains as error where there are enough of them, and no tau_int: it is longer than they see."""
    chains = len(lengths)
    said = f"the halves of {'the chain' if chains == 1 else f'the {chains} chains'} disagree"
    if apart.means is not None and apart.means.sigmas > 3.0:
        said = f"the {chains} chains disagree (chi^2 of their means {apart.means.chi2:.0f} on {apart.means.freedom})"
    said = f"{said}, split R-hat {apart.r_hat:.2f}: "
    if chains < FEWEST_CHAINS:
        return Estimate(
            estimate.value, None, note=f"{said}{chains} {'is' if chains == 1 else 'are'} too few for an error"
        )
    error = max(_spread(fluctuations, lengths), estimate.error or 0.0)
    return Estimate(estimate.value, error, note=f"{said}the error is the spread between the chains")
