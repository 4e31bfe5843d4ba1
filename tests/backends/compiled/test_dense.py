"""Compiled products, inverses and determinants of dense complex matrices against NumPy, where pivots are needed and where none exist."""

import numpy
import pytest

from haarflow.backends.compiled import vector

pytestmark = pytest.mark.skipif(not vector.is_present(), reason="compiled kernels need numba: haarflow[compiled]")

if vector.is_present():
    from haarflow.backends.compiled import dense_loops as loops


def matrices(size, count):
    parts = numpy.random.default_rng(size).normal(size=(2, count, size, size))
    return parts[0] + 1j * parts[1]


def in_rows(matrix):
    return numpy.stack([matrix.real, matrix.imag], axis=1).copy()


def entries(rows):
    return rows[:, 0] + 1j * rows[:, 1]


@pytest.mark.parametrize("size", [4, 8, 12])
def test_products(size):
    code, (a, b, c) = loops.bodies(size), matrices(size, 3)
    for multiply, body, added, left in (
        (loops.times, code.times, code.add_times, a),
        (loops.adjoint_times, code.adjoint_times, code.add_adjoint_times, a.conj().T),
    ):
        into = in_rows(c)
        multiply(added, into, in_rows(a), in_rows(b))
        numpy.testing.assert_allclose(entries(into), c + left @ b, rtol=0, atol=1e-13)
        multiply(body, into, in_rows(a), in_rows(b))
        numpy.testing.assert_allclose(entries(into), left @ b, rtol=0, atol=1e-13)


def without_diagonal(size):
    """A matrix of which no step of an elimination finds a pivot on the diagonal: a permutation, scaled and mixed a little."""
    shifted = numpy.roll(numpy.diag(numpy.linspace(1.0, 2.0, size) * numpy.exp(1j * numpy.arange(size))), 1, axis=0)
    return shifted


@pytest.mark.parametrize("make", [lambda size: matrices(size, 1)[0], without_diagonal], ids=["random", "permutation"])
@pytest.mark.parametrize("size", [4, 8, 12])
def test_inverses_and_determinants_with_pivots(size, make):
    matrix, step = make(size), loops.step_of(size)
    sign, exact = numpy.linalg.slogdet(matrix)
    found, room = in_rows(matrix), numpy.zeros((size, 2))
    for log_abs, phase in (
        loops.determinant(step, in_rows(matrix), room),
        loops.invert(step, found, room, numpy.zeros(size, dtype="int64")),
    ):
        assert abs(log_abs - exact) < 1e-13 and abs(phase - sign) < 1e-13
    numpy.testing.assert_allclose(entries(found) @ matrix, numpy.eye(size), rtol=0, atol=1e-12)


def test_a_singular_matrix_has_the_determinant_zero():
    matrix = in_rows(numpy.ones((4, 4)) + 0j)
    assert loops.determinant(loops.step_of(4), matrix, numpy.zeros((4, 2))) == (-numpy.inf, 0.0)
