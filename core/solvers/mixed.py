"""Solves in single precision with residuals in double: most of the work at half the cost, all of the accuracy."""

from __future__ import annotations

from array_api_compat import array_namespace

from haarflow.backends.types import Array
from haarflow.core.solvers.cg import cg_pass
from haarflow.core.solvers.refinement import Pass, refined
from haarflow.core.solvers.rows import Map
from haarflow.core.solvers.solution import Solution

SINGLE = 1e-5  # relative residual of a pass in single precision


def mixed(
    apply: Map,
    single: Map,
    b: Array,
    tolerance: float = 1e-10,
    max_steps: int = 1000,
    batch_axes: int = 0,
    solve: Pass = cg_pass,
) -> Solution:
    """Return the solution of A x = b with |b - A x| <= tolerance |b| in double precision, found by passes in single.

    `apply` is the map on double fields, `single` the same map on single ones; `solve` is the pass, `cg_pass` for Hermitian
    positive maps or `bicgstab_pass`. Each pass solves A d = r to a relative residual of 1e-5, the residual r = b - A x is then
    computed in double precision. Where the map is so badly conditioned that a pass gains nothing, the result says that it
    has not converged. Arguments otherwise as for `cg`. Raises ValueError for b in single precision.

    >>> import numpy as np
    >>> a = np.asarray([1.0, 3.0])
    >>> solution = mixed(lambda x: a * x, lambda x: a.astype("float32") * x, np.ones(2), tolerance=1e-14)
    >>> bool(solution.converged), solution.x.dtype, round(float(solution.x[1]), 12)
    (True, dtype('float64'), 0.333333333333)
    """
    xp = array_namespace(b)
    if b.dtype not in (xp.float64, xp.complex128):
        raise ValueError(f"mixed precision wants b in double precision, got {b.dtype}: cg solves it as it is")
    field, narrow = tuple(b.shape), xp.complex64 if xp.isdtype(b.dtype, "complex floating") else xp.float32

    def one(_: Map, r: Array, wanted: Array, budget: Array) -> tuple[Array, Array]:
        def rough(x: Array) -> Array:
            return xp.reshape(single(xp.reshape(x, field)), r.shape)

        enough = xp.astype(xp.maximum(wanted, xp.full_like(wanted, SINGLE)), xp.float32)
        x, steps = solve(rough, xp.astype(r, narrow), enough, budget)
        return xp.astype(x, r.dtype), steps

    return refined(one, apply, b, tolerance, max_steps, batch_axes)
