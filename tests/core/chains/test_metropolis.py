"""Independence Metropolis against the plain loop, local Metropolis against whole-action differences, exact moments."""

import itertools
import math
from typing import NamedTuple

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.chains.kernel import Cycle, run
from haarflow.core.chains.metropolis import IndependenceMetropolis, LocalMetropolis, colours, independence_chain
from haarflow.core.statistics import gamma_method
from haarflow.flows.priors import Gaussian, UniformLinks
from haarflow.theories import Phi4, U1Gauge


def slow_chain(log_w, uniforms, start=None):
    """One chain by the textbook loop."""
    index, weight, rows = -1, start, []
    for number, (proposed, u) in enumerate(zip(log_w, uniforms, strict=True)):
        if (start is None and number == 0) or math.log(u) < proposed - weight:
            index, weight = number, proposed
        rows.append(index)
    return rows


def random_weights(generator, shape):
    log_w = generator.normal(size=shape) * generator.uniform(0.1, 5.0, size=shape[1:])
    log_w[generator.random(shape) < 0.05] = -math.inf
    ties = generator.random(shape) < 0.1
    log_w[ties] = numpy.round(log_w[ties])
    return log_w, generator.uniform(1e-9, 1.0, size=shape)


@pytest.mark.parametrize("with_start", [False, True])
def test_the_associative_pass_equals_the_loop_on_300_chains(backend, generator, with_start):
    log_w, uniforms = random_weights(generator, (37, 100, 3))
    log_w[0] = numpy.where(numpy.isfinite(log_w[0]), log_w[0], 0.0)
    start = generator.normal(size=(100, 3)) if with_start else None
    given = None if start is None else backend.asarray(start)
    indices, accepted = backend.jit(independence_chain)(backend.asarray(log_w), backend.asarray(uniforms), given)
    indices, accepted = backend.to_numpy(indices), backend.to_numpy(accepted)
    for chain in itertools.product(range(100), range(3)):
        own = (slice(None), *chain)
        expected = slow_chain(log_w[own], uniforms[own], None if start is None else start[chain])
        assert indices[own].tolist() == expected
        assert accepted[own].tolist() == [number == index for number, index in enumerate(expected)]


def test_nan_weights_are_never_accepted(host):
    log_w = host.asarray([0.0, math.nan, 3.0])
    indices, _ = independence_chain(log_w, host.asarray([0.5, 0.5, 0.5]))
    assert indices.tolist() == [0, 0, 2]


def test_one_proposal_and_a_hopeless_start(backend):
    indices, accepted = independence_chain(backend.asarray([-7.0]), backend.asarray([0.9]), backend.asarray(-math.inf))
    assert backend.to_numpy(indices).tolist() == [0]
    assert backend.to_numpy(accepted).tolist() == [True]


def test_shapes_that_do_not_fit_are_refused(host):
    with pytest.raises(ValueError, match="one shape"):
        independence_chain(host.asarray([0.0, 1.0]), host.asarray([0.5]))
    with pytest.raises(ValueError, match="one log weight a chain"):
        independence_chain(host.asarray([0.0, 1.0]), host.asarray([0.5, 0.5]), host.asarray([0.0]))
    with pytest.raises(ValueError, match="tries"):
        IndependenceMetropolis(None, None, tries=0)


class Plain(NamedTuple):
    """The least model: a prior with the signature of a flow model."""

    prior: object

    def sample(self, params, key, n, condition=None):
        x = self.prior.sample(key, n, params["dtype"]) if "dtype" in params else self.prior.sample(key, n)
        return x, self.prior.log_density(x)

    def log_density(self, params, y, condition=None):
        return self.prior.log_density(y)


def test_an_independence_step_equals_the_plain_loop(backend):
    theory, model = Phi4((2, 3)), Plain(Gaussian((2, 3), 0.6))
    kernel = IndependenceMetropolis(
        model, theory, tries=4, values={"params": {}, "couplings": {"m2": -2.0, "lam": 4.0}}
    )
    key = random.key(8, backend)
    couplings = kernel.values["couplings"]
    old = backend.asarray(numpy.random.default_rng(0).normal(size=(5, 2, 3)))
    state = kernel.init(old)
    own = -theory.action(old, couplings) - model.log_density({}, old)
    assert numpy.allclose(backend.to_numpy(state.cache), backend.to_numpy(own))
    new, info = backend.jit(kernel.step)(key, state)

    @backend.jit
    def apart(key):
        y, log_q = model.sample({}, random.fold_in(key, 0), 20)
        return y, -theory.action(y, couplings) - log_q, random.uniform(random.fold_in(key, 1), (4, 5))

    y, log_w, uniforms = (backend.to_numpy(part) for part in apart(key))
    log_w = log_w.reshape(4, 5)
    rows = numpy.concatenate([backend.to_numpy(old)[None], y.reshape(4, 5, 2, 3)])
    for chain in range(5):
        path = slow_chain(log_w[:, chain], uniforms[:, chain], float(backend.to_numpy(state.cache)[chain]))
        assert numpy.allclose(backend.to_numpy(new.field)[chain], rows[path[-1] + 1, chain])
        accepted = sum(number == index for number, index in enumerate(path)) / 4
        assert float(backend.to_numpy(info["accepted"])[chain]) == accepted
    again = kernel.init(new.field)  # the cache that was carried is the one a fresh start finds
    assert numpy.allclose(backend.to_numpy(again.cache), backend.to_numpy(new.cache))


LATTICES = [(3,), (7,), (10,), (1,), (2,), (4, 4), (3, 5), (6, 2), (8, 7), (3, 4, 5)]


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("reach", [0, 1, 2])
def test_sites_of_one_colour_do_not_interact(lattice, reach):
    labels = colours(lattice, reach)
    assert sorted(set(labels.ravel())) == list(range(labels.max() + 1))
    sites = list(itertools.product(*[range(extent) for extent in lattice]))
    for x, y in itertools.combinations(sites, 2):
        if labels[x] != labels[y]:
            continue
        rings = [min(abs(a - b), extent - abs(a - b)) for a, b, extent in zip(x, y, lattice, strict=True)]
        assert max(rings) > 2 * reach


@pytest.mark.parametrize("theory", [Phi4((3, 4)), Phi4((1, 5)), Phi4((2, 7)), U1Gauge((2, 5)), U1Gauge((4, 3))])
def test_local_differences_sum_to_the_change_of_the_action(theory, generator):
    kernel = LocalMetropolis(theory)
    labels = colours(theory.lattice, theory.local.reach)
    old = generator.normal(size=(2, *theory.field_shape))
    moves = generator.normal(size=old.shape)
    for label in range(labels.max() + 1):
        new = old + numpy.where(labels == label, moves, 0.0)
        local = kernel._local_difference(old, new)
        change = theory.action(new) - theory.action(old)
        assert numpy.allclose(local[:, labels == label].sum(axis=-1), change, atol=1e-12)
        site = tuple(numpy.argwhere(labels == label)[-1])
        one = old.copy()
        one[(..., *site)] += moves[(..., *site)]
        assert numpy.allclose(local[(..., *site)], theory.action(one) - theory.action(old), atol=1e-12)


def test_a_sweep_is_the_same_on_every_backend(backend, host):
    theory = Phi4((4, 3))
    kernel = LocalMetropolis(theory, {"couplings": {"m2": -4.0, "lam": 8.0}, "width": 0.4})

    def sweep(engine):
        field = engine.asarray(numpy.random.default_rng(1).normal(size=(3, 4, 3)))
        state, info = engine.jit(kernel.step)(random.key(2, engine), kernel.init(field))
        return engine.to_numpy(state.field), engine.to_numpy(info["accepted"])

    for ours, theirs in zip(sweep(backend), sweep(host), strict=True):
        assert numpy.allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_single_precision_stays_single():
    backend = backends.get("numpy", dtype="float32")
    theory = Phi4((4, 4))
    local = LocalMetropolis(theory, {"width": 0.4})
    flow = IndependenceMetropolis(Plain(Gaussian((4, 4))), theory, values={"params": {"dtype": "float32"}})
    cycle = Cycle((local, flow))
    state, records = run(cycle, random.key(0, backend), cycle.init(backend.xp.zeros((2, 4, 4), dtype="float32")), 3)
    assert state.field.dtype == numpy.float32
    assert records["info"]["1"]["log_w"].dtype == numpy.float32


def test_each_chain_may_have_its_own_width_and_key(host):
    theory = Phi4((3, 3))
    field = random.normal(random.key(1, host), (2, 3, 3))
    keys = random.split(random.key(5, host), 2)
    both = LocalMetropolis(theory, {"width": host.asarray([0.2, 0.7])})
    state, _ = both.step(keys, both.init(field))
    for chain, width in enumerate((0.2, 0.7)):
        single = LocalMetropolis(theory, {"width": width})
        alone, _ = single.step(keys[chain], single.init(field[chain]))
        assert numpy.allclose(alone.field, state.field[chain], rtol=1e-12)


# Statistical: 4 sigma on one or two numbers each, chance of luck about 1e-4 per assertion; seeds fixed.
PHI4 = {"couplings": {"m2": -4.0, "lam": 8.0}}


def measured(kernel, field, draws, measure):
    backend = backends.get("numpy")
    state, _ = run(kernel, random.key(11, backend), kernel.init(field), 50)
    _, records = run(kernel, random.key(12, backend), state, draws, measure=measure)
    return {name: gamma_method(rows.T) for name, rows in records["observables"].items()}


def phi_moments(field):
    square = (field * field).mean(axis=(-2, -1))
    return {"phi2": square, "chi2": field.shape[-1] * field.shape[-2] * field.mean(axis=(-2, -1)) ** 2}


@pytest.mark.statistical
def test_local_metropolis_has_the_exact_moments_of_phi4():
    zeros = numpy.zeros((400, 2, 2))
    found = measured(LocalMetropolis(Phi4((2, 2)), {**PHI4, "width": 0.5}), zeros, 400, phi_moments)
    assert abs(found["phi2"].value - 0.171434423) < 4 * found["phi2"].error < 0.004
    assert abs(found["chi2"].value - 0.450481641) < 4 * found["chi2"].error < 0.02


@pytest.mark.statistical
def test_independence_metropolis_has_the_exact_moments_of_u1():
    theory = U1Gauge((2, 2))
    kernel = IndependenceMetropolis(
        Plain(UniformLinks((2, 2))), theory, tries=4, values={"params": {}, "couplings": {"beta": 1.0}}
    )
    found = measured(kernel, numpy.zeros((400, 2, 2, 2)), 300, theory.observables)
    assert abs(found["plaquette"].value - 0.505196539768) < 4 * found["plaquette"].error < 0.01
    assert abs(found["Q2"].value - 0.0850700306011) < 4 * found["Q2"].error < 0.01


@pytest.mark.statistical
def test_a_cycle_of_flow_and_local_moves_has_the_exact_moments():
    theory = Phi4((3, 3))
    couplings = {"m2": -4.0, "lam": 6.975}
    flow = IndependenceMetropolis(Plain(Gaussian((3, 3), 0.45)), theory, values={"params": {}, "couplings": couplings})
    cycle = Cycle((flow, LocalMetropolis(theory, {"couplings": couplings, "width": 0.5})))
    found = measured(cycle, numpy.zeros((400, 3, 3)), 300, phi_moments)
    assert abs(found["phi2"].value - 0.176157909) < 4 * found["phi2"].error < 0.004
    assert abs(found["chi2"].value - 0.782872412) < 4 * found["chi2"].error < 0.03
