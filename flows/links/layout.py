"""Links as rows: the sites of all directions on the first axis and the batch last, so that a gather moves whole matrices."""

from __future__ import annotations

import math

from array_api_compat import array_namespace

from haarflow.backends.types import Array


def rows(links: Array, d: int) -> Array:
    """Return links `(*batch, d, N, N, *lattice)` as rows `(d V, N, N, batch)`.

    >>> import numpy as np
    >>> rows(np.zeros((5, 2, 3, 3, 4, 4)), 2).shape
    (32, 3, 3, 5)
    """
    xp, n = array_namespace(links), links.shape[-d - 1]
    flat = xp.permute_dims(xp.reshape(links, (-1, d, n, n, math.prod(links.shape[-d:]))), (1, 4, 2, 3, 0))
    return xp.reshape(flat, (-1, *flat.shape[2:]))


def links_of(rows: Array, shape: tuple[int, ...], d: int) -> Array:
    """Return rows as links of shape `(*batch, d, N, N, *lattice)`, the inverse of `rows`.

    >>> import numpy as np
    >>> links = np.arange(5 * 2 * 9 * 16.0).reshape(5, 2, 3, 3, 4, 4)
    >>> bool((links_of(rows(links, 2), links.shape, 2) == links).all())
    True
    """
    xp = array_namespace(rows)
    parts = xp.reshape(rows, (d, -1, *rows.shape[1:]))
    return xp.reshape(xp.permute_dims(parts, (4, 0, 2, 3, 1)), shape)
