"""Hasenbusch's factors: their exponentials, the theory with a field for each, and what the factors do to the weights."""

import math
from itertools import pairwise

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.spaces import Pair
from haarflow.core.statistics import ess
from haarflow.flows.conditionals import Conditional
from haarflow.flows.fermions.factorised import FactorisedHopping
from haarflow.flows.fermions.hopping import HoppingExponential
from haarflow.flows.pairs import conditional_of, loops_and_hops
from haarflow.flows.priors import Noise
from haarflow.theories import U1Gauge
from haarflow.theories.fermions.hops import OddHops
from haarflow.theories.fermions.pseudofermions.pairs import WithPseudofermions
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.models.qcd import QCD
from tests.support.dirac_twins import gauge_field, spinor, there_and_back

KAPPA, MASSES = 0.2, (0.17, 0.12)
THEORY = WithPseudofermions(U1Gauge((4, 4)), Wilson((4, 4)), hasenbusch=MASSES)
FLOW = conditional_of(THEORY.hops(KAPPA), KAPPA, 2, MASSES)
FIELD = gauge_field(THEORY.operator)


def matrix_of(linear, shape):
    """The dense matrix of a linear map of fields of a shape, by all unit vectors at once."""
    size = math.prod(shape)
    return linear(numpy.eye(size, dtype=complex).reshape(size, *shape)).reshape(size, size).T


def dhat_of(kappa):
    """The dense matrix of Dhat on the odd sites."""
    form = THEORY.form
    return matrix_of(lambda x: form.schur(form.prepare(FIELD), kappa, x), form.packed_shape)


def factor_matrices():
    """Dense Dhat(k_{i+1})^-1 Dhat(k_i), the lightest first."""
    dense = [*(dhat_of(kappa) for kappa in (KAPPA, *MASSES)), numpy.eye(16)]
    return [numpy.linalg.solve(heavy, light) for light, heavy in pairwise(dense)]


def exact_ess(flow, target):
    """det(2 W - 1)/det(W)^2 of a flow of one field, and whether no eigenvalue of W is 1/2 or less."""
    params = flow.init(random.key(0, backends.get("numpy")))
    a = matrix_of(lambda x: flow.forward(params, x, {"links": FIELD})[0], flow.shape)
    solved = numpy.linalg.solve(target, a)
    values = numpy.linalg.eigvalsh(solved.conj().T @ solved)
    return math.exp(numpy.sum(numpy.log(2 * values - 1) - 2 * numpy.log(values))), values.min() > 0.5


def test_every_factor_approaches_its_ratio_of_determinants():
    for flow, target in zip(FactorisedHopping(FLOW.hops, FLOW.shares, 20).exponentials, factor_matrices(), strict=True):
        params = flow.init(random.key(0, backends.get("numpy")))
        a = matrix_of(lambda x, flow=flow, params=params: flow.forward(params, x, {"links": FIELD})[0], flow.shape)
        numpy.testing.assert_allclose(a, target, atol=1e-9)


@pytest.mark.parametrize("order", [1, 3])
def test_log_det_is_that_of_the_dense_matrix_in_real_components(order):
    flow = FactorisedHopping(FLOW.hops, FLOW.shares, order)
    params = {"coefficients": numpy.linspace(0.7, 1.3, 3 * order).reshape(3, order)}
    dense = matrix_of(lambda x: flow.forward(params, x, {"links": FIELD})[0], flow.shape)
    _, log_det = flow.forward(params, spinor(flow.shape), {"links": FIELD})
    assert abs(log_det - 2 * numpy.linalg.slogdet(dense)[1]) < 1e-12 * len(dense)


def test_there_and_back_on_every_backend(backend):
    flow = FactorisedHopping(FLOW.hops, (0.36,), 1)  # (0.12 / 0.2)^2
    links = gauge_field(THEORY.operator, batch=(2,))
    chi, phi, _ = there_and_back(flow, flow.init(random.key(0, backend)), links, backend)
    host, one = {"links": links}, {"coefficients": numpy.ones(1)}
    alone, _ = HoppingExponential(flow.hops, 1, between=(0.0, 0.36)).forward(one, chi[:, 1], host)
    numpy.testing.assert_allclose(phi[:, 1], alone, atol=1e-13)


def test_action_and_draws_are_those_of_the_factors():
    """At phi_i = A_i chi the action is |chi|^2, for draws at given links as for any other."""
    matrices, chi = factor_matrices(), spinor((3, 16))
    phi = numpy.stack([a @ x for a, x in zip(matrices, chi, strict=True)]).reshape(3, 2, 8)
    action, solves = THEORY.pseudofermion(Pair(FIELD, phi), KAPPA)
    assert abs(action - numpy.sum(numpy.abs(chi) ** 2)) < 1e-8 and solves.converged.all()
    drawn = THEORY.refreshed(random.key(1, backends.get("numpy")), FIELD, {"kappa": KAPPA})
    noise = [numpy.linalg.solve(a, x.reshape(-1)) for a, x in zip(matrices, drawn, strict=True)]
    action, _ = THEORY.pseudofermion(Pair(FIELD, drawn), KAPPA)
    assert abs(action - numpy.sum(numpy.abs(noise) ** 2)) < 1e-8
    assert not numpy.allclose(noise[0], noise[1])
    assert THEORY.exact()["pseudofermion"] == 48.0


def test_factors_raise_the_ess_and_the_mean_weight_stays_the_determinant():
    """ESS at fixed links is the product of the factors' closed forms; 4096 draws, 4 sigma: chance 6e-5 each."""
    masses, draws, host = (KAPPA * 0.5**0.25,), 4096, backends.get("numpy")  # halves kappa^4, what J = 1 lacks
    theory = WithPseudofermions(THEORY.gauge, THEORY.operator, hasenbusch=masses)
    flow = conditional_of(theory.hops(KAPPA), KAPPA, 1, masses)
    light, heavy = dhat_of(KAPPA), dhat_of(masses[0])
    parts = [
        exact_ess(one, target)
        for one, target in zip(flow.exponentials, (numpy.linalg.solve(heavy, light), heavy), strict=True)
    ]
    whole, _ = exact_ess(HoppingExponential(flow.hops, 1), light)
    assert all(finite for _, finite in parts)
    exact = math.prod(size for size, _ in parts)
    assert math.log(exact) > 0.55 * math.log(whole)  # half of it, and what is beyond leading order
    one, params = Conditional(Noise(flow.shape), flow), flow.init(random.key(0, host))
    links = numpy.broadcast_to(FIELD, (draws, *FIELD.shape))
    phi, log_q = one.sample(params, random.key(1, host), draws, links)
    log_w = -theory.pseudofermion(Pair(links, phi), KAPPA)[0] - log_q
    log_z = 32 * math.log(math.pi) + 2 * numpy.linalg.slogdet(light)[1]
    assert abs(numpy.exp(log_w - log_z).mean() - 1) < 4 * math.sqrt((1 / exact - 1) / draws)
    blocks = numpy.asarray([ess(part) for part in log_w.reshape(16, -1)])
    assert abs(ess(log_w) - exact) < 4 * blocks.std(ddof=1) / 4


def test_model_of_pairs_fits_the_theory():
    theory = QCD((4, 4), n=2, hasenbusch=(0.1,))
    model = loops_and_hops((4, 4), theory.hops, n=2, kappa=0.15, order=1, hasenbusch=theory.hasenbusch)
    host = backends.get("numpy")
    pair, log_q = model.sample(model.init(random.key(0, host)), random.key(1, host), 2)
    assert pair.phi.shape == (2, 2, 2, 2, 8) and model.prior.spaces == theory.spaces
    assert numpy.isfinite(theory.action(pair, {"kappa": 0.15}) + log_q).all()


def test_bad_input():
    with pytest.raises(ValueError, match=r"fall from 1 to 0, got 0.5, 0.7: order them so"):
        FactorisedHopping(FLOW.hops, (0.5, 0.7))
    with pytest.raises(ValueError, match="0 <= a < b <= 1 of Y"):
        HoppingExponential(OddHops(Wilson((4, 4)), 0.1), between=(0.5, 0.5))
    with pytest.raises(ValueError, match="FactorisedHopping wants the gauge field as its condition"):
        FLOW.forward({"coefficients": numpy.ones((3, 2))}, spinor(FLOW.shape))
    with pytest.raises(ValueError, match=r"fall from kappa = 0.15 towards 0, got 0.17, 0.12: order them so"):
        THEORY.action(Pair(FIELD, spinor(FLOW.shape)), {"kappa": 0.15})
