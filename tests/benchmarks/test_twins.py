"""The hand-written twins that speed is measured against give the library's numbers: a fast wrong answer is refused."""

import numpy
import pytest

from haarflow import backends
from haarflow.benchmarks.studies import coupling_sun, flow_speed
from haarflow.core import random
from haarflow.flows.sun.architectures import trivialising


@pytest.mark.slow
@pytest.mark.parametrize("name", ["phi4", "u1"])
def test_twins_give_the_same_field_log_determinant_and_gradient(name):
    pytest.importorskip("torch")
    backend = backends.get("jax")
    model, theory = flow_speed.definition(name)
    flow_speed.check(name, model, theory, model.init(random.key(1, backend)), backend)


@pytest.mark.parametrize(("n", "lattice"), [(2, (2, 4)), (3, (4, 2)), (3, (2, 2, 2, 2))])
def test_the_twin_of_the_couplings_gives_the_same_links_and_log_determinant(n, lattice):
    pytest.importorskip("torch")
    from haarflow.benchmarks.twins import coupling_sun_torch

    backend, d = backends.numpy, len(lattice)
    model = trivialising(lattice, n, steps=2, beta=4.0)
    params, x = model.init(random.key(1, backend)), model.prior.sample(random.key(2, backend), 3)
    shaken = {place: {"rho": 0.1 * random.normal(random.key(int(place), backend), (2, d - 1, 1))} for place in params}
    y, log_det = model.flow.forward(shaken, x)
    links = coupling_sun.matrices_last(x, d)
    y_twin, log_twin = coupling_sun_torch.flow(coupling_sun.layers(shaken, lattice), links)
    assert numpy.abs(coupling_sun.matrices_last(y, d).numpy() - y_twin.detach().numpy()).max() < 1e-10
    assert numpy.abs(log_det - log_twin.detach().numpy()).max() < 1e-10
    assert numpy.abs(log_det).min() > 0.01


def test_the_qcd_twin_gives_the_librarys_solves_and_forces():
    pytest.importorskip("torch")
    from haarflow.backends import numpy as backend
    from haarflow.benchmarks.studies.qcd_hmc import matrices_last
    from haarflow.benchmarks.twins import qcd_torch
    from haarflow.theories.fermions.pseudofermions import pseudofermion
    from haarflow.theories.fermions.wilson import Wilson

    operator, kappa, accuracy = Wilson((2, 2, 2, 4), 3), 0.12, pseudofermion.Accuracy(1e-12, 500)
    field = operator.group.haar(random.key(1, backend), (2, *operator.field_shape), "float64")
    gauge = pseudofermion.background(operator, field)
    phi = pseudofermion.noise(gauge.form, random.key(2, backend), (2,), "float64")

    def spinor(packed):
        return matrices_last(gauge.form.merge(0 * packed, packed).swapaxes(1, 2), 2, 4)

    links, factor = matrices_last(operator.links(field), 2, 4), pseudofermion.Factor(kappa)
    for carry in (qcd_torch.by_matmul, qcd_torch.by_einsum):
        x, _ = qcd_torch.solve(links, kappa, spinor(phi), 1e-12, carry)
        wanted, _ = pseudofermion.solve(gauge, kappa, phi, accuracy)
        assert numpy.allclose(x, spinor(wanted), rtol=0, atol=1e-11)
    force, _ = qcd_torch.force(links, kappa, spinor(phi), 1e-12, qcd_torch.by_matmul)
    algebra = operator.group.algebra(pseudofermion.force(gauge, factor, phi, accuracy)[0])
    assert numpy.allclose(force, 1j * matrices_last(algebra, 2, 4), rtol=0, atol=1e-10)
