"""Products of Wilson loops and their derivatives along a direction, in forward mode on the tree of paths of `loop_fields`.

Along dU = i w_a T_a U every path P = L R has dP = dL R + L dR. This gives the derivatives of *all* products at once, with
three matrix products where the values take one; `loop_fields.gradient` is the gradient of a single sum.
"""

from __future__ import annotations

import math

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.groups import matrices
from haarflow.core.groups.sun import SU
from haarflow.flows.loops.fields import Plan, averages, gather, letters, traced


def along(plan: Plan, rows: Array, direction: Array, lattice: tuple[int, ...]) -> tuple[Array, Array]:
    """Return the plan's products W_i and sum over links of w_a d_a W_i, `(product, batch)` both.

    `rows`: links as of `layout.rows`; `direction`: w, `(d V, N^2-1, batch)`.

    >>> import numpy as np
    >>> from haarflow.flows.links import layout
    >>> from haarflow.flows.loops import algebra as loop_algebra, fields as loop_fields
    >>> links = layout.rows(np.zeros((2, 2, 2, 3, 3)) + np.eye(2)[:, :, None, None] + 0j, 2)
    >>> plan = loop_fields.plan(loop_algebra.tower(2, 2, 1), (3, 3), moving=0)
    >>> [part.round(12).tolist() for part in along(plan, links, np.ones((18, 3, 1)), (3, 3))]
    [[[9.0]], [[0.0]]]
    """
    xp, group = array_namespace(rows), SU(rows.shape[1], 1)
    turned = matrices.matmul(1j * group.algebra(direction), rows, 1)
    paths, bends = letters(rows, lattice), letters(turned, lattice)
    for left, right in plan.levels:
        a, b, da, db = (gather(part, table) for part in (paths, bends) for table in (left, right))
        paths = xp.concat([paths, matrices.matmul(a, b, 1)], axis=0)
        bends = xp.concat([bends, matrices.matmul(da, b, 1) + matrices.matmul(a, db, 1)], axis=0)
    a, b, da, db = (gather(part, table) for part in (paths, bends) for table in plan.traces)
    loops, shape = traced(a, b), (-1, math.prod(lattice), rows.shape[-1])
    slopes = traced(da, b) + traced(a, db)
    one = xp.ones_like(loops[: shape[1], :])
    loops = xp.concat([loops, xp.conj(loops), one], axis=0)
    slopes = xp.concat([slopes, xp.conj(slopes), 0.0 * one], axis=0)
    values, changes = _multiplied(loops, slopes, plan.factors)
    return averages(plan, xp.reshape(values, shape)), averages(plan, xp.reshape(changes, shape))


def _multiplied(loops: Array, slopes: Array, table: numpy.ndarray) -> tuple[Array, Array]:
    """prod over the table's middle axis of traces, and its derivative, `(row, batch)`."""
    xp, backend = array_namespace(loops), backends.of(loops)
    value: Array = 1.0
    change: Array = 0.0
    for factor in range(table.shape[1]):
        rows = backend.asarray(table[:, factor, :].reshape(-1))
        loop, slope = (xp.take(part, rows, axis=0) for part in (loops, slopes))
        value, change = value * loop, change * loop + value * slope
    return value, change
