"""The compiled elimination of time slices against dense matrices and its array twin: lattices, batches, engines, derivatives."""

from dataclasses import replace

import numpy
import pytest

from haarflow.backends.compiled import vector
from haarflow.core.acceleration import accelerated
from haarflow.theories.fermions.action import Fermions
from haarflow.theories.fermions.determinants.determinant import by_slices, log_det, log_det_force
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.models.schwinger import Schwinger
from tests.support.dirac_twins import gauge_field

pytestmark = pytest.mark.skipif(not vector.is_present(), reason="compiled kernels need numba: haarflow[compiled]")

SQUARE = Wilson((4, 4))
KAPPAS = numpy.asarray([0.0, -0.1, 0.276, 0.44])


def never(*given):
    raise AssertionError("array code was asked for")


def kernel_alone(operator):
    """The operator whose determinant comes from the kernel or not at all."""
    inner = accelerated(operator).elimination
    return replace(operator, elimination=lambda twin, *given: inner(never, *given))


@pytest.mark.parametrize("antiperiodic", [True, False])
@pytest.mark.parametrize("lattice", [(4, 4), (3, 5), (2, 2), (1, 3), (4, 1), (1, 1), (5, 2), (2, 12)])
def test_value_sign_and_force_are_those_of_the_dense_matrix(lattice, antiperiodic, host):
    operator = Wilson(lattice, antiperiodic=antiperiodic)
    field = gauge_field(operator, batch=(4,))
    found, exact = log_det(kernel_alone(operator), field, KAPPAS, "slices"), log_det(operator, field, KAPPAS, "dense")
    numpy.testing.assert_allclose(found, exact, rtol=0, atol=1e-12)
    forces = [
        log_det_force(one, field, KAPPAS, form)
        for one, form in ((kernel_alone(operator), "slices"), (operator, "dense"))
    ]
    numpy.testing.assert_allclose(*forces, rtol=0, atol=1e-10)


def test_batches_of_any_shape(host):
    field, fast = gauge_field(SQUARE, batch=(2, 3)), kernel_alone(SQUARE)
    every = log_det(fast, field, 0.2, "slices")[0]
    assert every.shape == (2, 3) and log_det(fast, field[:0], 0.2, "slices")[0].shape == (0, 3)
    assert float(log_det(fast, field[1, 2], 0.2, "slices")[0]) == every[1, 2]
    assert numpy.array_equal(log_det(fast, field[:, ::2], numpy.full((2, 2), 0.2), "slices")[0], every[:, ::2])


def test_a_singular_operator_has_the_determinant_zero(host):
    """Periodic free fermions at kappa = 1/4: sums of hops are exact on an extent of two."""
    log_abs, sign = log_det(kernel_alone(Wilson((2, 2), antiperiodic=False)), numpy.zeros((2, 2, 2)), 0.25, "slices")
    assert log_abs < -30.0 and abs(sign) <= 1.0


def test_other_precisions_and_long_slices_are_left_to_array_code(host):
    fast, field = kernel_alone(SQUARE), gauge_field(SQUARE, batch=(2,))
    with pytest.raises(AssertionError, match="asked for"):
        log_det(fast, field.astype("float32"), 0.2, "slices")
    with pytest.raises(AssertionError, match="asked for"):
        log_det(kernel_alone(Wilson((1, 33))), numpy.zeros((2, 1, 33)), 0.2, "slices")
    single = log_det(accelerated(SQUARE), field.astype("float32"), 0.2, "slices")[0]
    assert single.dtype == numpy.float32 and numpy.allclose(single, log_det(SQUARE, field, 0.2)[0], atol=1e-4)


def test_other_engines_are_served_and_differentiated(autodiff_backend):
    """By the force that the kernel writes, and, where somebody differentiates the elimination itself, by its array twin."""
    backend, fast = autodiff_backend, accelerated(SQUARE)
    field = gauge_field(SQUARE, batch=(8,))

    def both(x):
        value, slope = backend.value_and_grad(lambda x: backend.xp.sum(log_det(fast, x, 0.276, "slices")[0]))(x)
        through = backend.value_and_grad(lambda x: backend.xp.sum(by_slices(fast, x, 0.276).log_abs))(x)[1]
        return value, slope, through

    value, *slopes = map(backend.to_numpy, backend.jit(both)(backend.asarray(field)))
    assert float(value) == pytest.approx(float(log_det(SQUARE, field, 0.276)[0].sum()), abs=1e-11)
    for slope in slopes:
        numpy.testing.assert_allclose(slope, log_det_force(SQUARE, field, 0.276, "dense"), rtol=0, atol=1e-10)


def test_theories_with_a_determinant_take_part(host):
    """The term stays what it was, since pseudofermions look for it among the terms."""
    theory = Schwinger((4, 4), flavours=2)
    assert accelerated(theory).terms == theory.terms and isinstance(accelerated(theory.fermions), Fermions)
    assert accelerated(theory.fermions).operator == accelerated(theory.operator)
