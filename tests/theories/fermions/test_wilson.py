"""Wilson's operator against the sum over sites written out, exact determinants and differences."""

import numpy as np
import pytest

from haarflow.core.laws.law import at_once
from haarflow.theories.fermions.wilson import Wilson
from tests.support import dirac_twins

OPERATORS = {
    "U1_2d": Wilson((4, 3)),
    "SU2_2d": Wilson((3, 2), n=2),
    "SU3_4d": Wilson((3, 2, 1, 2), n=3),
    "periodic": Wilson((3, 4), antiperiodic=False),
}


@pytest.fixture(params=OPERATORS)
def operator(request):
    return OPERATORS[request.param]


def dense(operator, field, kappa):
    return dirac_twins.dense(dirac_twins.matrices_of(operator, field), kappa, operator.antiperiodic)


def applied(operator, field, psi):
    """D psi, D^+ psi and H psi of one program."""
    links = operator.prepare(field)
    return operator.apply(links, 0.13, psi), operator.adjoint(links, 0.13, psi), operator.hop(links, psi)


def test_products_are_those_of_the_dense_operator(backend, operator):
    field, psi = dirac_twins.gauge_field(operator), dirac_twins.spinor(operator.spinor_shape)
    found = at_once(lambda *x: applied(operator, *x), backend.asarray(field), backend.asarray(psi))
    matrix, flat = dense(operator, field, 0.13), psi.reshape(-1)
    for result, wanted in zip(
        found, (matrix @ flat, matrix.conj().T @ flat, (flat - matrix @ flat) / 0.13), strict=True
    ):
        assert np.allclose(backend.to_numpy(result).reshape(-1), wanted, rtol=0, atol=1e-12)


def test_dense_matrix_and_batches(backend, operator):
    fields = dirac_twins.gauge_field(operator, batch=(2,))
    kappa = np.asarray([0.1, 0.2])
    found = at_once(
        lambda field, kappa: operator.matrix(operator.prepare(field), kappa),
        backend.asarray(fields),
        backend.asarray(kappa),
    )
    for matrix, field, value in zip(backend.to_numpy(found), fields, kappa, strict=True):
        assert np.allclose(matrix, dense(operator, field, value), rtol=0, atol=1e-14)


def test_single_precision(backend):
    operator = OPERATORS["SU3_4d"]
    field, psi = dirac_twins.gauge_field(operator), dirac_twins.spinor(operator.spinor_shape)
    single = [backend.asarray(x, dtype="complex64") for x in (field, psi)]
    found = backend.to_numpy(at_once(lambda *x: applied(operator, *x)[0], *single))
    assert found.dtype == np.complex64
    assert np.allclose(found.reshape(-1), dense(operator, field, 0.13) @ psi.reshape(-1), rtol=0, atol=3e-5)


@pytest.mark.parametrize(
    "lattice, kappa, exact",
    [((4, 4), 0.276, 2.249173177239), ((8, 8), 0.2, 1.220303533172), ((2, 4, 2, 2), 0.1, None)],
)
def test_free_determinant_is_the_product_over_momenta(lattice, kappa, exact):
    operator = Wilson(lattice)
    matrix = operator.matrix(operator.prepare(np.zeros(operator.field_shape)), kappa)
    product = dirac_twins.log_det_of_free_fermions(lattice, kappa)
    assert np.linalg.slogdet(matrix)[1] == pytest.approx(product, abs=1e-10)
    assert exact is None or product == pytest.approx(exact, abs=1e-11)


def test_bilinear_is_the_derivative_along_the_group(backend, operator):
    """Central differences of fourth order, h = 1e-3: the error is of order 1e-12, the rounding 1e-16/h of the sums."""
    field = dirac_twins.gauge_field(operator)
    x, y = (dirac_twins.spinor(operator.spinor_shape, seed) for seed in (3, 4))
    arrays = [backend.asarray(value) for value in (field, x, y)]
    found = backend.to_numpy(at_once(operator.hop_force, *arrays))
    direction = np.random.default_rng(5).normal(size=found.shape)

    def bilinear(step):
        moved = operator.group.update(field, step * direction)
        return 2 * np.vdot(x, operator.hop(operator.prepare(moved), y)).real

    difference = (8 * (bilinear(1e-3) - bilinear(-1e-3)) - bilinear(2e-3) + bilinear(-2e-3)) / 12e-3
    assert np.sum(found * direction) == pytest.approx(difference, abs=1e-8)


def test_autodiff_agrees_with_the_bilinear(autodiff_backend):
    backend, operator = autodiff_backend, OPERATORS["U1_2d"]
    field = backend.asarray(dirac_twins.gauge_field(operator))
    x, y = (backend.asarray(dirac_twins.spinor(operator.spinor_shape, seed)) for seed in (3, 4))

    def bilinear(field):
        hopped = operator.hop(operator.prepare(field), y)
        return 2 * backend.xp.sum(backend.xp.real(backend.xp.conj(x) * hopped))

    gradient = at_once(lambda field: backend.value_and_grad(bilinear)(field)[1], field)
    assert np.allclose(backend.to_numpy(gradient), backend.to_numpy(operator.hop_force(field, x, y)), atol=1e-12)


def test_bad_input_is_refused():
    operator = Wilson((4, 4))
    links = operator.prepare(np.zeros((2, 4, 4)))
    with pytest.raises(ValueError, match=r"a spinor field has the last axes \(2, 4, 4\), got the shape \(4, 4, 4\)"):
        operator.hop(links, np.zeros((4, 4, 4)) + 0j)
    with pytest.raises(ValueError, match=r"a gauge field has the last axes"):
        operator.prepare(np.zeros((3, 4, 4)))
    with pytest.raises(ValueError, match="gamma matrices in 2 and 4 dimensions, got d = 3"):
        Wilson((4, 4, 4))
    with pytest.raises(ValueError, match="n = 1 for U"):
        Wilson((4, 4), n=0)
