"""The U(1) heat bath: von Mises draws, colours, over-relaxation, exact values on tiny tori."""

import math

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.chains.heatbath_u1 import U1HeatBath, link_colours, reflect, von_mises
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.kernel import run
from haarflow.core.statistics import gamma_method
from haarflow.theories import U1Gauge

BETA = {"couplings": {"beta": 2.0}}


def bessel(n, x):
    """I_n(x) by the periodic trapezium rule, exact to rounding."""
    angles = numpy.linspace(-math.pi, math.pi, 400, endpoint=False)
    return float(numpy.mean(numpy.exp(x * numpy.cos(angles)) * numpy.cos(n * angles)))


def torus_plaquette(beta, volume):
    """<cos theta_P> = sum_n I_n^(V-1) I_n' / sum_n I_n^V."""
    values = {n: bessel(n, beta) for n in range(-21, 22)}
    inner = range(-20, 21)
    above = sum(values[n] ** (volume - 1) * 0.5 * (values[n - 1] + values[n + 1]) for n in inner)
    return above / sum(values[n] ** volume for n in inner)


def tries(generator, n, shape):
    u = generator.uniform(size=(2, n, *shape))
    return numpy.tan(math.pi * (u[0] - 0.5)), numpy.log(u[1])


@pytest.mark.parametrize("k", [0.0, 1e-8, 0.3, 2.0, 40.0, 1e4])
def test_proposals_and_their_acceptance_multiply_to_the_density(k, host):
    """Wrapped Cauchy times acceptance is e^{k cos x} up to one constant, and never needs more than one."""
    halves = numpy.tan(numpy.linspace(-0.49, 0.49, 9) * math.pi)
    tau = 1 + math.sqrt(1 + 4 * k * k)
    rho = 2 * k / (tau + math.sqrt(2 * tau))
    x = 2 * numpy.arctan((1 - rho) / (1 + rho) * halves)
    cauchy = (1 - rho**2) / (1 + rho**2 - 2 * rho * numpy.cos(x))
    level = numpy.zeros(9)
    for number, tangent in enumerate(halves):
        low, high = -2000.0, 0.0  # the threshold on log u by bisection, from `found` alone
        for _ in range(60):
            middle = 0.5 * (low + high)
            _, found = von_mises(numpy.asarray([[tangent]]), numpy.asarray([[middle]]), numpy.asarray([k]))
            low, high = (middle, high) if found[0] else (low, middle)
        level[number] = low
    density = numpy.log(cauchy) + level - k * numpy.cos(x)
    seen = level > -1000
    assert numpy.ptp(density[seen]) < 1e-6 + 1e-9 * k
    assert (level <= 0).all()


def test_the_first_success_counts_and_failures_are_told(backend):
    tangents = backend.asarray([[0.0, 1.0, 5.0], [0.5, 0.0, 5.0]])
    logs = backend.asarray([[-9.0, 1.0, 1.0], [-9.0, -9.0, 1.0]])  # log u' = 1 cannot be accepted
    angle, found = von_mises(tangents, logs, backend.asarray([2.0, 2.0, 2.0]))
    assert backend.to_numpy(found).tolist() == [True, True, False]
    assert backend.to_numpy(angle)[:2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("lattice", [(2, 2), (4, 4), (3, 4), (4, 3), (5, 3), (2, 3, 4), (3, 3, 3), (2, 2, 2, 3)])
def test_links_of_one_colour_share_no_plaquette(lattice):
    for mu in range(len(lattice)):
        labels, count = link_colours(lattice, mu)
        assert set(labels.ravel()) <= set(range(count))
        for nu in range(len(lattice)):
            if nu != mu:
                assert (labels != numpy.roll(labels, -1, axis=nu)).all()


@pytest.mark.parametrize("lattice", [(4, 1), (1, 4)])
def test_an_extent_of_one_is_refused(lattice):
    with pytest.raises(ValueError, match="its own staple"):
        U1HeatBath(U1Gauge(lattice))


def test_senseless_counts_are_refused():
    with pytest.raises(ValueError, match="tries"):
        U1HeatBath(U1Gauge((4, 4)), tries=0)


def test_a_sweep_is_the_same_on_every_backend(backend, host):
    kernel = U1HeatBath(U1Gauge((4, 3)), overrelaxation=1, values=BETA)
    links = numpy.random.default_rng(0).uniform(-3, 3, size=(3, 2, 4, 3))

    def sweep(engine):
        state, info = engine.jit(kernel.step)(random.key(2, engine), kernel.init(engine.asarray(links)))
        return engine.to_numpy(state.field), engine.to_numpy(info["failed"])

    for ours, theirs in zip(sweep(backend), sweep(host), strict=True):
        assert numpy.allclose(ours, theirs, atol=1e-12)


def test_reflections_keep_the_action_and_move_every_link(generator):
    theory = U1Gauge((4, 5))
    links = generator.uniform(-3, 3, size=(2, 2, 4, 5))
    kernel, moved = U1HeatBath(theory), links
    for mu in range(2):
        moved, _ = kernel._sweep(moved, mu, reflect)
    assert numpy.allclose(theory.action(moved), theory.action(links), atol=1e-11)
    assert numpy.abs(moved - links).min() > 1e-6


def test_links_whose_tries_all_fail_keep_their_value(generator):
    theory = U1Gauge((4, 4))
    links = generator.uniform(-3, 3, size=(2, 2, 4, 4))
    kept, failed = U1HeatBath(theory)._sweep(links, 0, lambda theta, k, phi: (theta, numpy.zeros(k.shape, dtype=bool)))
    assert numpy.array_equal(kept, links)
    assert failed.tolist() == [16.0, 16.0]


def test_each_chain_may_have_its_own_coupling_and_key(host):
    theory, betas = U1Gauge((3, 4)), [0.5, 3.0]
    links = numpy.random.default_rng(0).uniform(-3, 3, size=(2, 2, 3, 4))
    keys = random.split(random.key(9, host), 2)
    both = U1HeatBath(theory, values={"couplings": {"beta": numpy.asarray(betas)}})
    state, _ = both.step(keys, both.init(links))
    for chain, beta in enumerate(betas):
        single = U1HeatBath(theory, values={"couplings": {"beta": beta}})
        alone, _ = single.step(keys[chain], single.init(links[chain]))
        assert numpy.allclose(alone.field, state.field[chain], atol=1e-12)


def test_single_precision_stays_single():
    backend = backends.get("numpy", dtype="float32")
    kernel = U1HeatBath(U1Gauge((4, 4)), overrelaxation=1, values=BETA)
    state, records = run(
        kernel, random.key(0, backend), kernel.init(backend.xp.zeros((2, 2, 4, 4), dtype="float32")), 2
    )
    assert state.field.dtype == records["info"]["failed"].dtype == numpy.float32


# Statistical: 4 sigma, chance of luck 6e-5 per number; seeds fixed.
@pytest.mark.statistical
@pytest.mark.parametrize("k", [0.0, 0.1, 1.0, 5.0, 50.0])
def test_von_mises_moments(k):
    generator = numpy.random.default_rng(int(10 * k))
    angle, found = von_mises(*tries(generator, 12, (200_000,)), numpy.full(200_000, k))
    assert found.mean() > 0.99999
    i0 = bessel(0, k)
    for n in (1, 2):
        sample = numpy.cos(n * angle[found])
        assert abs(sample.mean() - bessel(n, k) / i0) < 4 * sample.std() / math.sqrt(sample.size)
        sine = numpy.sin(n * angle[found])
        assert abs(sine.mean()) < 4 * sine.std() / math.sqrt(sine.size)


@pytest.mark.statistical
@pytest.mark.parametrize(("lattice", "beta", "overrelaxation"), [((4, 4), 2.0, 0), ((3, 5), 2.0, 1), ((2, 2), 1.0, 0)])
def test_the_heat_bath_has_the_exact_plaquette_and_charge(host, lattice, beta, overrelaxation):
    theory = U1Gauge(lattice)
    kernel = U1HeatBath(theory, overrelaxation=overrelaxation, values={"couplings": {"beta": beta}})
    state, _ = run(kernel, random.key(1, host), kernel.init(numpy.zeros((400, *theory.field_shape))), 40)
    _, records = run(kernel, random.key(2, host), state, 150, measure=theory.observables)
    found = gamma_method(records["observables"]["plaquette"].T)
    assert abs(found.value - torus_plaquette(beta, math.prod(lattice))) < 4 * found.error < 0.01
    charge = {((4, 4), 2.0): 0.290636112758, ((2, 2), 1.0): 0.0850700306011}.get((lattice, beta))
    if charge is not None:
        q2 = gamma_method(records["observables"]["Q2"].T)
        assert abs(q2.value - charge) < 4 * q2.error < 0.05


@pytest.mark.statistical
def test_few_tries_are_still_exact(host):
    """One try fails for a third of the links: the bias of keeping the last proposal would be many sigma."""
    theory = U1Gauge((4, 4))
    kernel = U1HeatBath(theory, tries=1, values=BETA)
    state, _ = run(kernel, random.key(1, host), kernel.init(numpy.zeros((400, 2, 4, 4))), 60)
    _, records = run(kernel, random.key(2, host), state, 200, measure=theory.observables)
    found = gamma_method(records["observables"]["plaquette"].T)
    assert records["info"]["failed"].mean() > 0.1
    assert abs(found.value - 0.699251926818) < 4 * found.error < 0.004


@pytest.mark.statistical
def test_three_dimensions_agree_with_hmc(host):
    theory, values = U1Gauge((3, 2, 2)), {"couplings": {"beta": 0.8}}
    zeros, plaquettes = numpy.zeros((300, *theory.field_shape)), []
    for kernel in (U1HeatBath(theory, values=values), HMC(theory, steps=5, values={**values, "step_size": 0.25})):
        state, _ = run(kernel, random.key(1, host), kernel.init(zeros), 30)
        _, records = run(kernel, random.key(2, host), state, 80, measure=lambda x: -theory.action(x) / 72)
        plaquettes.append(gamma_method(records["observables"].T))
    first, second = plaquettes
    assert abs(first.value - second.value) < 4 * math.hypot(first.error, second.error) < 0.02
