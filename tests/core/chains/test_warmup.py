"""Warm-up of HMC: it reaches its target, is frozen and repeatable, keeps a length, and chains that cannot move are refused."""

import math

import numpy
import pytest

from haarflow.core import random
from haarflow.core.chains.checks import check_scales
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.involution import Involutive
from haarflow.core.chains.kernel import Cycle, Repeat, State, run
from haarflow.core.chains.metropolis import LocalMetropolis
from haarflow.core.chains.warmup import LEAST, NotTuned, at, tuned
from haarflow.theories import Phi4, SUNGauge, U1Gauge
from tests.conftest import MEMBERS, member
from tests.mutants import kept

CASES = {
    "phi4": (Phi4((4, 4)), {"m2": -4.0, "lam": 8.0}),
    "u1": (U1Gauge((2, 2)), {"beta": 1.0}),
    "su2": (SUNGauge((2, 2), 2), {"beta": 2.2}),
}


def hmc_of(name, step_size=0.1, steps=4):
    theory, couplings = CASES[name]
    return HMC(theory, steps=steps, values={"couplings": couplings, "step_size": step_size})


def hot(backend, theory, chains=32):
    key, shape = random.key(7, backend), (chains, *theory.field_shape)
    return random.normal(key, shape) if theory.group.name == "Real" else theory.group.haar(key, shape)


def after(host, kernel, seed=0, draws=120, **words):
    """The result of a warm-up from a hot start, and the acceptance of 1,600 further steps."""
    theory = kernel.kernels[0].theory if isinstance(kernel, Cycle) else kernel.theory
    found = tuned(kernel, random.key(seed, host), kernel.init(hot(host, theory)), draws, **words)
    _, records = run(found.kernel, random.key(99, host), found.state, 50)
    return found, records["info"]


LONG = pytest.mark.statistical


@pytest.mark.parametrize(
    "name, target, first",
    [
        ("u1", 0.8, 0.01),
        ("su2", 0.6, 2.0),
        *(pytest.param(name, *words, marks=LONG) for name in CASES for words in ((0.8, 0.01), (0.6, 2.0))),
    ],
)
def test_the_acceptance_reaches_its_target(host, name, target, first):
    """To 0.08: 0.01 is the binomial error of 1,600 coins, the rest that of the tuning on 32 chains and 30 steps a round."""
    found, info = after(host, hmc_of(name, first), target=target)
    assert abs(info["accepted"].mean() - target) < 0.08
    assert abs(found.record.acceptance - info["accepted"].mean()) < 0.06
    assert found.record[:2] == (found.kernel.values["step_size"], 4) and found.record.target == target


@pytest.mark.parametrize("name", ["u1", *(pytest.param(name, marks=LONG) for name in ("phi4", "su2"))])
def test_a_length_is_kept_and_divided_into_steps_that_reach_the_target(host, name):
    found, info = after(host, hmc_of(name), length=1.5)
    step_size, steps = found.record[:2]
    assert step_size * steps == pytest.approx(1.5, abs=1e-12) and steps == found.kernel.steps
    assert info["accepted"].mean() > 0.8 - 0.05


def test_the_same_seed_gives_the_same_numbers_and_another_others(host):
    (one, _), (two, _), (other, _) = (after(host, hmc_of("u1"), seed) for seed in (0, 0, 1))
    assert one.record == two.record != other.record
    assert numpy.array_equal(one.state.field, two.state.field)


def test_it_is_frozen_afterwards(host):
    """What it returns is plain HMC with the step size of the record: no draw depends on the warm-up's past."""
    found, _ = after(host, hmc_of("phi4"))
    again = hmc_of("phi4", found.record.step_size, found.record.steps)
    ends = [
        run(kernel, random.key(5, host), kernel.init(found.state.field), 6)[0].field for kernel in (found.kernel, again)
    ]
    assert again == found.kernel and numpy.array_equal(*ends)


@LONG
def test_cycles_and_repetitions_are_tuned_as_a_whole(host):
    """The acceptance that counts is HMC's, not that of the sweep beside it; every HMC gets the same step size."""
    theory, couplings = CASES["phi4"]
    sweep = LocalMetropolis(theory, {"couplings": couplings, "width": 0.5})
    found, info = after(host, Cycle((sweep, Repeat(hmc_of("phi4", steps=2), 2))), draws=80)
    assert abs(info["1"]["accepted"].mean() - 0.8) < 0.1
    width, step_size = found.kernel.values
    assert width["width"] == 0.5 and step_size["step_size"] == found.record.step_size
    both = at(Cycle((hmc_of("phi4", 0.1), sweep, hmc_of("phi4", 0.3))), 0.2, 5)
    assert [both.values[i]["step_size"] for i in (0, 2)] == [0.2, 0.2] and both.kernels[2].steps == 5
    assert at(Involutive(theory, hmc_of("phi4")), 0.2, 7).involution.steps == 7


@pytest.mark.parametrize("name", ["torch", *(pytest.param(name, marks=pytest.mark.slow) for name in ("strict", "jax"))])
def test_all_backends_tune(name, host):
    """Chains on another backend round differently and drift apart, so the step sizes agree roughly."""
    if name not in MEMBERS:
        pytest.skip(f"{name} is not here")
    found = [
        tuned(hmc_of("u1", steps=2), random.key(1, engine), State(hot(engine, CASES["u1"][0], 8)), LEAST)
        for engine in (member(name), host)
    ]
    first, second = (one.record.step_size for one in found)
    assert abs(math.log(first / second)) < 0.3


def test_a_force_that_fits_no_action_is_not_tuned(host):
    theory = kept(U1Gauge((2, 2)), difference=lambda new, old, couplings=None: math.nan * new[:, 0, 0, 0])
    hmc = HMC(theory, steps=2, values={"couplings": {"beta": 1.0}, "step_size": 0.1})
    start = hmc.init(hot(host, theory, 4))
    with pytest.raises(NotTuned, match="none of the last 10 warm-up steps was accepted"):
        tuned(hmc, random.key(0, host), start, LEAST)
    with pytest.raises(NotTuned, match="would take"):
        tuned(hmc, random.key(0, host), start, LEAST, length=1.0)


@pytest.mark.parametrize(
    "words, error",
    [
        ({"draws": 39}, "40 draws or more"),
        ({"draws": 40, "target": 1.0}, "between 0 and 1"),
        ({"draws": 40, "length": math.nan}, "length must be positive"),
    ],
)
def test_senseless_options_are_refused(host, words, error):
    hmc = hmc_of("u1")
    with pytest.raises(ValueError, match=error):
        tuned(hmc, random.key(0, host), hmc.init(hot(host, hmc.theory, 2)), **words)


def test_only_hmc_is_tuned(host):
    sweep = LocalMetropolis(U1Gauge((2, 2)), {"width": 0.5})
    with pytest.raises(ValueError, match="no step size"):
        tuned(sweep, random.key(0, host), sweep.init(hot(host, sweep.theory, 2)), 40)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -0.1, 0.0, numpy.asarray([0.1, -0.1])])
def test_a_step_that_moves_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="step_size must be positive and finite"):
        hmc_of("u1", wrong)
    with pytest.raises(ValueError, match="width must be positive and finite"):
        LocalMetropolis(U1Gauge((2, 2)), {"width": wrong})


def test_a_start_or_a_step_on_a_backend_is_checked_where_the_run_begins(backend):
    kernel = hmc_of("u1").with_values({"step_size": backend.asarray([0.1, 0.1])})
    kernel.values["step_size"] = backend.asarray([0.1, math.nan])  # on NumPy it would be refused at once
    start = hot(backend, kernel.theory, 2)
    with pytest.raises(ValueError, match="step_size must be positive and finite, got an array"):
        run(Cycle((kernel, kernel)), random.key(0, backend), kernel.init(start), 2)
    fine = hmc_of("u1")
    with pytest.raises(ValueError, match="start from a finite one"):
        run(fine, random.key(0, backend), fine.init(math.nan * start), 2)
    check_scales(({"params": {}}, {"width": backend.asarray(0.5)}))


def test_a_run_may_be_traced_as_a_whole(backend):
    """The checks pass over tracers, as Torch's vmap and JAX's jit make them."""
    hmc = hmc_of("u1")
    whole = backend.jit(lambda key, x: run(hmc, key, hmc.init(x), 2)[0].field)
    assert whole(random.key(0, backend), hot(backend, hmc.theory, 2)).shape == (2, 2, 2, 2)
