"""Passes of iterative refinement: each solves for a correction, then the residual is computed anew from the map.

A recursion's residual drifts from the true one by rounding, so no solver is believed about its own: after a pass r = b - A x
decides which configurations are done, and those that are not take another pass, A d = r and x + d, unless the last one has
not even halved their residual, which then is as small as the precision allows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.solvers.rows import Map, Rows, counts, norm, ratio, rows_of, times
from haarflow.core.solvers.solution import Solution

# (apply, right-hand sides, norms to reach, budgets of steps) -> corrections and the steps taken; all in rows
Pass = Callable[[Map, Array, Array, Array], tuple[Array, Array]]


def refined(
    solve: Pass,
    apply: Map,
    b: Array,
    tolerance: float,
    max_steps: int,
    batch_axes: int,
    start: Array | None = None,
    used: Array | None = None,
) -> Solution:
    """Return the solution by passes of `solve`, which leaves rows with an empty budget of steps alone.

    `start` is a first guess of b's shape (0 where there is none), `used` the steps `(*batch,)` that led to it.
    Raises ValueError for a tolerance that is not positive and for less than one step.
    """
    if not tolerance > 0.0 or max_steps < 1:
        raise ValueError(f"a tolerance > 0 and max_steps >= 1 wanted, got {tolerance!r} and {max_steps!r}")
    system = rows_of(apply, b, batch_axes)
    xp, size = array_namespace(b), norm(system.b)
    x = xp.zeros_like(system.b) if start is None else system.rows(start)
    r = system.b if start is None else system.b - system.apply(x)
    steps = counts(system.b) if used is None else xp.reshape(used, (system.b.shape[0],))
    one_each = xp.ones_like(size)
    first = (x, r, norm(r), steps, steps < max_steps)

    def budgets(state: Any) -> Array:
        _, _, rest, steps, improving = state
        return xp.where(improving & (rest > tolerance * size), max_steps - steps, xp.zeros_like(steps))

    def one(state: Any) -> Any:
        x, r, rest, steps, _ = state
        left = budgets(state)
        correction, taken = solve(system.apply, times(ratio(one_each, rest), r), ratio(tolerance * size, rest), left)
        x = xp.where(left[:, None] > 0, x + times(rest, correction), x)
        r = system.b - system.apply(x)
        found = norm(r)
        return x, r, found, steps + taken, (left > taken) & (found < 0.5 * rest)

    x, _, rest, steps, _ = backends.of(b).while_loop(lambda state: xp.any(budgets(state) > 0), one, first)
    return _reported(system, x, rest, size, steps, tolerance)


def _reported(system: Rows, x: Array, rest: Array, size: Array, steps: Array, tolerance: float) -> Solution:
    xp = array_namespace(x)
    relative = rest / xp.where(size > 0, size, xp.ones_like(size))
    converged = rest <= tolerance * size
    return Solution(system.field(x), *map(system.of_batch, (converged, relative, steps)))
