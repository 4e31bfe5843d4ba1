"""The Gamma method against exact AR(1) and pyerrors, and its guards."""

import math
import re

import numpy
import pytest

from haarflow.core.statistics import gamma_method, jackknife
from tests.support.series import autoregressive


# Fixed seeds; the tolerances are 4 sigma of the estimators, so these are deterministic checks of known draws.
@pytest.mark.parametrize("a", [-0.3, 0.0, 0.5, 0.9])
@pytest.mark.parametrize("chains", [1, 8])
def test_autoregressive_processes_have_their_exact_times(a, chains):
    x = autoregressive(a, 64_000 // chains, chains, seed=int(10 * a) + 5)
    exact, found = (1 + a) / (2 * (1 - a)), gamma_method(x)
    assert abs(found.tau_int - exact) < 4 * found.tau_error + 0.02
    assert found.error == pytest.approx(math.sqrt(2 * exact / x.size), rel=0.1)
    assert abs(found.value) < 4 * found.error
    assert found.note == ""


def test_the_error_bar_covers():
    """Of 200 chains the true mean lies within one error bar for 68%: here within 4 sigma of the count."""
    pulls = [
        found.value / found.error for found in (gamma_method(autoregressive(0.7, 2000, 1, seed)) for seed in range(200))
    ]
    assert abs(numpy.mean(numpy.abs(pulls) < 1) - 0.683) < 4 * math.sqrt(0.683 * 0.317 / 200)
    assert abs(numpy.std(pulls) - 1) < 4 / math.sqrt(400)


def pyerrors_twin(series, function=None, draw_numbers=None):
    """Value, error and tau_int by pyerrors with Wolff's S = 1.5."""
    pyerrors = pytest.importorskip("pyerrors")
    names = [f"ensemble|r{chain}" for chain in range(len(series[0]))]
    observables = [pyerrors.Obs(list(one), names, idl=draw_numbers) for one in series]
    found = observables[0] if function is None else function(*observables)
    found.gamma_method(S=1.5)
    return found.value, found.dvalue, found.e_tauint["ensemble"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("a", "chains"), [(0.0, 1), (0.8, 1), (0.8, 4)])
def test_agreement_with_pyerrors(a, chains):
    x = 3.0 + autoregressive(a, 4000, chains, seed=3)
    value, error, tau = pyerrors_twin([x])
    found = gamma_method(x)
    assert found.value == pytest.approx(value, rel=1e-12)
    assert found.error == pytest.approx(error, rel=0.02)
    assert found.tau_int == pytest.approx(tau, rel=0.04)


@pytest.mark.filterwarnings("ignore")
def test_derived_quantities_agree_with_pyerrors_and_the_jackknife():
    x = 1.0 + autoregressive(0.6, 6000, 2, seed=4)
    series = (x**2, x**4)

    def binder(second, fourth):
        return 1 - fourth / (3 * second**2)

    value, error, tau = pyerrors_twin(series, binder)
    found = gamma_method(series, binder)
    assert found.value == pytest.approx(value, rel=1e-12)
    assert found.error == pytest.approx(error, rel=0.02)
    assert found.tau_int == pytest.approx(tau, rel=0.04)
    folded = jackknife(lambda a, b: binder(a.mean(), b.mean()), *series, blocks=60)
    assert found.error == pytest.approx(folded.error, rel=0.35)
    assert found.value == pytest.approx(folded.value, rel=1e-12)


def test_a_linear_function_changes_nothing():
    x = autoregressive(0.5, 3000, 2, seed=1)
    plain, scaled = gamma_method(x), gamma_method((x, x), lambda a, b: 3 * a - b)
    assert scaled.value == pytest.approx(2 * plain.value)
    assert scaled.error == pytest.approx(2 * plain.error, rel=1e-6)
    assert scaled.tau_int == pytest.approx(plain.tau_int, rel=1e-6)


@pytest.mark.parametrize(
    ("series", "words"),
    [
        (numpy.where(numpy.arange(100) == 7, math.nan, 1.0), "1 of 100 values are NaN"),
        (numpy.full((50, 3), 0.1), "constant over all 150 values"),
        (numpy.full(10, 0.1) + 1e-17 * numpy.arange(10), "constant"),
        (numpy.ones((200, 4)).T * numpy.asarray([[0.0], [1.0], [-1.0], [0.0]]), "frozen: each of the 4 chains"),
        (numpy.linspace(0.0, 1.0, 400) + numpy.zeros((2, 400)), "longer than|effective draws"),
        (numpy.ones(1), "single value"),
    ],
)
def test_series_that_do_not_tell_their_error_say_why(series, words):
    found = gamma_method(series)
    assert found.tau_int is None and found.error is None
    assert re.search(words, found.note)


def test_a_charge_that_moved_once_is_not_called_sharp():
    charge = numpy.zeros(4000)
    charge[1800:] = 1.0
    found = gamma_method(charge)
    assert found.tau_int is None or "optimistic" in found.note


def test_little_data_is_called_optimistic():
    assert "optimistic" in gamma_method(autoregressive(0.95, 1000, 1, seed=2)).note
    assert gamma_method(autoregressive(0.95, 40_000, 1, seed=2)).note == ""


def test_short_chains_take_their_draws_for_independent():
    x = numpy.random.default_rng(0).normal(size=(1000, 1))
    found = gamma_method(x)
    assert found.tau_int is None
    assert found.error == pytest.approx(1 / math.sqrt(1000), rel=0.1)
    assert "too few" in found.note


@pytest.mark.parametrize("wrong", [numpy.zeros((0, 2)), numpy.zeros((2, 3, 4)), numpy.asarray(1.0)])
def test_shapes_are_checked(wrong):
    with pytest.raises(ValueError, match=r"\(chain, draw\)|same draws"):
        gamma_method(wrong)


def test_series_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="the same draws"):
        gamma_method((numpy.zeros(3), numpy.zeros(4)), lambda a, b: a)


# ---- replicas


@pytest.mark.filterwarnings("ignore")
def test_replicas_of_unequal_length_agree_with_pyerrors():
    lengths = (500, 1200, 3000)
    chains = [3.0 + autoregressive(0.7, length, seed=seed)[0] for seed, length in enumerate(lengths)]
    found = gamma_method(chains)
    value, error, tau = pyerrors_twin([chains])
    assert found.value == pytest.approx(value, rel=1e-12)
    assert found.error == pytest.approx(error, rel=0.02) and found.tau_int == pytest.approx(tau, rel=0.04)
    squares = gamma_method(([x**2 for x in chains], chains), lambda second, first: second / first**2)
    assert squares.value == pytest.approx(numpy.mean(numpy.concatenate(chains) ** 2) / value**2)


@pytest.mark.filterwarnings("ignore")
def test_a_few_gaps_agree_with_pyerrors():
    """One draw in fifty is missing, and one chain was measured on every second trajectory: tau_int in trajectories."""
    generator = numpy.random.default_rng(1)
    numbers = [numpy.flatnonzero(generator.random(4000) > 0.02) + 1 for _ in range(2)]
    chains = [x[kept - 1] for x, kept in zip(autoregressive(0.8, 4000, 2, seed=7), numbers, strict=True)]
    value, error, tau = pyerrors_twin([chains], draw_numbers=[list(map(int, kept)) for kept in numbers])
    found = gamma_method(chains, draw_numbers=numbers)
    assert found.value == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert found.error == pytest.approx(error, rel=0.03) and found.tau_int == pytest.approx(tau, rel=0.06)


def test_gaps_count_only_the_pairs_that_exist():
    """Half of the draws of an AR(1) process are gone: Var = (1 + 2 sum_t rho(t)/2) / n instead of (1 + 2 sum_t rho(t)) / n."""
    generator = numpy.random.default_rng(3)
    kept = numpy.flatnonzero(generator.random(50_000) < 0.5)
    found = gamma_method(autoregressive(0.8, 50_000, seed=9)[0][kept], draw_numbers=kept)
    exact = (1.0 + 0.8 / (1 - 0.8)) / 2.0
    assert abs(found.tau_int - exact) < 4 * found.tau_error < 0.6
    assert found.error == pytest.approx(math.sqrt(2 * exact / len(kept)), rel=0.1)


def test_a_regular_stride_is_no_gap():
    x = autoregressive(0.5, 3000, 2, seed=1)
    assert gamma_method(x, draw_numbers=range(10, 30_010, 10)) == gamma_method(x)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [(range(9), "one number for each draw"), ([3, 2, *range(4, 12)], "increasing"), (numpy.arange(10) + 0.5, "whole")],
)
def test_draw_numbers_are_checked(numbers, words):
    with pytest.raises(ValueError, match=words):
        gamma_method(numpy.zeros(10), draw_numbers=numbers)


def test_equal_chains_in_a_list_are_an_array():
    x = autoregressive(0.5, 300, 3, seed=1)
    assert gamma_method(list(x)) == gamma_method(x)


# ---- the order of the axes


@pytest.mark.parametrize("shape", [(4, 1000), (64, 100), (16, 150), (2, 4000)])
def test_draws_before_chains_are_noticed(shape):
    x = autoregressive(0.3, shape[1], shape[0], seed=2)
    assert gamma_method(x).note == "" and gamma_method(x).error
    turned = gamma_method(x.T)
    assert turned.error is None and "transpose" in turned.note


def test_many_short_chains_have_the_error_of_their_spread():
    """4 draws in each of 2000 AR(1) chains: the spread of the chains knows the autocorrelation; one percent is 1/sqrt(4000)."""
    x = autoregressive(0.9, 4, 2000, seed=4)
    exact = math.sqrt((4 + 6 * 0.9 + 4 * 0.81 + 2 * 0.729) / 16 / 2000)
    found = gamma_method(x)
    assert found.error == pytest.approx(exact, rel=4 / math.sqrt(4000)) and "(chain, draw)" in found.note


def _rejecting(stay, seed):
    """Independent values, 1,500 kept for `stay` draws and 20 for 60, in random order: (series, sum s^2 / (2 N))."""
    generator = numpy.random.default_rng(seed)
    stays = generator.permutation(numpy.repeat([stay, 60], [1500, 20]))
    return numpy.repeat(generator.normal(size=1520), stays), float(stays @ stays) / (2.0 * stays.sum())


@pytest.mark.parametrize("seed", [0, 3])
def test_a_chain_that_mostly_rejects_has_the_time_of_its_stays(seed):
    """The exact time of independent values; the window, which a drift of 1e-9 leaves alone, finds less with these seeds."""
    x, exact = _rejecting(3, seed)
    found, windowed = gamma_method(x), gamma_method(x + 1e-9 * numpy.arange(len(x)))
    assert windowed.tau_int < found.tau_int == exact == 7.5
    assert found.error == pytest.approx(windowed.error * math.sqrt(exact / windowed.tau_int), rel=1e-6)


@pytest.mark.parametrize("series", [numpy.floor(10.0 * _rejecting(3, 3)[0]), _rejecting(1, 3)[0]])
def test_whole_numbers_and_few_rejections_keep_the_time_of_the_window(series):
    drift = gamma_method(series + 1e-9 * numpy.arange(len(series)))
    assert gamma_method(series).tau_int == pytest.approx(drift.tau_int, rel=1e-6)


@pytest.mark.parametrize(("count", "noted"), [(12, True), (14, False)])
def test_fewer_than_fifteen_stays_that_make_the_sum_of_squares_are_noted(count, noted):
    """Stays of 30 among 1,000 of one draw: (1000 + 900 n)^2 / (1000 + 810000 n) is 14.3 for n = 12, 16.3 for n = 14."""
    stays = numpy.random.default_rng(4).permutation(numpy.repeat([1, 30], [1000, count]))
    x = numpy.repeat(numpy.random.default_rng(5).normal(size=len(stays)), stays)
    assert ("keeps one value for 30 draws" in gamma_method(x).note) == noted


@pytest.mark.parametrize(("others", "noted"), [(380, True), (420, False)])
def test_a_stay_is_noted_where_its_square_is_a_fifth_of_the_sum_of_squares(others, noted):
    """A stay of 10 among moves at every draw: 100 against 0.2 (100 + others), which are equal at 400."""
    x = numpy.random.default_rng(3).normal(size=others + 10)
    x[200:210] = x[200]
    assert ("keeps one value for 10 draws" in gamma_method(x).note) == noted


@pytest.mark.parametrize(("draws", "noted"), [(49, True), (50, False)])
def test_independent_draws_are_few_below_a_hundred_half_times(draws, noted):
    """Where tau_int is 1/2 or less, 100 autocorrelation times are 50 draws."""
    x = numpy.random.default_rng(1).normal(size=draws) + 0.3 * (-1.0) ** numpy.arange(draws)
    found = gamma_method(x)
    assert found.tau_int <= 0.5
    assert ("below 100" in found.note) == noted
