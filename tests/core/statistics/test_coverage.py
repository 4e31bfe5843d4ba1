"""What weighted draws are worth: log-normal weights and known tails, NaN weights, too few draws, a model that covers or not.

Seeds are fixed; sigmas and chances are those of fresh ones.
"""

import math
import warnings

import arviz
import numpy
import pytest

from haarflow.core.statistics import (
    coverage_of,
    error_growth,
    ess,
    ess_difference,
    ess_estimate,
    jackknife,
    log_normal_ess,
    log_z,
    mode_aware_ess,
    pareto_shape,
    reweight,
    reweight_derived,
    target_log_z,
)
from haarflow.core.statistics.coverage import _spreads, independent_draws, lower_limit


def normal(sigma, n, seed):
    """Log-normal weights: ESS e^(-sigma^2), Z = e^(sigma^2/2), and log w of the target's draws is N(sigma^2, sigma^2)."""
    return sigma * numpy.random.default_rng(seed).normal(size=n)


# ---- NaN weights, and too few


def test_nan_weights_are_counted_in_words():
    log_w = [0.0, math.nan, 0.0, math.nan]
    with pytest.raises(ValueError, match="2 of 4 log weights are NaN"):
        ess(log_w)
    for found in (
        ess_estimate(log_w),
        log_z(log_w),
        reweight(log_w, log_w),
        target_log_z(log_w),
        mode_aware_ess(log_w, 0.0),
    ):
        assert found.value is None and found.error is None and "2 of 4 log weights are NaN" in found.note
    assert "2 of 4" in reweight_derived(lambda a: a, log_w, log_w).note
    with pytest.raises(ValueError, match="2 of 4"):
        coverage_of([0.0], log_w)


def test_two_effective_draws_have_no_error_bar():
    log_w = numpy.concatenate([[0.0, 0.0], numpy.full(998, -30.0)])
    values = numpy.arange(1000.0)
    for found in (
        reweight(log_w, values),
        log_z(log_w),
        ess_estimate(log_w),
        reweight_derived(lambda a: a, log_w, values),
    ):
        assert found.value is not None and found.error is None and found.note.startswith("2.0 effective draws")
    assert reweight(numpy.zeros(20), values[:20]).error is not None


def test_a_derived_mean_is_the_function_of_reweighted_means():
    log_w, x = normal(0.7, 4000, 0), numpy.random.default_rng(1).normal(2.0, 1.0, 4000)
    found, plain = reweight_derived(lambda a: 3.0 * a, log_w, x), reweight(log_w, x)
    assert found.value == pytest.approx(3.0 * plain.value)
    assert found.error == pytest.approx(3.0 * plain.error, rel=0.1)  # one has tau_int, the other takes it as 1/2


# ---- ESS at few draws


@pytest.mark.parametrize("sigma", [0.5, 0.8])
def test_the_ess_of_log_normal_weights_lies_within_its_error(sigma):
    """4 sigma of a nearly normal estimate: chance 6e-5."""
    found = ess_estimate(normal(sigma, 20_000, 3))
    assert abs(found.value - math.exp(-(sigma**2))) < 4 * found.error < 0.04
    assert found.note == ""


def test_the_error_of_the_ess_is_its_spread():
    found = [ess_estimate(normal(0.7, 2000, seed)) for seed in range(100)]
    spread = numpy.std([one.value for one in found])  # known to 7%
    assert numpy.mean([one.error for one in found]) == pytest.approx(spread, rel=0.35)


def test_weights_of_sigma_two_are_noted_at_5000_draws():
    """The ESS e^-4 looks twice as large, 92 effective draws like 180; a note comes in 97 of 100 sets (here at least 28 of 32)."""
    sets = [normal(2.0, 5000, seed) for seed in range(32)]
    assert 1.4 < numpy.mean([ess(log_w) for log_w in sets]) / math.exp(-4) < 2.6
    assert numpy.mean([log_normal_ess(log_w) for log_w in sets]) == pytest.approx(math.exp(-4), rel=0.1)
    assert sum(bool(ess_estimate(log_w).note) for log_w in sets) >= 28
    assert sum("optimistic" in reweight(log_w, log_w).note for log_w in sets) >= 28


def test_weights_of_ess_one_half_are_not_noted():
    """By chance 1 in 200 sets has a note at 2,000 draws, none in 2,000 at 5,000."""
    assert sum(bool(ess_estimate(normal(0.83, 5000, seed)).note) for seed in range(40)) == 0


def test_small_weights_do_not_lower_the_ess_of_the_upper_half():
    log_w = normal(0.5, 5001, 0)
    log_w = log_w - numpy.median(log_w)
    assert log_normal_ess(numpy.where(log_w < 0.0, 20.0 * log_w, log_w)) == pytest.approx(
        log_normal_ess(log_w), rel=1e-3
    )


# ---- tails


@pytest.mark.parametrize("shape", [0.4, 0.8, 1.25])
def test_the_shape_of_pareto_tails_is_found(shape):
    """w = u^(-k): 4 sigma at 3 sqrt(n) weights, beside the pull of ten weights of shape 1/2."""
    found = pareto_shape(-shape * numpy.log(numpy.random.default_rng(5).uniform(size=40_000)))
    assert abs(found.value - shape) < 4 * found.error < 0.4


def test_light_and_bounded_tails_have_small_shapes():
    u = numpy.random.default_rng(6).uniform(size=40_000)
    exponential, bounded = pareto_shape(numpy.log(-numpy.log(u))), pareto_shape(numpy.log(u))
    assert abs(exponential.value) < 4 * exponential.error
    assert bounded.value < -0.6  # the exact shape is -1


def test_tails_that_cannot_be_fitted_say_so():
    assert "too few" in pareto_shape(numpy.zeros(20)).note
    assert "alike" in pareto_shape(numpy.zeros(2000)).note


def test_errors_grow_where_the_variance_does_not_exist():
    light = normal(0.7, 4000, 0)
    heavy = [-0.9 * numpy.log(numpy.random.default_rng(seed).uniform(size=4000)) for seed in range(20)]
    assert error_growth(light) == pytest.approx(1.0, abs=0.05)
    assert error_growth(1e-9 * light) == 1.0  # rounding
    assert numpy.mean([error_growth(log_w) for log_w in heavy]) > 1.2


# ---- coverage


def wells(x, centres, width):
    """Log-density of an equal mixture of normal wells."""
    parts = [-0.5 * ((x - c) / width) ** 2 - math.log(width * math.sqrt(2 * math.pi)) for c in centres]
    return numpy.logaddexp.reduce(parts) - math.log(len(centres))


def two_wells(model_centres, model_width, seed=0):
    """Log weights of 8,000 model draws, and of 16 x 100 exact draws of two wells at -3 and 3 of width 1/2; Z = 1."""
    rng = numpy.random.default_rng(seed)

    def log_w(x):
        return wells(x, (-3.0, 3.0), 0.5) - wells(x, model_centres, model_width)

    own = rng.choice(model_centres, 8000) + model_width * rng.normal(size=8000)
    target = rng.choice([-3.0, 3.0], (16, 100)) + 0.5 * rng.normal(size=(16, 100))
    return log_w(own), log_w(target)


def test_a_missed_well_shows_in_the_weights_of_the_target():
    own, target = two_wells((3.0,), 0.55)
    found = coverage_of(own, target)
    assert (
        ess(own) > 0.9 and abs(log_z(own).value + math.log(2.0)) < 4 * log_z(own).error
    )  # low by ln 2, and looks fine
    assert abs(found.above.value - 0.5) < 4 * found.above.error < 0.1
    assert found.far_above == pytest.approx(found.above.value, abs=0.02) and found.expected < 0.01
    assert found.ess.value < 1e-6 and abs(found.log_z.value) < 4 * found.log_z.error < 0.2


def test_narrow_wells_show_and_wide_ones_do_not():
    """With half the target's width 4% of it lies beyond the largest weight of 8,000 draws."""
    narrow, wide = coverage_of(*two_wells((-3.0, 3.0), 0.25)), coverage_of(*two_wells((-3.0, 3.0), 0.6))
    assert narrow.above.value > 0.02 and narrow.far_above > 0.005
    assert wide.above.value < 0.005 and wide.far_above == 0.0
    assert abs(wide.log_z.value) < 4 * wide.log_z.error < 0.1 and wide.ess.value > 0.7


def test_the_share_beyond_the_largest_weight_is_what_the_weights_let_expect():
    """The share of the target beyond the largest of n - 1 weights is E[w_max]/(nZ), an identity: 4 sigma over 2,000 sets."""
    sigma, n = 0.8, 50
    l = sigma * numpy.random.default_rng(8).normal(size=(2000, n))
    expected = numpy.exp(l.max(axis=1) - 0.5 * sigma**2) / n
    beyond = [0.5 * math.erfc((top / sigma - sigma) / math.sqrt(2.0)) for top in l[:, 1:].max(axis=1)]
    difference = expected - numpy.asarray(beyond)
    assert abs(difference.mean()) < 4 * difference.std() / math.sqrt(2000) < 0.01


def test_frozen_chains_count_once_each_and_free_ones_by_their_draws():
    frozen = numpy.repeat([[1.0], [0.0], [0.0], [1.0], [0.0]], 200, axis=1)
    free = (numpy.random.default_rng(2).uniform(size=(5, 200)) < 0.3).astype(float)
    assert independent_draws(frozen) == 5.0
    assert independent_draws(free) > 300.0


def test_chains_that_stay_apart_widen_the_error_of_ln_z():
    """Four chains at log w = 0, 0.1, 0.2, 0.3, each with a spread of 0.01: the error is that of four numbers."""
    apart = numpy.asarray([[0.0], [0.1], [0.2], [0.3]]) + 0.01 * numpy.random.default_rng(4).normal(size=(4, 500))
    assert target_log_z(apart).error is None or target_log_z(apart).error == pytest.approx(0.129 / 2, rel=0.1)


def test_wilsons_limit_solves_its_equation():
    share, n, sigmas = 0.04, 500.0, 3.0
    low = lower_limit(share, n, sigmas)
    assert share - low == pytest.approx(sigmas * math.sqrt(low * (1.0 - low) / n))


def test_configurations_of_density_zero_are_missed():
    found = coverage_of(numpy.zeros(100), numpy.asarray([[0.0, math.inf]] * 10))
    assert found.above.value == 0.5 and found.ess.value == 0.0 and "density zero" in found.ess.note
    assert found.log_z.value == pytest.approx(math.log(2.0))


def test_chains_that_never_move_have_the_error_of_their_number():
    """Three chains that stand still: the error of the mean of 1/w is that of three numbers, with n - 1 below the root."""
    values = numpy.log([1.0, 0.98, 1.05])
    inverse = numpy.exp(-values)
    expected = inverse.std(ddof=1) / math.sqrt(3) / inverse.mean()
    between = _spreads(numpy.repeat(inverse[:, None], 50, axis=1))[1]
    assert between / inverse.mean() == pytest.approx(expected, rel=1e-12)


def test_marks_are_worth_what_the_spread_of_the_chains_allows():
    """n_eff = p (1 - p) chains / variance of the chains' means, whole or not; a single chain has no such spread."""
    shares = numpy.asarray([0.2, 0.5, 0.65])
    marks = (numpy.arange(100) * 0.01 + 0.005 < shares[:, None]).astype(float)
    share, between = shares.mean(), shares.var(ddof=1)
    assert independent_draws(marks) == pytest.approx(max(3.0, share * (1 - share) * 3 / between), rel=1e-12)
    alternating = (numpy.arange(1000) % 3 == 0).astype(float)[None, :]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert independent_draws(alternating) == pytest.approx(1000.0, rel=0.01)


def test_the_difference_of_two_ess_has_the_error_of_the_jackknife():
    log_w = normal(1.0, 4000, 11)
    other = 0.5 * log_w + normal(0.3, 4000, 12)
    found = ess_difference(log_w, other)
    assert found.value == pytest.approx(ess(log_w) - ess(other), abs=1e-12)
    twin = jackknife(lambda a, b: ess(a) - ess(b), log_w, other, blocks=200)
    assert found.error == pytest.approx(twin.error, rel=0.25)  # 4 sigma of a jackknife of 200 blocks and more


@pytest.mark.parametrize("shape", [0.2, 0.6, 1.0])
def test_the_pareto_shape_is_that_of_arviz(shape):
    """10,000 weights have 300 in the tail by both conventions, and the same fit."""
    uniforms = numpy.random.default_rng(int(10 * shape)).uniform(size=10_000)
    log_w = -shape * numpy.log(uniforms)
    assert pareto_shape(log_w).value == pytest.approx(float(arviz.psislw(log_w)[1]), abs=1e-6)
