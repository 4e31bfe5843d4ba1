"""The exact sampler of 2D U(1) against the exact torus, and its bounded tries."""

import math

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.lattice import loops
from haarflow.theories import U1Gauge
from haarflow.theories.exact import bessel, u1_torus
from haarflow.theories.samplers import u1 as exact_sampler
from haarflow.theories.samplers.u1 import Plan, closed_plaquettes, exact_sample, plan_for, random_links, strips


def drawn(backend, lattice, n, beta, dtype="float64"):
    return exact_sample(U1Gauge(lattice), random.key(5, backend), n, {"beta": beta}, dtype)


@pytest.mark.parametrize("lattice", [(4, 4), (1, 3), (3, 1), (1, 1), (2, 5)])
def test_links_have_the_plaquettes_asked_for(host, generator, lattice):
    flux = generator.uniform(-math.pi, math.pi, (3, *lattice))
    flux[:, -1, -1] -= flux.sum((1, 2))
    links = random_links(random.key(0, host), flux)
    assert links.min() >= -math.pi and links.max() < math.pi
    numpy.testing.assert_allclose(numpy.exp(1j * loops.plaquette(links, 0, 1, 2)), numpy.exp(1j * flux), atol=1e-12)


def test_the_same_configurations_on_every_backend(backend, host):
    there = backend.jit(lambda key: exact_sample(U1Gauge((4, 4)), key, 5, {"beta": 2.0}))(random.key(5, backend))
    here = drawn(host, (4, 4), 5, 2.0)
    assert backend.to_numpy(there.accepted).all()
    difference = backend.to_numpy(there.field) - here.field
    numpy.testing.assert_allclose(numpy.exp(1j * difference), 1, atol=1e-12)


def test_single_precision(host):
    draw = drawn(host, (4, 4), 4, 2.0, "float32")
    assert draw.field.dtype == numpy.float32 and draw.accepted.all()


def test_configurations_do_not_repeat(host, monkeypatch):
    monkeypatch.setattr(exact_sampler, "BLOCK", 2000)
    assert plan_for(2.0, 16, 40).group < 20
    field = drawn(host, (4, 4), 40, 2.0).field
    assert len(numpy.unique(field[:, 0, 0, 0])) == 40


def test_what_is_not_found_is_marked_and_never_a_rejected_candidate(host):
    _, found = closed_plaquettes(random.key(1, host), 7.0, 16, Plan(8, 10, 2, 0.15), "float64")
    assert 0 < found.sum() < 8
    assert not found[numpy.argmin(found) :].any()


def test_what_is_not_found_is_not_a_number(host, monkeypatch):
    monkeypatch.setattr(exact_sampler, "plan_for", lambda *_: Plan(8, 10, 2, 0.15))
    draw = drawn(host, (4, 4), 8, 7.0)
    assert not draw.accepted.all()
    assert (numpy.isnan(draw.field).all(axis=(1, 2, 3)) == ~draw.accepted).all()


@pytest.mark.parametrize("beta", [0.0, 0.3, 2.0, 7.0, 300.0])
def test_strips_cover_the_density_in_equal_areas(beta):
    edges, share = strips(beta)
    edges = numpy.asarray(edges)
    inside = edges[:-1] < math.pi
    areas = numpy.diff(edges) * numpy.exp(beta * (numpy.cos(edges[:-1]) - 1))
    numpy.testing.assert_allclose(areas[inside], areas[0], rtol=1e-9)
    assert edges[-1] >= math.pi and 0.96 < share <= 1


def test_the_acceptance_is_what_the_plan_counts_on(host):
    plan = plan_for(7.0, 64, 1000)
    assert plan.acceptance == pytest.approx(math.exp(bessel.log_i0(7.0) - 7.0), rel=0.03)
    _, found = closed_plaquettes(random.key(2, host), 7.0, 64, Plan(4000, 4000, plan.tries, 1.0), "float64")
    # 4000 coins: one sigma is 0.0057; 4 sigma, chance 6e-5
    assert abs(found.mean() - plan.acceptance) < 4 * math.sqrt(plan.acceptance * (1 - plan.acceptance) / 4000)


@pytest.mark.parametrize(
    "lattice, n, couplings, error, words",
    [
        ((4, 4, 4), 1, {"beta": 1.0}, ValueError, "two dimensions"),
        ((4, 4), 0, {"beta": 1.0}, ValueError, "n = 0"),
        ((4, 4), 1, {"beta": -1.0}, ValueError, "beta >= 0"),
        ((4, 4), 1, {"bta": 1.0}, ValueError, "beta"),
        ((4, 4), 2, {"beta": numpy.ones(2)}, TypeError, "beta as a number"),
    ],
)
def test_bad_input(host, lattice, n, couplings, error, words):
    with pytest.raises(error, match=words):
        exact_sample(U1Gauge(lattice), random.key(0, host), n, couplings)


def pulls(lattice, beta, n, seed):
    """(mean - exact)/error for plaquette, Q^2, p(Q) of each common Q, Polyakov loop and one gauge-variant link."""
    backend = backends.get("numpy")
    theory, sites = U1Gauge(lattice), math.prod(lattice)
    draw = exact_sample(theory, random.key(seed, backend), n, {"beta": beta})
    assert draw.accepted.all()
    seen = theory.observables(draw.field, {"beta": beta})
    series = {
        "plaquette": (seen["plaquette"], u1_torus.plaquette(beta, sites)),
        "Q2": (seen["Q2"], u1_torus.charge_squared(beta, sites)),
        "polyakov": (seen["polyakov"], 0.0),
        "wilson_2x2": (seen["wilson_2x2"], u1_torus.wilson_loop(beta, sites, 4)),
        "link": (numpy.cos(draw.field[:, 1, 0, 0]), 0.0),
    }
    for charge, p in u1_torus.charge_distribution(beta, sites).items():
        if n * p > 100:
            series[f"p(Q={charge})"] = ((seen["Q"] == charge).astype(float), p)
    return {name: (x.mean() - exact) / (x.std() / math.sqrt(n)) for name, (x, exact) in series.items()}


@pytest.mark.statistical
@pytest.mark.parametrize("lattice, beta, n", [((8, 8), 2.0, 20000), ((16, 16), 7.0, 5000), ((3, 5), 4.0, 40000)])
def test_agrees_with_the_exact_torus(lattice, beta, n):
    """About 30 pulls in all, each below 4 sigma: chance of bad luck 0.2%; seeds fixed."""
    found = pulls(lattice, beta, n, seed=0)
    assert max(abs(pull) for pull in found.values()) < 4, found


@pytest.mark.statistical
def test_a_sampler_without_the_closing_constraint_is_caught(monkeypatch):
    """The law bites: plaquettes that close without the accept step are 40 sigma and more off."""
    original = exact_sampler.random.uniform
    monkeypatch.setattr(
        exact_sampler.random,
        "uniform",
        lambda key, shape=(), dtype="float64": (
            original(key, shape, dtype) * 1e-30 if len(shape) == 1 else original(key, shape, dtype)
        ),
    )
    found = pulls((4, 4), 2.0, 20000, seed=0)
    assert abs(found["plaquette"]) > 10
