"""A batch of fields as rows of numbers, one row for each configuration, on which all solvers compute."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.broadcasting import of_type

Map = Callable[[Array], Array]


class Rows(NamedTuple):
    """A system A x = b with b as rows `(batch, n)`, the map between rows, and the shapes of batch and field."""

    apply: Map
    b: Array
    batch: tuple[int, ...]
    shape: tuple[int, ...]

    def field(self, rows: Array) -> Array:
        """Return rows as a field `(*batch, *inner)`."""
        return array_namespace(rows).reshape(rows, self.shape)

    def rows(self, field: Array) -> Array:
        """Return a field as rows."""
        return array_namespace(field).reshape(field, self.b.shape)

    def of_batch(self, numbers: Array) -> Array:
        """Return one number for each row as `(*batch,)`."""
        return array_namespace(numbers).reshape(numbers, self.batch)


def rows_of(apply: Map, b: Array, batch_axes: int) -> Rows:
    """Return the system in rows; the map keeps acting on fields `(*batch, *inner)`.

    Raises ValueError where b has fewer than `batch_axes` axes or is no floating array.
    """
    xp = array_namespace(b)
    if not 0 <= batch_axes <= b.ndim:
        raise ValueError(
            f"batch_axes is the number of leading batch axes of b, got {batch_axes} for b {tuple(b.shape)}"
        )
    if not xp.isdtype(b.dtype, ("real floating", "complex floating")):
        raise ValueError(f"a solver wants b of real or complex floating numbers, got {b.dtype}")
    shape, batch = tuple(b.shape), tuple(b.shape[:batch_axes])
    flat = (math.prod(batch), math.prod(shape[batch_axes:]))

    def on_rows(rows: Array) -> Array:
        image = apply(xp.reshape(rows, shape))
        if tuple(image.shape) != shape:
            raise ValueError(f"a solver wants a map of fields {shape} to themselves, got one to {tuple(image.shape)}")
        return xp.reshape(image, flat)

    return Rows(on_rows, xp.reshape(b, flat), batch, shape)


def inner(x: Array, y: Array) -> Array:
    """Return sum conj(x) y of each row.

    >>> import numpy as np
    >>> inner(np.asarray([[1j, 2.0]]), np.asarray([[1.0, 1j]]))
    array([0.+1.j])
    """
    xp = array_namespace(x)
    return xp.sum((xp.conj(x) if _is_complex(x) else x) * y, axis=-1)


def real_inner(x: Array, y: Array) -> Array:
    """Return Re sum conj(x) y of each row, real.

    >>> import numpy as np
    >>> real_inner(np.asarray([[1j, 2.0]]), np.asarray([[1j, 1.0]]))
    array([3.])
    """
    xp = array_namespace(x)
    if not _is_complex(x):
        return xp.sum(x * y, axis=-1)
    return xp.sum(xp.real(x) * xp.real(y) + xp.imag(x) * xp.imag(y), axis=-1)


def norm(x: Array) -> Array:
    """Return |x| of each row, also where its square is too small or too large for a number.

    >>> import numpy as np
    >>> norm(np.asarray([[3.0, 4j]])).tolist(), norm(np.asarray([[3e-30, 4e-30]], dtype="float32")).tolist()[0] > 0.0
    ([5.0], True)
    """
    xp = array_namespace(x)
    size = xp.max(xp.abs(x), axis=-1)
    scaled = times(ratio(xp.ones_like(size), size), x)
    return size * xp.sqrt(real_inner(scaled, scaled))


def times(a: Array, x: Array) -> Array:
    """Return a x for one number a of each row.

    >>> import numpy as np
    >>> times(np.asarray([2.0]), np.asarray([[1j, 1.0]])).tolist()
    [[2j, (2+0j)]]
    """
    return of_type(a, x)[..., None] * x


def ratio(a: Array, b: Array) -> Array:
    """Return a / b, and 0 where b = 0.

    >>> import numpy as np
    >>> ratio(np.asarray([1.0, 1.0]), np.asarray([2.0, 0.0])).tolist()
    [0.5, 0.0]
    """
    xp = array_namespace(b)
    nothing = b == 0
    return xp.where(nothing, xp.zeros_like(b), a / xp.where(nothing, xp.ones_like(b), b))


def counts(like: Array, number: int = 0) -> Array:
    """Return one integer for each row."""
    xp = array_namespace(like)
    return xp.full((like.shape[0],), number, dtype=xp.int32, device=backends.place(like))


def divergence(like: Array) -> float:
    """Return the square of a residual at which a recursion that began at one has lost all digits: 1/u^2.

    >>> import numpy as np
    >>> divergence(np.ones(1)) == 2.0**104
    True
    """
    return float(array_namespace(like).finfo(like.dtype).eps) ** -2


def _is_complex(x: Array) -> bool:
    return bool(array_namespace(x).isdtype(x.dtype, "complex floating"))
