"""Whether chains agree: their means, the means of their halves, and whether neighbouring chains are independent.

Chains of one distribution have means that scatter by their errors. The scatter is compared with the variance within the
chains, autocorrelations included, by an F test, for the values, for their normal scores and for the normal scores of
their distances from the median (the rank-normalised and the folded split R-hat of arXiv:1903.08008, with the error of
the means in the place of a fixed limit).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy

from haarflow.core.statistics.window import autocovariance, summed

# Beyond it chains disagree: 3.4e-6 for each of the four tests of an estimate; with few or skewed draws about 1e-5.
SIGMAS = 4.5
FEWEST_FREEDOM = 50  # independent pairs of neighbours below which nothing is said of them


class Scatter(NamedTuple):
    """The scatter of means: chi^2 in units of the errors within the chains, its degrees of freedom, its size in sigmas."""

    chi2: float
    freedom: int
    sigmas: float


class Disagreement(NamedTuple):
    """How chains disagree: the scatter of their means, the largest split R-hat, and where the halves scatter most."""

    means: Scatter | None
    r_hat: float
    sigmas: float


def disagreement(
    fluctuations: numpy.ndarray, present: numpy.ndarray, means: Scatter | None = None
) -> Disagreement | None:
    """Return how the chains `(chain, slot)` or their halves disagree, None if they agree or nothing can be said.

    `means` is the scatter of the chains' means.
    """
    halves, kept = split(fluctuations, present)
    series = (halves, scores(halves, kept), scores(numpy.abs(halves - numpy.median(halves[kept])), kept))
    sigmas = [found.sigmas for found in (means, *(scatter(one, kept) for one in series)) if found]
    if not sigmas or max(sigmas) < SIGMAS:
        return None
    return Disagreement(means, max(r_hat(one, kept) for one in series[1:]), max(sigmas))


def scatter(values: numpy.ndarray, present: numpy.ndarray) -> Scatter | None:
    """Return the scatter of the means of chains `(chain, slot)`, None if autocorrelations are too long to tell.

    The error of a chain's mean has the tau_int and the variance within the chains. chi^2/freedom is an F variable with
    about n/(2W+1) degrees below; its upper degrees are lowered where means are not Gaussian, so that a rare event that
    happens twice in one chain is no evidence.
    """
    lengths = present.sum(axis=1)
    n, mean = int(lengths.sum()), values.sum(axis=1, where=present) / lengths
    within = numpy.where(present, values - mean[:, None], 0.0)
    apart = float((lengths * (mean - lengths @ mean / n) ** 2).sum())
    freedom = len(lengths) - 1
    if apart <= (1e-12 * numpy.abs(values[present]).max()) ** 2 * n:
        return Scatter(0.0, freedom, 0.0)
    if numpy.abs(within).max() <= 1e-12 * math.sqrt(apart / n):
        return Scatter(math.inf, freedom, math.inf)
    found = summed(*autocovariance(within, present), n)
    lost = math.inf if found is None else (2 * found.window + 1) * len(lengths) / n  # by subtracting each chain's mean
    if found is None or found.total <= 0.0 or lost >= 0.5:
        return None
    chi2 = apart * (1.0 - lost) / found.total
    squares = within * within
    kurtosis = float((squares * squares).sum() / n) / found.variance**2 - 3.0
    skewed = max(kurtosis, 0.0) * found.total / found.variance * float((1.0 / lengths).sum())  # of the sum of squares
    upper = 2.0 * freedom**2 / (2.0 * freedom + skewed)
    return Scatter(chi2, freedom, _sigmas(chi2 / freedom, upper, n / (2 * found.window + 1)))


def _sigmas(ratio: float, upper: float, lower: float) -> float:
    """The size of an F variable in standard deviations of a normal one (Paulson, by the cube roots of Wilson and Hilferty).

    >>> round(_sigmas(3.0, 10.0, 1e6), 2)  # the chance of chi^2 > 30 with 10 degrees is 8.6e-4, 3.14 sigma
    3.12
    """
    a, b, root = 2.0 / (9.0 * upper), 2.0 / (9.0 * lower), math.cbrt(ratio)
    return float((root * (1.0 - b) - (1.0 - a)) / math.sqrt(a + b * root * root))


def split(values: numpy.ndarray, present: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the first and the second half of each chain's slots as chains of their own, empty halves left out."""
    middle = present.shape[1] // 2 if present.all() else 0
    if middle:
        cut = [slice(0, middle), slice(present.shape[1] - middle, None)]
        return numpy.concatenate([values[:, part] for part in cut]), numpy.concatenate(
            [present[:, part] for part in cut]
        )
    first = numpy.cumsum(present, axis=1) * 2 <= present.sum(axis=1, keepdims=True)
    kept = numpy.concatenate([present & first, present & ~first])
    there = kept.any(axis=1)
    return numpy.where(kept, numpy.concatenate([values, values]), 0.0)[there], kept[there]


def scores(values: numpy.ndarray, present: numpy.ndarray) -> numpy.ndarray:
    """Return normal scores: the normal quantiles of the ranks among all draws, equal values with their mean rank.

    The quantile of p is 4.91 (p^0.14 - (1 - p)^0.14), Tukey's, right to 0.01 up to 3.5 sigma.

    >>> scores(numpy.asarray([[3.0, 1.0, 1.0]]), numpy.ones((1, 3), dtype=bool)).round(2).tolist()
    [[0.87, -0.39, -0.39]]
    """
    _, where, counts = numpy.unique(values[present], return_inverse=True, return_counts=True)
    ranks = (numpy.cumsum(counts) - (counts - 1) / 2.0)[where]
    found = numpy.zeros_like(values)
    share = (ranks - 0.375) / (len(ranks) + 0.25)
    found[present] = 4.91 * (share**0.14 - (1.0 - share) ** 0.14)
    return found


def r_hat(values: numpy.ndarray, present: numpy.ndarray) -> float:
    """Return sqrt(((n-1)/n W + B/n) / W) of chains `(chain, slot)`, arXiv:1903.08008 eq. 4."""
    lengths = present.sum(axis=1)
    mean = values.sum(axis=1, where=present) / lengths
    within = float((numpy.where(present, values - mean[:, None], 0.0) ** 2).sum() / max(lengths.sum() - len(mean), 1))
    between = float(numpy.var(mean, ddof=1))
    n = float(lengths.mean())
    return math.sqrt((n - 1.0) / n + between / within) if within > 0.0 else math.inf


def neighbours_correlate(fluctuations: numpy.ndarray, present: numpy.ndarray) -> float:
    """Return the correlation of each chain with the next one if independent chains would not have it, else 0.

    An array (draw, chain) read as (chain, draw) has it wherever draws are correlated.
    """
    both = present[1:] & present[:-1]
    x = numpy.where(present, scores(fluctuations, present), 0.0)
    gamma, _ = autocovariance(x, present)
    if not both.any() or gamma[0] <= 0.0:
        return 0.0
    products = (x[1:] * x[:-1])[both]
    shared = 2.5 * float(numpy.abs(products).sum() ** 2 / (products**2).sum())  # of Gaussian numbers: their number
    free = min(shared, len(products)) / (1.0 + 2.0 * float(((gamma[1:] / gamma[0]) ** 2).sum()))
    correlation = float(products.mean() / gamma[0])
    return correlation if free >= FEWEST_FREEDOM and correlation * math.sqrt(free) > SIGMAS else 0.0
