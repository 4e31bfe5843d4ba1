"""ln Z from both sides: log-normal weights, whose bounds are known, a collapsed model, plain twins. Seeds are fixed."""

import math

import numpy
import pytest

from haarflow.core.statistics import bennett, elbo, eubo, free_energy, iwae, log_z, log_z_bias
from tests.core.statistics.test_coverage import normal, two_wells

SIGMA = 0.8  # log-normal weights: ELBO 0, ln Z = sigma^2/2, EUBO = sigma^2


def both_sides(seed, n=4000, chains=8, draws=250, sigma=SIGMA):
    target = sigma**2 + normal(sigma, chains * draws, 50_000 + seed).reshape(chains, draws)
    return normal(sigma, n, seed), target


def test_bounds_of_log_normal_weights_are_the_known_ones():
    """Five pulls at 4 sigma: chance of luck 3e-4; the seed is fixed."""
    found = free_energy(*both_sides(1))
    known = {"elbo": 0.0, "model": SIGMA**2 / 2, "target": SIGMA**2 / 2, "bridge": SIGMA**2 / 2, "eubo": SIGMA**2}
    for name, exact in known.items():
        one = getattr(found, name)
        assert abs(one.value - exact) < 4 * one.error < 0.1, name
    assert found.elbo.value < found.iwae.value < found.bridge.value < found.eubo.value
    assert found.bridge.error < 0.8 * min(found.model.error, found.target.error)
    assert abs(found.covered.value - 1.0) < 4 * found.covered.error < 0.2


def test_the_lower_bound_does_not_fall_with_the_group_and_ends_at_ln_z():
    """On the same draws, group within group: Jensen's inequality for each group, no statistics."""
    log_w = normal(1.5, 1024, 2)
    values = [iwae(log_w, 1 << power).value for power in range(11)]
    assert numpy.all(numpy.diff(values) >= 0.0)
    assert values[0] == elbo(log_w).value == pytest.approx(log_w.mean(), abs=1e-13)
    assert values[-1] == pytest.approx(log_z(log_w).value, abs=1e-13)


def test_a_group_is_the_logarithm_of_its_mean():
    log_w = normal(1.0, 37, 3)
    groups = numpy.exp(log_w[:36]).reshape(9, 4).mean(axis=1)
    assert iwae(log_w, 4).value == pytest.approx(numpy.log(groups).mean(), abs=1e-13)


def test_the_bridge_is_the_fixed_point_of_its_iteration():
    """Meng and Wong's iteration in plain arithmetic, from ln Z of the model's draws alone."""
    own, target = both_sides(4, n=700, draws=30)
    w, v, z = numpy.exp(own), numpy.exp(target.ravel()), numpy.exp(own).mean()
    for _ in range(400):
        z = numpy.mean(w / (w.size + v.size * w / z)) / numpy.mean(1.0 / (w.size + v.size * v / z))
    assert bennett(own, target).value == pytest.approx(math.log(z), abs=1e-10)


def test_the_bridge_moves_with_the_weights_and_knows_equal_ones():
    own, target = both_sides(5, n=300, draws=40)
    assert bennett(own + 700.0, target + 700.0).value == pytest.approx(bennett(own, target).value + 700.0, abs=1e-9)
    assert bennett(numpy.full(10, 3.0), numpy.full((4, 500), 3.0)).value == pytest.approx(3.0, abs=1e-12)


def coverage(repeats, n=1600, chains=16, draws=50):
    """The share of repeats in which the exact value lies within one error of the bridge."""
    hits = 0
    for seed in range(repeats):
        found = bennett(*both_sides(1000 + seed, n, chains, draws))
        hits += abs(found.value - SIGMA**2 / 2) < found.error
    return hits / repeats


def test_the_error_of_the_bridge_covers_as_it_should():
    """0.683 in 150 repeats, known to 0.038: 3.5 sigma, chance of luck 5e-4; the seeds are fixed."""
    assert 0.55 < coverage(150) < 0.82


@pytest.mark.statistical
def test_the_error_of_the_bridge_covers_in_2000_repeats():
    """0.683 known to 0.010: 3.5 sigma on either side."""
    assert 0.64 < coverage(2000) < 0.72


def test_the_bias_of_ln_z_is_that_of_small_samples():
    """Mean of ln mean w over 1500 sets of 50 draws: below ln Z by the bias, to leading order; 4 sigma and a quarter of it."""
    sets = normal(0.7, 75_000, 6).reshape(1500, 50)
    off = numpy.asarray([log_z(one).value for one in sets]) - 0.245
    bias = numpy.mean([log_z_bias(one) for one in sets])
    assert bias < -0.002 and abs(off.mean() - bias) < 4 * off.std() / math.sqrt(1500) + 0.25 * abs(bias)


def test_a_collapsed_model_is_seen_from_the_other_side():
    """ln 2 too low from the model's draws, which cover half; the target's side and the bridge are right: 4 sigma."""
    found = free_energy(*two_wells((3.0,), 0.55))
    assert abs(found.model.value + math.log(2.0)) < 4 * found.model.error < 0.1
    for one in (found.target, found.bridge):
        assert abs(one.value) < 4 * one.error < 0.3
    assert abs(found.covered.value - 0.5) < 4 * found.covered.error < 0.2
    assert found.eubo.value > 10.0


def test_chains_that_stay_apart_widen_the_errors():
    """Four chains of which two stay in each of two wells, whose weights differ: the errors are those of four numbers."""
    apart = numpy.asarray([[0.0], [1.0], [0.0], [1.0]]) + 0.01 * numpy.random.default_rng(4).normal(size=(4, 500))
    assert eubo(apart).error is None or eubo(apart).error == pytest.approx(0.577 / 2, rel=0.05)
    assert bennett(numpy.zeros(2000), apart).error is None or bennett(numpy.zeros(2000), apart).error > 0.05


def test_what_cannot_be_known_says_so():
    own, target = both_sides(7, n=50, draws=20)
    assert "NaN" in free_energy([0.0, math.nan]).elbo.note and log_z_bias([math.nan]) is None
    assert "NaN" in eubo([[math.nan]]).note and "NaN" in bennett([0.0], [[math.nan]]).note
    assert "weights are zero" in elbo([0.0, -math.inf] * 20).note and iwae([0.0, -math.inf] * 20, 2).value is not None
    assert "density zero" in eubo([[0.0, math.inf]]).note
    assert (
        "do not overlap" in bennett([-math.inf] * 3, target).note
        and "do not overlap" in bennett(own, [[math.inf]]).note
    )
    assert "no group" in iwae([0.0] * 3, 4).note and iwae([0.0, 1.0], 2).error is None
    assert "overlap of both sides" in bennett(own, target).note
    assert log_z_bias([-math.inf]) is None
    with pytest.raises(ValueError, match="whole number of draws"):
        iwae(own, 0)
    with pytest.raises(ValueError, match="got none"):
        bennett(own, [[]])


def test_zero_and_infinite_weights_keep_the_bridge():
    """Half of the model's draws outside the target, half of the target outside the model: Z = 1/2 * 1/(1/2) = 1."""
    own = numpy.asarray([0.0, -math.inf] * 100)
    target = numpy.asarray([[0.0, math.inf] * 100] * 4)
    assert bennett(own, target).value == pytest.approx(0.0, abs=1e-9)
