"""What a chain needs in order to move, checked where a run begins: a finite field, positive and finite scales of its proposals.

From a field with a NaN, or with steps of NaN or 0, every proposal is rejected or changes nothing, and no number of draws
would show it. The checks read values, so they pass over what is being traced.
"""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow.backends.types import Array, Tree
from haarflow.core.spaces import paths

SCALES = ("step_size", "width")


def check_scale(name: str, value: Any) -> None:
    """Raise ValueError unless a number, or every number of an array, is positive and finite.

    >>> check_scale("step_size", -0.1)
    Traceback (most recent call last):
        ...
    ValueError: step_size must be positive and finite, got -0.1: with such a step no proposal moves the chain; try 0.1
    """
    if isinstance(value, (int, float)):
        right, said = math.isfinite(value) and value > 0, repr(value)
    else:
        right, said = _all(lambda xp: xp.isfinite(value) & (value > 0), value), "an array with other values"
    if not right:
        raise ValueError(
            f"{name} must be positive and finite, got {said}: with such a step no proposal moves the chain; try 0.1"
        )


def check_scales(values: Tree) -> None:
    """Raise ValueError where a kernel's values, or those of one of a cycle's kernels, hold a wrong step size or width.

    >>> check_scales(({"step_size": 0.1}, {"width": 0.5}))
    """
    for part in values if isinstance(values, tuple) else (values,):
        if isinstance(part, tuple):
            check_scales(part)
        elif isinstance(part, dict):
            for name in SCALES:
                if name in part:
                    check_scale(name, part[name])


def check_own_scale(name: str, values: Any) -> None:
    """Raise ValueError for a kernel's wrong step size or width, as it is made: of numbers and NumPy arrays only, so that a
    kernel can be made of traced ones.
    """
    value = values.get(name) if isinstance(values, dict) else None
    if isinstance(value, (int, float, numpy.ndarray)):
        check_scale(name, value)


def check_start(field: Tree) -> None:
    """Raise ValueError where a chain starts from a field that holds a NaN or an infinity, with the name of the part of a NamedTuple or a
    dict that does.

    >>> check_start(numpy.asarray([[0.0, numpy.nan]]))
    Traceback (most recent call last):
        ...
    ValueError: the chains start from a field with NaN or infinite values, from where no proposal is ever accepted: start \
from a finite one, cold or drawn from the group's Haar measure
    """
    for path, part in paths(field).items():
        if not _finite(part):
            name = path.removeprefix("field").removeprefix("/")
            of = f" in its part {name!r}" if name else ""
            raise ValueError(
                f"the chains start from a field with NaN or infinite values{of}, from where no proposal is ever accepted: "
                "start from a finite one, cold or drawn from the group's Haar measure"
            )


def _finite(array: Array) -> bool:
    """Whether all values are finite: their sum then is, at a fraction of the time, unless it overflows."""
    here = _in_host_memory(array)
    try:
        if cmath.isfinite(complex(array_namespace(here).sum(here))):
            return True
    except (TypeError, RuntimeError):  # it is being traced
        pass
    return _all(lambda xp: xp.isfinite(array), array)


def _in_host_memory(array: Array) -> Array:
    """The same values as a NumPy array without a copy, whose sum takes no dispatch; the array itself where they live elsewhere."""
    try:
        return numpy.from_dlpack(array)
    except (AttributeError, BufferError, RuntimeError, TypeError):
        return array  # an accelerator's, one being traced, one whose gradient is wanted


def _all(condition: Any, array: Array) -> bool:
    """Whether a condition on the array holds everywhere; yes where it is being traced and has no values."""
    xp = array_namespace(array)
    try:
        return bool(xp.all(condition(xp)))
    except (TypeError, RuntimeError):  # how JAX and Torch refuse a tracer's truth value
        return True
