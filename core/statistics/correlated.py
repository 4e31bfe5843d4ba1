"""Correlated ensembles: differences of observables between two targets from pairs (x, f(x)), x drawn from the first target.

With w = e^{-S_b(f(x)) + S_a(x)} |det df/dx| the images are weighted draws of the second target, and

    <O>_b - <O>_a = E_a[w O(f(x))]/E_a[w] - E_a[O(x)],

whose two terms fluctuate together: where f moves little, the difference is known far better than from independent
ensembles (arXiv:2401.10874).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy
from numpy.typing import ArrayLike

from haarflow.core.statistics.effective import ess, nan_note, relative_weights
from haarflow.core.statistics.estimate import Estimate
from haarflow.core.statistics.gamma import gamma_method
from haarflow.core.statistics.series import real_numbers


class Difference(NamedTuple):
    """A difference <O>_b - <O>_a, the ESS of the pairs' weights, and `gain`: the variance that independent ensembles of
    as many configurations each would have, over that of the pairs.
    """

    estimate: Estimate
    ess: float
    gain: float | None


def correlated_difference(log_w: ArrayLike, old: ArrayLike, new: ArrayLike) -> Difference:
    """Return <O>_b - <O>_a from pairs, by log weights, O(x) and O(f(x)), each `(chain, draw)`, or `(draw,)` of independent draws.

    The error is that of the Gamma method for the whole difference; `gain` compares variances of single configurations,
    (Var_a O + Var_b O) over that of w (O(f) - <O>_b)/<w> - (O - <O>_a). Raises ValueError for shapes that differ.

    >>> x = numpy.linspace(-1.0, 1.0, 1000)
    >>> found = correlated_difference(0.0 * x, x, x + 0.5 + 0.01 * numpy.sin(9.0 * x))
    >>> round(found.estimate.value, 6), found.ess, found.gain > 1000
    (0.5, 1.0, True)
    """
    weights = numpy.asarray(log_w, dtype=float)
    first, second = (numpy.asarray(real_numbers(values), dtype=float) for values in (old, new))
    if not first.shape == second.shape == weights.shape or not weights.size:
        raise ValueError(
            f"a log weight and both values for each pair wanted, got the shapes {weights.shape}, {first.shape}, {second.shape}"
        )
    if note := nan_note(weights):
        return Difference(Estimate(None, None, note=note), 0.0, None)
    w = relative_weights(weights.ravel()).reshape(weights.shape)
    if not w.any():
        return Difference(Estimate(None, None, note="every weight is zero"), 0.0, None)
    second = numpy.where(w > 0.0, second, 0.0)
    series = [part.reshape(-1, 1) if part.ndim == 1 else part for part in (w * second, w, first)]
    estimate = gamma_method(series, lambda weighted, weight, plain: weighted / weight - plain)
    return Difference(estimate, ess(weights), _gain(w / w.mean(), first, second))


def _gain(w: numpy.ndarray, first: numpy.ndarray, second: numpy.ndarray) -> float | None:
    """The variance of independent ensembles over that of the pairs; None where the pairs' is zero."""
    old, new = first - first.mean(), second - (w * second).mean()
    pairs = float(numpy.var(w * new - old))
    return float(numpy.mean(old * old) + numpy.mean(w * new * new)) / pairs if pairs else None


def correlated_derivative(log_w: ArrayLike, old: ArrayLike, new: ArrayLike, step: float) -> Difference:
    """Return (<O>_b - <O>_a)/step, which is d<O>/dc in the middle of two couplings c that differ by `step`, up to step^2.

    Raises ValueError for a step of zero and as `correlated_difference`.

    >>> x = numpy.linspace(-1.0, 1.0, 1000)
    >>> round(correlated_derivative(0.0 * x, x, x + 0.5 + 0.01 * x**3, 0.1).estimate.value, 6)
    5.0
    """
    if not step:
        raise ValueError(f"a derivative wants two couplings that differ, got the step {step!r}")
    found = correlated_difference(log_w, old, new)
    value, error = (None if number is None else number / step for number in found.estimate[:2])
    estimate = found.estimate._replace(value=value, error=None if error is None else abs(error))
    return found._replace(estimate=estimate)
