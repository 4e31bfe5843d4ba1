"""The flow along loops in continuous time, integrated by Luescher's Runge-Kutta scheme of third order.

The couplings of its stages are (0, 1/4, 2/3) of a step. log_det integrates the divergence -Laplacian psi, again a sum of loops,
with the scheme's quadrature (1/4, 0, 3/4): it is the log-determinant of the flow in continuous time to O(step^3), *not* that of
the discrete map. The inverse integrates back through the same times, to the same order.

Source: arXiv:1006.4518, appendix C.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.broadcasting import of_rank
from haarflow.core.groups.sun import SU
from haarflow.flows.loops import fields
from haarflow.flows.loops.algebra import Product
from haarflow.flows.runge_kutta import stage_table


class Slopes(NamedTuple):
    """Products of loops, of which the first `moving` make psi, and the Laplacians of these as coefficients of all, and of V."""

    products: tuple[Product, ...]
    moving: int
    laplacians: numpy.ndarray


def flow(
    n: int,
    slopes: Slopes,
    rows: Array,
    lattice: tuple[int, ...],
    coefficients: Callable[[Array], Array],
    size: Array,
    steps: int,
    forward: bool,
) -> tuple[Array, Array]:
    """Return links as rows after all stages of all steps, one scan, and log_det `(batch,)`.

    `coefficients` gives c `(products, batch or 1)` at b/end between 0 and 1; `size` is the end, `(batch or 1,)`.
    """
    xp, backend = array_namespace(rows), backends.of(rows)
    stages = backend.asarray(stage_table(steps, forward), dtype=size.dtype)
    step = ((1.0 if forward else -1.0) / steps) * size

    def stage(carry: tuple[Array, Array, Array], row: Array) -> tuple[tuple[Array, Array, Array], None]:
        rows, kick, log_det = carry
        slope, laplacian = slope_of(slopes, coefficients(row[2]), rows, lattice)
        kick = row[0] * kick - of_rank(row[1] * step, 3) * slope
        return (SU(n, 1).update(rows, kick), kick, log_det - row[3] * step * laplacian), None

    zero = xp.zeros((rows.shape[0], n**2 - 1, rows.shape[-1]), dtype=size.dtype, device=backends.place(rows))
    first = (rows, zero, xp.zeros_like(zero[0, 0, :]) + 0.0 * size)
    (moved, _, log_det), _ = backend.scan(backend.checkpoint(stage), first, stages)
    return moved, log_det


def slope_of(slopes: Slopes, c: Array, rows: Array, lattice: tuple[int, ...]) -> tuple[Array, Array]:
    """Return d_a psi and Laplacian psi for coefficients c, `(products, batch or 1)`."""
    xp, table = array_namespace(rows), slopes.laplacians
    plan = fields.plan(slopes.products, lattice, slopes.moving)
    store, loops = fields.traces(plan, rows, lattice)
    shares = xp.matmul(xp.permute_dims(backends.of(rows).asarray(table, dtype=c.dtype), (1, 0)), c)
    laplacian = xp.sum(shares[:-1, :] * fields.values(plan, loops), axis=0) + math.prod(lattice) * shares[-1, :]
    return fields.gradient(plan, store, loops, c, lattice), laplacian
