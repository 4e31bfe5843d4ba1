"""What is measured beside the gauge observables: the pion of a point source, the determinant, the charge after the flow."""

from functools import partial

import numpy as np
import pytest

from haarflow.core.spaces import Pair
from haarflow.theories.fermions import propagator as propagators
from haarflow.theories.fermions.propagator import pion_correlator, propagator
from haarflow.theories.fermions.pseudofermions.measurements import PointPion, point_pion
from haarflow.theories.fermions.pseudofermions.pseudofermion import Accuracy
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.gauge.gradient_flow import FlowedCharge, charge, flow
from haarflow.theories.gauge.sun import SUNGauge
from haarflow.theories.models.qcd import QCD
from tests.support import dirac_twins

ACCURACY = Accuracy(1e-13, 200)


@pytest.mark.parametrize("operator", [Wilson((4, 4)), Wilson((4, 2), n=2, antiperiodic=False)], ids=str)
def test_a_point_source_averaged_over_its_site_is_the_mean_over_all_sources(operator):
    """Translations carry the source over the lattice; the sign of the boundary moves along as a gauge transformation."""
    field, kappa = dirac_twins.gauge_field(operator, batch=(2,)), 0.2
    axes = (-2, -1)
    total = 0.0
    for t, x in np.ndindex(operator.lattice):
        total = total + point_pion(operator, np.roll(field, (-t, -x), axes), kappa, ACCURACY)
    wanted = pion_correlator(propagator(operator, field, kappa), operator.lattice)
    assert np.allclose(total / np.prod(operator.lattice), wanted, rtol=1e-10)


def test_every_configuration_has_its_own_kappa():
    operator = Wilson((4, 4))
    field = dirac_twins.gauge_field(operator, batch=(2,))
    both = point_pion(operator, field, np.asarray([0.1, 0.2]), ACCURACY)
    for one, kappa in enumerate((0.1, 0.2)):
        assert np.allclose(both[one], point_pion(operator, field[one], kappa, ACCURACY), rtol=1e-12)


def test_a_solve_that_fails_is_no_number():
    operator = Wilson((4, 4))
    hopeless = point_pion(operator, np.zeros((2, 4, 4)), np.nan, Accuracy(1e-12, 1))
    assert np.isnan(hopeless).all()


def test_a_theory_measures_what_it_is_told():
    theory = QCD((4, 4), n=2, pion=True, determinant=True)
    rng = np.random.default_rng(1)
    links = theory.group.exp(rng.normal(size=(2, 2, 3, 4, 4)))
    phi = rng.normal(size=(2, *theory.spaces.phi.shape)) + 0j
    found = theory.observables(Pair(links, phi), {"beta": 1.0, "kappa": 0.1})
    matrix = theory.operator.matrix(theory.operator.prepare(links), 0.1)
    sign, log_abs = np.linalg.slogdet(matrix)
    assert np.allclose(found["log_det"], log_abs, rtol=1e-10) and np.allclose(found["sign"], sign.real)
    assert found["pion"].shape == (2, 4) and theory.correlators == PointPion.correlators
    assert theory.summary[-2:] == ("log_det", "sign") and set(found) <= {*theory.labels, "action", *found}


def test_the_charge_is_measured_on_flowed_links():
    theory = SUNGauge((2, 2, 2, 4), n=2)
    links = theory.group.exp(0.4 * np.random.default_rng(3).normal(size=(2, 4, 3, *theory.lattice)))
    found = FlowedCharge(0.3).values(theory, links)
    smooth = flow(theory, links, 0.1, 3).field
    assert np.allclose(found["Q"], charge(theory, smooth), rtol=1e-12, atol=1e-14)
    assert np.allclose(found["Q2"], found["Q"] ** 2)
    assert not np.allclose(found["Q"], charge(theory, links), rtol=0.1)


def test_a_charge_in_two_dimensions_is_refused():
    with pytest.raises(ValueError, match="four dimensions"):
        QCD((4, 4), flow_time=0.5)
    with pytest.raises(ValueError, match="positive flow time"):
        FlowedCharge(0.0)


def test_configurations_one_by_one_have_the_condensate_and_pion_of_all_at_once(backend, monkeypatch):
    operator, kappas = Wilson((2, 2)), np.asarray([0.1, 0.2, 0.25])
    field = backend.asarray(np.random.default_rng(5).uniform(-3.0, 3.0, (3, 2, 2, 2)))
    for kappa in (0.2, backend.asarray(kappas)):
        at_once, apart = [], []
        for found, memory in ((at_once, 2**27), (apart, 0)):
            monkeypatch.setattr(propagators, "MEMORY", memory)
            found.extend(backend.jit(partial(propagators.condensate_and_pion, operator, kappa=kappa))(field))
        for one, other in zip(at_once, apart, strict=True):
            assert one.shape == other.shape
            assert np.allclose(backend.to_numpy(one), backend.to_numpy(other), rtol=1e-13)
