"""Laws of estimators of ln Z, functions (log w of a model's draws, log w `(chain, draw)` of the target's) -> `Estimate`.

The weights are log-normal: with l ~ N(0, s^2) over the model, l ~ N(s^2, s^2) over the target and ln Z = s^2/2, whatever the
numbers of draws of both sides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

from haarflow.core.laws.law import Given, Law, Verdict, judge
from haarflow.core.statistics import Estimate

Estimator = Callable[[Any, Any], Estimate]
SIGMA = 0.8
NUMBERS = ((3000, 4, 100), (300, 8, 500))  # draws of the model, chains and draws of the target
LEVEL = 0.7


def equal_weights(estimator: Estimator, log_w: Any, target_log_w: Any) -> Verdict:
    """ln Z = c where every log weight is c, on either side, however many there are of each.

    >>> from haarflow.core.statistics import bennett
    >>> equal_weights(bennett, numpy.full(20, 0.7), numpy.full((2, 300), 0.7)).passed
    True
    """
    value = float(numpy.mean(log_w))
    found = estimator(log_w, target_log_w).value
    off = math.inf if found is None else found - value
    return judge(equal_weights, off, 1e-12 * (1.0 + abs(value)), "rounding of a mean", value=found)


def moves_with_the_weights(estimator: Estimator, log_w: Any, target_log_w: Any, shift: float = 1000.0) -> Verdict:
    """ln Z(l + a) = ln Z(l) + a: the unit of the weight is free, and large logarithms do not overflow.

    >>> from haarflow.core.statistics import log_z
    >>> moves_with_the_weights(lambda own, target: log_z(own), numpy.arange(20.0), None).passed
    True
    """
    moved = None if target_log_w is None else numpy.asarray(target_log_w) + shift
    one, other = estimator(log_w, target_log_w).value, estimator(numpy.asarray(log_w) + shift, moved).value
    off = math.inf if one is None or other is None else other - one - shift
    return judge(moves_with_the_weights, off, 1e-10 * shift, "rounding of logarithms of this size", value=one)


def known_log_z(estimator: Estimator, log_w: Any, target_log_w: Any, exact: float) -> Verdict:
    """ln Z lies within five of its own errors of the exact value, and its error is not large.

    >>> from haarflow.core.statistics import log_z
    >>> l = 0.1 * numpy.random.default_rng(0).normal(size=1000)
    >>> known_log_z(lambda own, target: log_z(own), l, None, 0.005).passed
    True
    """
    found = estimator(log_w, target_log_w)
    known = found.value is not None and found.error is not None and found.error < 0.5
    pull = abs((found.value or 0.0) - exact) / (found.error or 1.0) if known else math.inf
    reason = "5 standard errors, a chance failure has probability 6e-7; the seed is fixed"
    return judge(known_log_z, pull, 5.0, reason, value=found.value, error=found.error)


def _both_sides(given: Given, number: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    n, chains, draws = NUMBERS[number]
    generator = given.generator(17 + number)
    target = SIGMA**2 + SIGMA * generator.standard_normal((chains, draws))
    return SIGMA * generator.standard_normal(n), target


def _equal(estimator: Estimator, given: Given) -> Verdict:
    n, chains, draws = NUMBERS[given.seed % len(NUMBERS)]
    return equal_weights(estimator, numpy.full(n, LEVEL), numpy.full((chains, draws), LEVEL))


def _moves(estimator: Estimator, given: Given) -> Verdict:
    return moves_with_the_weights(estimator, *_both_sides(given, 0))


def _known(estimator: Estimator, given: Given) -> Verdict:
    """The worse of both ratios of the numbers of draws."""
    found = [known_log_z(estimator, *_both_sides(given, number), SIGMA**2 / 2) for number in range(len(NUMBERS))]
    return max(found, key=lambda verdict: verdict.ratio)


ESTIMATOR_LAWS: tuple[Law, ...] = (
    Law(equal_weights, _equal),
    Law(moves_with_the_weights, _moves),
    Law(known_log_z, _known, sampled=True, shared_draws=True),
)
