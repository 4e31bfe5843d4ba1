"""Jacobians at fields that repeat a cell of the lattice: the columns of one cell determine all others.

A flow that commutes with translations by a cell c has, at a field invariant under these, a Jacobian J(x + c, y + c) = J(x, y).
It is block circulant: with n the cell of a component of the result,

    log |det J| = sum_k log |det J(k)|,      J(k) = sum_n J_n e^{-i k n},      J_n: (component of a cell, component of a cell),

over the momenta k of the lattice of cells. Only the columns of one cell are needed, at any volume.
"""

from __future__ import annotations

import itertools
import math

import numpy

from haarflow import backends
from haarflow.backends.types import Array, Condition, Flow, Group, Params
from haarflow.core.laws.law import in_double, to_host
from haarflow.flows.coordinates import components, lattice_of
from haarflow.flows.laws.jacobian import STEP, in_float64, stencil
from haarflow.flows.symmetries import declared, displacement, periods

Cell = tuple[int, ...]

COLUMNS = 64  # the largest number of components of a cell, if the flow's translations leave a choice
NUMBERS = 2**17  # components of the rows that the flow takes at once


def cell_of(flow: Flow, group: Group, field_shape: tuple[int, ...], lattice: Cell | None = None) -> Cell:
    """Return the largest cell of at most COLUMNS components by which a flow's translations divide the lattice.

    It is the smallest cell if all have more, and the whole lattice if the flow declares no translations or displaces fields.

    >>> from haarflow.core.groups.sun import SU
    >>> from haarflow.flows.loops.flow import LoopFlow
    >>> flows = [LoopFlow(n, 2, scheme="continuous") for n in (3, 2)]
    >>> cell_of(flows[0], SU(3, 2), (2, 3, 3, 4, 4)), cell_of(flows[1], SU(2, 2), (2, 2, 2, 2, 3))
    ((2, 2), (2, 3))
    """
    lattice = lattice or lattice_of(group, field_shape)
    if "translation" not in declared(flow) or any(displacement(flow)):
        return lattice
    steps = periods(flow, len(lattice))
    if any(extent % step for extent, step in zip(lattice, steps, strict=True)):
        return lattice
    choices = [
        [n for n in range(step, extent + 1, step) if extent % n == 0]
        for extent, step in zip(lattice, steps, strict=True)
    ]
    site = components(group, field_shape) // math.prod(lattice)
    cells = list(itertools.product(*choices))
    small = [cell for cell in cells if site * math.prod(cell) <= COLUMNS]
    return max(small, key=lambda cell: (math.prod(cell), -max(cell))) if small else min(cells, key=math.prod)


def repeating(x: Array, cell: Cell, lattice: Cell) -> Array:
    """Return fields `(..., *lattice)` whose first cell is repeated over the lattice.

    >>> from haarflow.backends import numpy as backend
    >>> repeating(backend.asarray([[1.0, 2.0, 3.0, 4.0]]), (2,), (4,)).tolist()
    [[1.0, 2.0, 1.0, 2.0]]
    """
    repeated = to_host(x)
    for axis, (extent, n) in enumerate(zip(lattice, cell, strict=True), start=-len(lattice)):
        repeated = numpy.take(repeated, numpy.arange(extent) % n, axis=axis)
    return backends.of(x).asarray(repeated, dtype=x.dtype)


def log_abs_det(
    flow: Flow,
    params: Params,
    x: Array,
    condition: Condition,
    group: Group,
    number: int,
    cell: Cell,
    lattice: Cell | None = None,
) -> tuple[float, float]:
    """Return log_det as the flow reports it and log |det dy/dx| by differences, at a field that repeats a cell.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.groups.additive import Real
    >>> from haarflow.flows.scalar.tails import QuarticTail
    >>> x, params = backend.asarray([[0.3, -1.0, 0.3, -1.0]]), {"log_c": backend.asarray(0.5)}
    >>> reported, expected = log_abs_det(QuarticTail(1), params, x, None, Real(), 0, (2,))
    >>> abs(reported - expected) < 1e-10
    True
    """
    function, start = in_float64(flow, params, x, condition, number), in_double(to_host(x)[number])
    size, lattice = components(group, start.shape), lattice or lattice_of(group, start.shape)
    copies = tuple(extent // n for extent, n in zip(lattice, cell, strict=True))
    split = [part for pair in zip(copies, cell, strict=True) for part in pair]
    indices = numpy.arange(size).reshape(-1, *split)
    d, rows = len(lattice), max(NUMBERS // size, 1)
    # (cells along each axis, components of a cell)
    indices = indices.transpose(*range(1, 2 * d, 2), 0, *range(2, 2 * d + 1, 2)).reshape(*copies, -1)
    columns = indices[(0,) * d]

    def in_parts(fields: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
        parts = [function(fields[first : first + rows]) for first in range(0, len(fields), rows)]
        y, log_det = zip(*parts, strict=True)
        return numpy.concatenate(y), numpy.concatenate(log_det)

    matrix, *_ = stencil(in_parts, start, columns, STEP, group, sizes=(1,))
    blocks = numpy.fft.fftn(matrix[indices, :], axes=range(d))
    return float(in_parts(start[None, ...])[1][0]), float(numpy.sum(numpy.linalg.slogdet(blocks)[1]))
