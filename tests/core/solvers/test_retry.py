"""The retry inside compiled functions: a dense matrix where steps do not suffice, NaN where nothing does, one sentence for it."""

import numpy
import pytest

from haarflow.core.solvers.cg import cg
from haarflow.core.solvers.dense import dense
from haarflow.core.solvers.retry import check_solved, no_solves, record, retried, together
from haarflow.core.solvers.solution import RETRY, Unconverged

STIFF = numpy.geomspace(1.0, 1e4, 12)


def system(backend):
    """Two configurations, an easy one and one with twelve eigenvalues."""
    diagonal = backend.asarray(numpy.stack([numpy.ones(12), STIFF]))
    return (lambda x: diagonal * x), backend.asarray(numpy.ones((2, 12)))


def attempts(apply, b, tolerance=1e-10):
    return (lambda steps: cg(apply, b, tolerance, steps, 1)), (lambda: dense(apply, b, tolerance, 1))


def test_a_dense_matrix_completes_what_steps_have_not(backend):
    def solved(b):
        return retried(*_first(attempts(system(backend)[0], b)))

    def _first(pair):
        return pair[0], 1, pair[1]

    solution = backend.jit(solved)(system(backend)[1])
    x, converged = backend.to_numpy(solution.x), backend.to_numpy(solution.converged)
    assert converged.all() and numpy.allclose(x, 1.0 / numpy.stack([numpy.ones(12), STIFF]), rtol=1e-8)
    assert backend.to_numpy(solution.steps)[0] == 1


def test_what_has_not_converged_is_no_number(backend):
    apply, b = system(backend)
    solution = retried(attempts(apply, b)[0], 1)
    converged, x = backend.to_numpy(solution.converged), backend.to_numpy(solution.x)
    assert converged.tolist() == [True, False]
    assert numpy.isfinite(x[0]).all() and numpy.isnan(x[1]).all()
    assert backend.to_numpy(solution.steps)[1] == RETRY


def test_a_record_keeps_the_worst(host):
    apply, b = system(host)
    bad, good = (record(retried(attempts(apply, b)[0], steps)) for steps in (1, 100))
    both = together(together(good, bad), no_solves(good.residual))
    assert both.converged.tolist() == [True, False]
    assert both.residual[1] == bad.residual[1] > 1e-3 and (both.steps == bad.steps + good.steps).all()
    with pytest.raises(
        Unconverged, match=r"at kappa = 3 a solve of chain 1, draw 5, has not converged.*residual of \d"
    ):
        check_solved({name: value[None] for name, value in both._asdict().items()}, "kappa = 3", 5)
    check_solved({name: value[None] for name, value in good._asdict().items()}, "kappa = 3")
