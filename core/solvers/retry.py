"""The retry of a solve inside a compiled function: more steps, then a dense matrix, and no number where both have failed.

`persistent` does the same on the host and raises; a trajectory cannot, so it carries a record of its solves, and whoever has
the numbers on the host raises for it (`check_solved`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.solvers.solution import RETRY, OutsideInterval, Solution, Unconverged, completed


class Solves(NamedTuple):
    """The record of several solves, of the batch's shape: whether all have converged, the largest residual, all steps."""

    converged: Array
    residual: Array
    steps: Array


def retried(solve: Callable[[int], Solution], max_steps: int, dense: Callable[[], Solution] | None = None) -> Solution:
    """Return the solution of `solve(steps)` with max_steps steps and, in the one retry, RETRY times as many, that is of the
    latter at once, for a solver only takes the steps that it needs; where it has not converged, of `dense()`, which is called
    only then. What has not converged even so is NaN.

    >>> import numpy as np
    >>> from haarflow.core.solvers.cg import cg
    >>> a, b = np.diag([1.0, 10.0, 100.0]), np.ones((1, 3))
    >>> retried(lambda steps: cg(lambda x: x @ a, b, 1e-12, steps, 1), 1).steps.tolist()
    [3]
    """
    first = solution = solve(RETRY * max_steps)
    if dense is not None:
        # a branch: of a loop, a compiler would compute beforehand what does not change in it
        done = array_namespace(first.x).all(first.converged)
        solution = backends.of(first.x).cond(done, lambda: first, lambda: completed(first, dense()))
    xp, x = array_namespace(solution.x), solution.x
    known = xp.reshape(solution.converged, (*solution.converged.shape, *(1,) * (x.ndim - solution.converged.ndim)))
    return solution._replace(x=xp.where(known, x, float("nan") * xp.ones_like(x)))


def record(solution: Solution) -> Solves:
    """Return the record of one solve."""
    return Solves(solution.converged, solution.residual, solution.steps)


def together(first: Solves, second: Solves) -> Solves:
    """Return the record of both, one after the other: the residual is the largest, or that of the first failure.

    >>> import numpy as np
    >>> one = Solves(np.asarray([True]), np.asarray([1e-9]), np.asarray([7]))
    >>> together(one, one).steps.tolist()
    [14]
    """
    xp = array_namespace(first.residual)
    larger = xp.maximum(first.residual, second.residual)
    residual = xp.where(first.converged, larger, first.residual)  # after a failure there are no more numbers
    return Solves(first.converged & second.converged, residual, first.steps + second.steps)


def no_solves(like: Array) -> Solves:
    """Return the record of no solve at all, for residuals of the type and shape of `like`, `(*batch,)`."""
    xp = array_namespace(like)
    none = xp.zeros_like(like)
    return Solves(none == none, none, xp.astype(none, xp.int32))


def check_solved(info: Any, at: str, first: int = 0) -> None:
    """Raise Unconverged where the info of a chain's draws, with leaves `(draw, *batch)`, has solves that have not converged.

    `at` names the parameters in the message, `first` is the number of the first draw. It reads numbers on the host.

    >>> import numpy as np
    >>> info = {"converged": np.asarray([[True, False]]), "residual": np.asarray([[1e-9, 0.02]])}
    >>> check_solved(info, "kappa = 0.4", first=10)
    Traceback (most recent call last):
        ...
    haarflow.core.solvers.solution.Unconverged: at kappa = 0.4 a solve of chain 1, draw 10, has not converged: it reached a \
relative residual of 2.0e-02. The run stops, for to go on would bias the ensemble; allow more steps, a larger tolerance or a \
smaller kappa
    """
    where, residual = _failure(info, "converged", "residual", first)
    if not where:
        return
    raise Unconverged(
        f"at {at} a solve{where}, has not converged: it reached a relative residual of {residual:.1e}. "
        "The run stops, for to go on would bias the ensemble; allow more steps, a larger tolerance or a smaller kappa"
    )


def check_held(info: Any, at: str, first: int = 0) -> None:
    """Raise OutsideInterval where the info of a chain's draws says by `held` that a spectrum has left the interval of a
    rational approximation; `lowest` is the smallest eigenvalue. Arguments as for `check_solved`.

    >>> import numpy as np
    >>> check_held({"held": np.asarray([True, False]), "lowest": np.asarray([0.1, 3e-6])}, "kappa = 0.27")
    Traceback (most recent call last):
        ...
    haarflow.core.solvers.solution.OutsideInterval: at kappa = 0.27 the smallest eigenvalue, draw 1, may be as small as \
3.0e-06 of the largest possible one, below the interval of the rational approximation. The run stops, for the weight is not \
accurate there; set a smaller lowest, with more poles, or a smaller kappa
    """
    where, value = _failure(info, "held", "lowest", first)
    if not where:
        return
    raise OutsideInterval(
        f"at {at} the smallest eigenvalue{where}, may be as small as {value:.1e} of the largest possible one, "
        "below the interval of the rational approximation. The run stops, for the weight is not accurate there; set a smaller "
        "lowest, with more poles, or a smaller kappa"
    )


def _failure(info: Any, flag: str, number: str, first: int) -> tuple[str, float]:
    """The first place (draw, *chain) where a flag is down, in words, and the number there; no words where there is none.

    A flag is a share where several steps are one draw.
    """
    host = backends.of(info[number]).to_numpy
    failed = host(info[flag]) < 1
    if not failed.any():
        return "", 0.0
    place = tuple(int(index[0]) for index in failed.nonzero())
    draw, *chain = place
    named = f" of chain {', '.join(map(str, chain))}" if chain else ""
    return f"{named}, draw {first + draw}", float(host(info[number])[place])
