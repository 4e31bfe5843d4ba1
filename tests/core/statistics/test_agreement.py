"""Chains that disagree are told apart from chains that scatter by chance."""

import math

import numpy
import pytest

from haarflow.core.statistics import gamma_method
from haarflow.core.statistics.agreement import r_hat, scatter, scores
from tests.support.series import autoregressive


def full(x):
    return numpy.ones(x.shape, dtype=bool)


def test_one_of_four_chains_is_one_unit_up():
    """The error is the spread of the chain means over two."""
    x = autoregressive(0.3, 1000, 4, seed=0)
    assert gamma_method(x).note == ""
    x[3] += 1.0
    found, spread = gamma_method(x), x.mean(axis=1).std(ddof=1) / 2
    assert found.error == pytest.approx(spread) and found.tau_int is None
    assert "the 4 chains disagree" in found.note and "R-hat 1.1" in found.note


def test_two_modes_never_give_a_quiet_error():
    """8 chains at +-0.3 sigma that never change their mode: 27 errors of a chain's mean apart."""
    generator = numpy.random.default_rng(5)
    for _ in range(20):
        signs = generator.choice([-1.0, 1.0], size=8)
        if abs(signs.sum()) < 8:
            assert "disagree" in gamma_method(0.3 * signs[:, None] + generator.normal(size=(8, 2000))).note


@pytest.mark.parametrize("chains", [2, 3])
def test_few_chains_that_disagree_give_no_error(chains):
    found = gamma_method(autoregressive(0.5, 1000, chains, seed=1) + 0.8 * numpy.arange(chains)[:, None])
    assert found.error is None and f"{chains} are too few" in found.note


def test_a_chain_whose_halves_disagree_gives_no_error():
    x = autoregressive(0.5, 2000, seed=2)
    assert gamma_method(x).note == ""
    x[:, 1000:] += 0.7
    found = gamma_method(x)
    assert found.error is None and "halves of the chain disagree" in found.note


def test_chains_of_other_widths_disagree():
    """Equal means, but one of four chains is three times as wide: only the distances from the median tell."""
    x = autoregressive(0.3, 1000, 4, seed=3)
    x[2] *= 3.0
    assert "halves of the 4 chains disagree" in gamma_method(x).note


def test_means_that_scatter_too_much_enlarge_the_error_before_they_prove_anything():
    """Two errors of its mean up and down in turn: the error grows as sqrt(chi^2/freedom), and there is no note."""
    x = numpy.random.default_rng(12).normal(size=(4, 1000))
    x += 2.0 / math.sqrt(1000) * numpy.asarray([[1.0], [-1.0], [1.0], [-1.0]]) - x.mean(axis=1, keepdims=True)
    found, means = gamma_method(x), scatter(x, full(x))
    assert found.note == "" and 2.0 < means.sigmas < 4.5 and means.chi2 == pytest.approx(16, rel=0.1)
    assert found.error == pytest.approx(math.sqrt(means.chi2 / 3) / math.sqrt(4000), rel=0.1)


def test_a_charge_of_whole_numbers_that_is_stuck_in_some_chains():
    generator = numpy.random.default_rng(4)
    moving = numpy.round(autoregressive(0.9, 2000, 6, seed=5) * 1.5)
    moving[0], moving[1] = 2.0, numpy.where(generator.random(2000) < 0.01, -1.0, -2.0)
    assert "disagree" in gamma_method(moving).note


def test_a_function_of_means_tests_its_own_fluctuations():
    """Both means depend on the chain, their ratio does not."""
    x = 3.0 + autoregressive(0.3, 1000, 4, seed=6)
    x *= numpy.asarray([[1.0], [1.2], [0.8], [1.1]])
    noise = autoregressive(0.3, 1000, 4, seed=7)
    ratio = gamma_method((x + noise, x), lambda a, b: a / b)
    assert "disagree" in gamma_method(x).note and ratio.error and ratio.note == ""
    square = gamma_method((x * x, x), lambda second, first: second - first**2)
    assert "disagree" in square.note


def test_weights_that_differ_between_chains_are_noticed():
    """A ratio <w O>/<w> of weighted chains: one run of the flow has other weights."""
    generator = numpy.random.default_rng(7)
    x = generator.normal(size=(4, 1000))
    w = numpy.exp(0.3 * x)
    assert gamma_method((w * x, w), lambda a, b: a / b).note == ""
    w[1] = numpy.exp(-0.5 * x[1])
    assert "disagree" in gamma_method((w * x, w), lambda a, b: a / b).note


def test_replicas_of_unequal_length_are_compared_too():
    chains = [autoregressive(0.5, length, seed=length)[0] for length in (300, 1000, 2500, 800)]
    assert gamma_method(chains).note == ""
    assert "the 4 chains disagree" in gamma_method([*chains[:3], chains[3] + 0.8]).note


def test_a_rare_event_twice_in_one_chain_is_no_evidence():
    """Three events, all in one of 16 chains: chance 1/256, though chi^2 = 48 on 15 would be 3e-5."""
    x = numpy.zeros((16, 150))
    x[7, [10, 60, 110]] = 1.0
    assert "disagree" not in gamma_method(x).note
    assert scatter(x, full(x)).chi2 == pytest.approx(48, rel=0.1)


def test_chi_squared_of_the_means_is_that_of_the_issue():
    """Independent draws: chi^2 = sum (m_c - m)^2 n / variance, here with the pooled variance within the chains."""
    x = numpy.random.default_rng(8).normal(size=(5, 4000)) + 0.02 * numpy.arange(5)[:, None]
    means = x.mean(axis=1)
    expected = ((means - means.mean()) ** 2).sum() * 4000 / x.var(axis=1).mean()
    assert scatter(x, full(x)).chi2 == pytest.approx(expected, rel=0.1)


@pytest.mark.statistical  # for the time it takes to import ArviZ
def test_the_split_r_hat_is_that_of_arviz():
    arviz = pytest.importorskip("arviz")
    x = autoregressive(0.5, 1000, 4, seed=9)
    x[0] += 0.4
    halves = numpy.concatenate([x[:, :500], x[:, 500:]])
    ours = r_hat(scores(halves, full(halves)), full(halves))
    assert ours == pytest.approx(float(arviz.rhat(x, method="z_scale")), abs=1e-3)


# ---- how often by chance


def alarms(repeats, draw, functions):
    found = [gamma_method(function(x)).note for x in map(draw, range(repeats)) for function in functions]
    return sum("disagree" in note or "correlated" in note for note in found)


OBSERVABLES = (
    lambda x: x,
    lambda x: x * x,
    lambda x: numpy.exp(2.0 * x),
    lambda x: (x > 2.0) * 1.0,
    lambda x: (x > 3.0) * 1.0,
    numpy.round,
)


@pytest.mark.statistical
@pytest.mark.parametrize(("chains", "draws"), [(1, 2000), (2, 500), (4, 1000), (16, 150)])
@pytest.mark.parametrize("a", [0.0, 0.5, 0.9])
def test_chains_that_agree_are_hardly_ever_called_disagreeing(a, chains, draws):
    """600 estimates at a rate of 1e-4 or less: two alarms have a chance of 2e-3; the seeds are fixed."""
    assert alarms(100, lambda seed: autoregressive(a, draws, chains, seed=1000 + seed), OBSERVABLES) <= 1


def test_power():
    """A shift of one chain of four by ten errors of its mean is found every time, by six in most of twenty."""
    error = math.sqrt(2 * 1.5 / 1000)
    for sigmas, least in ((10.0, 20), (6.0, 10)):
        shift = sigmas * error * numpy.asarray([[0.0], [0.0], [0.0], [1.0]])
        assert alarms(20, lambda seed, up=shift: autoregressive(0.5, 1000, 4, seed=seed) + up, [lambda x: x]) >= least
