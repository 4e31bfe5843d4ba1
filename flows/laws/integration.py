"""Laws of flows that integrate an equation in time: the order of the errors of log_det, of the inverse and of the map.

A flow in continuous time moves fields by steps of a Runge-Kutta scheme and reports the integral of the divergence. The
error of log_det, compared with the dense Jacobian of the discrete map, and the distance of inverse(forward(x)) from x both
fall with the scheme's order as steps are halved. With a wrong divergence the error of log_det does not.

A flow whose steps are maps of their own, with exact log_det and inverse, still approaches one in continuous time; if the steps
are symmetric its distance falls as their square (`step_order`). No law of exactness would see a step that is not.

If the dense Jacobian has too many columns, a field that repeats a cell of the lattice is used, for which the flow's
translation symmetry gives all columns from those of one cell (flows/laws/repeating_fields.py).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy

from haarflow.backends.types import Array, Condition, Flow, Group, Params
from haarflow.core.groups.additive import Real
from haarflow.core.laws.law import Verdict, judge, to_host
from haarflow.flows.coordinates import apart, lattice_of
from haarflow.flows.laws.compiled_flow import unbound
from haarflow.flows.laws.jacobian import settled
from haarflow.flows.laws.repeating_fields import cell_of, log_abs_det, repeating

ORDER = 3
FLOOR = 1e-8  # errors below this are those of the finite differences
ROUNDING = 64.0  # units of the last place that a way there and back may leave, in single precision more than FLOOR
QUARTER = 0.3
SECOND = "a quarter, with a margin of a fifth for the next order; a scheme of first order leaves a half"
REASON = "2^(1/2 - order): halved steps leave an eighth of the error, with a margin for the next order"


def integration_order(
    flow: Flow,
    finer: Flow,
    params: Params,
    x: Array,
    condition: Condition = None,
    group: Group | None = None,
    most: float = math.inf,
    lattice: tuple[int, ...] | None = None,
) -> Verdict:
    """log_det = log |det dy/dx| + O(step^3): halving the steps (`finer`) leaves an eighth of the error of `flow`.

    The residual is the ratio of the two errors for the first field of the batch, in double precision; for more than
    `repeating_fields.COLUMNS` components, for the field that repeats its first cell. An error of `flow` above `most` is not
    in the asymptotic regime: `finer` is not evaluated, and the law fails.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.core.groups.sun import SU
    >>> from haarflow.flows.loops.flow import LoopFlow
    >>> flow, finer = (LoopFlow(2, 2, 1, 2.0, n, scheme="continuous") for n in (1, 2))
    >>> x = SU(2, 2).haar(random.key(0, backend), (2, 2, 2, 2, 2, 2))
    >>> integration_order(flow, finer, flow.init(random.key(0, backend)), x, group=SU(2, 2)).passed
    True
    """
    group = group or Real()
    lattice = lattice or lattice_of(group, tuple(x.shape[1:]))
    cell = cell_of(unbound(flow), group, tuple(x.shape[1:]), lattice)
    x = repeating(x, cell, lattice)

    def errors_of(one: Any) -> numpy.ndarray:
        return integration_errors(one, params, x, condition, group, cell=cell, lattice=lattice)

    return _ratio(integration_order, errors_of, flow, finer, most, FLOOR, x=x, params=params)


def reversal_order(
    flow: Any,
    finer: Any,
    params: Params,
    x: Array,
    condition: Condition = None,
    group: Any = None,
    most: float = math.inf,
    lattice: tuple[int, ...] | None = None,
) -> Verdict:
    """inverse(forward(x)) = x + O(step^3): halving the steps (`finer`) leaves an eighth of the error of `flow`.

    Arguments as for `integration_order`. An error of `flow` within the rounding of the field's precision has no order to show.
    """
    group = group or Real()
    rounding = ROUNDING * float(numpy.finfo(to_host(x).dtype).eps)

    def errors_of(one: Any) -> numpy.ndarray:
        result: numpy.ndarray = numpy.abs(
            to_host(apart(group, one.inverse(params, one.forward(params, x, condition)[0], condition)[0], x))
        )
        return result

    return _ratio(reversal_order, errors_of, flow, finer, most, max(FLOOR, rounding), x=x, params=params)


def step_order(
    flow: Any,
    finer: Any,
    finest: Any,
    params: Params,
    x: Array,
    condition: Condition = None,
    group: Any = None,
) -> Verdict:
    """forward converges as step^2: from two to four times the steps it moves by a quarter of what it moves from one to two.

    `finer` and `finest` are `flow` in two and four times as many steps. The residual is the ratio of the changes of the fields
    or that of log_det, whichever is larger.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.core.groups.sun import SU
    >>> from haarflow.flows.loops.flow import LoopFlow
    >>> flows = [LoopFlow(2, 2, order=1, beta=1.0, steps=n) for n in (1, 2, 4)]
    >>> x = SU(2, 2).haar(random.key(0, backend), (2, 2, 2, 2, 2, 2))
    >>> step_order(*flows, flows[0].init(random.key(0, backend)), x, group=SU(2, 2)).passed
    True
    """
    group = group or Real()
    ends = [one.forward(params, x, condition) for one in (flow, finer, finest)]
    pairs = list(itertools.pairwise(ends))
    fields = [_root_mean_square(numpy.abs(to_host(apart(group, a[0], b[0])))) for a, b in pairs]
    log_dets = [_root_mean_square(to_host(a[1]) - to_host(b[1])) for a, b in pairs]
    ratio = max(fine / max(coarse, FLOOR) for coarse, fine in (fields, log_dets))
    return judge(step_order, ratio, QUARTER, SECOND, errors=[*fields, *log_dets], x=x, params=params)


def integration_errors(
    flow: Flow,
    params: Params,
    x: Array,
    condition: Condition = None,
    group: Group | None = None,
    members: int = 1,
    cell: tuple[int, ...] | None = None,
    lattice: tuple[int, ...] | None = None,
) -> numpy.ndarray:
    """Return log_det - log |det dy/dx| for the first `members` of a batch, by dense Jacobians of the discrete map.

    Fields that repeat a `cell` need only the columns of that cell. The spread of the error, compared with that of log w,
    measures the effect of the integration error; it grows as the root of the volume.
    """
    group = group or Real()
    lattice, errors = lattice or lattice_of(group, tuple(x.shape[1:])), []
    for index in range(min(members, x.shape[0])):
        if cell is None or cell == lattice:
            dense, *_ = settled(flow, params, x, condition, group, index)
            errors.append(dense.log_det - float(numpy.linalg.slogdet(dense.matrix)[1]))
        else:
            log_det, expected = log_abs_det(flow, params, x, condition, group, index, cell, lattice)
            errors.append(log_det - expected)
    return numpy.asarray(errors)


def _ratio(
    law: Callable[..., Any],
    errors_of: Callable[..., Any],
    flow: Flow,
    finer: Flow,
    most: float,
    floor: float,
    **example: Any,
) -> Verdict:
    """The verdict on the ratio of the errors of two flows, NaN if the first error is too large."""
    coarse = _root_mean_square(errors_of(flow))
    fine = math.nan if coarse > most else _root_mean_square(errors_of(finer))
    return judge(law, fine / max(coarse, floor), 2.0 ** (0.5 - ORDER), REASON, errors=[coarse, fine], **example)


def _root_mean_square(errors: numpy.ndarray) -> float:
    return float(numpy.sqrt(numpy.mean(numpy.square(errors))))
