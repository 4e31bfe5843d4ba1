"""What a solver returns, and what becomes of a solve that has not converged: it never becomes a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array

RETRY = 4  # times as many steps in the one retry


class Unconverged(ArithmeticError):
    """A solve has not converged; the message names the configuration, the residual reached and the steps taken."""


class OutsideInterval(Unconverged):
    """The spectrum of a map leaves the interval of its rational approximation, which is then no more accurate than a solve that
    has not converged; the message names the configuration and its smallest eigenvalue.
    """


class Solution(NamedTuple):
    """The result of a solve of A x = b.

    `x (*batch, *inner)`; `converged`, `residual` and `steps` `(*batch,)`. The residual |b - A x| / |b| is computed from the
    map after the last step, not carried along; converged means that it is at most the tolerance. Several shifts are a first
    axis of all four.
    """

    x: Array
    converged: Array
    residual: Array
    steps: Array


def require(solution: Solution, what: str) -> Array:
    """Return x where every configuration has converged, or raise Unconverged that names the worst one.

    This reads the numbers on the host and belongs outside of compiled functions; `what` says what was solved for.

    >>> import numpy as np
    >>> done = Solution(np.ones(2), np.asarray([True, False]), np.asarray([1e-12, 0.5]), np.asarray([3, 9]))
    >>> require(done, "the force at kappa = 0.3")
    Traceback (most recent call last):
        ...
    haarflow.core.solvers.solution.Unconverged: the force at kappa = 0.3: configuration 1 reached a relative residual of 5.0e-01 \
after 9 steps, and 1 of 2 have not converged: allow more steps, a larger tolerance or a smaller kappa
    """
    host = backends.of(solution.residual).to_numpy
    converged, residual, steps = (numpy.asarray(host(part)) for part in solution[1:])
    if converged.all():
        return solution.x
    worst = numpy.where(converged, -1.0, numpy.where(numpy.isnan(residual), numpy.inf, residual)).argmax()
    place = [int(index) for index in numpy.unravel_index(worst, residual.shape)]
    named = f"configuration {place[0] if len(place) == 1 else tuple(place)}" if place else "the configuration"
    raise Unconverged(
        f"{what}: {named} reached a relative residual of {residual.flat[worst]:.1e} after {steps.flat[worst]} steps, and "
        f"{int((~converged).sum())} of {converged.size} have not converged: allow more steps, a larger tolerance or a smaller "
        "kappa"
    )


def persistent(
    solve: Callable[[int], Solution], max_steps: int, what: str, dense: Callable[[], Solution] | None = None
) -> Solution:
    """Return a solution in which every configuration has converged, after one retry if need be, or raise Unconverged.

    `solve(max_steps)` is tried, then once more with RETRY times as many steps, then `dense()`, where a dense matrix fits.
    A configuration that has converged keeps its first numbers. Nothing else is tried: to go on without a configuration, or to
    count it as rejected, would bias an ensemble. It reads numbers on the host.

    >>> import numpy as np
    >>> from haarflow.core.solvers.cg import cg
    >>> a, b = np.diag([1.0, 10.0, 100.0]), np.ones(3)
    >>> solution = persistent(lambda steps: cg(lambda x: a @ x, b, 1e-12, steps), 1, "a small system")
    >>> int(solution.steps), bool(solution.converged)
    (3, True)
    """
    solution = solve(max_steps)
    for attempt in (lambda: solve(RETRY * max_steps), dense):
        if attempt is not None and not _all_converged(solution):
            solution = completed(solution, attempt())
    require(solution, what)
    return solution


def _all_converged(solution: Solution) -> bool:
    return bool(array_namespace(solution.converged).all(solution.converged))


def completed(first: Solution, second: Solution) -> Solution:
    """Return the first solution where it has converged, the second elsewhere.

    >>> import numpy as np
    >>> one = Solution(np.ones((2, 3)), np.asarray([True, False]), np.asarray([1e-12, 0.5]), np.asarray([3, 9]))
    >>> completed(one, one._replace(x=np.zeros((2, 3)))).x[:, 0].tolist()
    [1.0, 0.0]
    """
    xp, kept = array_namespace(first.x), first.converged
    wide = xp.reshape(kept, (*kept.shape, *(1,) * (first.x.ndim - kept.ndim)))
    parts = [xp.where(kept, one, other) for one, other in zip(first[1:], second[1:], strict=True)]
    return Solution(xp.where(wide, first.x, second.x), *parts)
