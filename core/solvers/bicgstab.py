"""Stabilised biconjugate gradients for maps that are neither Hermitian nor positive."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.solvers.refinement import refined
from haarflow.core.solvers.rows import Map, counts, divergence, inner, ratio, real_inner, times
from haarflow.core.solvers.solution import Solution


def bicgstab(
    apply: Map,
    b: Array,
    tolerance: float = 1e-10,
    max_steps: int = 1000,
    batch_axes: int = 0,
    start: Array | None = None,
) -> Solution:
    """Return the solution of A x = b for any invertible map, |b - A x| <= tolerance |b|, where the method converges.

    Arguments and result are those of `cg`; a step is two products with the map. It needs fewer products than `cg` on the
    normal equation for well conditioned maps, and may fail for others, which the result says. Van der Vorst, SIAM J. Sci.
    Stat. Comput. 13 (1992) 631.

    >>> import numpy as np
    >>> a = np.asarray([[2.0, 1.0], [0.0, 3.0]])
    >>> np.round(bicgstab(lambda x: a @ x, np.asarray([3.0, 3.0])).x, 12).tolist()
    [1.0, 1.0]
    """
    return refined(bicgstab_pass, apply, b, tolerance, max_steps, batch_axes, start)


def bicgstab_pass(apply: Map, b: Array, wanted: Array, budget: Array) -> tuple[Array, Array]:
    """Return (x, steps) of the recursion from x = 0, in rows, until its residual is at most `wanted`, the budget is spent or
    the recursion breaks down. The rows of b are unit vectors."""
    xp, aim, limit = array_namespace(b), wanted * wanted, divergence(b)
    first = (xp.zeros_like(b), b, b, inner(b, b), counts(b), budget > 0)

    def step(state: Any) -> Any:
        x, r, p, rho, steps, active = state
        image = apply(p)
        alpha = ratio(rho, inner(b, image))
        s = r - times(alpha, image)
        t = apply(s)
        omega = ratio(inner(t, s), inner(t, t))
        on = active[:, None]
        x = xp.where(on, x + times(alpha, p) + times(omega, s), x)
        r = xp.where(on, s - times(omega, t), r)
        after, square = inner(b, r), real_inner(r, r)
        beta = ratio(after, rho) * ratio(alpha, omega)
        p = xp.where(on, r + times(beta, p - times(omega, image)), p)
        steps = steps + xp.astype(active, steps.dtype)
        active = active & (square > aim) & (square < limit) & (beta != 0) & (steps < budget)
        return x, r, p, after, steps, active

    x, *_, steps, _ = backends.of(b).while_loop(lambda state: xp.any(state[-1]), step, first)
    return x, steps
