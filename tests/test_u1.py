"""U(1) gauge theory: force, density, symmetries, the whole charge, observables, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haarflow.core import loops
from haarflow.theories import U1Gauge
from haarflow.theories.theory import autodiff_force
from tests.theory_laws import difference_force, reflected_links, translated

lattices = st.integers(2, 3).flatmap(lambda d: st.tuples(*[st.integers(1, 4)] * d))
COUPLINGS = {"beta": 1.7}


def draw(theory, seed=3, batch=(2,)):
    return np.random.default_rng(seed).uniform(-math.pi, math.pi, size=(*batch, *theory.field_shape))


@given(lattice=lattices, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_force_equals_differences_and_density_sums_to_action(lattice, seed):
    theory = U1Gauge(lattice)
    links = draw(theory, seed, ())
    force = theory.force(links, COUPLINGS)
    assert np.max(np.abs(force - difference_force(theory, links, COUPLINGS, h=0.1))) < 1e-6
    density = theory.density(links, COUPLINGS)
    assert density.shape == (len(loops.planes(theory.d)), *lattice)
    assert abs(float(np.sum(density)) - float(theory.action(links, COUPLINGS))) < 1e-11


def test_force_equals_differences_in_four_dimensions():
    theory = U1Gauge((2, 1, 3, 2))
    links = draw(theory, batch=())
    assert np.max(np.abs(theory.force(links) - difference_force(theory, links, None, h=0.05))) < 1e-8


@pytest.mark.parametrize("lattice", [(3, 2), (2, 3, 2)])
def test_force_equals_autodiff(autodiff_backend, lattice):
    theory = U1Gauge(lattice)
    links = autodiff_backend.asarray(draw(theory))
    both = autodiff_backend.jit(lambda x: (theory.force(x, COUPLINGS), autodiff_force(theory, x, COUPLINGS)))
    force, exact = (autodiff_backend.to_numpy(part) for part in both(links))
    assert np.max(np.abs(force - exact)) < 1e-12


def test_every_backend_agrees(backend):
    theory = U1Gauge((3, 4))
    links = draw(theory)
    mine = backend.asarray(links)
    assert np.max(np.abs(backend.to_numpy(backend.jit(theory.action)(mine)) - theory.action(links))) < 1e-11
    assert np.max(np.abs(backend.to_numpy(backend.jit(theory.force)(mine)) - theory.force(links))) < 1e-11
    found, expected = backend.jit(theory.observables)(mine), theory.observables(links)
    for name, value in expected.items():
        assert np.max(np.abs(backend.to_numpy(found[name]) - value)) < 1e-11, name


@given(lattice=lattices, seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_symmetries(lattice, seed):
    theory, d = U1Gauge(lattice), len(lattice)
    links = draw(theory, seed)
    before = theory.observables(links, COUPLINGS)
    turned = loops.gauge_transform(links, draw(theory, seed + 1)[:, 0], d)
    images = {"gauge": turned, "periods": links + 2 * math.pi * np.round(draw(theory, seed + 2)), "conjugate": -links}
    images |= {f"translation {mu}": translated(links, lattice, mu) for mu in range(d)}
    images |= {f"reflection {mu}": reflected_links(links, d, mu) for mu in range(d)}
    for image, field in images.items():
        after = theory.observables(field, COUPLINGS)
        odd = {"Q", "flux"} if image == "conjugate" or image.startswith("reflection") else set()
        for name, value in before.items():
            wanted = np.abs(value) if name in odd else value
            found = np.abs(after[name]) if name in odd else after[name]
            assert np.allclose(found, wanted, atol=1e-9), (image, name)


def test_force_is_covariant():
    theory = U1Gauge((3, 4))
    links = draw(theory)
    turned = loops.gauge_transform(links, draw(theory, 8)[:, 0], 2)
    assert np.max(np.abs(theory.force(turned) - theory.force(links))) < 1e-12
    assert np.max(np.abs(theory.force(-links) + theory.force(links))) < 1e-12


@given(lattice=st.tuples(st.integers(1, 6), st.integers(1, 6)), seed=st.integers(0, 99), scale=st.floats(0, 50))
@settings(deadline=None)
def test_charge_is_whole(lattice, seed, scale):
    theory = U1Gauge(lattice)
    charge = theory.charge(scale * draw(theory, seed, (5,)))
    assert np.all(charge == np.round(charge)) and np.all(np.abs(charge) <= math.prod(lattice) / 2)


def instanton(extent, charge):
    """The smooth configuration whose plaquettes all are 2 pi Q/V."""
    t, x = np.meshgrid(np.arange(extent), np.arange(extent), indexing="ij")
    flux = 2 * math.pi * charge / extent**2
    across = -flux * extent * x * (t == extent - 1)
    return np.stack([across, flux * t])


@pytest.mark.parametrize("charge", [-3, 0, 1, 5])
def test_a_constant_flux_has_its_charge(charge):
    theory = U1Gauge((6, 6))
    found = theory.observables(instanton(6, charge))
    assert float(found["Q"]) == charge and float(found["Q2"]) == charge**2 and float(found["p_Q0"]) == (charge == 0)
    assert float(found["plaquette"]) == pytest.approx(math.cos(2 * math.pi * charge / 36))
    assert float(found["wilson_2x3"]) == pytest.approx(math.cos(2 * math.pi * charge * 6 / 36))


def test_flux_above_two_dimensions_is_the_mean_of_slices():
    theory = U1Gauge((3, 3, 4))
    links = draw(theory, batch=())
    slices = [float(U1Gauge((3, 3)).charge(links[:2, :, :, z])) for z in range(4)]
    assert theory.flux(links)[0] == pytest.approx(np.mean(slices))
    with pytest.raises(ValueError, match="two dimensions alone"):
        theory.charge(links)
    assert "Q" not in theory.summary


@pytest.mark.parametrize("lattice", [(4, 4), (2, 3), (2, 3, 2)])
def test_staples_give_the_conditional_weight(lattice):
    theory = U1Gauge(lattice)
    links = draw(theory, batch=())
    for mu in range(theory.d):
        a, b = theory.local_weight(links, mu, COUPLINGS)
        x = tuple(extent - 1 for extent in lattice)
        for angle in (0.3, -2.0):
            moved = links.copy()
            moved[(mu, *x)] += angle
            change = theory.action(moved, COUPLINGS) - theory.action(links, COUPLINGS)
            old, new = links[(mu, *x)], moved[(mu, *x)]
            weight = a[x] * (math.cos(new) - math.cos(old)) + b[x] * (math.sin(new) - math.sin(old))
            assert abs(float(change) + weight) < 1e-11


def test_couplings_may_differ_from_chain_to_chain(backend):
    theory = U1Gauge((3, 4))
    links, beta = draw(theory), (0.5, 3.0)
    couplings = {"beta": backend.asarray(beta)}
    verbs = (theory.action, theory.force, theory.density, lambda x, c: theory.local_weight(x, 1, c)[0])
    for verb in verbs:
        both = backend.to_numpy(backend.jit(verb)(backend.asarray(links), couplings))
        for row in (0, 1):
            assert np.max(np.abs(both[row] - verb(links[row], {"beta": beta[row]}))) < 1e-12


def test_no_beta_compiles_again(autodiff_backend):
    theory, traces = U1Gauge((3, 4)), []
    links = autodiff_backend.asarray(draw(theory))

    @autodiff_backend.jit
    def force(links, beta):
        traces.append(1)
        return theory.force(links, {"beta": beta})

    results = [autodiff_backend.to_numpy(force(links, autodiff_backend.asarray(beta))) for beta in (1.0, 2.0, 3.0)]
    assert np.allclose(results[2], 3 * results[0], atol=1e-12)
    assert len(traces) == (1 if autodiff_backend.name == "jax" else 3)


@pytest.mark.parametrize(
    "bad, error, words",
    [
        (lambda t: U1Gauge((4,)), ValueError, "two dimensions on"),
        (lambda t: U1Gauge((4, 1.5)), ValueError, "extents >= 1"),
        (lambda t: t.action(np.zeros((4, 4))), ValueError, r"\(\*batch, 2, 4, 4\)"),
        (lambda t: t.force(np.zeros((2, 4, 4), dtype=complex)), TypeError, "float64 or float32"),
        (lambda t: t.action(np.zeros((2, 4, 4)), {"beta": -0.1}), ValueError, "beta >= 0"),
        (lambda t: t.action(np.zeros((2, 4, 4)), {"beta": math.inf}), ValueError, "finite number for beta"),
        (lambda t: t.action(np.zeros((2, 4, 4)), {"kappa": 1}), ValueError, "has the coupling beta, got 'kappa'"),
    ],
)
def test_what_makes_no_sense_is_refused(bad, error, words):
    with pytest.raises(error, match=words):
        bad(U1Gauge((4, 4)))
