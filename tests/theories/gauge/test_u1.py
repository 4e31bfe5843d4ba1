"""U(1) gauge theory: charge, flux, observables, and what is refused; the laws are held in tests/laws/test_theories.py."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haarflow.core.lattice import loops, symmetries
from haarflow.theories import U1Gauge
from haarflow.theories.laws.symmetry import constant_flux


def draw(theory, seed=3, batch=(2,)):
    return np.random.default_rng(seed).uniform(-math.pi, math.pi, size=(*batch, *theory.field_shape))


@given(lattice=st.tuples(st.integers(1, 6), st.integers(1, 6)), seed=st.integers(0, 99), scale=st.floats(0, 50))
@settings(deadline=None)
def test_charge_is_whole(lattice, seed, scale):
    theory = U1Gauge(lattice)
    charge = theory.charge(scale * draw(theory, seed, (5,)))
    assert np.all(charge == np.round(charge)) and np.all(np.abs(charge) <= math.prod(lattice) / 2)


@pytest.mark.parametrize("charge", [-3, 0, 1, 5])
def test_a_constant_flux_has_its_charge(charge):
    theory = U1Gauge((6, 6))
    found = theory.observables(constant_flux((6, 6), charge))
    assert float(found["Q"]) == charge and float(found["Q2"]) == charge**2 and float(found["p_Q0"]) == (charge == 0)
    assert float(found["plaquette"]) == pytest.approx(math.cos(2 * math.pi * charge / 36))
    assert float(found["wilson_2x3"]) == pytest.approx(math.cos(2 * math.pi * charge * 6 / 36))


def test_flux_above_two_dimensions_is_the_mean_of_slices():
    theory = U1Gauge((3, 3, 4))
    links = draw(theory, batch=())
    slices = [float(U1Gauge((3, 3)).charge(links[:2, :, :, z])) for z in range(4)]
    assert theory.flux(links)[0] == pytest.approx(np.mean(slices))
    with pytest.raises(ValueError, match="defined in two dimensions"):
        theory.charge(links)
    assert "Q" not in theory.summary


def test_the_weight_of_a_link_takes_a_beta_for_each_chain(backend):
    theory = U1Gauge((3, 4))
    links, beta = draw(theory), (0.5, 3.0)
    both = theory.local_weight(backend.asarray(links), 1, {"beta": backend.asarray(beta)})[0]
    for row in (0, 1):
        alone = theory.local_weight(links[row], 1, {"beta": beta[row]})[0]
        assert np.max(np.abs(backend.to_numpy(both)[row] - alone)) < 1e-12


def test_a_reflection_turns_the_flux_of_its_planes():
    theory = U1Gauge((3, 3, 4))
    links = draw(theory)
    for mu in range(3):
        signs = np.asarray([-1.0 if mu in plane else 1.0 for plane in loops.planes(3)])
        turned = theory.flux(symmetries.reflect_links(links, mu, 3))
        assert np.allclose(turned, signs * theory.flux(links), atol=1e-12)


@pytest.mark.parametrize(
    "bad, error, words",
    [
        (lambda t: U1Gauge((4,)), ValueError, "at least two dimensions"),
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
