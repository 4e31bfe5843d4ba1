"""Differences between two couplings from pairs, against exact ones; round trips of replicas, counted by hand."""

import numpy
import pytest
from scipy.special import i0, ive

from haarflow.core.statistics import correlated_derivative, correlated_difference, places, round_trips
from tests.support.ideal_angles import IdealMap, OpenPlaquettes

LOW, HIGH = 4.0, 4.4


def mean(beta):
    return ive(1, beta) / ive(0, beta)


def pairs(n, mapped, lattice=(4, 4)):
    theory = OpenPlaquettes(lattice)
    x = theory.exact_sample(numpy.random.default_rng(11), n, LOW)
    y, log_det = IdealMap(LOW, HIGH).forward({}, x) if mapped else (x, 0.0)
    log_w = theory.action(x, {"beta": LOW}) - theory.action(y, {"beta": HIGH}) + log_det
    return log_w, numpy.cos(x).mean(axis=(-2, -1)), numpy.cos(y).mean(axis=(-2, -1))


def gain_of_the_ideal_map():
    """By quadrature over the angle of one plaquette, on which the sum of independent ones depends alone."""
    theta = numpy.linspace(-numpy.pi, numpy.pi, 4001)[1:-1].reshape(-1, 1, 1)
    image = IdealMap(LOW, HIGH).forward({}, theta)[0]
    weight = numpy.exp(LOW * (numpy.cos(theta) - 1.0))
    variance = lambda f: numpy.average((f - numpy.average(f, weights=weight)) ** 2, weights=weight)  # noqa: E731
    old, new = numpy.cos(theta), numpy.cos(image)
    return (variance(old) + variance(new)) / variance(new - old)


def test_the_ideal_map_has_weights_of_one_and_a_known_gain():
    """Open U(1): from quadrature the variance by independent ensembles is 167 times that by the ideal map, for any volume.

    Five sigma for the mean; the gain, a ratio of sample variances of 4,000 pairs, scatters by 3%.
    """
    found = correlated_difference(*pairs(4000, mapped=True))
    assert found.ess == pytest.approx(1.0, abs=1e-10)
    assert abs(found.estimate.value - (mean(HIGH) - mean(LOW))) < 5.0 * found.estimate.error
    assert found.gain == pytest.approx(gain_of_the_ideal_map(), rel=0.15)


def test_reweighting_alone_has_the_known_gain():
    """The identity as map, V = 4: with c = 2b - a and R = (I_0(a) I_0(c)/I_0(b)^2)^V the variance of a pair is

        R [Var_c P + (P_c - P_b)^2] - 2 Var_b P + Var_a P,    Var P = (1 - P/beta - P^2)/V.

    Five sigma; the gain from 20,000 pairs within 5%, three times what it scatters by.
    """
    found, sites, far = correlated_difference(*pairs(20_000, mapped=False, lattice=(2, 2))), 4, 2 * HIGH - LOW
    assert abs(found.estimate.value - (mean(HIGH) - mean(LOW))) < 5.0 * found.estimate.error
    low, high, beyond = ((1.0 - mean(beta) / beta - mean(beta) ** 2) / sites for beta in (LOW, HIGH, far))
    ratio = (i0(LOW) * i0(far) / i0(HIGH) ** 2) ** sites
    pair = ratio * (beyond + (mean(far) - mean(HIGH)) ** 2) - 2.0 * high + low
    assert found.gain == pytest.approx((low + high) / pair, rel=0.05)


def test_a_derivative_is_that_in_the_middle():
    log_w, old, new = pairs(4000, mapped=True)
    found = correlated_derivative(log_w, old, new, HIGH - LOW)
    step, middle = 1e-4, 0.5 * (LOW + HIGH)
    exact = (mean(middle + step) - mean(middle - step)) / (2.0 * step)
    curvature = (HIGH - LOW) ** 2 / 24 * 6.0 * exact / middle**2  # the third derivative of 1 - 1/(2 beta), over 24
    assert abs(found.estimate.value - exact) < 5.0 * found.estimate.error + curvature


def test_the_error_of_correlated_draws_is_that_of_the_whole_difference():
    """An autoregressive chain with x -> x + 1 + 0.1 sin x: compared with the spread over 400 chains, five sigma of its error."""
    generator, rho = numpy.random.default_rng(5), 0.8
    x = numpy.zeros((400, 500))
    noise = generator.normal(size=x.shape)
    x[:, 0] = noise[:, 0]
    for draw in range(1, 500):
        x[:, draw] = rho * x[:, draw - 1] + (1 - rho**2) ** 0.5 * noise[:, draw]
    y = x + 1.0 + 0.1 * numpy.sin(x)
    found = correlated_difference(0.0 * x, x, y)
    spread = (y - x).mean(axis=1).std(ddof=1) / 20.0
    assert abs(found.estimate.error / spread - 1.0) < 5.0 / (2 * 400) ** 0.5


def test_what_cannot_be_known_says_so():
    assert "zero" in correlated_difference([-numpy.inf] * 20, [1.0] * 20, [1.0] * 20).estimate.note
    assert "NaN" in correlated_difference([numpy.nan] * 20, [1.0] * 20, [1.0] * 20).estimate.note
    with pytest.raises(ValueError, match="a log weight and both values for each pair wanted"):
        correlated_difference([0.0], [1.0, 2.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="two couplings that differ"):
        correlated_derivative([0.0], [1.0], [1.0], 0.0)
    with pytest.raises(ValueError, match=r"swaps \(chain, draw, pair\) wanted"):
        round_trips([[True]])


def test_a_walker_that_is_carried_up_and_down_makes_one_round_trip():
    """Three rungs: walker 0 goes to 1, 2, back to 1, 0; the draws by hand."""
    swaps = [[[True, False], [False, True], [False, True], [True, False]]]
    assert places(swaps)[0].tolist() == [[1, 0, 2], [1, 2, 0], [1, 0, 2], [0, 1, 2]]
    assert round_trips(swaps) == (1, 12.0)
    assert round_trips([[[False, False]] * 5]) == (0, None)


def test_both_pairs_of_one_draw_are_exchanged_in_their_order():
    assert places([[[True, True]]]).tolist() == [[[1, 2, 0]]]
