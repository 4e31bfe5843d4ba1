"""The Gamma method against exact AR(1) and pyerrors, its guards, reweighting and resampling."""

import math

import numpy
import pytest

from haarflow.core.statistics import bootstrap, ess, gamma_method, jackknife, log_z, mode_aware_ess, reweight


def autoregressive(a, draws, chains=1, seed=0):
    """x_t = a x_{t-1} + sqrt(1 - a^2) noise in equilibrium: unit variance, tau_int = (1+a)/(2(1-a))."""
    generator = numpy.random.default_rng(seed)
    x = numpy.empty((draws, chains))
    x[0] = generator.normal(size=chains)
    for number in range(1, draws):
        x[number] = a * x[number - 1] + math.sqrt(1 - a * a) * generator.normal(size=chains)
    return x


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


def pyerrors_twin(series, function=None):
    """Value, error and tau_int by pyerrors with Wolff's S = 1.5."""
    pyerrors = pytest.importorskip("pyerrors")
    names = [f"ensemble|r{chain}" for chain in range(series[0].shape[1])]
    observables = [pyerrors.Obs([one[:, chain] for chain in range(one.shape[1])], names) for one in series]
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
    assert found.value == folded.value


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
        (numpy.ones((200, 4)) * numpy.asarray([0.0, 1.0, -1.0, 0.0]), "frozen: each of the 4 chains"),
        (numpy.linspace(0.0, 1.0, 400)[:, None] + numpy.zeros((400, 2)), "longer than|optimistic"),
        (numpy.ones(1), "single value"),
    ],
)
def test_series_that_do_not_tell_their_error_say_why(series, words):
    found = gamma_method(series)
    if "optimistic" not in found.note:
        assert found.tau_int is None
        assert found.error is None
    assert numpy.char.find([found.note], words.split("|")[0])[0] >= 0 or words.split("|")[-1] in found.note


def test_a_charge_that_moved_once_is_not_called_sharp():
    charge = numpy.zeros(4000)
    charge[1800:] = 1.0
    found = gamma_method(charge)
    assert found.tau_int is None or "optimistic" in found.note


def test_little_data_is_called_optimistic():
    assert "optimistic" in gamma_method(autoregressive(0.95, 1000, 1, seed=2)).note
    assert gamma_method(autoregressive(0.95, 40_000, 1, seed=2)).note == ""


def test_short_chains_take_their_draws_for_independent():
    x = numpy.random.default_rng(0).normal(size=(1, 1000))
    found = gamma_method(x)
    assert found.tau_int is None
    assert found.error == pytest.approx(1 / math.sqrt(1000), rel=0.1)
    assert "too few" in found.note


@pytest.mark.parametrize("wrong", [numpy.zeros((0, 2)), numpy.zeros((2, 3, 4)), numpy.asarray(1.0)])
def test_shapes_are_checked(wrong):
    with pytest.raises(ValueError, match=r"\(draw, chain\)"):
        gamma_method(wrong)


def test_series_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        gamma_method((numpy.zeros(3), numpy.zeros(4)), lambda a, b: a)


def test_a_list_of_chains_is_not_read_as_draws():
    with pytest.raises(ValueError, match="stack chains along axis 1"):
        gamma_method([numpy.zeros(100), numpy.zeros(100)])


def gaussian_weights(n, shift=0.5, seed=0):
    """Samples of N(0, 1) and log weights towards e^{-x^2/2 + shift x}: log Z/Z_q = shift^2/2."""
    x = numpy.random.default_rng(seed).normal(size=n)
    return x, shift * x


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


def test_error_bars_agree_with_resampling():
    x, log_w = gaussian_weights(4000)

    def ratio(log_w, x):
        w = numpy.exp(log_w)
        return (w * x).sum() / w.sum()

    found = reweight(log_w, x)
    for other in (jackknife(ratio, log_w, x, blocks=100), bootstrap(ratio, log_w, x, resamples=300)):
        assert other.value == pytest.approx(found.value)
        assert other.error == pytest.approx(found.error, rel=0.25)
    w = numpy.exp(log_w)
    assert gamma_method((w * x, w), lambda a, b: a / b).error == pytest.approx(found.error, rel=0.1)


def test_weights_are_invariant_under_a_constant_and_huge_ones_do_not_overflow():
    _, log_w = gaussian_weights(100)
    assert ess(log_w + 1e4) == pytest.approx(ess(log_w))
    assert reweight(log_w - 1e4, log_w).value == pytest.approx(reweight(log_w, log_w).value)


def test_strange_weights():
    assert ess([-math.inf, -math.inf]) == 0.0
    assert log_z([-math.inf]).value is None
    assert reweight([0.0, -math.inf], [1.0, math.nan]).value == 1.0
    assert reweight([0.0, 0.0], [1.0, math.nan]).value is None
    assert "optimistic" in reweight(numpy.zeros(20), numpy.arange(20.0)).note
    with pytest.raises(ValueError, match="infinity"):
        ess([math.inf])
    with pytest.raises(ValueError, match="one sample"):
        ess([])
    with pytest.raises(ValueError, match="one value for each"):
        reweight([0.0], [1.0, 2.0])


def test_resampling_wants_two_draws_of_one_length():
    for wrong in ((numpy.ones(1),), (numpy.ones(3), numpy.ones(4))):
        with pytest.raises(ValueError, match="one length"):
            jackknife(numpy.mean, *wrong)
    with pytest.raises(ValueError, match="two blocks"):
        jackknife(numpy.mean, numpy.ones(5), blocks=1)
