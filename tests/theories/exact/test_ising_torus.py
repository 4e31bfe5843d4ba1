"""Kaufman's torus against enumeration and against numbers computed elsewhere."""

import math

import numpy
import pytest

from haarflow.flows.laws.spins import configurations
from haarflow.theories import Sum
from haarflow.theories.exact import ising_torus
from haarflow.theories.spins.ising import Ising

BETAS = (0.0, 1e-9, 0.1, 0.3, ising_torus.CRITICAL, 0.6, 2.0, 30.0)


def enumerated(lattice, beta):
    """ln Z and the energy per site by the sum over all configurations."""
    theory, every = Ising(lattice), configurations(lattice)
    action = theory.action(every, {"beta": beta})
    weight = numpy.exp(action.min() - action)
    energy = theory.observables(every)["E"]
    return math.log(weight.sum()) - action.min(), float((weight * energy).sum() / weight.sum())


@pytest.mark.parametrize("lattice", [(4, 4), (3, 4), (2, 3), (2, 2), (2, 1), (1, 1), (1, 5), (5,), (2,), (1,)])
def test_every_torus_is_the_sum_over_its_configurations(lattice):
    for beta in BETAS:
        found, expected = ising_torus.observables(lattice, beta), enumerated(lattice, beta)
        assert found["ln_Z"] == pytest.approx(expected[0], rel=1e-13, abs=1e-12)
        assert found["E"] == pytest.approx(expected[1], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("extent", "beta", "log_z", "energy"),
    [
        (8, 0.4, 56.5993887604, -1.22232064),
        (8, 0.6, 78.1416488576, -1.90906743),
        (16, 0.4, 225.2288467559, -1.13131799),
        (16, 0.6, 310.4870385899, -1.90908617),
        (8, ising_torus.CRITICAL, 60.1417807891, -1.49158911),
        (16, ising_torus.CRITICAL, 238.6422566351, -1.45306485),
        (32, ising_torus.CRITICAL, 952.6480795485, -1.43365846),
    ],
)
def test_larger_tori_have_the_values_of_an_independent_computation(extent, beta, log_z, energy):
    found = ising_torus.solved((extent, extent), beta)
    assert found.log_z == pytest.approx(log_z, abs=1.5e-9)
    assert found.energy == pytest.approx(energy, abs=1.5e-8)


def test_a_large_torus_at_the_critical_point_has_onsagers_free_energy():
    """(1/2) ln 2 + 2 G/pi, G Catalan's constant; finite-size corrections are O(1/V)."""
    catalan = 0.915965594177219
    found = ising_torus.solved((512, 512), ising_torus.CRITICAL)
    assert found.log_z / 512**2 == pytest.approx(0.5 * math.log(2.0) + 2.0 * catalan / math.pi, abs=3e-6)
    assert found.energy == pytest.approx(-math.sqrt(2.0), abs=2e-3)


def test_the_ground_states_remain_at_low_temperature():
    found = ising_torus.solved((8, 8), 400.0)
    assert found.log_z == pytest.approx(math.log(2.0) + 400.0 * 128, abs=1e-9)
    assert found.energy == pytest.approx(-2.0, abs=1e-12)


@pytest.mark.parametrize(("lattice", "beta"), [((4, 4, 4), 0.1), ((4,), 0.1), ((4, 4), -0.1)])
def test_what_is_no_torus_is_refused(lattice, beta):
    with pytest.raises(ValueError, match="Kaufman's solution is for a torus of two extents and beta >= 0"):
        ising_torus.solved(lattice, beta)


def test_the_local_fields_of_a_sum_add_up():
    spins = configurations((2, 3))
    both = Sum((Ising((2, 3)), Ising((2, 3))))
    once = Ising((2, 3)).conditional.field(spins, {"beta": 0.7})
    assert numpy.array_equal(both.conditional.field(spins, {"beta": 0.7}), 2.0 * once)
    assert both.conditional.bond is None
