"""Laws of the Jacobian: log_det against the determinant of the dense matrix over every component of the field.

Variations are taken along the algebra, dU = i w_a T_a U, and so are changes of the result (flows/coordinates.py): to a real
number or an angle dx is added, a link of SU(N) has N^2-1 components. There are two independent derivatives, the backend's
autodiff and central differences of sixth order,

    f'(x) = sum_k w_k [f(x + k h) - f(x - k h)] / h,   k = 1, 2, 3,   w = 3/4, -3/20, 1/60,

at steps h and 2h. Splines are C1 and some activations C0: a stencil that straddles a knot gives different
results for the two steps. That column is then recomputed with an eighth of the step; if three reductions do not help, the
field is displaced slightly and all columns are recomputed. The remaining difference enters the tolerance through the
inverse matrix: d log |det J| = tr(J^-1 dJ).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Condition, Flow, Group, Params
from haarflow.core.groups.additive import Real
from haarflow.core.laws import law
from haarflow.core.laws.law import EPSILON, TooLarge, Verdict, fits, in_double, judge, precision_of, to_host
from haarflow.flows.coordinates import change, components, coordinates_of, displaced, matrix_valued, tangent_along
from haarflow.flows.laws.cases import computed_in
from haarflow.flows.laws.compiled_flow import Bound, member, repeated, unbound
from haarflow.flows.laws.footprint import NUMBER

WEIGHTS = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}
STEP = 1e-3
SHRINK = 8.0
SHRINKS = 3
SMOOTH = 1e-8  # the largest relative difference between the columns of two step sizes
REDRAWS = 8
LARGEST = 512
ROWS = 10  # fields per column of a stencil
COPIES = 8  # of these fields, made by a law
Rows = Callable[[numpy.ndarray], tuple[numpy.ndarray, numpy.ndarray]]
REASON = "|tr(J^-1 dJ)|, dJ from two step sizes, and the rounding of log_det"


class Dense(NamedTuple):
    """A dense Jacobian `(component of y, component of x)`, the error of each column, the row of d log_det, and log_det.

    `bad` is the number of columns for which no step size gave a consistent result.
    """

    matrix: numpy.ndarray
    error: numpy.ndarray
    slope: numpy.ndarray
    log_det: float
    moved: float = 0.0
    shrinks: int = 0
    bad: int = 0


def log_det_by_differences(
    flow: Flow, params: Params, x: Array, condition: Condition = None, group: Group | None = None, index: int = 0
) -> Verdict:
    """log_det = log |det dy/dx| over all components, by differences of sixth order.

    `x` is `(batch, *field_shape)`; field `index` is differentiated, in double precision. `group` is that of the field
    (default: real numbers). Of more than 512 components only those that the flow moves are differentiated; the others must
    not move, and must not influence those. Raises TooLarge, a ValueError, if more than 512 move.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.scalar.tails import QuarticTail
    >>> log_det_by_differences(QuarticTail(1), {"log_c": backend.asarray(0.5)}, backend.asarray([[0.3, 1.0]])).passed
    True
    """
    dense, start, redraws = settled(flow, params, x, condition, group or Real(), index)
    _, log_det = flow.forward(
        params, backends.of(x).asarray(start[None, ...], dtype=x.dtype), repeated(condition, index, 1)
    )
    found = {"x": start, "params": params, "redraws": redraws, "shrunk columns": dense.shrinks}
    return _compare(log_det_by_differences, dense, float(to_host(log_det)[0]), precision_of(x), **found)


def log_det_by_autodiff(
    flow: Flow, params: Params, x: Array, condition: Condition = None, group: Group | None = None, index: int = 0
) -> Verdict:
    """log_det = log |det dy/dx| over all components, by the backend's autodiff.

    As `log_det_by_differences`, by forward-mode differentiation. Raises `backends.NoAutodiff` on NumPy and CuPy.
    """
    dense = by_autodiff(flow, params, x[index, ...], member(condition, index), group or Real())
    log_det = float(to_host(flow.forward(params, x, condition)[1])[index])
    found = {"x": to_host(x)[index], "params": params}
    return _compare(log_det_by_autodiff, dense, log_det, computed_in(unbound(flow), x), **found)


def frozen_components(
    flow: Flow,
    params: Params,
    x: Array,
    moves: Any,
    condition: Condition = None,
    group: Group | None = None,
    index: int = 0,
) -> Verdict:
    """dy_F/dx = 1 on frozen components F bit for bit, dy_A/dx_A diagonal, log_det = sum log |dy_a/dx_a|.

    The law of a coupling: `moves`, booleans for the elements of the field, says which ones are active; their parameters
    depend only on frozen ones. For matrices the diagonal entry is the block of N^2-1 components, and its determinant
    counts. Derivatives are by autodiff if the backend supports it, otherwise by differences.
    """
    group = group or Real()
    active, links = _moving(group, moves)
    if backends.of(x).autodiff:
        dense = by_autodiff(flow, params, x[index, ...], member(condition, index), group)
        start = to_host(x)[index]
    else:
        dense, start, _ = settled(flow, params, x, condition, group, index)
    y, log_det = flow.forward(
        params, backends.of(x).asarray(start[None, ...], dtype=x.dtype), repeated(condition, index, 1)
    )
    still = _entries(group, to_host(y)[0] - start, moves)
    block, same = dense.matrix[numpy.ix_(active, active)], links[active][:, None] == links[active][None, :]
    reading = numpy.where(same, 0.0, block)
    claimed = float(to_host(log_det)[0]) - float(numpy.linalg.slogdet(numpy.where(same, block, 0.0))[1])
    allowed = _allowed(dense, computed_in(unbound(flow), x) if backends.of(x).autodiff else precision_of(x))
    # a frozen component must not move, not even by rounding: one ulp counts as a whole tolerance
    residual = max(_largest(still) / EPSILON[precision_of(x)] * allowed, _largest(reading), abs(claimed))
    return judge(frozen_components, residual, allowed, REASON, x=start, params=params)


def _moving(group: Any, moves: Any) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Whether each component is active, and the index of the element to which it belongs."""
    moves = numpy.asarray(moves)
    if not matrix_valued(group):
        return moves.ravel(), numpy.arange(moves.size)
    shape = (moves.shape[0], group.dim, *moves.shape[1:])
    numbers = numpy.arange(moves.size).reshape(moves.shape)
    active, links = (numpy.broadcast_to(part[:, None, ...], shape).ravel() for part in (moves, numbers))
    return active, links


def _entries(group: Group, x: numpy.ndarray, moves: Any) -> numpy.ndarray:
    """The entries of the frozen elements of a field."""
    moves = numpy.asarray(moves)
    frozen = ~(moves[:, None, None, ...] if matrix_valued(group) else moves)
    result: numpy.ndarray = x[numpy.broadcast_to(frozen, x.shape)]
    return result


def settled(
    flow: Flow, params: Params, x: Array, condition: Condition, group: Group, index: int
) -> tuple[Dense, numpy.ndarray, int]:
    """Return a Jacobian by differences away from knots, the field at which it was taken, and how often that was displaced."""
    generator, start = numpy.random.default_rng(index), to_host(x)[index]
    function = in_float64(flow, params, x, condition, index)
    for redraws in range(REDRAWS):
        dense = by_differences(function, start, group)
        if not dense.bad:
            break
        if redraws < REDRAWS - 1:
            noise = 0.02 * generator.standard_normal((1, components(group, start.shape)))
            start = displaced(group, start, noise)[0].astype(start.dtype)
    return dense, start, redraws


def by_differences(function: Callable[..., Any], x: numpy.ndarray, group: Any) -> Dense:
    """Return the dense Jacobian of `function(rows) -> (y, log_det)` on host rows `(n, *field_shape)`, at one field."""
    x = in_double(x)
    y, log_det = function(x[None, ...])
    moved, size = change(group, y[0], x).ravel(), components(group, x.shape)
    columns = numpy.arange(size) if size <= LARGEST else numpy.flatnonzero(moved)
    if len(columns) > LARGEST:
        raise TooLarge(
            f"too large for this law: a dense Jacobian is limited to {LARGEST} moving components, got {len(columns)}: "
            "give a smaller lattice"
        )
    fits(4 * 8 * size * len(columns), f"a Jacobian of {size} x {len(columns)} components")
    matrix, slope = numpy.zeros((size, len(columns))), numpy.zeros(len(columns))
    error, open_columns = numpy.full(len(columns), numpy.inf), numpy.arange(len(columns))
    step, shrinks = STEP, 0
    for _ in range(SHRINKS + 1):
        found, found_slope, found_error = _in_parts(function, x, columns[open_columns], step, group)
        better = ~(found_error >= error[open_columns])
        taken = open_columns[better]
        matrix[:, taken], slope[taken], error[taken] = found[:, better], found_slope[better], found_error[better]
        open_columns = open_columns[~(error[open_columns] <= SMOOTH * _column_size(matrix[:, open_columns]))]
        if not len(open_columns):
            break
        step, shrinks = step / SHRINK, shrinks + len(open_columns)
    frozen = numpy.setdiff1d(numpy.arange(size), columns)
    leak = max(_largest(matrix[frozen, :]), _largest(moved[frozen]))
    return Dense(matrix[columns, :], error, slope, float(log_det[0]), leak, shrinks, len(open_columns))


def _in_parts(
    function: Rows, x: numpy.ndarray, columns: numpy.ndarray, step: float, group: Group
) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """The `stencil` of as many columns at once as a law's memory holds."""
    most = max(int(law.MEMORY // (ROWS * COPIES * NUMBER * x.size)), 1)
    if len(columns) <= most:
        return stencil(function, x, columns, step, group)
    parts = [stencil(function, x, columns[n : n + most], step, group) for n in range(0, len(columns), most)]
    matrix, slope, error = zip(*parts, strict=True)
    return numpy.concatenate(matrix, axis=1), numpy.concatenate(slope), numpy.concatenate(error)


def by_autodiff(flow: Any, params: Params, x: Array, condition: Condition = None, group: Any = None) -> Dense:
    """Return the dense Jacobian at one field without batch axes."""
    host, group = to_host(x), group or Real()
    wide = in_double(host)
    size = components(group, host.shape)
    fits(COPIES * NUMBER * size * host.size, f"{size} directions in a field of {size} components")
    along = flow.along if isinstance(flow, Bound) else Bound(flow, backends.of(x), x.ndim).along
    units = numpy.stack([tangent_along(group, wide, unit) for unit in numpy.eye(size)])
    (y, log_det), (dy, slopes) = along(params, x, units, condition)
    matrix = numpy.stack([coordinates_of(group, in_double(row), in_double(y)) for row in dy], axis=-1)
    error = 8 * EPSILON[computed_in(unbound(flow), x)] * numpy.sqrt(size) * _column_size(matrix)
    return Dense(matrix, error, in_double(slopes), float(to_host(log_det)))


def stencil(
    function: Callable[..., Any],
    x: numpy.ndarray,
    columns: numpy.ndarray,
    step: float,
    group: Any,
    sizes: tuple[int, ...] = (1, 2),
) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """Columns of the Jacobian and d log_det at one step size, with the distance to those at twice the step.

    With the sizes (1,) that distance, four rows of ten, is left out.
    """
    size = components(group, x.shape)
    units = numpy.zeros((len(columns), size))
    units[numpy.arange(len(columns)), columns] = step
    multiples = sorted({n * k for n in sizes for k in WEIGHTS})
    rows = [displaced(group, x, sign * k * units) for k in multiples for sign in (1, -1)]
    y, log_det = function(numpy.concatenate(rows))
    ends, log_det = y.reshape(len(multiples), 2, len(columns), *x.shape), log_det.reshape(len(multiples), 2, -1)
    moved = {k: change(group, *ends[n]).reshape(len(columns), size) for n, k in enumerate(multiples)}
    rise = {k: log_det[n, 0] - log_det[n, 1] for n, k in enumerate(multiples)}
    parts = {n: numpy.stack([w * moved[n * k] for k, w in WEIGHTS.items()]) for n in sizes}
    found = [part.sum(axis=0) / (n * step) for n, part in parts.items()]
    fine, coarse = found[0], found[-1]
    slope = numpy.stack([w * rise[k] for k, w in WEIGHTS.items()]).sum(axis=0) / step
    unit = EPSILON["float64"] * max(_largest(y), _largest(x), 1.0) / step
    error = numpy.max(numpy.abs(fine - coarse), axis=1) + unit
    return fine.T, slope, numpy.where(numpy.isnan(error), numpy.inf, error)


def in_float64(flow: Flow, params: Params, x: Array, condition: Condition, index: int) -> Callable[..., Any]:
    """The flow on host rows in double precision, with the condition of one member of the batch."""
    backend, plain = backends.of(x), flow
    try:
        backend.asarray(numpy.zeros(1), dtype="float64")
    except ValueError:  # the backend is restricted to single precision: use the host
        backend, plain = backends.get("numpy"), unbound(flow)

    def double(leaf: Array) -> Array:
        return backend.asarray(to_host(leaf).astype("float64"), dtype="float64")

    def fields(rows: numpy.ndarray) -> Array:
        wide = in_double(rows)
        return backend.asarray(wide, dtype=wide.dtype.name)

    exact = tree_map(double, params)
    values = None if condition is None else {name: double(value) for name, value in condition.items()}

    def function(rows: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
        y, log_det = plain.forward(exact, fields(rows), repeated(values, index, len(rows)))
        return to_host(y), to_host(log_det)

    return function


def _compare(law: Callable[..., Any], dense: Dense, claimed: float, precision: str, **found: Any) -> Verdict:
    """The verdict on a claimed log_det; a frozen component that moves counts as it is."""
    _, expected = numpy.linalg.slogdet(dense.matrix)
    return judge(law, max(abs(claimed - expected), dense.moved), _allowed(dense, precision), REASON, **found)


def _allowed(dense: Dense, precision: str) -> float:
    """How far log |det J| may be off by the columns' errors, and log_det by rounding."""
    try:
        inverse = numpy.abs(numpy.linalg.inv(dense.matrix))
    except numpy.linalg.LinAlgError:
        inverse = numpy.zeros_like(dense.matrix)
    by_columns = float(numpy.sum(numpy.sum(inverse, axis=1) * dense.error))
    unit = 64 * EPSILON[precision]
    rounding = unit * (len(dense.slope) + abs(dense.log_det) + 4 * math.pi * float(numpy.sum(numpy.abs(dense.slope))))
    return min(by_columns, 1e-4) + rounding


def _column_size(matrix: numpy.ndarray) -> numpy.ndarray:
    result: numpy.ndarray = numpy.maximum(numpy.max(numpy.abs(matrix), axis=0, initial=0.0), 1.0)
    return result


def _largest(x: numpy.ndarray) -> float:
    found = numpy.abs(x)
    return math.inf if numpy.isnan(found).any() else float(numpy.max(found, initial=0.0))
