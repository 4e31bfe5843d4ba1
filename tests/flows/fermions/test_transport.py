"""Parallel-transport couplings: their determinant, their inverse, their covariance, and that with full masks they are two hops."""

import dataclasses
import math

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.lattice.loops import gauge_transform
from haarflow.flows.fermions.transport import TransportCoupling, transport_layers
from haarflow.flows.flow import Chain
from haarflow.flows.modelfile import open_model, save_model
from haarflow.flows.pairs import loops_and_transport
from haarflow.theories.fermions.evenodd import EvenOdd
from haarflow.theories.fermions.wilson import Wilson
from tests.support.dirac_twins import gauge_field, spinor

MASKS = [("sites", 0, 0), ("sites", 1, 1), ("spins", 0, 1), ("spins", 1, 0)]
PARAMS = {
    "scale": numpy.asarray(0.3),
    "strength": numpy.asarray(-0.2),
    "steps": numpy.asarray([[0.7, 1.1], [1.2, -0.4]]),
}


@pytest.mark.parametrize(("lattice", "n"), [((4, 4), 1), ((4, 2), 3), ((2, 2, 2, 2), 2)])
def test_two_wilson_hops_without_masks(lattice, n):
    """At a = b = 1 the transport is H_oe H_eo of Wilson's operator, with the sign of antiperiodic time."""
    operator = Wilson(lattice, n)
    form, field = EvenOdd(operator), gauge_field(operator, batch=(2,))
    flow, links = TransportCoupling(lattice, n), form.prepare(field)
    x = spinor((2, *form.packed_shape))
    hopped = form.hop_oe(links, form.hop_eo(links, x))
    params = {**PARAMS, "strength": 1.0 + 0 * PARAMS["scale"], "steps": numpy.ones((2, 2))}
    numpy.testing.assert_allclose(flow._transported(params, x, flow._links({"links": field})), hopped, atol=1e-12)


@pytest.mark.parametrize("mask", MASKS, ids=str)
@pytest.mark.parametrize("n", [1, 3])
def test_log_det_is_that_of_the_dense_matrix_and_half_of_it_is_frozen(mask, n):
    flow = TransportCoupling((4, 2), n, *mask)
    given, size = {"links": gauge_field(Wilson((4, 2), n))}, math.prod(flow.shape)
    units = numpy.eye(size, dtype=complex).reshape(size, *flow.shape)
    moved, log_det = flow.forward(PARAMS, units, given)
    dense = moved.reshape(size, size)
    assert numpy.allclose(log_det, 2 * numpy.linalg.slogdet(dense)[1], rtol=1e-12)
    values = numpy.linalg.eigvals(dense)
    assert numpy.isclose(numpy.abs(values), 1.0, atol=1e-9).sum() == size // 2
    assert numpy.abs(dense - numpy.diag(numpy.diag(dense))).max() > 0.01


def test_is_the_same_on_every_backend_and_undone_by_its_inverse(backend):
    flow = Chain(transport_layers((4, 4))[:3:2])  # one mask of sites, one of spins
    given = {"links": backend.asarray(gauge_field(Wilson((4, 4)), batch=(2,)))}
    params = {str(k): {name: backend.asarray(x) for name, x in PARAMS.items()} for k in range(len(flow.flows))}
    chi = spinor((2, 2, 8))

    def there_and_back(chi):
        phi, log_det = flow.forward(params, chi, given)
        return phi, log_det, *flow.inverse(params, phi, given)

    phi, log_det, back, minus = (backend.to_numpy(x) for x in backend.jit(there_and_back)(backend.asarray(chi)))
    numpy.testing.assert_allclose(back, chi, atol=1e-12)
    numpy.testing.assert_allclose(log_det + minus, 0.0, atol=1e-12)
    host, own = dict.fromkeys(params, PARAMS), {"links": backend.to_numpy(given["links"])}
    numpy.testing.assert_allclose(phi, flow.forward(host, chi, own)[0], atol=1e-12)


def test_follows_a_gauge_transformation():
    operator, host = Wilson((4, 4), 2), backends.get("numpy")
    form, field, chi = EvenOdd(operator), gauge_field(operator), spinor(operator.spinor_shape)
    sites = operator.group.haar(random.key(3, host), (2, 2, 4, 4))
    flow = Chain(transport_layers((4, 4), 2))
    params = dict.fromkeys(flow.init(random.key(0, host)), PARAMS)

    def turned(psi):
        return numpy.einsum("abxy,sbxy->saxy", sites, psi)

    plain, _ = flow.forward(params, form.split(chi).odd, {"links": field})
    moved = gauge_transform(field, sites, 2, operator.group)
    there, _ = flow.forward(params, form.split(turned(chi)).odd, {"links": moved})
    numpy.testing.assert_allclose(there, form.split(turned(form.merge(0 * plain, plain))).odd, atol=1e-12)


def test_a_model_of_pairs_from_a_file(tmp_path):
    model = loops_and_transport((4, 4), n=2, order=1)
    params = model.init(random.key(0, backends.get("numpy")))
    save_model(tmp_path / "pairs.safetensors", model, params)
    assert open_model(tmp_path / "pairs.safetensors").model == model


def test_wants_links_even_extents_and_a_mask():
    with pytest.raises(ValueError, match="even extents"):
        TransportCoupling((3, 4))
    for wrong in ({"kind": "colours"}, {"axis": 2}, {"part": 2}):
        with pytest.raises(ValueError, match="kind sites or spins, an axis of 2 and part 0 or 1"):
            TransportCoupling((4, 4), **wrong)
    flow = dataclasses.replace(TransportCoupling((4, 4)), start=(0.1, 0.0))
    with pytest.raises(ValueError, match="wants the gauge field"):
        flow.forward(PARAMS, spinor(flow.shape))
