"""Weighted draws: reweighting, ln Z, the effective sample size with and without missed modes."""

import math

import numpy
import pytest

from haarflow.core.statistics import ess, log_z, mode_aware_ess, reweight, reweight_derived, weights_of
from tests.support.series import gaussian_weights


def test_reweighting_moves_a_gaussian():
    x, log_w = gaussian_weights(200_000)
    for values, exact in ((x, 0.5), (x * x, 1.25)):
        found = reweight(log_w, values)
        assert abs(found.value - exact) < 4 * found.error < 0.05
    found = log_z(log_w)
    assert abs(found.value - 0.125) < 4 * found.error < 0.02
    assert ess(log_w) == pytest.approx(math.exp(-0.25), abs=0.01)


def test_the_mode_aware_ess_agrees_where_no_mode_is_missed():
    _, log_w = gaussian_weights(200_000)
    x = numpy.random.default_rng(1).normal(size=200_000) + 0.5
    found = mode_aware_ess(0.5 * x, 0.125)
    assert abs(found.value - math.exp(-0.25)) < 4 * found.error < 0.02
    assert ess(log_w) == pytest.approx(found.value, abs=0.02)


def test_the_mode_aware_ess_sees_a_missed_mode():
    """The model knows one of two equal modes and gives the other 1e-4 of its weight."""
    covered, missed = math.log(0.5 / (1 - 1e-4)), math.log(0.5 / 1e-4)
    own = numpy.full(1000, covered)
    target = numpy.asarray([covered, missed] * 500)
    assert ess(own) == 1.0
    assert mode_aware_ess(target, 0.0).value < 1e-3


def test_weights_are_invariant_under_a_constant_and_huge_ones_do_not_overflow():
    _, log_w = gaussian_weights(100)
    assert ess(log_w + 1e4) == pytest.approx(ess(log_w))
    assert reweight(log_w - 1e4, log_w).value == pytest.approx(reweight(log_w, log_w).value)


def test_strange_weights():
    assert ess([-math.inf, -math.inf]) == 0.0
    assert log_z([-math.inf]).value is None
    assert reweight([0.0, -math.inf], [1.0, math.nan]).value == 1.0
    assert reweight([0.0, 0.0], [1.0, math.nan]).value is None
    with pytest.raises(ValueError, match="1 of 2 log weights is NaN"):
        ess([0.0, math.nan])
    assert "optimistic" in reweight(numpy.zeros(20), numpy.arange(20.0)).note
    with pytest.raises(ValueError, match="infinity"):
        ess([math.inf])
    with pytest.raises(ValueError, match="one sample"):
        ess([])
    with pytest.raises(ValueError, match="one value for each"):
        reweight([0.0], [1.0, 2.0])


@pytest.mark.parametrize(
    "log_w", [[0.0, 1.0] * 300, [0.0, -40.0] * 4, [-math.inf] * 8, [0.0, math.nan] * 4, [0.0] * 7 + [-math.inf]]
)
def test_weights_that_are_shared_give_the_averages_of_log_weights(log_w):
    """Many good draws, too few, none of any weight, a NaN, and a weight of zero."""
    shared, x = weights_of(log_w), numpy.linspace(1.0, 2.0, len(log_w))
    assert weights_of(shared) is shared
    assert reweight(shared, x) == reweight(log_w, x) and log_z(shared) == log_z(log_w)
    assert reweight_derived(lambda a, b: a / b, shared, x, x * x) == reweight_derived(
        lambda a, b: a / b, log_w, x, x * x
    )
    assert reweight(shared, x).note == shared.missing or reweight(shared, x).value == pytest.approx(
        numpy.average(x, weights=numpy.exp(log_w))
    )
