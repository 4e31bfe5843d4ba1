"""Conjugate gradients for many shifts of one Hermitian positive map at the cost of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.broadcasting import of_type
from haarflow.core.solvers.cg import cg_pass
from haarflow.core.solvers.refinement import refined
from haarflow.core.solvers.rows import Map, counts, divergence, norm, ratio, real_inner, rows_of, times
from haarflow.core.solvers.solution import Solution


def multishift(
    apply: Map,
    b: Array,
    shifts: Sequence[float],
    tolerance: float = 1e-10,
    max_steps: int = 1000,
    batch_axes: int = 0,
) -> Solution:
    """Return the solutions of (A + sigma) x = b for all shifts sigma, `x (shift, *batch, *inner)`, in the order of `shifts`.

    A + the smallest shift must be Hermitian and positive. One Krylov space serves all shifts, one product with the map a step;
    each shift of each configuration is frozen once it has converged. At the end every residual is computed from the map, and
    a shift that rounding has kept above the tolerance is refined by `cg`; steps count both. Arguments otherwise as for `cg`.
    Raises ValueError without a shift. Jegerlehner, hep-lat/9612014.

    >>> import numpy as np
    >>> solution = multishift(lambda x: np.asarray([1.0, 2.0]) * x, np.ones(2), (0.0, 1.0))
    >>> np.round(solution.x, 12).tolist(), solution.converged.tolist()
    ([[1.0, 0.5], [0.5, 0.333333333333]], [True, True])
    """
    sigma = [float(shift) for shift in shifts]
    if not sigma:
        raise ValueError("multishift wants at least one shift, got none")
    if not tolerance > 0.0 or max_steps < 1:
        raise ValueError(f"a tolerance > 0 and max_steps >= 1 wanted, got {tolerance!r} and {max_steps!r}")
    system, backend = rows_of(apply, b, batch_axes), backends.of(b)
    smallest, size = min(sigma), norm(system.b)
    unit = times(ratio(array_namespace(b).ones_like(size), size), system.b)
    above = backend.asarray([shift - smallest for shift in sigma], dtype=size.dtype)
    x, steps = _one_space(lambda x: system.apply(x) + smallest * x, unit, above, tolerance, max_steps)

    def refine(carry: None, entry: tuple[Array, Array, Array]) -> tuple[None, Solution]:
        shift, guess, used = entry
        guess = system.field(times(size, guess))
        return None, refined(
            cg_pass, lambda x: apply(x) + of_type(shift, x) * x, b, tolerance, max_steps, batch_axes, guess, used
        )

    every = backend.asarray(sigma, dtype=size.dtype)
    _, solutions = backend.scan(refine, None, (every, x, steps))
    return Solution(*solutions)


def _one_space(apply: Map, b: Array, shifts: Array, tolerance: float, max_steps: int) -> tuple[Array, Array]:
    """The recursion: x `(shift, row, n)` and steps `(shift, row)` for shifts >= 0 of a positive map.

    The residual of a shift is zeta times that of the map itself, and falls faster. `q` is the ratio of zeta in successive
    steps, 1/q = 1 + alpha sigma + (1 - q_before) alpha beta_before / alpha_before.
    """
    xp, number = array_namespace(b), shifts.shape[0]

    def copies(x: Array) -> Array:
        return xp.stack([x] * number, axis=0)

    square = real_inner(b, b)
    ones, all_b, steps = xp.ones_like(square), copies(b), copies(counts(b))
    sigma, aim, limit = shifts[:, None], tolerance * tolerance, divergence(b)
    first = (0 * all_b, all_b, copies(ones), copies(ones), b, b, square, ones, 0 * ones, steps, copies(square > 0))

    def step(state: Any) -> Any:
        x, p, zeta, q, r, base, square, alpha_before, beta_before, steps, active = state
        image = apply(base)
        curvature = real_inner(base, image)
        alpha = ratio(square, curvature)
        q = 1.0 / (1.0 + alpha * sigma + (1.0 - q) * ratio(alpha * beta_before, alpha_before))
        zeta = zeta * q
        on = active[..., None]
        x = xp.where(on, x + times(alpha * q, p), x)
        r = xp.where(xp.any(on, axis=0), r - times(alpha, image), r)
        after = real_inner(r, r)
        beta = ratio(after, square)
        base = r + times(beta, base)
        p = xp.where(on, times(zeta, copies(r)) + times(beta * q * q, p), p)
        steps = steps + xp.astype(active, steps.dtype)
        active = active & (zeta * zeta * after > aim) & (after < limit) & (curvature > 0) & (steps < max_steps)
        return x, p, zeta, q, r, base, after, alpha, beta, steps, active

    x, *_, steps, _ = backends.of(b).while_loop(lambda state: xp.any(state[-1]), step, first)
    return x, steps
