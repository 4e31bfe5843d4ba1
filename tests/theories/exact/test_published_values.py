"""Exact results against published formulas, other routes to the same number, and stated values.

Stated values were computed with independent programs to the digits given.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from haarflow.results.info import exact_results
from haarflow.theories import Phi4, U1Gauge
from haarflow.theories.exact import bessel, free_field, quadrature, u1_torus
from haarflow.theories.scalar.phi4 import to_hopping, to_m2

# beta, L: plaquette, <Q^2>, p(Q = 0)
TORUS = {
    (1, 8): (0.446389965897, 2.60071911072, 0.2473068265),
    (1, 16): (0.446389965897, 10.4028764429, 0.1236803981),
    (2, 8): (0.697774658011, 1.23929891072, 0.3589910724),
    (2, 16): (0.697774657964, 4.95719568076, 0.1792587403),
    (4, 8): (0.863530042512, 0.482015929523, 0.5744210558),
    (4, 16): (0.863522611025, 1.93387854218, 0.2869730192),
    (7, 8): (0.925700364351, 0.217110832504, 0.7845885418),
    (7, 16): (0.925532210854, 1.00641415786, 0.3977110535),
}
# beta, lattice: plaquette, <Q^2>, ln Z
TINY_TORI = {
    (1, (2, 2)): (0.505196539768, 0.0850700306011, 1.02031916682),
    (2, (4, 4)): (0.699251926818, 0.290636112758, 13.1901932584),
}


def close(value, stated, digits):
    """Whether a value agrees with one stated to so many significant digits."""
    return abs(value - stated) <= 0.51 * 10.0 ** (math.floor(math.log10(abs(stated))) + 1 - digits)


@pytest.mark.parametrize("beta, extent", TORUS)
def test_torus_has_the_stated_values(beta, extent):
    found = U1Gauge((extent, extent)).exact({"beta": beta})
    for name, stated, digits in zip(("plaquette", "Q2", "p_Q0"), TORUS[beta, extent], (12, 12, 10), strict=True):
        assert close(found[name], stated, digits), name


@pytest.mark.parametrize("beta, lattice", TINY_TORI)
def test_tiny_tori_have_the_stated_values(beta, lattice):
    found = U1Gauge(lattice).exact({"beta": beta})
    for name, stated in zip(("plaquette", "Q2", "ln_Z"), TINY_TORI[beta, lattice], strict=True):
        assert close(found[name], stated, 12), name


@pytest.mark.parametrize("sites", [1, 2, 3])
def test_the_sweep_on_few_sites_is_a_sum_of_bessel_functions(sites):
    """Z(beta)^2 / (I_0(beta)^(V-1) sum_n I_n(beta)^(V-1) I_n(2 beta)), Z = sum_n I_n(beta)^V."""
    beta, orders = 1.3, range(-30, 31)
    z = sum(special.iv(n, beta) ** sites for n in orders)
    closing = sum(special.iv(n, beta) ** (sites - 1) * special.iv(n, 2 * beta) for n in orders)
    wanted = z**2 / (special.iv(0, beta) ** (sites - 1) * closing)
    assert u1_torus.ess_sweep(beta, sites) == pytest.approx(wanted, rel=1e-12)


def test_one_heavy_site_is_gaussian():
    """<phi^2> = 1/(2 m2) (1 - 3 lam/m2^2 + ...) of e^{-m2 phi^2 - lam phi^4}, as on any lattice without neighbours."""
    found = Phi4((1, 1)).exact({"m2": 200.0, "lam": 1e-3})
    assert found["phi2"] == pytest.approx((1.0 - 3e-3 / 200.0**2) / 400.0, rel=1e-9)


def test_untrained_models_have_the_stated_ess():
    assert close(u1_torus.ess_uniform(0.5, 16), 0.164467270386291, 12)  # by 30-digit quadrature
    for beta, stated in ((2.0, 0.45979), (7.0, 0.21963)):
        assert abs(u1_torus.ess_sweep(beta, 10**4) - stated) < 1e-5
        large = math.exp(2 * bessel.log_i0(beta) - bessel.log_i0(2 * beta))
        assert math.isclose(u1_torus.ess_sweep(beta, 10**4), large, rel_tol=1e-12)


@pytest.mark.parametrize("beta", [1e-3, 0.7, 3.0, 40.0, 900.0])
def test_bessel_ratios_equal_their_integral(beta):
    x = 2 * math.pi * np.arange(4096) / 4096
    weight = np.exp(beta * (np.cos(x) - 1))
    ratios = bessel.ratios(beta, 20)
    for n in (0, 1, 5, 20):
        assert abs(ratios[n] - np.sum(weight * np.cos(n * x)) / np.sum(weight)) < 1e-14
    assert math.isclose(bessel.log_i0(beta), beta + math.log(np.mean(weight)), rel_tol=1e-13, abs_tol=1e-15)


@pytest.mark.parametrize("sites", [3, 4, 5, 9, 64])
@pytest.mark.parametrize("beta", [0.0, 0.3, 2.0])
def test_charge_distribution_equals_convolved_plaquettes(beta, sites):
    """p(Q) by the sum of V wrapped angles at 2 pi Q, from the Fourier integral over real nu (a slower route)."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    x = math.pi * (nodes + 1) / 2
    density = weights / 2 * np.exp(beta * (np.cos(x) - 1))
    reach = 60 if sites > 4 else 400
    nu = np.arange(-reach, reach, 0.02)
    f = np.asarray([np.sum(density * np.cos(t * x)) if abs(t) < 150 else math.nan for t in nu])
    far = np.isnan(f)
    f[far] = math.exp(-2 * beta) * np.sin(math.pi * nu[far]) / (math.pi * nu[far])
    p = u1_torus.charge_distribution(beta, sites)
    assert math.isclose(sum(p.values()), 1.0, rel_tol=1e-12)
    assert math.isclose(
        sum(q * q * value for q, value in p.items()), u1_torus.charge_squared(beta, sites), rel_tol=1e-9
    )
    slow = {q: float(np.sum(np.cos(2 * math.pi * nu * q) * f**sites)) for q in (0, 1)}
    assert abs(slow[1] / slow[0] - p[1] / p[0]) < (1e-4 if sites == 3 else 2e-6)


def test_uniform_plaquettes_have_simple_charges():
    """At beta = 0: sums of V uniform angles (Irwin-Hall); V = 3: p(0) = 3/4, V = 4: 2/3 and 1/6."""
    assert u1_torus.charge_distribution(0.0, 3) == pytest.approx({-1: 1 / 8, 0: 3 / 4, 1: 1 / 8}, abs=1e-13)
    assert u1_torus.charge_distribution(0.0, 4) == pytest.approx({-1: 1 / 6, 0: 2 / 3, 1: 1 / 6}, abs=1e-13)
    assert u1_torus.charge_distribution(3.0, 1) == u1_torus.charge_distribution(3.0, 2) == {0: 1.0}
    assert u1_torus.charge_squared(0.0, 4096) == pytest.approx(4096 / 12, rel=1e-12)


@given(beta=st.floats(0.0, 1000.0), extent=st.integers(1, 64), other=st.integers(1, 64))
@settings(max_examples=25, deadline=None)
def test_torus_is_finite_for_any_coupling_and_volume(beta, extent, other):
    found = U1Gauge((extent, other)).exact({"beta": beta})
    assert all(math.isfinite(value) for value in found.values())
    assert 0 <= found["plaquette"] <= 1 and 0 <= found["ess_uniform"] <= 1 and 0 <= found["ess_sweep"] <= 1 + 1e-9
    assert found["Q2"] >= 0 and 0 < found["p_Q0"] <= 1 + 1e-9


def test_wilson_loops_end_at_one_and_are_symmetric():
    for area in range(17):
        assert u1_torus.wilson_loop(2.0, 16, area) == pytest.approx(u1_torus.wilson_loop(2.0, 16, 16 - area), rel=1e-13)
    assert u1_torus.wilson_loop(2.0, 16, 0) == u1_torus.wilson_loop(2.0, 16, 16) == 1.0


@pytest.mark.parametrize("lattice", [(1,), (2,), (5,), (2, 2), (3, 4), (1, 3, 2)])
def test_free_field_equals_the_inverse_of_its_matrix(lattice):
    """The quadratic form's matrix is read off the action itself; Gaussian integrals do the rest."""
    theory, couplings = Phi4(lattice), {"m2": 0.7, "lam": 0.0}
    sites = math.prod(lattice)
    basis = np.eye(sites).reshape(sites, *lattice)
    single = theory.action(basis, couplings)
    pairs = theory.action(basis[:, None] + basis[None, :], couplings)
    matrix = (pairs - single[:, None] - single[None, :]) / 2
    found = theory.exact(couplings)
    assert found["ln_Z"] == pytest.approx(0.5 * (sites * math.log(math.pi) - np.linalg.slogdet(matrix)[1]), rel=1e-12)
    covariance = np.linalg.inv(matrix) / 2
    assert found["phi2"] == pytest.approx(np.trace(covariance) / sites, rel=1e-12)
    assert found["chi2"] == pytest.approx(np.sum(covariance) / sites, rel=1e-12)
    assert np.allclose(free_field.propagator(lattice, 0.7).ravel(), covariance[0], atol=1e-14)


@pytest.mark.parametrize("lattice", [(1,), (4,), (1, 1), (1, 3), (2, 2), (2, 1, 4)])
def test_quadrature_equals_the_free_field(lattice):
    found, expected = quadrature.observables(lattice, 3.0, 0.0), free_field.observables(lattice, 3.0)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert abs(found[name] - value) < 1e-9, name


def test_quadrature_has_the_stated_values():
    """|m| was stated as 0.289473813, a grid rule's value without the correction for its kink (h^2/24) p(0)."""
    found = quadrature.observables((2, 2), -4.0, 8.0)
    stated = {"ln_Z": 0.914433978, "phi2": 0.171434423, "phi4": 0.056169584, "chi2": 0.450481641}
    assert {name: round(found[name], 9) for name in stated} == stated
    # the grid rule for |m|, corrected for its kink by Euler and Maclaurin: 0.28947562282
    assert abs(found["abs_m"] - 0.28947562282) < 1e-9


@pytest.mark.slow
def test_quadrature_of_three_by_three_has_the_stated_values():
    found = quadrature.observables((3, 3), -4.0, 6.975)
    stated = {"ln_Z": 1.969824275, "phi2": 0.176157909, "chi2": 0.782872412}
    assert {name: round(found[name], 9) for name in stated} == pytest.approx(stated, abs=1.1e-9)


@pytest.mark.parametrize("lattice, m2, lam", [((2, 2), -4.0, 8.0), ((3,), -3.0, 1.0), ((1, 4), -1.0, 0.5)])
def test_quadrature_obeys_the_identity(lattice, m2, lam):
    found, d = quadrature.observables(lattice, m2, lam), len(lattice)
    identity = 2 * (2 * d + m2) * found["phi2"] + 4 * lam * found["phi4"] - 4 * d * found["E"]
    assert abs(identity - 1) < 1e-10


@given(kappa=st.floats(0.01, 2.0), lam=st.floats(0.001, 5.0), d=st.integers(1, 4))
@settings(deadline=None)
def test_the_two_forms_of_phi4_map_onto_each_other(kappa, lam, d):
    back = to_hopping(**to_m2(kappa, lam, d), d=d)
    assert back["kappa"] == pytest.approx(kappa, rel=1e-9) and back["lam"] == pytest.approx(lam, rel=1e-9)


def test_both_forms_of_phi4_have_one_partition_function():
    """ln Z_K of the hopping form by the plain grid, against the mapped quadrature."""
    theory, couplings, x = Phi4((2,), "hopping"), {"kappa": 0.4, "lam": 0.5}, np.linspace(-6, 6, 241)
    fields = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2)
    weight = np.exp(-theory.action(fields, couplings))
    found, means = theory.exact(couplings), theory.observables(fields, couplings)
    assert found["ln_Z"] == pytest.approx(math.log(np.sum(weight) * (x[1] - x[0]) ** 2), abs=1e-11)
    for name in ("phi2", "phi4", "E", "chi2", "m_4", "G_min", "identity"):
        assert found[name] == pytest.approx(np.sum(weight * means[name]) / np.sum(weight), rel=1e-9), name
    half = theory.derived["xi_2"]
    assert half.function(*(found[name] for name in half.ingredients)) == pytest.approx(found["xi_2"], rel=1e-9)


def test_what_is_unknown_is_absent():
    assert Phi4((8, 8)).exact() == {"identity": 1.0, "m": 0.0}
    assert U1Gauge((4, 4, 4)).exact() == {"polyakov": 0.0}


def test_a_report_is_ready_for_json():
    import json

    results = json.loads(json.dumps(exact_results("u1", ["beta=7", "lattice=[16,16]"])))
    assert results["lattice"] == [16, 16] and results["theory"] == {"name": "u1", "beta": 7.0}
    assert results["exact"]["p_Q0"] == pytest.approx(0.3977110535, abs=1e-10)
    assert sum(u1_torus.charge_distribution(7.0, 256).values()) == pytest.approx(1.0, abs=1e-10)
