"""What becomes of a solve that has not converged, and of one that is retried."""

import numpy
import pytest

from haarflow.core.solvers.cg import cg
from haarflow.core.solvers.dense import dense, fits, matrix
from haarflow.core.solvers.solution import RETRY, Solution, Unconverged, persistent, require

SPECTRUM = 10.0 ** numpy.linspace(-3, 0, 12)


def diagonal(backend, scale=1.0):
    values = backend.asarray(scale * SPECTRUM)
    return lambda x: values * x


def test_require_returns_what_has_converged(backend):
    x = backend.asarray(numpy.ones((2, 3)))
    parts = [backend.asarray(numpy.asarray(part)) for part in ([True, True], [1e-11, 0.0], [3, 1])]
    assert require(Solution(x, *parts), "a force") is x


def test_the_worst_configuration_is_named_even_if_its_residual_is_not_a_number(host):
    residual = numpy.asarray([[0.1, numpy.nan], [0.2, 1e-12]])
    solution = Solution(numpy.ones((2, 2, 3)), residual < 1e-10, residual, numpy.asarray([[7, 9], [8, 5]]))
    with pytest.raises(
        Unconverged, match=r"the force at kappa = 0.3: configuration \(0, 1\) reached .* nan after 9 steps"
    ):
        require(solution, "the force at kappa = 0.3")
    with pytest.raises(Unconverged, match="3 of 4 have not converged"):
        require(solution, "the force")


def test_a_solve_is_retried_once_with_more_steps(host):
    budgets, b = [], numpy.ones((2, 12))

    def solve(steps):
        budgets.append(steps)
        return cg(diagonal(host), b, 1e-10, steps, batch_axes=1)

    solution = persistent(solve, 5, "a small system")
    assert budgets == [5, 5 * RETRY] and solution.converged.all()
    numpy.testing.assert_allclose(solution.x, b / SPECTRUM, rtol=1e-6)


def test_a_configuration_that_has_converged_keeps_its_numbers(host):
    b = numpy.stack([numpy.eye(12)[3], numpy.ones(12)])

    def solve(steps):
        found = cg(diagonal(host), b, 1e-10, steps, batch_axes=1)
        return found if steps == 4 else found._replace(x=-found.x)

    solution = persistent(solve, 4, "a small system")
    assert solution.x[0, 3] > 0 and (solution.x[1] < 0).all() and solution.steps[0] == 1


def test_the_last_resort_is_the_dense_matrix_and_after_it_the_run_stops(host):
    b = numpy.ones((2, 12))
    apply, budgets = diagonal(host), []

    def solve(steps):
        budgets.append(steps)
        return cg(apply, b, 1e-10, 1, batch_axes=1)

    solution = persistent(solve, 1, "a small system", lambda: dense(apply, b, batch_axes=1))
    assert len(budgets) == 2 and solution.converged.all()
    numpy.testing.assert_allclose(solution.x, b / SPECTRUM, rtol=1e-9)
    with pytest.raises(Unconverged, match=r"a small system: configuration 0 .* after 1 steps, and 2 of 2"):
        persistent(solve, 1, "a small system")


def test_a_matrix_is_that_of_the_map(backend, generator):
    a = generator.standard_normal((3, 4, 4)) + 1j * generator.standard_normal((3, 4, 4))
    ours = backend.asarray(a)
    xp = backend.xp
    found = matrix(
        lambda x: xp.reshape(xp.matmul(ours, xp.reshape(x, (3, 4, 1))), (3, 2, 2)),
        backend.asarray(numpy.zeros((3, 2, 2)) + 0j),
        1,
    )
    numpy.testing.assert_array_equal(backend.to_numpy(found), a)


def test_matrices_that_do_not_fit_are_refused(host):
    assert fits(numpy.zeros((1, 1000)), 1) and not fits(numpy.zeros((100, 1000)), 1)
    with pytest.raises(ValueError, match="matrices of 1000 x 1000 for each configuration exceed 1 GiB: solve by cg"):
        dense(lambda x: x, numpy.ones((100, 1000)), batch_axes=1)
