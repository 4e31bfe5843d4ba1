"""Conjugate gradients, their stabilised, shifted and mixed forms: exact cases, steps, refusals."""

import numpy
import pytest

from haarflow import backends
from haarflow.core.solvers.bicgstab import bicgstab
from haarflow.core.solvers.cg import cg
from haarflow.core.solvers.mixed import mixed
from haarflow.core.solvers.multishift import multishift

SOLVERS = (cg, bicgstab)


@pytest.mark.parametrize("solver", SOLVERS)
def test_as_many_steps_as_different_eigenvalues(solver, backend):
    """The Krylov space is exhausted; every configuration stops by itself."""
    values = backend.asarray(numpy.asarray([[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]]))
    b = backend.asarray(numpy.ones((3, 4)) * (1 + 1j))
    solve = backend.jit(lambda a, b: solver(lambda x: a * x, b, 1e-12, 50, batch_axes=1))
    found = solve(values + 0j * values, b)
    assert backend.to_numpy(found.steps).tolist() == [1, 2, 4]
    numpy.testing.assert_allclose(backend.to_numpy(found.x), (1 + 1j) / backend.to_numpy(values), rtol=1e-11)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_guess_that_is_the_solution_takes_no_step(solver, host):
    b = numpy.asarray([[2.0, 4.0], [1.0, 1.0]])
    found = solver(lambda x: 2.0 * x, b, batch_axes=1, start=0.5 * b)
    assert found.steps.tolist() == [0, 0] and found.converged.all() and (found.x == 0.5 * b).all()


@pytest.mark.parametrize("solver", SOLVERS)
def test_without_batch_axes_all_is_one_system(solver, host):
    found = solver(lambda x: numpy.asarray([[1.0, 2.0], [3.0, 4.0]]) * x, numpy.ones((2, 2)))
    assert found.residual.shape == found.steps.shape == () and found.converged and found.steps == 4


def test_a_right_hand_side_of_zero_has_the_solution_zero(backend):
    found = backend.jit(lambda b: cg(lambda x: 3.0 * x, b, batch_axes=1))(backend.asarray(numpy.zeros((2, 3))))
    assert not backend.to_numpy(found.x).any() and backend.to_numpy(found.converged).all()
    assert not backend.to_numpy(found.steps).any() and not backend.to_numpy(found.residual).any()


@pytest.mark.parametrize("map_of", [lambda x: 0.0 * x, lambda x: x * numpy.asarray([1.0, -1.0])])
def test_a_map_that_is_not_positive_is_not_solved_by_cg(map_of, host):
    found = cg(map_of, numpy.ones(2))
    assert not found.converged and found.residual > 0.5 and found.steps < 5


def test_bicgstab_solves_a_map_that_is_neither_symmetric_nor_positive(host, generator):
    a = -3.0 * numpy.eye(8) + 0.5 * generator.standard_normal((8, 8))
    found = bicgstab(lambda x: a @ x, numpy.ones(8), 1e-12)
    numpy.testing.assert_allclose(found.x, numpy.linalg.solve(a, numpy.ones(8)), rtol=1e-10)


def test_single_precision_stays_single():
    single = backends.get("numpy", dtype="float32")
    found = cg(lambda x: x * single.asarray([1.0, 2.0, 3.0]), single.asarray(numpy.ones(3)), 1e-6)
    assert found.x.dtype == found.residual.dtype == numpy.float32 and found.converged


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scales_beyond_the_square_root_of_single_precision(scale):
    single = backends.get("numpy", dtype="float32")
    found = cg(lambda x: x * single.asarray([1.0, 2.0]), single.asarray(scale * numpy.ones(2)), 1e-6)
    assert found.converged and found.steps == 2
    numpy.testing.assert_allclose(found.x / scale, [1.0, 0.5], rtol=1e-5)


def test_shifts_come_in_the_order_given_and_share_the_products(host):
    calls = []

    def apply(x):
        calls.append(1)
        return values * x

    values, shifts = numpy.linspace(0.1, 1.0, 10), (1.0, 0.0, 0.1)
    found = multishift(apply, numpy.ones(10), shifts, 1e-10)
    for x, shift in zip(found.x, shifts, strict=True):
        numpy.testing.assert_allclose(x, 1.0 / (values + shift), rtol=1e-8)
    assert (
        found.converged.all()
        and found.steps[1] == max(found.steps)
        and len(calls) <= max(found.steps) + 2 * len(shifts)
    )


def test_negative_shifts_where_the_map_stays_positive(host):
    found = multishift(lambda x: numpy.asarray([1.0, 2.0]) * x, numpy.ones(2), (-0.5, 0.0))
    numpy.testing.assert_allclose(found.x, [[2.0, 2.0 / 3.0], [1.0, 0.5]], rtol=1e-10)


def test_mixed_precision_reaches_double_by_products_in_single(host):
    values, seen = numpy.geomspace(0.05, 1.0, 20), []

    def single(x):
        seen.append(x.dtype)
        return values.astype("float32") * x

    found = mixed(lambda x: values * x, single, numpy.ones(20), 1e-13)
    numpy.testing.assert_allclose(found.x, 1.0 / values, rtol=1e-11)
    assert found.converged and set(seen) == {numpy.dtype("float32")} and found.steps == len(seen)


def test_mixed_precision_says_where_it_gains_nothing(host):
    values = numpy.geomspace(1e-12, 1.0, 20)
    found = mixed(lambda x: values * x, lambda x: values.astype("float32") * x, numpy.ones(20), 1e-13, max_steps=200)
    assert not found.converged


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cg(lambda x: x, numpy.ones(2), tolerance=0.0), "a tolerance > 0"),
        (lambda: cg(lambda x: x, numpy.ones(2), max_steps=0), "max_steps >= 1"),
        (lambda: cg(lambda x: x, numpy.ones(2), batch_axes=2), "leading batch axes of b, got 2"),
        (lambda: cg(lambda x: x, numpy.ones(2, dtype=int)), "floating numbers, got int64"),
        (lambda: cg(lambda x: x[:1], numpy.ones(2)), r"a map of fields \(2,\) to themselves, got one to \(1,\)"),
        (lambda: multishift(lambda x: x, numpy.ones(2), ()), "at least one shift"),
        (lambda: multishift(lambda x: x, numpy.ones(2), (1.0,), tolerance=-1.0), "a tolerance > 0"),
        (lambda: mixed(lambda x: x, lambda x: x, numpy.ones(2, dtype="float32")), "b in double precision, got float32"),
    ],
)
def test_wrong_settings_are_refused(call, message, host):
    with pytest.raises(ValueError, match=message):
        call()
