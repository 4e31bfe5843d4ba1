"""Laws of a flow as a map: inverse, range, batches, unchanged inputs, one trace, equal results on all backends.

Tolerances follow from the map itself: rounding by UNITS ulp of the result and of the argument, the latter times the
slope of the map (flows/laws/cases.py). In float64 this is about 1e-12 times the largest slope.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.tree import leaves, tree_map
from haarflow.backends.types import Array, Condition, Flow, Group, Params
from haarflow.core.groups.additive import Real
from haarflow.core.laws.law import Verdict, in_double, judge, precision_of, to_host, void
from haarflow.flows.coordinates import apart
from haarflow.flows.laws.cache import forgetting
from haarflow.flows.laws.cases import ROUNDING, computed_in, largest_of, reach, size, worst
from haarflow.flows.laws.compiled_flow import Bound, bind, compiles, member, unbound
from haarflow.flows.laws.shapes import misshapen

ROUND_TRIP = f"{ROUNDING}: about 1e-12 times the largest slope (float64)"
IN_UNITS = "1 in units of the rounding error"


def round_trip(flow: Any, params: Params, x: Array, condition: Condition = None, group: Any = None) -> Verdict:
    """inverse(forward(x)) = x on the manifold.

    `x` is `(batch, *field_shape)`, `group` that of the field (default: real numbers).

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.scalar.tails import QuarticTail
    >>> round_trip(QuarticTail(1), {"log_c": backend.asarray(0.5)}, backend.asarray([[0.3, -20.0]])).passed
    True
    """
    group = group or Real()
    image = flow.forward(params, x, condition)
    y = image[0]
    back = flow.inverse(params, y, condition)
    wrong = misshapen("forward", image, x) or misshapen("inverse", back, x)
    if wrong:
        return judge(round_trip, math.inf, 0.0, wrong, x=x, params=params)
    allowed = reach(lambda y: flow.inverse(params, y, condition), y, group, back).field
    off = worst(apart(group, back[0], x), allowed)
    return judge(round_trip, off.residual, off.allowed, ROUND_TRIP, x=x, params=params)


def log_dets_cancel(
    flow: Flow, params: Params, x: Array, condition: Condition = None, group: Group | None = None
) -> Verdict:
    """log_det(forward, x) + log_det(inverse, forward(x)) = 0.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.scalar.tails import QuarticTail
    >>> log_dets_cancel(QuarticTail(1), {"log_c": backend.asarray(0.5)}, backend.asarray([[0.3, 1.0]])).passed
    True
    """
    group = group or Real()
    image = flow.forward(params, x, condition)
    back = flow.inverse(params, image[0], condition)
    wrong = misshapen("forward", image, x) or misshapen("inverse", back, x)
    if wrong:
        return judge(log_dets_cancel, math.inf, 0.0, wrong, x=x, params=params)
    allowed = reach(lambda y: flow.inverse(params, y, condition), image[0], group, back).log_det
    off = worst(to_host(image[1]) + to_host(back[1]), allowed)
    return judge(log_dets_cancel, off.residual, off.allowed, ROUNDING, x=x, params=params)


def support(
    flow: Any, params: Params, y: Array, condition: Condition = None, group: Any = None, source: Any = None
) -> Verdict:
    """inverse(y) is finite and in range for every target y, and forward(inverse(y)) = y.

    `source` is the group of x where it is not that of y.

    A flow must cover the whole manifold, seams and far tails included: targets that it cannot reach would be missing
    from the ensemble. Targets are first brought into range.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.scalar.tails import QuarticTail
    >>> support(QuarticTail(1), {"log_c": backend.asarray(0.5)}, backend.asarray([[0.0, -20.0]])).passed
    True
    """
    group = group or Real()
    y = backends.of(y).asarray(to_host(group.project(to_host(y))), dtype=y.dtype)
    x, log_det = flow.inverse(params, y, condition)
    again = flow.forward(params, x, condition)
    wrong = misshapen("inverse", (x, log_det), y) or misshapen("forward", again, y)
    if wrong:
        return judge(support, math.inf, 0.0, wrong, y=y, params=params)
    if not (math.isfinite(size(x)) and math.isfinite(size(log_det))):
        return judge(support, math.inf, 0.0, "the inverse must be finite", y=y, params=params)
    allowed = reach(lambda x: flow.forward(params, x, condition), x, group, again).field
    outside = size(to_host((source or group).project(to_host(x))) - to_host(x))
    if outside > 1e-5:
        return judge(support, outside, 0.0, "the inverse must be in range", y=y, params=params)
    off = worst(apart(group, again[0], y), allowed)
    return judge(support, off.residual, off.allowed, ROUND_TRIP, y=y, params=params)


def batch_is_its_members(
    flow: Any, params: Params, x: Array, condition: Condition = None, group: Any = None
) -> Verdict:
    """forward(x)[i] = forward(x[i]), inverse likewise, for the batch shapes (n,), () and (n, 1).

    On a backend that compiles for each shape, only `forward` is checked without batch axes, and none with a second one.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.scalar.tails import QuarticTail
    >>> batch_is_its_members(QuarticTail(1), {"log_c": backend.asarray(0.5)}, backend.asarray([[0.3], [1.0]])).passed
    True
    """
    group, faults = group or Real(), []
    once = isinstance(flow, Bound) and compiles(flow.backend)
    for apply in (flow.forward,) if once else (flow.forward, flow.inverse):
        y, log_det = apply(params, x, condition)
        precision = computed_in(unbound(flow), x)
        allowed = reach(lambda x, apply=apply: apply(params, x, condition), x, group, (y, log_det), precision)
        for index in range(x.shape[0]):
            single, log_det_single = apply(params, x[index, ...], member(condition, index))
            faults.append(_shape_error(single, x[index, ...], log_det_single, ()))
            faults.append(worst(apart(group, single, y[index, ...]), allowed.field[index]).ratio)
            faults.append(worst(to_host(log_det_single) - to_host(log_det)[index], allowed.log_det[index]).ratio)
        if not once:
            tall, log_det_tall = apply(params, x[:, None, ...], _one_more_axis(condition))
            faults.append(_shape_error(tall, x[:, None, ...], log_det_tall, (x.shape[0], 1)))
            faults.append(worst(apart(group, tall, y[:, None, ...]), allowed.field[:, None, ...]).ratio)
    return judge(batch_is_its_members, largest_of(faults), 1.0, IN_UNITS, x=x, params=params)


def inputs_unchanged(flow: Flow, params: Params, x: Array, condition: Condition = None) -> Verdict:
    """forward and inverse do not change their field, parameters and condition, bit for bit.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.scalar.tails import QuarticTail
    >>> inputs_unchanged(QuarticTail(1), {"log_c": backend.asarray(0.5)}, backend.asarray([[0.3, 1.0]])).passed
    True
    """
    args = (params, x, condition)
    before = [to_host(leaf).copy() for leaf in leaves(args)]
    with forgetting():
        for apply in (flow.forward, flow.inverse):
            apply(*args)
    after = [to_host(leaf) for leaf in leaves(args)]
    changed = [float(not numpy.array_equal(a, b)) for a, b in zip(before, after, strict=True)]
    return judge(inputs_unchanged, max(changed), 0.0, "bit for bit", x=x)


def equals_numpy(flow: Any, params: Params, x: Array, condition: Condition = None, group: Any = None) -> Verdict:
    """forward and inverse equal those of NumPy, with the same precision and shape.

    Compiled functions of a backend are compared with NumPy's, which are not compiled: compiled and eager results agree.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.scalar.tails import QuarticTail
    >>> equals_numpy(QuarticTail(1), {"log_c": backend.asarray(0.5)}, backend.asarray([[0.3, 1.0]])).residual
    0.0
    """
    group, host = group or Real(), backends.get("numpy")
    on_host = tree_map(lambda leaf: host.asarray(to_host(leaf), dtype=to_host(leaf).dtype.name), (params, x, condition))
    plain = unbound(flow)
    near = bind(plain, host, x.ndim - 1)  # its rounding bounds may be cached
    faults = []
    ways = ((flow.forward, plain.forward, near.forward), (flow.inverse, plain.inverse, near.inverse))
    for apply, apply_on_host, apply_near in ways:
        y, log_det = apply(params, x, condition)
        expected = apply_on_host(*on_host)
        again = partial(_called, apply_near, on_host[0], on_host[2])
        allowed = reach(again, on_host[1], group, expected, computed_in(plain, x))
        faults.append(_shape_error(y, expected[0], log_det, tuple(expected[1].shape)))
        faults.append(_unless(precision_of(y) == precision_of(log_det) == precision_of(x)))
        faults.append(worst(apart(group, y, expected[0]), allowed.field).ratio)
        faults.append(worst(to_host(log_det) - expected[1], allowed.log_det).ratio)
    return judge(equals_numpy, largest_of(faults), 1.0, IN_UNITS, x=x, params=params)


def _called(method: Callable[..., Any], params: Params, condition: Condition, x: Array) -> tuple[Array, Array]:
    result: tuple[Array, Array] = method(params, x, condition)
    return result


def traced_once(flow: Bound, params: Params, x: Array, other: Array, condition: Condition = None) -> Verdict:
    """A compiled flow is traced once per shape: other values do not run its Python code.

    Fields `x` and `other` have the same shape. Void if nothing is compiled.
    """
    if not isinstance(flow, Bound) or not compiles(flow.backend):
        return void(traced_once, "nothing is compiled")
    runs = 0
    for method, apply in (("forward", flow.forward), ("inverse", flow.inverse)):
        apply(params, x, condition)
        before = flow.traces(method)
        apply(tree_map(lambda leaf: 1.5 * leaf, params), other, condition)
        runs += flow.traces(method) - before
    return judge(traced_once, float(runs), 0.0, "no trace after the first")


def fresh_parameters(flow: Flow, key: Array, dtype: str = "float64") -> Verdict:
    """init(key) equals NumPy's on every backend, in the requested precision.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.scalar.tails import QuarticTail
    >>> fresh_parameters(QuarticTail(1), random.key(0, backend)).residual
    0.0
    """
    host = backends.get("numpy")
    params = flow.init(key, dtype)
    expected = flow.init(host.asarray(to_host(key)), dtype)
    pairs = list(zip(leaves(params), leaves(expected), strict=True))
    faults = [_unless(precision_of(a) == dtype) for a, _ in pairs]
    faults += [size(in_double(a) - b) / max(size(b), 1.0) for a, b in pairs]
    unit = 8 * float(numpy.finfo(dtype).eps)
    return judge(fresh_parameters, largest_of(faults), unit, "8 ulp of a normal number")


def _shape_error(y: Array, like: Array, log_det: Array, batch: tuple[int, ...]) -> float:
    fits = tuple(y.shape) == tuple(like.shape) and tuple(log_det.shape) == batch
    return _unless(fits)


def _unless(right: bool) -> float:
    return 0.0 if right else math.inf


def _one_more_axis(condition: Condition) -> Condition:
    return condition and {n: value[:, None] if numpy.ndim(value) else value for n, value in condition.items()}
