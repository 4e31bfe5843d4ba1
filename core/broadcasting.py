"""Ranks and types made equal by hand: an engine may be set to promote neither (JAX's rank and dtype promotion)."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from haarflow.backends.types import Array


def of_rank(x: Any, rank: int) -> Any:
    """Return an array with axes of extent one in front, `rank` axes in all; numbers pass unchanged.

    >>> import numpy as np
    >>> of_rank(np.ones((4, 3)), 3).shape, of_rank(0.5, 3)
    ((1, 4, 3), 0.5)
    """
    axes = getattr(x, "ndim", 0)
    return x[(None,) * (rank - axes) + (...,)] if 0 < axes < rank else x


def of_type(x: Array, other: Array) -> Array:
    """Return x in the type of another array of its precision: real numbers as complex ones.

    >>> import numpy as np
    >>> of_type(np.ones(2), np.ones(2) + 1j)
    array([1.+0.j, 1.+0.j])
    """
    return array_namespace(x).astype(x, other.dtype)


def scaled(x: Array, z: Array) -> Array:
    """Return x z for real numbers `(*last)` and complex ones `(*first, *last)`.

    >>> import numpy as np
    >>> scaled(2 * np.ones(3), 1j * np.ones((2, 2, 3)))[0, 0].tolist()
    [2j, 2j, 2j]
    """
    return of_rank(of_type(x, z), z.ndim) * z
