"""The memory that a flow needs per field, and how many fields it can take at once.

Laws use thousands of fields. The intermediate arrays of a flow (networks, tables) are measured by running it with NumPy on
two fields, where Python's `tracemalloc` records the allocations.
"""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Condition, Flow, Params
from haarflow.core.laws import law
from haarflow.core.laws.law import fits, to_host

NUMBER = 16  # bytes, of a complex one
MODEST = 600  # copies of a field that a flow may make: where even these fit into memory, nothing is measured
LEAST = 16  # copies of a field that a law makes

_known: dict[tuple[Any, tuple[int, ...]], float] = {}


def rows_at_once(
    flow: Flow, apply: Callable[..., Any], params: Params, x: Array, condition: Condition, axes: int
) -> int:
    """Return how many of the fields x `(*batch, *field_shape)` a flow can take at once within `law.MEMORY`.

    `apply` is its forward or inverse map, `axes` the number of axes of a field. Raises TooLarge if one field is too large.

    >>> import numpy
    >>> rows_at_once("a flow", lambda params, x, condition: (x, x[:, 0]), {}, numpy.ones((3, 4)), None, 1)
    3
    """
    shape = tuple(x.shape)[x.ndim - axes :]
    rows: int = max(math.prod(tuple(x.shape)[: x.ndim - axes]), 1)
    field = NUMBER * math.prod(shape)
    if rows * field * MODEST <= law.MEMORY:
        return rows
    fits(2 * field * LEAST, f"two fields {shape} and their copies")
    if (flow, shape) not in _known:
        _known[flow, shape] = max(_measured(apply, params, x, condition, axes), field * LEAST)
    fits(_known[flow, shape], f"the intermediate arrays of this flow for one field {shape}")
    return min(rows, int(law.MEMORY // _known[flow, shape]))


def _measured(apply: Callable[..., Any], params: Params, x: Array, condition: Condition, axes: int) -> float:
    """The bytes that NumPy allocates per field; 0 if the flow does not run on NumPy."""
    host = backends.get("numpy")
    rows = to_host(x).reshape(-1, *tuple(x.shape)[x.ndim - axes :])[:2]
    plain = tree_map(lambda leaf: host.asarray(to_host(leaf), dtype=to_host(leaf).dtype.name), params)
    values = condition and {
        name: host.asarray([float(to_host(value).flat[0])] * len(rows)) for name, value in condition.items()
    }
    started = not tracemalloc.is_tracing()
    if started:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        apply(plain, rows, values)
        return (tracemalloc.get_traced_memory()[1] - before) / len(rows)
    except Exception:  # the law that asked will report the same error
        return 0.0
    finally:
        if started:
            tracemalloc.stop()
