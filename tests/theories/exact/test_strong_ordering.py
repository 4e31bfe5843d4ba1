"""Exact results at very large beta: little memory, the known limits, and none where the sums would take hours."""

import tracemalloc

import pytest

from haarflow.theories import SUNGauge, U1Gauge
from haarflow.theories.exact import u1_torus


def test_u1_at_large_beta_takes_little_memory_and_has_the_gaussian_limit():
    tracemalloc.start()
    beta, sites = 1e5, 256
    squared, zero = u1_torus.charge_squared(beta, sites), u1_torus.charge_distribution(beta, sites)[0]
    plaquette = u1_torus.plaquette(beta, sites)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # a table of all pairs of orders has 700 MB
    # p(1)/p(0) = e^{-2 pi^2 beta/V} vanishes; V - 1 free Gaussian angles of variance 1/beta are left
    assert squared < 1e-12 and abs(zero - 1.0) < 1e-11
    free = (1 - 1 / sites) / (2 * beta)
    assert abs(1.0 - plaquette - free) < free / beta


def test_the_charge_against_its_distribution():
    for beta, sites in ((0.3, 5), (7.0, 64), (40.0, 256)):
        distribution = u1_torus.charge_distribution(beta, sites)
        summed = sum(q**2 * p for q, p in distribution.items())
        assert abs(summed - u1_torus.charge_squared(beta, sites)) < 1e-11


@pytest.mark.parametrize("theory", [U1Gauge((4, 4)), SUNGauge((4, 4), 3)], ids=["u1", "su3"])
def test_beyond_the_bound_only_the_centre_symmetry_is_exact(theory):
    assert theory.exact({"beta": 1e300}) == {"polyakov": 0.0}
