"""Thermodynamics from ln Z: free energy, entropy, pressure, each with its error, in units of the lattice spacing.

Z is relative to the measure in which ln Z is given: normalised Haar measure for links, prod dphi for real fields.
Source: arXiv:2007.07115, where a flow gives ln Z; `integrated` is the classical way beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy

from haarflow.core.statistics.estimate import Estimate


def entropy(log_z: Estimate, action: Estimate) -> Estimate:
    """Return the entropy ln Z + <S> of p = e^{-S}/Z, -<ln p>, from independent estimates of both.

    >>> entropy(Estimate(2.0, 0.3), Estimate(-1.5, 0.4))[:2]
    (0.5, 0.5)
    """
    return _sum([(1.0, log_z), (1.0, action)])


def pressure(log_z: Estimate, longer: Estimate, extent: int, steps: int = 1) -> Estimate:
    """Return p/T = [ln Z(T, L + steps) - ln Z(T, L)]/(steps x `extent`), `extent` the sites of a slice across the axis that grows.

    It is -f, the free energy density over the temperature, where the volume is large. Raises ValueError for an extent
    or steps < 1.

    >>> pressure(Estimate(10.0, 0.03), Estimate(12.0, 0.04), extent=4)[:2]
    (0.5, 0.0125)
    """
    if extent < 1 or steps < 1:
        raise ValueError(f"a slice of one site or more and a step >= 1 wanted, got {extent} and {steps}")
    weight = 1.0 / (extent * steps)
    return _sum([(weight, longer), (-weight, log_z)])


def integrated(start: Estimate, couplings: Sequence[float], slopes: Sequence[Estimate]) -> list[Estimate]:
    """Return ln Z at every coupling from d ln Z/dc = -<dS/dc>, given as independent `slopes`, by cubic splines.

    `start` is ln Z at the first coupling. The integral of the spline is a sum of slopes with weights, which carry the
    errors. Raises ValueError unless there are four increasing couplings or more, each with its slope and error.

    >>> couplings = [0.0, 0.5, 1.0, 1.5, 2.0]
    >>> curve = integrated(Estimate(0.0, 0.0), couplings, [Estimate(c**3, 0.01) for c in couplings])
    >>> round(curve[-1].value, 12)
    4.0
    """
    from scipy.interpolate import CubicSpline

    if len(couplings) < 4 or len(couplings) != len(slopes) or not all(numpy.diff(couplings) > 0.0):
        raise ValueError(
            f"a slope at each of four or more increasing couplings wanted, got {len(slopes)} at {list(couplings)}"
        )
    splines = CubicSpline(couplings, numpy.eye(len(couplings))).antiderivative()
    weights = splines(couplings)
    return [_sum([(1.0, start), *zip(map(float, row), slopes, strict=True)]) for row in weights]


def _sum(terms: list[tuple[float, Estimate]]) -> Estimate:
    """A sum of independent estimates with weights; without a value or an error where one of them has none."""
    note = "; ".join(dict.fromkeys(one.note for _, one in terms if one.note))
    if any(one.value is None for _, one in terms):
        return Estimate(None, None, note=note)
    value = math.fsum(weight * one.value for weight, one in terms if one.value is not None)
    if any(one.error is None for _, one in terms):
        return Estimate(value, None, note=note)
    return Estimate(
        value, math.hypot(*(weight * one.error for weight, one in terms if one.error is not None)), note=note
    )
