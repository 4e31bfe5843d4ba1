"""The hopping exponential with coefficients of a net: traces at every site, its determinant, covariance, and what training gains."""

import math

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.lattice.loops import gauge_transform
from haarflow.flows.fermions.hopping import HoppingExponential
from haarflow.flows.fermions.local_hopping import LocalHopping
from haarflow.flows.pairs import conditional_of, loops_and_hops
from haarflow.theories.fermions.evenodd import EvenOdd
from haarflow.theories.fermions.hops import OddHops
from haarflow.theories.fermions.traces import densities, densities_by_unit_vectors, traces
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.models.qcd import QCD
from tests.support.dirac_twins import gauge_field, spinor, there_and_back

HOST = backends.get("numpy")


def flow_of(lattice, n=1, order=2, kappa=0.15):
    """A flow whose net says something before training."""
    return LocalHopping(OddHops(Wilson(lattice, n), kappa), order, hidden=(3,), final_scale=4.0)


def matrix_of(linear, shape):
    """The dense matrix of a linear map of fields of a shape, by all unit vectors at once."""
    size = math.prod(shape)
    return linear(numpy.eye(size, dtype=complex).reshape(size, *shape)).reshape(size, size).T


@pytest.mark.parametrize("antiperiodic", [True, False])
@pytest.mark.parametrize(("lattice", "n"), [((4, 4), 1), ((6, 4), 1), ((2, 4), 1), ((4, 6), 2), ((4, 2, 2, 4), 1)])
def test_traces_at_every_site_are_those_of_the_dense_matrix(lattice, n, antiperiodic):
    form = EvenOdd(Wilson(lattice, n, antiperiodic))
    field, shape = gauge_field(form.operator), form.packed_shape
    links = form.prepare(field)
    dense = matrix_of(lambda x: form.hop_oe(links, form.hop_eo(links, x)), shape)
    powers = [numpy.linalg.matrix_power(dense, j).diagonal().reshape(-1, shape[-1]).sum(axis=0) for j in (1, 2, 3)]
    assert numpy.abs(numpy.imag(powers)).max() < 1e-9
    for found in (densities(form.operator, field, 2), densities_by_unit_vectors(form.operator, field, 3)):
        numpy.testing.assert_allclose(found, numpy.real(powers)[: len(found)], atol=1e-9)
    numpy.testing.assert_allclose(
        densities(form.operator, field, 2).sum(axis=-1), traces(form.operator, field, 2), atol=1e-9
    )


def test_closed_form_in_four_dimensions():
    """Plaquettes and lines on 4^4, where dense matrices are large: local traces of a random vector's images, by four unit vectors."""
    form = EvenOdd(Wilson((4, 4, 4, 4), 1))
    field, shape = gauge_field(form.operator), form.packed_shape
    links, site = form.prepare(field), 37
    units = numpy.zeros((shape[0], *shape), dtype=complex)
    for spin in range(shape[0]):
        units[spin, spin, site] = 1.0
    moved = units
    for _ in range(2):
        moved = form.hop_oe(links, form.hop_eo(links, moved))
    trace = sum(moved[spin, spin, site] for spin in range(shape[0]))
    assert abs(densities(form.operator, field, 2)[1, site] - trace) < 1e-10


@pytest.mark.parametrize(("lattice", "n", "order"), [((4, 4), 1, 2), ((2, 4), 1, 2), ((4, 2), 2, 3)])
def test_log_det_is_that_of_the_dense_matrix_in_real_components(lattice, n, order):
    flow = flow_of(lattice, n, order)
    params, given = flow.init(random.key(3, HOST)), {"links": gauge_field(flow.hops.operator)}
    assert flow.coefficients(params, given["links"]).std() > 0.05
    dense = matrix_of(lambda x: flow.forward(params, x, given)[0], flow.shape)
    _, log_det = flow.forward(params, spinor(flow.shape), given)
    assert abs(log_det - 2 * numpy.linalg.slogdet(dense)[1]) < 1e-12 * len(dense)


def test_there_and_back_on_every_backend(backend):
    flow, links = flow_of((4, 4)), gauge_field(Wilson((4, 4)), batch=(2,))
    chi, phi, log_det = there_and_back(flow, flow.init(random.key(3, backend)), links, backend)
    host = flow.forward(flow.init(random.key(3, HOST)), chi, {"links": links})
    for one, other in zip((phi, log_det), host, strict=True):
        numpy.testing.assert_allclose(one, other, atol=1e-12)


def test_follows_a_gauge_transformation():
    flow = flow_of((4, 4), n=2)
    operator, form = flow.hops.operator, flow.hops.form
    field, chi = gauge_field(operator), spinor(operator.spinor_shape)
    sites = operator.group.haar(random.key(3, HOST), (2, 2, 4, 4))

    def turned(psi):
        return numpy.einsum("abxy,sbxy->saxy", sites, psi)

    params = flow.init(random.key(3, HOST))
    plain, log_det = flow.forward(params, form.split(chi).odd, {"links": field})
    moved = gauge_transform(field, sites, 2, operator.group)
    there, other = flow.forward(params, form.split(turned(chi)).odd, {"links": moved})
    zeros = numpy.zeros_like(plain)
    numpy.testing.assert_allclose(there, form.split(turned(form.merge(zeros, plain))).odd, atol=1e-13)
    assert abs(log_det - other) < 1e-11


def test_is_the_plain_exponential_before_training():
    hops = OddHops(Wilson((4, 4)), 0.15)
    flow, plain = LocalHopping(hops, 3), HoppingExponential(hops, 3)
    chi, given = spinor(flow.shape), {"links": gauge_field(hops.operator)}
    found, wanted = (one.forward(one.init(random.key(0, HOST)), chi, given) for one in (flow, plain))
    for one, other in zip(found, wanted, strict=True):
        numpy.testing.assert_allclose(one, other, atol=1e-12)


def test_model_of_pairs_takes_a_net():
    theory = QCD((4, 4), n=2)
    model = loops_and_hops((4, 4), theory.hops, n=2, kappa=0.15, order=1, hop_net=(4,))
    pair, log_q = model.sample(model.init(random.key(0, HOST)), random.key(1, HOST), 2)
    plain = loops_and_hops((4, 4), theory.hops, n=2, kappa=0.15, order=1)
    same, log_same = plain.sample(plain.init(random.key(0, HOST)), random.key(1, HOST), 2)
    numpy.testing.assert_allclose(pair.phi, same.phi, atol=1e-12)
    numpy.testing.assert_allclose(log_q, log_same, atol=1e-10)


def test_bad_input():
    hops = OddHops(Wilson((4, 4)), 0.15)
    with pytest.raises(ValueError, match="order of 1 or more"):
        LocalHopping(hops, 0)
    with pytest.raises(ValueError, match=r"1 or more features in each layer and an odd kernel, got \(0,\) and 3"):
        LocalHopping(hops, hidden=(0,))
    with pytest.raises(ValueError, match=r"reach between 0 and 1, by which a net moves coefficients, got 1.5"):
        LocalHopping(hops, reach=1.5)
    with pytest.raises(ValueError, match="not of Hasenbusch's factors: remove one of them"):
        conditional_of(hops, 0.15, 2, (0.1,), (4,))
    flow = LocalHopping(hops)
    with pytest.raises(ValueError, match="LocalHopping wants the gauge field as its condition"):
        flow.forward(flow.init(random.key(0, HOST)), spinor(flow.shape))
    beyond = flow.init(random.key(0, HOST)) | {"coefficients": numpy.asarray([1.0, 9.0])}
    assert all(
        numpy.isnan(x).all() for x in flow.forward(beyond, spinor(flow.shape), {"links": gauge_field(hops.operator)})
    )
