"""How many draws weighted ones are worth, how well that is known, and what to keep in mind of averages over them.

A NaN log weight is an error of the action or the density: it is named, never counted.
"""

from __future__ import annotations

import math

import numpy
from numpy.typing import ArrayLike

from haarflow.core.statistics.estimate import ENOUGH, Estimate
from haarflow.core.statistics.pareto import HEAVY, pareto_shape
from haarflow.core.statistics.series import real_numbers

LEAST = 10  # effective draws below which an average has no error bar
FEW_WEIGHTS = 15  # largest weights that make up the variance, below which the error bar is optimistic
INFLATED = 1.5  # ratio of the ESS to that of log-normal weights of the same spread from which it is called too high


def ess(log_w: ArrayLike) -> float:
    """Return (sum w)^2 / (n sum w^2) in (0, 1]; weights of zero count as samples.

    0.0 when every weight is zero. Raises ValueError without samples, for a NaN and for an infinite weight.

    >>> round(ess([0.0, 0.0, 0.0, float("-inf")]), 6)
    0.75
    """
    return _ess(relative_weights(log_weights(log_w)))


def ess_estimate(log_w: ArrayLike) -> Estimate:
    """Return the ESS with its error by the delta method, and a note where so few draws overrate it.

    The draws that would lower the ESS are the rare large weights, which few draws miss: log-normal weights of sigma = 2 have
    ESS e^-4, and 5,000 draws show twice as much. The value is None with a NaN weight, which the note counts.

    >>> estimate = ess_estimate([0.0, 0.1] * 500)
    >>> round(estimate.value, 4), estimate.error < 1e-3, estimate.note
    (0.9975, True, '')
    """
    if note := nan_note(log_w):
        return Estimate(None, None, note=note)
    w = relative_weights(log_weights(log_w))
    value = _ess(w)
    if value * w.size < LEAST:
        return Estimate(value, None, note=no_error(value * w.size))
    return Estimate(value, float(numpy.std(_influence(w))) / math.sqrt(w.size), note=_inflated(log_w, value))


def ess_difference(log_w: ArrayLike, other: ArrayLike) -> Estimate:
    """Return the ESS of weights less that of others on the same draws, with the error of the difference, whose parts are correlated.

    >>> ess_difference([0.0, 1.0] * 20, [0.0, 1.0] * 20)[:2]
    (0.0, 0.0)
    """
    parts = [relative_weights(log_weights(one)) for one in (log_w, other)]
    difference = _influence(parts[0]) - _influence(parts[1])
    return Estimate(_ess(parts[0]) - _ess(parts[1]), float(numpy.std(difference)) / math.sqrt(difference.size))


def _influence(w: numpy.ndarray) -> numpy.ndarray:
    """What each draw contributes to the ESS, by the delta method."""
    mean, square = float(numpy.mean(w)), float(numpy.mean(w * w))
    return numpy.asarray(_ess(w) * (2.0 * w / mean - w * w / square - 1.0))


def log_normal_ess(log_w: ArrayLike) -> float:
    """Return e^{-s^2}, the ESS of log-normal weights, with s^2 the mean square of log w above its median.

    Only the upper half counts, as small weights do not lower the ESS.

    >>> round(log_normal_ess([-9.0, -1.0, 0.0, 1.0, 1.0]), 4)
    0.3679
    """
    values = log_weights(log_w)
    middle = float(numpy.median(values))
    if not math.isfinite(middle):
        return 0.0
    upper = values[values > middle]
    return math.exp(-float(numpy.mean((upper - middle) ** 2))) if upper.size else 1.0


def error_growth(log_w: ArrayLike) -> float:
    """Return the relative error of the mean weight from all draws over what quarters of them predict, by 1/sqrt(n).

    1 where the error falls as it should; more where larger weights turn up as draws are added. NaN below 40 draws.

    >>> round(error_growth([0.0, 1.0] * 100), 6)
    1.0
    """
    values = log_weights(log_w)
    if values.size < 4 * LEAST:
        return math.nan
    quarters = [ess(part) for part in numpy.array_split(values, 4)]
    spread = numpy.mean([math.sqrt(max(1.0 / one - 1.0, 0.0)) if one > 0.0 else math.inf for one in quarters])
    whole = ess(values)
    alike = whole == 0.0 or 1.0 / whole - 1.0 < 1e-12  # weights that differ by rounding have no error to compare
    return 1.0 if alike or spread == 0.0 else math.sqrt(1.0 / whole - 1.0) / float(spread)


def nan_note(log_w: ArrayLike) -> str:
    """Return how many log weights are NaN, in words; nothing where none is.

    >>> nan_note([0.0, float("nan")])
    '1 of 2 log weights is NaN: the action or the density has no value there'
    """
    values = real_numbers(log_w, "log weights")
    count = int(numpy.sum(numpy.isnan(values)))
    verb = "is" if count == 1 else "are"
    place = "the action or the density has no value there"
    return f"{count:,} of {values.size:,} log weights {verb} NaN: {place}" if count else ""


def no_error(effective: float) -> str:
    """Return why so few effective draws have no error bar.

    >>> no_error(2.25)
    '2.2 effective draws, below 10: the error is not known'
    """
    return f"{effective:.1f} effective draws, below {LEAST}: the error is not known"


def weight_note(log_w: ArrayLike) -> str:
    """Return why an error bar of averages with these weights is optimistic; nothing where it can be relied on.

    It is where there are fewer than 100 effective draws, also by `log_normal_ess`, where 15 weights or fewer make up the
    variance, and where the tail has a Pareto shape above 0.7.
    """
    values = log_weights(log_w)
    w = relative_weights(values)
    effective = values.size * min(_ess(w), log_normal_ess(values))
    if effective < ENOUGH:
        return f"{effective:.0f} effective samples, below {ENOUGH}: the error bar is optimistic"
    if (count := values.size * _ess(w * w)) < FEW_WEIGHTS:
        return f"the {count:.0f} largest weights make up the variance: the error bar is optimistic"
    shape = pareto_shape(values).value
    if shape is not None and shape > HEAVY:
        return f"the weights have a heavy tail, Pareto shape {shape:.2f} above {HEAVY}: the error bar is optimistic"
    return ""


def _inflated(log_w: ArrayLike, value: float) -> str:
    """Why an ESS is an overestimate."""
    fitted, note = log_normal_ess(log_w), weight_note(log_w)
    if note and value > INFLATED * fitted:
        return f"too high at so few draws: log-normal weights of this spread have ESS {fitted:.2g}"
    return note.replace("the error bar is optimistic", "the ESS is too high at so few draws")


def log_weights(log_w: ArrayLike) -> numpy.ndarray:
    """Return log weights `(n,)` on the host; raises ValueError for none, a NaN and an infinite weight."""
    values = numpy.ravel(real_numbers(log_w, "log weights"))
    if values.size == 0:
        raise ValueError("log weights of one sample or more wanted, got none")
    if note := nan_note(values):
        raise ValueError(note)
    if numpy.any(values == math.inf):
        raise ValueError("a log weight is +infinity: the model gave a sample density zero")
    return values


def relative_weights(values: numpy.ndarray) -> numpy.ndarray:
    """Return weights over the largest one; all zero when every log weight is -infinity."""
    top = values.max()
    return numpy.exp(values - top) if math.isfinite(top) else numpy.zeros_like(values)


def _ess(w: numpy.ndarray) -> float:
    squares = float(numpy.sum(w * w))
    return float(numpy.sum(w)) ** 2 / (w.size * squares) if squares > 0.0 else 0.0
