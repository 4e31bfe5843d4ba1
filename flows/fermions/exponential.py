"""Exponentials of linear maps by Taylor series, to rounding: short steps, each with so many terms that what is left out is below it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.broadcasting import of_type
from haarflow.core.groups.matrices import precision

ROUNDING = {"float64": 2.0**-54, "float32": 2.0**-26}
STEP = 1.5  # the largest exponent of one Taylor series: beyond, its terms are larger than their sum


def exponential(linear: Callable[[Array], Array], x: Array, steps: int, count: int) -> Array:
    """Return exp(steps X) x for a linear map X, by `steps` series of `count` terms each, with Horner's rule.

    >>> import numpy as np
    >>> bool(np.isclose(exponential(lambda x: 0.5 * x, np.ones(1), *steps_and_terms(0.5, "float64"))[0], np.exp(0.5)))
    True
    """
    factors = backends.of(x).asarray([1.0 / n for n in range(count, 0, -1)], dtype=precision(x))
    for _ in range(steps):
        x = _series(linear, x, factors)
    return x


def steps_and_terms(size: float, dtype: str) -> tuple[int, int]:
    """Return into how many steps an exponent of norm `size` is divided, and the terms of each series.

    >>> steps_and_terms(2.0, "float64")
    (2, 19)
    """
    steps = max(1, math.ceil(size / STEP))
    return steps, terms(size / steps, ROUNDING[dtype])


@lru_cache(maxsize=64)
def terms(size: float, rounding: float) -> int:
    """Return how many terms of e^size leave less than rounding.

    >>> terms(1.0, 2.0**-54)
    19
    """
    n, rest = 0, 1.0
    while rest > rounding:
        n += 1
        rest *= size / n
    return n


def _series(linear: Callable[[Array], Array], x: Array, factors: Array) -> Array:
    def term(result: Array, factor: Array) -> tuple[Array, None]:
        return x + of_type(factor, x) * linear(result), None

    result: Array = backends.of(x).scan(term, x, factors)[0]
    return result
