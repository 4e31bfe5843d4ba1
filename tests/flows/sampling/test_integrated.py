"""The error of integration of flows in continuous time: what is stated holds the true one, and weights are corrected."""

import dataclasses

import numpy
import pytest

from haarflow.core import random
from haarflow.core.groups.sun import SU
from haarflow.flows.flow import Model
from haarflow.flows.laws.integration import integration_errors
from haarflow.flows.loops.flow import LoopFlow
from haarflow.flows.priors import HaarLinks
from haarflow.flows.proposals import Weighted
from haarflow.flows.sampling.draws import draw, weigh
from haarflow.flows.sampling.integrated import measured
from haarflow.theories import SUNGauge

LATTICE, COUPLINGS, DRAWS = (2, 2), {"beta": 2.0}, 8


def started(host, steps, draws=DRAWS):
    flow = LoopFlow(2, 2, order=1, beta=2.0, steps=steps, degree=0, scheme="continuous")
    model, theory = Model(HaarLinks(LATTICE, 2), flow), SUNGauge(LATTICE, n=2)
    return model, flow.init(random.key(0, host)), theory, model.prior.sample(random.key(1, host), draws)


@pytest.mark.parametrize("draws", [DRAWS, pytest.param(64, marks=pytest.mark.statistical)])
def test_the_stated_error_of_integration_holds_the_true_one(host, draws):
    """Dense Jacobians say what log_det of each draw should have been: 3 sigma, fixed seeds, chance of luck 0.3%.

    With 64 draws no correction, or the opposite one, would be seen: the true error is more than 3 sigma from zero.
    """
    model, params, theory, _ = started(host, 1)
    x = model.prior.sample(random.key(1, host), draws)
    stated = measured(model, params, theory, x, COUPLINGS)
    true = -integration_errors(model.flow, params, x, group=SU(2, 2), members=draws)
    assert abs(true.mean() - stated.shift) < 3 * stated.error
    assert draws < 64 or 3 * stated.error < abs(true.mean())


def test_draws_carry_the_weights_of_continuous_time(host):
    """Extrapolated log w is that of eight times the steps to a tenth of what it was off, on the same prior draws."""
    model, params, theory, _ = started(host, 1)
    key = random.key(5, host)
    found = draw(model, params, theory, key, DRAWS, COUPLINGS)
    assert found.log_q is None and found.field.shape == (DRAWS, 2, 2, 2, *LATTICE)
    x = model.prior.sample(key, DRAWS)

    def log_w(flow):
        y, log_det = flow.forward(params, x)
        return log_det - theory.action(y, COUPLINGS)

    best, plain = log_w(model.flow.refined(8)), log_w(model.flow)
    assert numpy.abs(found.log_w - best).max() < 0.2 * numpy.abs(plain - best).max()


def test_estimates_carry_the_error_of_integration(host):
    model, params, theory, x = started(host, 1, draws=64)
    stated = measured(model, params, theory, x, COUPLINGS)
    y, log_det = model.flow.forward(params, x)
    log_w = log_det - theory.action(y, COUPLINGS)
    found = stated.log_z(log_w)
    assert (
        found.value == pytest.approx(numpy.log(numpy.exp(log_w).mean()) + stated.shift) and found.error > stated.error
    )
    plaquette = theory.observables(y)["plaquette"]
    assert stated.reweight(log_w, plaquette).error > stated.spread * plaquette.std()
    assert not stated.allowed(10**6) and stated.factor(10**6) > 1


def test_given_configurations_have_the_weights_of_continuous_time(host):
    """As for draws; the error of the way back is opposite to that of the way there."""
    model, params, theory, x = started(host, 2)
    y, _ = dataclasses.replace(model, flow=model.flow.refined(8)).flow.forward(params, x)
    fine, coarse = (
        Weighted(dataclasses.replace(model, flow=flow), theory).weigh(params, y, COUPLINGS)
        for flow in (model.flow.refined(8), model.flow)
    )
    off = numpy.abs(coarse - fine).max()
    assert numpy.abs(weigh(model, params, theory, y, COUPLINGS) - fine).max() < 0.2 * off
    there = measured(model, params, theory, x, COUPLINGS)
    assert numpy.mean(fine - coarse) * there.shift < 0.0
