"""The determinant's forms beyond their laws: large lattices, twins, derivatives as users take them, refusals."""

import math

import numpy
import pytest

from haarflow.theories.exact import free_fermions
from haarflow.theories.fermions.determinants import slices
from haarflow.theories.fermions.determinants.dense import by_matrix
from haarflow.theories.fermions.determinants.determinant import by_slices, forms_for, log_det, log_det_force
from haarflow.theories.fermions.wilson import Wilson
from tests.support.dirac_twins import dense, gauge_field, matrices_of

SQUARE = Wilson((4, 4))


def near_criticality(lattice, batch=(), seed=3):
    """Angles like those at beta 2: the spread of a plaquette is about one."""
    return numpy.random.default_rng(seed).normal(scale=0.5, size=(*batch, 2, *lattice))


def test_slices_agree_with_even_and_odd_sites_on_a_long_lattice(host):
    """At L = 24 a product of transfer matrices has lost half its digits."""
    operator, field = Wilson((24, 24)), near_criticality((24, 24))
    (one, sign), (two, other) = (log_det(operator, field, 0.276, form) for form in ("slices", "even-odd"))
    assert abs(one - two) < 1e-10 and sign == other


@pytest.mark.slow
def test_slices_agree_with_even_and_odd_sites_at_64(host):
    operator, field = Wilson((64, 64)), near_criticality((64, 64))
    (one, sign), (two, other) = (log_det(operator, field, 0.276, form) for form in ("slices", "even-odd"))
    assert abs(one - two) < 1e-10 and sign == other


def test_free_fermions_at_64(backend):
    if backend.name in ("standard", "jax"):
        pytest.skip("NumPy and PyTorch are quick enough")
    log_abs, sign = log_det(Wilson((64, 64)), backend.asarray(numpy.zeros((2, 64, 64))), 0.276)
    assert float(log_abs) == pytest.approx(free_fermions.log_det((64, 64), 0.276), abs=1e-9) and float(sign) == 1.0


@pytest.mark.parametrize("operator", [SQUARE, Wilson((3, 5)), Wilson((2, 3), n=2), Wilson((2, 1, 2, 2), n=2)])
def test_both_inversions_of_a_slice_are_the_same(operator, host):
    chain = slices.chain(operator.links(gauge_field(operator, batch=(2,))), 0.12, operator.d, operator.n)
    one, two = (slices.eliminate(chain, inversion, keep=True) for inversion in (slices.pivoted, slices.by_complement))
    numpy.testing.assert_allclose(one.log_abs, two.log_abs, rtol=0, atol=1e-12)
    rows = [slices.diagonals(found, chain, operator.lattice) for found in (one, two)]
    numpy.testing.assert_allclose(*rows, rtol=0, atol=1e-12)


def test_kappas_that_arrive_in_a_compiled_function_choose_the_inversion(backend, host):
    """Rings have an inverse in closed form below kappa = 1/2 alone, which an array says when it is there."""
    field = gauge_field(SQUARE, batch=(2,))
    found = backend.jit(lambda x, kappa: log_det(SQUARE, x, kappa, "slices")[0])
    for kappas in ([0.1, 0.276], [0.3, 0.7]):
        matrices = [SQUARE.matrix(SQUARE.prepare(field[i]), kappa) for i, kappa in enumerate(kappas)]
        exact = numpy.linalg.slogdet(numpy.stack(matrices))[1]
        value = backend.to_numpy(found(backend.asarray(field), backend.asarray(kappas)))
        assert numpy.allclose(value, exact, rtol=0, atol=1e-11)


@pytest.mark.parametrize("extent", [1, 2, 3, 8])
@pytest.mark.parametrize("kappa", [0.0, -0.1, 0.276, numpy.asarray([0.2, 0.49])])
def test_rings_are_inverted_in_closed_form(extent, kappa, host):
    operator = Wilson((3, extent))
    chain = slices.chain_of_rings(operator.links(gauge_field(operator, batch=(2,))), kappa)
    inverse, turned, log_det = chain.known
    numpy.testing.assert_allclose(inverse, numpy.linalg.inv(chain.w), rtol=0, atol=1e-12)
    numpy.testing.assert_allclose(turned, chain.n @ numpy.linalg.inv(chain.w), rtol=0, atol=1e-12)
    numpy.testing.assert_allclose(log_det, numpy.linalg.slogdet(chain.w)[1], rtol=0, atol=1e-12)


def test_the_determinant_is_that_of_the_operator_written_site_by_site(host):
    for operator in (SQUARE, Wilson((2, 3), n=3)):
        field = gauge_field(operator)
        _, exact = numpy.linalg.slogdet(dense(matrices_of(operator, field), 0.2))
        assert log_det(operator, field, 0.2)[0] == pytest.approx(exact, abs=1e-12)


def test_beyond_one_half_slices_are_inverted_with_pivots(host):
    """W of a slice is no longer positive there."""
    field = gauge_field(SQUARE, batch=(4,))
    for kappa in (0.5, 0.7):
        sign, exact = numpy.linalg.slogdet(SQUARE.matrix(SQUARE.prepare(field), kappa))
        found = log_det(SQUARE, field, kappa, "slices")
        numpy.testing.assert_allclose(found[0], exact, rtol=0, atol=1e-11)
        numpy.testing.assert_allclose(found[1], sign.real, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", forms_for(SQUARE))
def test_a_singular_operator_has_the_determinant_zero(form, host):
    """Periodic free fermions at kappa = 1/4, on an extent of two, where sums of hops are exact."""
    operator = Wilson((2, 2), antiperiodic=False)
    log_abs, sign = log_det(operator, numpy.zeros((2, 2, 2)), 0.25, form)
    assert log_abs < -30.0 and abs(sign) <= 1.0


def test_the_derivative_by_autodiff_is_the_force(autodiff_backend, generator):
    """As training takes it: a mean over a batch, kappa of each configuration, and a weight of the sign."""
    backend = autodiff_backend
    field, kappas = backend.asarray(generator.normal(size=(3, 2, 4, 4))), backend.asarray([0.1, 0.2, 0.276])

    def loss(x):
        log_abs, sign = log_det(SQUARE, x, kappas, "slices")
        return backend.xp.mean(-2.0 * log_abs * sign)

    _, gradient = backend.jit(backend.value_and_grad(loss))(field)
    host_field, host_kappas = backend.to_numpy(field), backend.to_numpy(kappas)
    sign = log_det(SQUARE, host_field, host_kappas)[1][:, None, None, None]
    exact = -2.0 / 3.0 * sign * log_det_force(SQUARE, host_field, host_kappas)
    numpy.testing.assert_allclose(backend.to_numpy(gradient), exact, rtol=0, atol=1e-13)


def test_the_derivative_through_the_elimination_is_the_force(autodiff_backend, generator):
    """The plain twin: autodiff of the forms themselves."""
    backend = autodiff_backend
    field = backend.asarray(generator.normal(size=(2, 2, 3, 4)))
    operator = Wilson((3, 4))

    def both(x):
        through = [
            backend.value_and_grad(lambda x, f=f: backend.xp.sum(f(operator, x, 0.2).log_abs))(x)[1]
            for f in (by_slices, by_matrix)
        ]
        return through

    one, two = map(backend.to_numpy, backend.jit(both)(field))
    exact = log_det_force(operator, backend.to_numpy(field), 0.2)
    numpy.testing.assert_allclose(one, exact, rtol=0, atol=1e-12)
    numpy.testing.assert_allclose(two, exact, rtol=0, atol=1e-12)


def test_the_cheapest_form_comes_first():
    assert forms_for(Wilson((16, 16)))[0] == "slices" and forms_for(Wilson((2, 64)))[0] == "even-odd"
    assert "even-odd" not in forms_for(Wilson((3, 4)))


def test_a_form_that_an_operator_lacks_is_refused(host):
    with pytest.raises(ValueError, match="has the forms auto, slices, dense, got 'even-odd'"):
        log_det(Wilson((5, 3)), numpy.zeros((2, 5, 3)), 0.1, "even-odd")


def test_several_batch_axes_and_none(host, generator):
    field = generator.normal(size=(2, 3, 2, 4, 4))
    together, alone = log_det(SQUARE, field, 0.2)[0], log_det(SQUARE, field[1, 2], 0.2)[0]
    assert together.shape == (2, 3) and alone.shape == () and together[1, 2] == pytest.approx(float(alone), abs=1e-13)
    assert math.isfinite(alone)
