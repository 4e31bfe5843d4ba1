"""The hopping exponential: its determinant is dense linear algebra's, its draws have the weight of pseudofermions."""

import math

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.lattice.loops import gauge_transform
from haarflow.core.statistics import ess
from haarflow.flows.fermions.hopping import HoppingExponential
from haarflow.flows.flow import Model
from haarflow.flows.priors import Noise
from haarflow.theories.fermions.evenodd import EvenOdd
from haarflow.theories.fermions.hops import OddHops
from haarflow.theories.fermions.traces import traces, traces_by_unit_vectors
from haarflow.theories.fermions.wilson import Wilson
from tests.support.dirac_twins import gauge_field, spinor

CASES = [((4, 4), 1), ((6, 4), 1), ((2, 4), 1), ((4, 6), 2), ((4, 2, 4, 2), 1)]


def matrix_of(linear, shape):
    """The dense matrix of a linear map of fields of a shape."""
    size = math.prod(shape)
    return numpy.stack([linear(unit.reshape(shape)).reshape(-1) for unit in numpy.eye(size, dtype=complex)], axis=-1)


def flow_of(lattice, n=1, order=2, kappa=0.13, antiperiodic=True):
    """A hopping exponential of Wilson's operator."""
    return HoppingExponential(OddHops(Wilson(lattice, n, antiperiodic), kappa), order)


@pytest.mark.parametrize("antiperiodic", [True, False])
@pytest.mark.parametrize(("lattice", "n"), CASES)
def test_traces_are_those_of_the_dense_matrix(lattice, n, antiperiodic):
    form = EvenOdd(Wilson(lattice, n, antiperiodic))
    field = gauge_field(form.operator)
    links = form.prepare(field)
    dense = matrix_of(lambda x: form.hop_oe(links, form.hop_eo(links, x)), form.packed_shape)
    powers = [numpy.trace(numpy.linalg.matrix_power(dense, j)) for j in (1, 2, 3)]
    assert numpy.abs(numpy.imag(powers)).max() < 1e-9
    for found in (traces(form.operator, field, 2), traces_by_unit_vectors(form.operator, field, 3)):
        numpy.testing.assert_allclose(found, numpy.real(powers)[: len(found)], atol=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(("lattice", "n"), CASES[:4])
def test_log_det_is_that_of_the_dense_matrix_in_real_components(lattice, n, order):
    flow = flow_of(lattice, n, order)
    params = {"coefficients": numpy.linspace(0.7, 1.3, order)}
    given = {"links": gauge_field(flow.hops.operator)}
    dense = matrix_of(lambda x: flow.forward(params, x, given)[0], flow.hops.shape)
    _, log_det = flow.forward(params, spinor(flow.hops.shape), given)
    assert abs(log_det - 2 * numpy.linalg.slogdet(dense)[1]) < 1e-12 * len(dense)


def test_is_the_exponential_and_its_inverse(backend):
    flow = flow_of((4, 4), order=3)
    given = {"links": backend.asarray(gauge_field(flow.hops.operator, batch=(2,)))}
    chi, params = backend.asarray(spinor((2, *flow.hops.shape))), flow.init(random.key(0, backend))

    def there_and_back(chi):
        phi, log_det = flow.forward(params, chi, given)
        return phi, log_det, *flow.inverse(params, phi, given)

    phi, log_det, back, minus = backend.jit(there_and_back)(chi)
    numpy.testing.assert_allclose(backend.to_numpy(back), backend.to_numpy(chi), atol=1e-13)
    numpy.testing.assert_allclose(backend.to_numpy(log_det + minus), 0.0, atol=1e-13)
    host = flow.forward(
        {"coefficients": numpy.ones(3)}, backend.to_numpy(chi), {"links": backend.to_numpy(given["links"])}
    )
    for one, other in zip((phi, log_det), host, strict=True):
        numpy.testing.assert_allclose(backend.to_numpy(one), other, atol=1e-12)


def test_many_terms_approach_the_determinant_of_the_operator():
    flow = flow_of((4, 4), order=40)
    operator = flow.hops.operator
    field = gauge_field(operator)
    _, log_det = flow.forward({"coefficients": numpy.ones(40)}, spinor(flow.hops.shape), {"links": field})
    dense = operator.matrix(operator.prepare(field), flow.hops.kappa)
    assert abs(log_det - 2 * numpy.linalg.slogdet(dense)[1]) < 1e-10


def test_follows_a_gauge_transformation():
    flow = flow_of((4, 4), n=2)
    operator, host = flow.hops.operator, backends.get("numpy")
    field, chi = gauge_field(operator), spinor(operator.spinor_shape)
    sites = operator.group.haar(random.key(3, host), (2, 2, 4, 4))

    def turned(psi):
        return numpy.einsum("abxy,sbxy->saxy", sites, psi)

    params = flow.init(random.key(0, host))
    form = flow.hops.form
    plain, _ = flow.forward(params, form.split(chi).odd, {"links": field})
    moved = gauge_transform(field, sites, 2, operator.group)
    there, _ = flow.forward(params, form.split(turned(chi)).odd, {"links": moved})
    zeros = numpy.zeros_like(plain)
    numpy.testing.assert_allclose(there, form.split(turned(form.merge(zeros, plain))).odd, atol=1e-13)


def test_ess_at_fixed_links_is_that_of_the_formula_and_the_mean_weight_the_determinant():
    """ESS = det(2 W - 1)/det(W)^2 with W = A^+ (Dhat Dhat^+)^-1 A; 4096 draws, 4 sigma: chance 6e-5 each."""
    flow = flow_of((4, 4), order=2, kappa=0.2)
    form, host, draws = flow.hops.form, backends.get("numpy"), 4096
    field = gauge_field(form.operator)
    links, model = form.prepare(field), Model(Noise(flow.hops.shape), flow)
    dhat = matrix_of(lambda x: form.schur(links, 0.2, x), flow.hops.shape)
    a = matrix_of(lambda x: flow.forward(model.init(random.key(0, host)), x, {"links": field})[0], flow.hops.shape)
    solved = numpy.linalg.solve(dhat, a)
    w = solved.conj().T @ solved
    assert numpy.linalg.eigvalsh(w).min() > 0.5  # else the variance of the weights is infinite
    exact_ess = math.exp(numpy.linalg.slogdet(2 * w - numpy.eye(len(w)))[1] - 2 * numpy.linalg.slogdet(w)[1])
    phi, log_q = model.sample(model.init(random.key(0, host)), random.key(1, host), draws, {"links": field})
    x = numpy.linalg.solve(dhat, phi.reshape(draws, -1).T)
    log_w = -numpy.sum(numpy.abs(x) ** 2, axis=0) - log_q
    log_z = len(w) * math.log(math.pi) + 2 * numpy.linalg.slogdet(dhat)[1]
    weights = numpy.exp(log_w - log_z)
    error = math.sqrt((1 / exact_ess - 1) / draws)
    assert abs(weights.mean() - 1) < 4 * error
    blocks = numpy.asarray([ess(part) for part in log_w.reshape(16, -1)])
    assert abs(ess(log_w) - exact_ess) < 4 * blocks.std(ddof=1) / 4


def test_bad_input():
    with pytest.raises(ValueError, match="order of 1 or more"):
        flow_of((4, 4), order=0)
    flow = flow_of((4, 4))
    with pytest.raises(ValueError, match="the gauge field as its condition"):
        flow.forward({"coefficients": numpy.ones(2)}, spinor(flow.hops.shape))
    beyond = flow.forward(
        {"coefficients": numpy.asarray([1.0, 9.0])},
        spinor(flow.hops.shape),
        {"links": gauge_field(flow.hops.operator)},
    )
    assert all(numpy.isnan(part).all() for part in beyond)
