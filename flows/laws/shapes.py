"""The law of shapes, checked before all others: a flow returns fields of the same shape, and one log_det for each."""

from __future__ import annotations

import math
from typing import Any

from haarflow.backends.tree import CONTAINERS, leaves, paths
from haarflow.backends.types import Array, Condition, Flow, Params, Tree
from haarflow.core.laws.law import Verdict, judge


def shapes(flow: Flow, params: Params, x: Array, condition: Condition = None) -> Verdict:
    """forward(x) and inverse(x) are (y, log_det): y has the shape of x, log_det is one number per field of the batch.

    `x` is `(batch, *field_shape)` with at least two fields, which reveals an accidental outer product of the batch with
    itself.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.scalar.tails import QuarticTail
    >>> shapes(QuarticTail(1), {"log_c": backend.asarray(0.5)}, backend.asarray([[0.3, 1.0], [0.0, 2.0]])).passed
    True
    """
    for name, apply in (("forward", flow.forward), ("inverse", flow.inverse)):
        fault = misshapen(name, apply(params, x, condition), x)
        if fault:
            return judge(shapes, math.inf, 0.0, fault)
    return judge(shapes, 0.0, 0.0, "shapes are exact", x=x)


def misshapen(name: str, result: Any, x: Tree) -> str:
    """Return what is wrong with the shapes of a flow's result for fields `(batch, *field_shape)`, "" for nothing.

    >>> from haarflow.backends import numpy as backend
    >>> x = backend.asarray([[0.3, 1.0]])
    >>> misshapen("forward", (x, x), x)
    'forward of a field (1, 2) returns log_det of the shape (1, 2), wanted one number for each field, (1,)'
    """
    if not isinstance(result, tuple) or len(result) != 2:
        return f"{name} returns a {type(result).__name__}, wanted the pair (y, log_det)"
    y, log_det = result
    shape, batch = _shape(x), tuple(leaves(x)[0].shape[:1])
    if _shape(y) != shape:
        return f"{name} of a field {shape} returns y {_described(y)}, wanted the same shape"
    if _shape(log_det) != batch:
        wanted = f"wanted one number for each field, {batch}"
        return f"{name} of a field {shape} returns log_det {_described(log_det)}, {wanted}"
    return ""


def _shape(x: Tree) -> Any:
    """The shape of an array, those of the parts of a field by name; None for what is neither."""
    if isinstance(x, CONTAINERS):
        return {name: _shape(part) for name, part in paths(x).items()}
    try:
        return tuple(x.shape)
    except AttributeError:  # a user's function may return anything, without a shape too
        return None


def _described(x: Tree) -> str:
    shape = _shape(x)
    return f"as a {type(x).__name__}" if shape is None else f"of the shape {shape}"
