"""How heavy the tail of importance weights is: the shape of a generalised Pareto law fitted to the largest ones.

P(w > u + x) ~ (1 + k x/s)^(-1/k) beyond a threshold u: moments of order 1/k and higher do not exist, so that for k > 1/2 the
variance of an average, and above about 0.7 its error bar, cannot be trusted. The fit is that of Zhang and Stephens
(Technometrics 51 (2009) 316), the number of weights and the threshold 0.7 are those of arXiv:1507.02646.
"""

from __future__ import annotations

import math

import numpy
from numpy.typing import ArrayLike

from haarflow.core.statistics.estimate import Estimate

HEAVY = 0.7  # shape above which averages with these weights have no reliable error bar (arXiv:1507.02646)
LEAST = 25  # fewest weights to which a tail is fitted
PRIOR = 3.0  # scale of the fit's prior, in quartiles (eq. 4 of Zhang and Stephens)


def pareto_shape(log_w: ArrayLike) -> Estimate:
    """Return the shape k of the tail of weights, from the largest min(n/5, 3 sqrt n) of n, error (1 + k)/sqrt(their number).

    The value is drawn towards 1/2 as by ten further weights, as in arXiv:1507.02646; light or bounded tails have k <= 0. None
    where the weights are too few or all alike.

    >>> import numpy as np
    >>> weights = np.random.default_rng(0).pareto(1.0, size=10_000)  # P(w > x) = 1/(1 + x), so k = 1
    >>> estimate = pareto_shape(np.log(weights))
    >>> abs(estimate.value - 1.0) < 3 * estimate.error < 0.4
    True
    """
    excesses = _excesses(numpy.ravel(numpy.asarray(log_w, dtype=float)))
    count = excesses.size
    if count < LEAST:
        return Estimate(None, None, note=f"{count} large weights are too few to fit their tail")
    if not excesses[0] > 0.0:
        return Estimate(None, None, note="the largest weights are all alike: there is no tail to fit")
    shape = (count * _shape(excesses) + 5.0) / (count + 10.0)
    return Estimate(shape, (1.0 + max(shape, 0.0)) / math.sqrt(count))


def _excesses(log_w: numpy.ndarray) -> numpy.ndarray:
    """The largest weights less the largest of the others, in units of the largest of all, in increasing order."""
    ordered = numpy.sort(log_w)
    count = int(min(0.2 * log_w.size, 3.0 * math.sqrt(log_w.size)))
    if count < 1 or not math.isfinite(ordered[-1]):
        return numpy.zeros(0)
    relative = numpy.exp(ordered[-count - 1 :] - ordered[-1])
    return numpy.asarray(relative[1:] - relative[0])


def _shape(x: numpy.ndarray) -> float:
    """The posterior mean of Zhang and Stephens for positive x in increasing order, k > 0 for heavy tails."""
    points = 30 + int(math.sqrt(x.size))
    quartile = x[int(x.size / 4.0 + 0.5) - 1]
    steps = 1.0 - numpy.sqrt(points / (numpy.arange(points) + 0.5))
    theta = 1.0 / x[-1] + steps / (PRIOR * quartile)  # -k/s
    k = numpy.log1p(-theta[:, None] * x).mean(axis=1)
    likelihood = x.size * (numpy.log(-theta / k) - k - 1.0)
    posterior = numpy.exp(likelihood - likelihood.max())
    best = float(numpy.sum(theta * posterior) / numpy.sum(posterior))
    return float(numpy.log1p(-best * x).mean())
