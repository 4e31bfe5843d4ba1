"""Batch axes in front, field axes behind: the small steps between them that every kernel takes."""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Tree
from haarflow.core import spaces
from haarflow.core.broadcasting import of_type
from haarflow.core.parts import described


def total(x: Array, batch: int) -> Array:
    """Return the sum over all axes but the first `batch`.

    >>> import numpy as np
    >>> total(np.ones((3, 2, 4, 4)), 1).tolist()
    [32.0, 32.0, 32.0]
    """
    xp = array_namespace(x)
    return xp.sum(xp.reshape(x, (*x.shape[:batch], math.prod(x.shape[batch:]))), axis=-1)


def spread(x: Any, rank: int) -> Any:
    """Return a batch-shaped array with `rank` axes of extent one behind; numbers pass unchanged.

    >>> import numpy as np
    >>> spread(np.ones(3), 2).shape, spread(0.5, 2)
    ((3, 1, 1), 0.5)
    """
    if not hasattr(x, "ndim") or x.ndim == 0:
        return x
    return array_namespace(x).reshape(x, (*x.shape, *(1,) * rank))


def times(factor: Any, x: Array, rank: int) -> Array:
    """Return factor x, for a real number or an array of the batch's shape, x `(*batch, ...)` with `rank` axes behind the batch.

    >>> import numpy as np
    >>> times(np.asarray([1.0, 2.0]), 1j * np.ones((2, 1)), 1).tolist(), times(2.0, np.ones(1), 1).tolist()
    ([[1j], [2j]], [2.0])
    """
    return of_type(spread(factor, rank), x) * x if hasattr(factor, "dtype") else factor * x


def part(x: Array, axis: int, start: int | None, stop: int | None) -> Array:
    """Return a slice of one axis.

    >>> import numpy as np
    >>> part(np.asarray([[1, 2, 3]]), -1, 1, None).tolist()
    [[2, 3]]
    """
    index = [slice(None)] * x.ndim
    index[axis] = slice(start, stop)
    return x[tuple(index)]


def field_shape(theory: Any) -> tuple[int, ...]:
    """Return the shape of one field: `theory.field_shape`, or the lattice where the theory declares none.

    Raises TypeError where a field has several parts.

    >>> from haarflow.theories import U1Gauge
    >>> field_shape(U1Gauge((4, 4)))
    (2, 4, 4)
    """
    return described(theory).field_shape


def batch_shape(theory: Any, field: Tree) -> tuple[int, ...]:
    """Return the batch axes of a theory's field.

    Raises ValueError when its parts, or the last axes of a part, are not those of the theory's spaces.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> batch_shape(U1Gauge((4, 4)), np.zeros((3, 2, 4, 4)))
    (3,)
    """
    offered = described(theory)
    return spaces.batch_shape(offered.spaces, field, offered.name)


def per_chain(key: Array, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return what is left of `shape` to draw for a key `(2,)` (all of it) or `(*batch, 2)` (one chain's share).

    Raises ValueError when the key's batch axes are not the first of `shape`.
    """
    given = tuple(key.shape[:-1])
    if given != tuple(shape[: len(given)]):
        raise ValueError(f"one key (2,) or a key for each chain of {tuple(shape)} wanted, got keys {tuple(key.shape)}")
    return tuple(shape[len(given) :])
