"""HMC beyond its laws: coefficients, one step by hand, divergence, precision, batches of couplings and keys."""

import math

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.chains.hmc import HMC, action_difference
from haarflow.core.chains.integrators import OMELYAN, OMELYAN4, SCHEMES, integrate
from haarflow.core.chains.involution import Image
from haarflow.core.chains.kernel import run
from haarflow.core.fields import Space
from haarflow.core.groups.additive import Real
from haarflow.core.statistics import gamma_method
from haarflow.theories import Phi4, U1Gauge

THEORIES = {"phi4": (Phi4((4, 4)), {"m2": -1.0, "lam": 1.0}), "u1": (U1Gauge((4, 4)), {"beta": 2.0})}


def start(theory, chains=3, seed=0):
    generator = numpy.random.default_rng(seed)
    shape = (chains, *theory.field_shape)
    return 0.7 * generator.normal(size=shape), generator.normal(size=shape)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_coefficients_are_palindromes_that_sum_to_one(scheme):
    for part in (scheme.drifts, scheme.kicks):
        assert part == pytest.approx(part[::-1], abs=1e-15)
        assert math.fsum(part) == pytest.approx(1.0, abs=1e-15)
    assert len(scheme.drifts) == len(scheme.kicks) + 1


def test_a_harmonic_oscillator_turns(backend):
    field, momentum = integrate(
        lambda x: x, backend.asarray([1.0]), backend.asarray([0.0]), OMELYAN4, math.pi / 40, 20, Space(Real(), (1,))
    )
    assert float(backend.to_numpy(field)[0]) == pytest.approx(0.0, abs=1e-6)
    assert float(backend.to_numpy(momentum)[0]) == pytest.approx(-1.0, abs=1e-6)


@pytest.mark.parametrize("name", THEORIES)
def test_a_step_is_trajectory_and_coin(backend, host, name):
    theory, couplings = THEORIES[name]
    kernel = HMC(theory, OMELYAN, 3, {"couplings": couplings, "step_size": 0.45})
    field = start(theory, chains=8)[0]
    state, info = backend.jit(kernel.step)(random.key(3, backend), kernel.init(backend.asarray(field)))
    key = random.key(3, host)
    momentum = random.normal(random.fold_in(key, 0), field.shape)
    new, final, _ = kernel.trajectory(field, momentum)
    energy = [
        theory.action(x, couplings) + 0.5 * (w * w).reshape(8, -1).sum(-1) for x, w in ((field, momentum), (new, final))
    ]
    d_h = energy[1] - energy[0]
    accepted = random.uniform(random.fold_in(key, 1), (8,)) < numpy.exp(-d_h)
    assert numpy.allclose(backend.to_numpy(info["dH"]), d_h, atol=1e-11)
    assert backend.to_numpy(info["accepted"]).tolist() == accepted.tolist()
    assert 0 < accepted.sum() < 8
    expected = numpy.where(accepted.reshape(8, *(1,) * (field.ndim - 1)), theory.group.project(new), field)
    assert numpy.allclose(backend.to_numpy(state.field), expected, atol=1e-11)


def test_a_diverging_trajectory_is_rejected(backend):
    theory, couplings = THEORIES["phi4"]
    kernel = HMC(theory, steps=5, values={"couplings": couplings, "step_size": 50.0})
    field = backend.asarray(start(theory)[0])
    with numpy.errstate(all="ignore"):
        state, info = backend.jit(kernel.step)(random.key(0, backend), kernel.init(field))
    assert not backend.to_numpy(info["accepted"]).any()
    assert numpy.array_equal(backend.to_numpy(state.field), backend.to_numpy(field))


def test_single_precision_energy_differences_are_good():
    """Difference of two sums in float32 misses by 1e-2 here, the sum of differences by far less."""
    theory, couplings = Phi4((64, 64)), {"m2": -4.0, "lam": 8.0}
    field, momentum = start(theory, chains=4)
    kernel = HMC(theory, steps=10, values={"couplings": couplings, "step_size": 0.01})
    new, final, _ = kernel.trajectory(field, momentum)
    parts = (field, momentum, new, final)
    single = [part.astype(numpy.float32) for part in parts]

    def difference(before, w, after, last):
        kinetic = kernel.energy_change(before, w, Image(after, -last))
        return action_difference(theory, after, before, couplings) + kinetic

    exact = difference(*[part.astype(float) for part in single])
    ours = difference(*single)
    assert ours.dtype == numpy.float32
    assert numpy.abs(ours - exact).max() < 2e-3
    assert float(numpy.abs(action_difference(theory, single[2], single[0], couplings)).max()) > 10.0


def test_single_precision_stays_single_on_jax():
    pytest.importorskip("jax")
    backend = backends.get("jax", dtype="float32")
    theory, couplings = THEORIES["u1"]
    kernel = HMC(theory, steps=4, values={"couplings": couplings, "step_size": 0.1})
    field = backend.asarray(start(theory)[0])
    state, records = run(kernel, random.key(0, backend), kernel.init(field), 3, measure=theory.charge)
    assert str(state.field.dtype) == str(records["info"]["dH"].dtype) == "float32"
    charges = backend.to_numpy(records["observables"])
    assert numpy.array_equal(charges, numpy.round(charges))


def test_each_chain_may_have_its_own_couplings_step_size_and_key(backend):
    theory = U1Gauge((4, 4))
    field = backend.asarray(start(theory)[0])
    betas, sizes = [0.5, 1.0, 2.0], [0.1, 0.2, 0.3]
    keys = random.split(random.key(9, backend), 3)
    values = {"couplings": {"beta": backend.asarray(betas)}, "step_size": backend.asarray(sizes)}
    kernel = HMC(theory, steps=4, values=values)
    state, records = run(kernel, keys, kernel.init(field), 2)
    for chain in range(3):
        alone = HMC(theory, steps=4, values={"couplings": {"beta": betas[chain]}, "step_size": sizes[chain]})
        single, rows = run(alone, keys[chain, ...], alone.init(field[chain, ...]), 2)
        assert numpy.allclose(backend.to_numpy(single.field), backend.to_numpy(state.field)[chain], atol=1e-11)
        expected = backend.to_numpy(records["info"]["dH"])[:, chain]
        assert numpy.allclose(backend.to_numpy(rows["info"]["dH"]), expected, atol=1e-10)


def test_wrong_fields_steps_and_keys_are_refused(host):
    theory = U1Gauge((4, 4))
    with pytest.raises(ValueError, match="U1Gauge wants fields of shape"):
        HMC(theory).init(host.asarray(numpy.zeros((3, 4, 4))))
    with pytest.raises(ValueError, match="steps >= 1"):
        HMC(theory, steps=0)
    with pytest.raises(ValueError, match="a key for each chain"):
        HMC(theory).step(random.split(random.key(0, host), 2), HMC(theory).init(numpy.zeros((3, 2, 4, 4))))


# Statistical: 4 sigma, chance of luck 6e-5 per number; seeds fixed.
@pytest.mark.statistical
def test_hmc_has_the_exact_values_of_u1(host):
    theory = U1Gauge((4, 4))
    kernel = HMC(theory, steps=5, values={"couplings": {"beta": 2.0}, "step_size": 0.25})
    state, _ = run(kernel, random.key(1, host), kernel.init(numpy.zeros((400, 2, 4, 4))), 60)
    _, records = run(kernel, random.key(2, host), state, 250, measure=theory.observables)
    plaquette, q2 = (gamma_method(records["observables"][name].T) for name in ("plaquette", "Q2"))
    assert abs(plaquette.value - 0.699251926818) < 4 * plaquette.error < 0.004
    assert abs(q2.value - 0.290636112758) < 4 * q2.error < 0.05


@pytest.mark.statistical
def test_hmc_has_the_exact_moments_of_phi4(host):
    theory = Phi4((2, 2))
    kernel = HMC(theory, OMELYAN, 4, {"couplings": {"m2": -4.0, "lam": 8.0}, "step_size": 0.25})
    state, _ = run(kernel, random.key(1, host), kernel.init(numpy.zeros((400, 2, 2))), 50)
    _, records = run(kernel, random.key(2, host), state, 250, measure=lambda x: (x * x).mean(axis=(-2, -1)))
    found = gamma_method(records["observables"].T)
    assert abs(found.value - 0.171434423) < 4 * found.error < 0.004
