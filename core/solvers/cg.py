"""Conjugate gradients for Hermitian positive maps, a batch of configurations at once."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.solvers.refinement import refined
from haarflow.core.solvers.rows import Map, counts, divergence, ratio, real_inner, times
from haarflow.core.solvers.solution import Solution


def cg(
    apply: Map,
    b: Array,
    tolerance: float = 1e-10,
    max_steps: int = 1000,
    batch_axes: int = 0,
    start: Array | None = None,
) -> Solution:
    """Return the solution of A x = b for a Hermitian positive map, |b - A x| <= tolerance |b|.

    `apply(x)` maps fields `(*batch, *inner)` to fields, real or complex; b has `batch_axes` leading batch axes, and each of
    its configurations is frozen once it has converged, so that its numbers do not depend on its neighbours. It runs eagerly
    or compiled, but no derivative passes through it. A map that is not positive does not converge, which the result says. One
    step is one product with the map. `start` is a first guess. Raises ValueError for a wrong setting or shape. Hestenes and
    Stiefel (1952).

    >>> import numpy as np
    >>> solution = cg(lambda x: np.asarray([1.0, 4.0]) * x, np.asarray([[1.0, 1.0], [0.0, 1.0]]), batch_axes=1)
    >>> np.round(solution.x, 12).tolist(), solution.steps.tolist(), solution.converged.tolist()
    ([[1.0, 0.25], [0.0, 0.25]], [2, 1], [True, True])
    """
    return refined(cg_pass, apply, b, tolerance, max_steps, batch_axes, start)


def cg_pass(apply: Map, b: Array, wanted: Array, budget: Array) -> tuple[Array, Array]:
    """Return (x, steps) of the recursion from x = 0, in rows, until its residual is at most `wanted` or the budget is spent."""
    xp, aim, limit = array_namespace(b), wanted * wanted, divergence(b)
    square = real_inner(b, b)
    first = (xp.zeros_like(b), b, b, square, counts(b), budget > 0)

    def step(state: Any) -> Any:
        x, r, p, square, steps, active = state
        image = apply(p)
        curvature = real_inner(p, image)
        alpha = ratio(square, curvature)
        on = active[:, None]
        x = xp.where(on, x + times(alpha, p), x)
        r = xp.where(on, r - times(alpha, image), r)
        after = real_inner(r, r)
        p = xp.where(on, r + times(ratio(after, square), p), p)
        steps = steps + xp.astype(active, steps.dtype)
        active = active & (after > aim) & (after < limit) & (curvature > 0) & (steps < budget)
        return x, r, p, after, steps, active

    x, *_, steps, _ = backends.of(b).while_loop(lambda state: xp.any(state[-1]), step, first)
    return x, steps
