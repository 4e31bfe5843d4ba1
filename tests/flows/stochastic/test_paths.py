"""Paths between couplings: their border, oracles with constant work, resampling, the fit of layers, and other dimensions."""

import math

import numpy as np
import pytest

from haarflow.backends import numpy as backend
from haarflow.core import random, statistics
from haarflow.core.chains.heatbath_u1 import U1HeatBath
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.kernel import Cycle, Repeat
from haarflow.core.chains.metropolis import LocalMetropolis
from haarflow.core.chains.reversal import reversal
from haarflow.core.groups.sun import SU
from haarflow.core.statistics import weights_of
from haarflow.flows.flow import Model, Translate
from haarflow.flows.priors import FreeField, HaarLinks, UniformLinks
from haarflow.flows.sampling.draws import draw
from haarflow.flows.stochastic.fitting import fitted, smoothed
from haarflow.flows.stochastic.paths import Step, path, spaced
from haarflow.flows.stochastic.resampling import resampled
from haarflow.flows.stochastic.starts import FromChain, FromModel, FromPrior
from haarflow.flows.sun.gradient_coupling import LoopCoupling
from haarflow.flows.sun.gradient_sweep import SUNGradientSweep
from haarflow.flows.u1.gradient_sweep import GradientSweep
from haarflow.theories import Phi4, SUNGauge, U1Gauge, accelerated

KEY = random.key(3, backend)
TWO = U1Gauge((2, 2))
HAAR = FromPrior(UniformLinks((2, 2)))


def of_u1(lattice, first, last, steps, flow=None, kernel=True, **words):
    theory = U1Gauge(lattice)
    numbers = None if flow is None else {"c": 0.0}
    made = [
        Step(at, flow, numbers, U1HeatBath(theory, tries=3) if kernel else None)
        for at in spaced({"beta": first}, {"beta": last}, steps)
    ]
    return path(theory, FromPrior(UniformLinks(lattice)), {"beta": first}, made, **words)


@pytest.mark.parametrize(
    "steps, words, sentence",
    [
        ([], {}, "a protocol has at least one step, got none"),
        ([Step({"bta": 1.0})], {}, "every step of a protocol has the couplings of its start, beta, got bta in step 1"),
        ([Step({"beta": math.nan})], {}, "the couplings of a protocol are finite numbers, got beta = nan"),
        ([Step({"beta": 1.0})], {"last": {"beta": 2.0}}, "the protocol ends at beta = 1, wanted beta = 2"),
        ([Step({"beta": 1.0})], {"population": 0}, "a population has 1 or more paths"),
        ([Step({"beta": 1.0})], {"resample": 0.5}, "resampling wants a population of two paths or more"),
    ],
)
def test_a_protocol_that_makes_no_sense_is_refused_in_one_sentence(steps, words, sentence):
    with pytest.raises(ValueError, match=sentence):
        path(TWO, HAAR, {"beta": 0.0}, steps, **words)


def test_draws_and_pilots_are_whole_populations():
    made = of_u1((2, 2), 0.0, 1.0, 1, GradientSweep(2), population=4)
    with pytest.raises(ValueError, match="populations of 4, got n = 6"):
        made.draw(made.init(KEY), KEY, 6)
    with pytest.raises(ValueError, match="two populations of 4 or more, got 4"):
        fitted(made, made.init(KEY), KEY, 4)


def test_alike_steps_are_one_stretch_and_others_begin_a_new_one():
    kernel = U1HeatBath(TWO)
    steps = [Step({"beta": b}, kernel=kernel) for b in (0.1, 0.2)] + [Step({"beta": 0.3}), Step({"beta": 0.4})]
    made = path(TWO, HAAR, {"beta": 0.0}, steps)
    assert [one.steps for one in made.stretches] == [2, 2] and made.steps == 4
    whole = path(TWO, HAAR, {"beta": 0.0}, steps, last={"beta": 0.4})
    assert whole == made  # by what is compiled


def test_a_step_without_flow_and_kernel_does_the_work_of_the_actions_alone():
    """Without moves all protocols with the same ends are one importance weight, -S of the end."""
    one, many = of_u1((4, 4), 0.0, 1.0, 1, kernel=False), of_u1((4, 4), 0.0, 1.0, 7, kernel=False)
    a, b = (made.draw(made.init(KEY), KEY, 9) for made in (one, many))
    assert np.abs(a.log_w - b.log_w).max() < 1e-12
    assert np.abs(a.log_w + U1Gauge((4, 4)).action(a.field, {"beta": 1.0})).max() < 1e-12


def test_kernels_between_equal_couplings_do_no_work():
    """A free field at its own couplings: log w = ln Z for every path, whatever the kernel does."""
    theory, at = Phi4((4, 4)), {"m2": 1.5, "lam": 0.0}
    kernel = HMC(theory, steps=2, values={"step_size": 0.2})
    made = path(theory, FromPrior(FreeField((4, 4), 1.5)), at, [Step(at, kernel=kernel)] * 3)
    found = made.draw(made.init(KEY), KEY, 6)
    assert np.abs(found.log_w - theory.exact(at)["ln_Z"]).max() < 1e-10


def test_a_path_from_a_model_is_the_path_from_its_prior():
    model = Model(UniformLinks((2, 2)), Translate((0, 0), internal=1))
    steps = [Step({"beta": 1.0}, kernel=U1HeatBath(TWO))]
    a, b = (path(TWO, start, {"beta": 0.2}, steps) for start in (HAAR, FromModel(model, {})))
    assert np.array_equal(a.draw(a.init(KEY), KEY, 5).log_w, b.draw(b.init(KEY), KEY, 5).log_w)


def test_a_path_and_back_along_flows_alone_has_the_same_weight():
    made = of_u1((4, 4), 0.0, 1.0, 3, GradientSweep(2, 0.1), kernel=False)
    params = made.init(KEY)
    params["0"]["flow"]["c"] = params["0"]["flow"]["c"] + 0.1
    found = made.draw(params, KEY, 5)
    assert np.abs(made.reverse(params, KEY, found.field) - found.log_w).max() < 1e-10


def test_paths_with_resampling_and_kernels_without_reversal_have_no_reverse():
    made = of_u1((2, 2), 0.0, 1.0, 1, population=2, resample=0.5)
    with pytest.raises(ValueError, match="without resampling"):
        made.reverse(made.init(KEY), KEY, np.zeros((2, 2, 2, 2)))
    with pytest.raises(ValueError, match="the reversal of LocalMetropolis is not known"):
        reversal(LocalMetropolis(TWO))


def test_a_sweep_there_and_its_reversal_have_equal_flows_of_probability():
    """Detailed balance of the pair: p(x) k(x -> y) = p(y) k~(y -> x), as <f(x) g(kx)> = <f(k~x) g(x)> over draws of p."""
    from haarflow.theories.samplers.u1 import exact_sample

    kernel = U1HeatBath(TWO, tries=4, values={"couplings": {"beta": 1.5}})
    n = 40_000
    x = exact_sample(TWO, KEY, n, {"beta": 1.5}).field
    f, g = (lambda u: np.cos(u[:, 0, 0, 0])), (lambda u: np.sin(u[:, 1, 1, 0]) * np.cos(u[:, 0, 1, 1]))
    there, back = (one.step(random.fold_in(KEY, 1), one.init(x))[0].field for one in (kernel, reversal(kernel)))
    off = f(x) * g(there) - f(back) * g(x)
    assert abs(off.mean()) < 4 * off.std() / math.sqrt(n)
    assert reversal(Cycle((kernel, Repeat(kernel, 2)))).kernels[0].kernel.backwards


def test_resampling_keeps_the_mean_weight_and_the_expected_numbers():
    log_w = np.log(np.asarray([0.1, 0.2, 0.3, 1.4]))
    counts = np.zeros(4)
    for seed in range(400):
        chosen, equal = resampled(random.key(seed, backend), np.arange(4.0), log_w, 4, 1.0)
        assert np.abs(np.exp(equal) - 0.5).max() < 1e-12
        counts += np.bincount(chosen.astype(int), minlength=4)
    expected = 400 * 4 * np.exp(log_w) / 2.0
    assert np.abs(counts - expected).max() < 4 * 20 * 0.5  # each number differs by less than one, variance at most 1/4


def test_populations_above_the_threshold_and_without_weight_stay():
    x, log_w = np.arange(4.0), np.asarray([0.0, 0.1, -math.inf, -math.inf])
    kept, same = resampled(KEY, x, log_w, 2, 0.5)
    assert kept.tolist() == x.tolist() and same.tolist() == log_w.tolist()
    assert weights_of(np.full(20, -math.inf)).missing == "every weight is zero"


def test_the_fitted_step_is_the_best_of_a_scan():
    made = of_u1((4, 4), 0.0, 0.6, 1, GradientSweep(2))
    params = fitted(made, made.init(KEY), KEY, 64, degree=None)
    x = made.begun(params, KEY, 64).field

    def work(c):
        y, log_det = GradientSweep(2).forward({"c": np.asarray(c)}, x)
        return float(np.mean(made.theory.action(y, {"beta": 0.6}) - log_det))

    found, scan = float(params["0"]["flow"]["c"][0]), np.linspace(0.0, 0.3, 61)
    assert abs(found - scan[np.argmin([work(c) for c in scan])]) <= 0.005


def test_a_fit_of_a_step_whose_work_is_no_number_says_so():
    from haarflow.flows.stochastic.fitting import NotFitted

    theory = U1Gauge((2, 2))
    steps = [Step({"beta": 1.0}, GradientSweep(2), {"c": math.nan})]
    made = path(theory, HAAR, {"beta": 0.0}, steps)
    with pytest.raises(NotFitted, match="the mean work of a step of the protocol is not finite"):
        fitted(made, made.init(KEY), KEY, 8)


def test_polynomials_smooth_what_is_not_one():
    k = np.linspace(0.0, 1.0, 30)
    curve = 1.0 - k + 2.0 * k**4
    assert np.abs(smoothed(curve, 4) - curve).max() < 1e-12 and smoothed(np.asarray([2.0]), 4).tolist() == [2.0]


def test_a_flow_before_each_kernel_wins():
    """8 steps to beta = 1 on 4x4: the mean work falls at least by half, and ln Z is right."""
    plain, flow = of_u1((4, 4), 0.0, 1.0, 8), of_u1((4, 4), 0.0, 1.0, 8, GradientSweep(2))
    exact = U1Gauge((4, 4)).exact({"beta": 1.0})["ln_Z"]
    losses = []
    for made in (plain, flow):
        params = made.init(KEY)
        params = fitted(made, params, KEY, 128) if made is flow else params
        log_w = draw(made, params, made.theory, random.fold_in(KEY, 1), 1024, {"beta": 1.0}).log_w
        z = statistics.log_z(log_w)
        assert abs(z.value - exact) < 4 * z.error
        losses.append(exact - log_w.mean())
    assert 0.0 < losses[1] < 0.5 * losses[0]


def test_three_dimensions_against_the_strong_coupling_series():
    """U(1) on 3^3: ln Z = 3 V beta^2/4 (1 + O(beta^2)); an odd extent has three colours."""
    made = of_u1((3, 3, 3), 0.0, 0.1, 2, GradientSweep(3, 0.02))
    log_w = made.draw(made.init(KEY), KEY, 512).log_w
    z = statistics.log_z(log_w)
    assert abs(z.value - 81 * 0.01 / 4) < 4 * z.error + 0.002


def test_su3_in_four_dimensions_by_the_compiled_heat_bath():
    """SU(3) on 2^4: ln Z = N_P beta^2/(4 N^2) at small beta for N = 3, corrections of order beta^3."""
    from haarflow.core.chains.heatbath_sun import SUNHeatBath

    lattice = (2, 2, 2, 2)
    theory = accelerated(SUNGauge(lattice, n=3))
    steps = [Step({"beta": b}, SUNGradientSweep(3, 4), {"c": 0.004}, SUNHeatBath(theory)) for b in (0.05, 0.1)]
    made = path(theory, FromPrior(HaarLinks(lattice, 3)), {"beta": 0.0}, steps)
    log_w = made.draw(made.init(KEY), KEY, 64).log_w
    z = statistics.log_z(log_w)
    assert abs(z.value - 96 * 0.01 / 36) < 4 * z.error + 0.01


def test_the_sweep_of_sun_is_its_couplings_in_turn():
    flow = SUNGradientSweep(2, 2, start=0.1)
    x = SU(2, 2).haar(KEY, (2, 2, 2, 2, 4, 4))
    y, total = x, 0.0
    for mu in range(2):
        for colour in range(2):
            one = LoopCoupling(2, 2, mu, colour, start=0.1)
            y, log_det = one.forward(one.init(KEY), y)
            total = total + log_det
    found = flow.forward(flow.init(KEY), x)
    assert np.abs(found[0] - y).max() < 1e-14 and np.abs(found[1] - total).max() < 1e-12


def test_a_chain_for_each_population_starts_paths_in_equilibrium():
    kernel = Repeat(U1HeatBath(TWO, tries=4), 2)
    start = FromChain(kernel, warmup=20, between=2)
    x, log_w = start.draw(start.init(KEY), KEY, 2000, 2, TWO, {"beta": 1.0})
    plaquette = TWO.observables(x, {"beta": 1.0})["plaquette"].reshape(-1, 2).mean(axis=1)
    exact = TWO.exact({"beta": 1.0})["plaquette"]
    assert np.all(log_w == 0.0) and abs(plaquette.mean() - exact) < 4 * plaquette.std() / math.sqrt(1000)
    with pytest.raises(ValueError, match="warmup >= 1 and between >= 1, got 0 and 1"):
        FromChain(kernel, 0)
