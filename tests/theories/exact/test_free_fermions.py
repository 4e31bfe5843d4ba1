"""Free Wilson fermions: published digits, other forms of the same product, limits."""

import math

import pytest

from haarflow.theories.exact.free_fermions import log_det, modes

# docs of the Schwinger model: matrix = momentum product to 12 digits
KNOWN = {
    ((4, 4), 0.276): 2.249173177239,
    ((8, 8), 0.276): 8.378264936037,
    ((16, 16), 0.276): 33.149380370571,
    ((8, 8), 0.2): 1.220303533172,
    ((4, 4, 4, 4), 0.1): 2.302788455820,
}


@pytest.mark.parametrize(("lattice", "kappa"), KNOWN)
def test_known_digits(lattice, kappa):
    assert log_det(lattice, kappa) == pytest.approx(KNOWN[lattice, kappa], abs=1e-12)


def test_colours_multiply():
    assert log_det((4, 2), 0.2, n=3) == pytest.approx(3 * log_det((4, 2), 0.2), rel=1e-14)


def test_one_site_by_hand():
    """One site, periodic in space: D = 1 - 2 kappa (cos p_0 + 1) + 2 i kappa gamma_0 sin p_0 with p_0 = pi."""
    assert log_det((1, 1), 0.3) == pytest.approx(0.0, abs=1e-15)
    assert log_det((1, 1), 0.1, antiperiodic=False) == pytest.approx(2 * math.log(0.6), rel=1e-14)


def test_the_leading_order_in_kappa():
    """ln det = -kappa^2/2 tr H^2 - ...: on 2x2 a hop forth and one back meet; above extent 2 the first loops have four links."""
    assert log_det((6, 6), 1e-2) == pytest.approx(8 * 36 * 1e-8, rel=1e-2)


def test_a_massless_mode_has_no_determinant():
    assert log_det((4, 4), 0.25, antiperiodic=False) == -math.inf
    assert modes((4, 4), 0.25, antiperiodic=False)[0, 0] == 0.0


def test_odd_dimensions_are_refused():
    with pytest.raises(ValueError, match="an even dimension, got d = 3"):
        log_det((2, 2, 2), 0.1)
