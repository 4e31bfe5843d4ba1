"""Weighted draws that come in populations, such as resampled paths: the populations are independent, their members are not.

An ensemble holds the members of a population along its chain axis. As one draw a population has the mean weight of its
members, and as the value of an observable their weighted mean: sums of w and of w O over all draws stay as they are,
and error bars that take these draws as independent are right.
"""

from __future__ import annotations

import numpy

from haarflow.core.statistics.effective import nan_note
from haarflow.results.ensemble import Sampled


def independent(sampled: Sampled) -> Sampled:
    """Return weighted draws with each population as one draw, and all other draws as they are.

    >>> two = numpy.log([[1.0, 2.0], [3.0, 2.0]])  # two populations of two
    >>> found = independent(Sampled("path", {"O": numpy.asarray([[4.0, 0.0], [0.0, 1.0]])}, two, None))
    >>> numpy.exp(found.log_w).round(6).tolist(), found.observables["O"].tolist()
    ([[2.0, 2.0]], [[1.0, 0.5]])
    """
    if sampled.log_w is None or not sampled.weighted or len(sampled.log_w) == 1 or nan_note(sampled.log_w):
        return sampled
    top = sampled.log_w.max(axis=0, keepdims=True)
    top = numpy.where(numpy.isfinite(top), top, 0.0)
    w = numpy.exp(sampled.log_w - top)
    total = w.sum(axis=0, keepdims=True)
    with numpy.errstate(divide="ignore"):
        log_w = top + numpy.log(total / len(w))
    shares = w / numpy.where(total > 0.0, total, 1.0)
    values = {name: _mean(shares, one.astype(float)) for name, one in sampled.observables.items()}
    return sampled._replace(log_w=log_w, observables=values)


def _mean(shares: numpy.ndarray, values: numpy.ndarray) -> numpy.ndarray:
    return numpy.asarray((shares.reshape(*shares.shape, *(1,) * (values.ndim - 2)) * values).sum(axis=0, keepdims=True))
