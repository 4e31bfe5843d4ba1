"""Free energies of U(1) on a torus: entropy, pressure and integration over beta against the exact ln Z."""

import numpy
import pytest

from haarflow.core.statistics import Estimate, entropy, integrated, pressure
from haarflow.theories import U1Gauge
from haarflow.theories.exact import u1_torus

THEORY, SITES = U1Gauge((4, 4)), 16


def log_z(beta, sites=SITES):
    return Estimate(u1_torus.log_z(beta, sites), 0.0)


def slope(beta):
    """d ln Z/dbeta = V <P>."""
    return SITES * THEORY.exact({"beta": beta})["plaquette"]


def test_entropy_is_ln_z_less_its_slope():
    """S = ln Z - beta d ln Z/dbeta, which vanishes for the Haar measure and falls with beta."""
    values = []
    for beta in (0.0, 1.0, 2.0):
        action = Estimate(-beta * slope(beta), 0.0)
        step = 1e-4
        difference = (u1_torus.log_z(beta + step, SITES) - u1_torus.log_z(max(beta - step, 0.0), SITES)) / (
            beta + step - max(beta - step, 0.0)
        )
        values.append(entropy(log_z(beta), action).value)
        assert values[-1] == pytest.approx(u1_torus.log_z(beta, SITES) - beta * difference, abs=1e-6)
    assert values[0] == pytest.approx(0.0, abs=1e-12) and values[2] < values[1] < 0.0


def test_pressure_is_the_free_energy_of_a_site_in_a_large_volume():
    """ln Z grows by ln I_0(beta) a plaquette."""
    beta, times = 1.0, 8
    found = pressure(log_z(beta, times * 8), log_z(beta, times * 9), times)
    assert found.value == pytest.approx(float(numpy.log(numpy.i0(beta))), abs=1e-9)


def test_integration_over_beta_gives_the_curve_with_its_errors():
    """The error at the end is that of Simpson-like weights; from 400 noisy repeats, five sigma of a standard deviation."""
    betas = numpy.linspace(0.0, 4.0, 17)
    slopes = [slope(beta) for beta in betas]
    curve = integrated(Estimate(0.0, 0.0), betas, [Estimate(one, 0.0) for one in slopes])
    for beta, one in zip(betas, curve, strict=True):
        assert one.value == pytest.approx(u1_torus.log_z(beta, SITES), abs=5e-4)
    generator, error, ends = numpy.random.default_rng(7), 0.05, []
    for _ in range(400):
        noisy = [Estimate(one + error * generator.normal(), error) for one in slopes]
        last = integrated(Estimate(0.0, 0.0), betas, noisy)[-1]
        ends.append(last.value)
    assert abs(numpy.std(ends) / last.error - 1.0) < 5.0 / (2 * 400) ** 0.5


def test_what_is_not_known_stays_unknown():
    found = entropy(Estimate(None, None, note="every weight is zero"), Estimate(1.0, 0.1))
    assert found.value is None and found.note == "every weight is zero"
    assert entropy(Estimate(1.0, None), Estimate(1.0, 0.1))[:2] == (2.0, None)
    with pytest.raises(ValueError, match="increasing couplings"):
        integrated(Estimate(0.0, 0.0), [0.0, 1.0], [Estimate(0.0, 0.0)] * 2)
    with pytest.raises(ValueError, match="a slice of one site"):
        pressure(Estimate(0.0, 0.0), Estimate(0.0, 0.0), 0)
