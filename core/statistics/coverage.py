"""Whether a model covers the target: weights of the target's own configurations beside those of the model's draws.

Draws of a model never show what it leaves out; configurations of a Markov chain do. With w = p/q they lie where p lies, and
where the model hardly ever draws, their weights exceed all of its own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy
from numpy.typing import ArrayLike

from haarflow.core.statistics.effective import log_weights, nan_note, relative_weights
from haarflow.core.statistics.estimate import Estimate
from haarflow.core.statistics.gamma import gamma_method
from haarflow.core.statistics.pareto import HEAVY, pareto_shape
from haarflow.core.statistics.weights import mode_aware_ess

FAR = 2.0  # log of the factor from which a weight lies far above the model's largest


class Coverage(NamedTuple):
    """What n configurations of the target say about a model, from their log weights and those of the model's draws.

    `above` is the share of the configurations whose weight exceeds the largest of the model's draws, and `expected` the
    share that the model's own weights let expect, w_max / sum w (the share beyond the largest of n draws is E[w_max]/(nZ)
    on average); `far_above` counts from e^2 times the largest. `independent` is how many independent configurations there
    are for these shares. `ess` = Z/E_p[w], and `log_z` = -ln E_p[1/w] is unbiased though the model lacks a mode
    (arXiv:2111.11303).
    """

    configurations: int
    independent: float
    above: Estimate
    far_above: float
    expected: float
    ess: Estimate
    log_z: Estimate


def coverage_of(log_w: ArrayLike, target_log_w: ArrayLike) -> Coverage:
    """Return how well a model covers the target, from log weights of its draws and `(chain, draw)` of the target's.

    An infinite weight of a target's configuration, which has density zero under the model, counts as above. Raises
    ValueError for NaN and for an infinite weight of a draw.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> found = coverage_of(rng.normal(0.0, 0.5, 10_000), rng.normal(0.25, 0.5, (4, 500)))  # log-normal: the shift is sigma^2
    >>> found.configurations, found.above.value < 0.005, abs(found.log_z.value - 0.125) < 4 * found.log_z.error < 0.1
    (2000, True, True)
    """
    own, target = log_weights(log_w), numpy.atleast_2d(numpy.asarray(target_log_w, dtype=float))
    if note := nan_note(target):
        raise ValueError(note)
    largest = float(own.max())
    above = (target > largest).astype(float)
    share, independent = float(above.mean()), independent_draws(above)
    weights = relative_weights(own)
    target_side = target_log_z(target)
    return Coverage(
        target.size,
        independent,
        Estimate(share, math.sqrt(share * (1.0 - share) / independent)),
        float(numpy.mean(target > largest + FAR)),
        1.0 / float(weights.sum()) if weights.any() else 1.0,
        _target_ess(target, target_side),
        target_side,
    )


def _target_ess(target: numpy.ndarray, log_z: Estimate) -> Estimate:
    if lost := int(numpy.sum(target == math.inf)):
        return Estimate(0.0, None, note=f"{lost:,} configurations have density zero under the model")
    return Estimate(None, None, note=log_z.note) if log_z.value is None else mode_aware_ess(target, log_z.value)


def target_log_z(target_log_w: ArrayLike) -> Estimate:
    """Return ln Z = -ln E_p[1/w] from log weights `(chain, draw)` of configurations of the target.

    The error is the largest of the Gamma method's, of that of independent draws, and of what the spread of the chains' means
    allows: a tau_int below 1/2 may be chance, and chains may stay where they are.

    >>> target_log_z([[1.0] * 20]).value
    1.0
    """
    values = numpy.atleast_2d(numpy.asarray(target_log_w, dtype=float))
    if note := nan_note(values):
        return Estimate(None, None, note=note)
    low = float(values.min())
    if not math.isfinite(low):
        return Estimate(None, None, note="configurations of the target have weight zero")
    inverse = numpy.exp(low - values)
    found = cautious(gamma_method([inverse], lambda mean: low - math.log(mean)), inverse, relative=True)
    shape = pareto_shape(-values).value
    if shape is not None and shape > HEAVY:
        return found._replace(
            note=f"1/w has a heavy tail, Pareto shape {shape:.2f} above {HEAVY}: the error bar is optimistic"
        )
    return found


def cautious(found: Estimate, series: numpy.ndarray, relative: bool = False) -> Estimate:
    """Return the estimate of a mean over chains `(chain, draw)` with the largest of three errors: its own, that of independent
    draws, and what the spread of the chains' means allows.

    With `relative` the estimate is the logarithm of the mean, and its error relative to it. Without an error there remains none.

    >>> cautious(Estimate(1.0, 0.1), numpy.asarray([[0.5, 1.5], [0.5, 1.5]])).error
    0.25
    """
    if found.error is None:
        return found
    unit = abs(float(series.mean())) if relative else 1.0
    return found._replace(error=max(found.error, *(spread / unit for spread in _spreads(series))))


def _spreads(series: numpy.ndarray) -> tuple[float, float]:
    """The errors of a mean over chains `(chain, draw)` if all draws are independent, and if only the chains are."""
    means = series.mean(axis=1)
    alone = float(numpy.std(series)) / math.sqrt(series.size)
    return alone, float(numpy.std(means, ddof=1)) / math.sqrt(means.size) if means.size > 1 else 0.0


def independent_draws(marks: numpy.ndarray) -> float:
    """Return how many independent draws a series `(chain, draw)` of zeros and ones is worth.

    It is the least of n, n/(2 tau_int), and what the spread of the chains' means allows, at least the number of chains:
    chains that stay where they are count once each.

    >>> independent_draws(numpy.repeat([[0.0], [1.0], [0.0], [1.0]], 50, axis=1))
    4.0
    """
    n, share, chains = marks.size, float(marks.mean()), len(marks)
    bounds = [float(n)]
    tau = gamma_method(marks).tau_int
    if tau is not None:
        bounds.append(n / max(2.0 * tau, 1.0))
    if chains > 1 and (between := float(numpy.var(marks.mean(axis=1), ddof=1))) > 0.0:
        bounds.append(share * (1.0 - share) * chains / between)
    return max(min(bounds), float(min(chains, n)))


def lower_limit(share: float, n: float, sigmas: float) -> float:
    """Return the lower end of Wilson's interval for a share found in n independent draws.

    >>> lower_limit(0.0, 100.0, 3.0), round(lower_limit(0.5, 100.0, 1.0), 3)
    (0.0, 0.45)
    """
    z2 = sigmas * sigmas
    half = sigmas * math.sqrt(share * (1.0 - share) / n + z2 / (4.0 * n * n))
    return max(0.0, (share + z2 / (2.0 * n) - half) / (1.0 + z2 / n))
