"""Correlators C(t) and their effective masses: a theory names the observables `(draw, T)` in its part `correlators`."""

from __future__ import annotations

from typing import Any

import numpy

from haarflow.core import statistics
from haarflow.core.parts import described
from haarflow.core.statistics import Estimate, Weights
from haarflow.report import figures
from haarflow.report.html import Section, picture, prose
from haarflow.report.run_data import Run
from haarflow.results.chain_evidence import warnings_of
from haarflow.results.ensemble import Sampled

CAPTION = """Above: C(t), the observable {name}, on a logarithmic scale, the mean of t and T − t, with errors by the Gamma method. Below, where there is one: the effective
    mass m(t) of a cosh, cosh m = [C(t−1) + C(t+1)] / 2C(t); it is flat where one state dominates. Points without a bar belong
    to a sampler that is not to be trusted."""


def correlators(run: Run) -> list[Section]:
    """Return a section for each correlator of the theory that all samplers have measured."""
    names = described(run.target.theory).part("correlators") or ()
    return [
        _section(run, name) for name in names if all(name in one.observables for one in run.found.samplers.values())
    ]


def _section(run: Run, name: str) -> Section:
    rows = {label: curves(sampled, name) for label, sampled in run.found.samplers.items()}
    for label, sampler in run.summary["samplers"].items():
        if warnings_of(sampler):
            rows[label] = tuple([one._replace(error=None) for one in curve] for curve in rows[label])
    svg = figures.correlator(rows, name)
    title = run.target.labels.get(name, name).partition(", ")[2] or name
    words = prose(CAPTION.format(name=name))
    return Section(title[:1].upper() + title[1:], picture(svg, "c", f"{name} against t"), words, half=True)


def curves(sampled: Sampled, name: str) -> Any:
    """Return C(t), t = 0 ... T/2, and m(t), t = 1 ... (T - 1)/2, as lists of estimates."""
    series = numpy.moveaxis(sampled.observables[name].astype(float), -1, 0)  # (T, chain, draw)
    times = len(series)
    folded = [0.5 * (series[t] + series[-t % times]) for t in range(times // 2 + 1)]
    weights = statistics.weights_of(sampled.log_w) if sampled.log_w is not None and sampled.weighted else None
    means = [_estimate(weights, [one]) for one in folded]
    masses = [
        _estimate(weights, [folded[t - 1], folded[t], series[(t + 1) % times]], effective_mass)
        for t in range(1, (times + 1) // 2)
    ]
    return means, masses


def effective_mass(before: Any, here: Any, after: Any) -> Any:
    """Return m with cosh m = (C(t-1) + C(t+1)) / 2C(t); NaN where there is none.

    >>> import math
    >>> float(effective_mass(math.cosh(0.6), math.cosh(0.3), 1.0).round(12))
    0.3
    """
    ratio = numpy.asarray((before + after) / (2.0 * here))
    return numpy.arccosh(numpy.where(ratio >= 1.0, ratio, numpy.nan))


def _estimate(weights: Weights | None, series: list[Any], function: Any = None) -> Estimate:
    """The estimate of a mean, or of a function of means; none where the function has no value there."""
    if function is None:
        return statistics.gamma_method(series[0]) if weights is None else statistics.reweight(weights, series[0])
    relative = None if weights is None or weights.missing else weights.relative.reshape(series[0].shape)
    if not numpy.isfinite(function(*(numpy.average(one, weights=relative) for one in series))):
        return Estimate(None, None)
    if weights is None:
        return statistics.gamma_method(series, function)
    return statistics.reweight_derived(function, weights, *series)
