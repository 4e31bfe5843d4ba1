"""Checkerboards in any dimension: sites whose coordinates sum to an even number (parity 0) and the others (parity 1).

`split` divides a field by static indices and `merge` reassembles it, both without set-item. Within a coupling a
sublattice has the shape `(V/2, n)`: sites first, all configurations of the batch last, so that operations on small
lattices run over long rows and a convolution is one `take` of rows and one matrix product. Source: arXiv:1904.12072.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from array_api_compat import array_namespace, device

from haarflow import backends
from haarflow.backends.host_table import host_table
from haarflow.backends.types import Array


def check_checkerboard(lattice: tuple[int, ...]) -> None:
    """Raise ValueError for an odd extent: around it two neighbours would have the same colour."""
    for axis, extent in enumerate(lattice):
        if extent % 2:
            raise ValueError(
                f"a checkerboard mask has period 2 along every axis, but axis {axis} of the lattice {tuple(lattice)} "
                f"has the odd extent {extent}: use even extents"
            )


def split(x: Array, d: int, parity: int = 0) -> tuple[Array, Array]:
    """Return the sublattices of `x (*batch, *lattice)`, each `(V/2, n)`: the active one, of `parity`, and the frozen one.

    Raises ValueError for an odd extent or a field of fewer than d axes.

    >>> import numpy as np
    >>> active, passive = split(np.asarray([[1.0, 2.0, 3.0, 4.0]]), d=1)
    >>> active[:, 0].tolist(), passive[:, 0].tolist()
    ([1.0, 3.0], [2.0, 4.0])
    """
    if x.ndim < d:
        raise ValueError(f"a scalar field on a lattice of {d} axes is (*batch, *lattice), got shape {tuple(x.shape)}")
    xp = array_namespace(x)
    lattice = tuple(x.shape[x.ndim - d :])
    check_checkerboard(lattice)
    flat = xp.reshape(x, (-1, math.prod(lattice)))
    active, passive = (_part(flat, lattice, colour) for colour in (parity, 1 - parity))
    return xp.permute_dims(active, (1, 0)), xp.permute_dims(passive, (1, 0))


def merge(active: Array, passive: Array, parity: int, shape: tuple[int, ...], d: int) -> Array:
    """Return the field of `shape` from its sublattices: the inverse of `split`.

    >>> import numpy as np
    >>> x = np.arange(8.0).reshape(2, 4)
    >>> bool((merge(*split(x, 1, 1), 1, x.shape, 1) == x).all())
    True
    """
    xp = array_namespace(active)
    lattice = tuple(shape[len(shape) - d :])
    first = _first_is_active(active, lattice, parity)
    a, p = (xp.reshape(xp.permute_dims(part, (1, 0)), (-1, *_pairs(lattice))) for part in (active, passive))
    pairs = xp.stack([xp.where(first, a, p), xp.where(first, p, a)], axis=-1)
    return xp.reshape(pairs, tuple(shape))


def sublattice(x: Array, d: int, parity: int) -> Array:
    """Return the sites of one parity of features `(*batch, C, *lattice)` as `(C, V/2, n)`."""
    xp = array_namespace(x)
    lattice = tuple(x.shape[x.ndim - d :])
    flat = xp.reshape(x, (-1, x.shape[x.ndim - d - 1], math.prod(lattice)))
    return xp.permute_dims(_part(flat, lattice, parity), (1, 2, 0))


def _part(x: Array, lattice: tuple[int, ...], parity: int) -> Array:
    """Return the sites of one parity of `(..., V)`: in each pair along the last axis the first or the second.

    It is a `where` of two strided halves, as is its gradient; the gradient of a `take` would be a scatter.
    """
    xp = array_namespace(x)
    pairs = xp.reshape(x, (*x.shape[:-1], *_pairs(lattice), 2))
    first, second = backends.of(x).unstack(pairs, -1)
    sites = xp.where(_first_is_active(x, lattice, parity), first, second)
    return xp.reshape(sites, (*x.shape[:-1], math.prod(lattice) // 2))


def _pairs(lattice: tuple[int, ...]) -> tuple[int, int]:
    """The number of rows along the last axis of a lattice, and the number of pairs of neighbours in a row."""
    return math.prod(lattice[:-1]), lattice[-1] // 2


def _first_is_active(like: Array, lattice: tuple[int, ...], parity: int) -> Array:
    """Whether in each row of the lattice the sites of `parity` come first in their pairs, `(rows, 1)`."""
    return array_namespace(like).asarray(_even_rows(lattice[:-1]) == (parity == 0), device=device(like))


@host_table
def _even_rows(lattice: tuple[int, ...]) -> np.ndarray:
    """Whether the coordinates of each row sum to an even number, `(rows, 1)`."""
    return np.indices(lattice).sum(axis=0).reshape(-1, 1) % 2 == 0 if lattice else np.ones((1, 1), bool)


def take(x: Array, index: np.ndarray, axis: int) -> Array:
    """Return the rows listed in a static index table."""
    xp = array_namespace(x)
    return xp.take(x, xp.asarray(index, device=device(x)), axis=axis)


@host_table
def stencil(lattice: tuple[int, ...], parity: int, kernel: int, odd: bool) -> np.ndarray:
    """Return, for each tap of a kernel and each site of `parity`, the row of its neighbour's sublattice: `(taps, V/2)`.

    The kernel has `kernel^d` displacements, of which those of odd sum reach the other colour (`odd=True`) and those
    of even sum its own. Periodic; a kernel larger than the lattice wraps around.

    >>> stencil((4,), parity=0, kernel=3, odd=True).tolist()
    [[1, 0], [0, 1]]
    """
    check_checkerboard(lattice)
    centres, sources = _coordinates(lattice, parity), _sites(lattice, 1 - parity if odd else parity)
    row: np.ndarray = np.full(math.prod(lattice), -1)
    row[sources] = np.arange(len(sources))
    steps = np.asarray(displacements(len(lattice), kernel, odd)).reshape(-1, 1, len(lattice))
    neighbours = (centres[None] + steps) % np.asarray(lattice)
    table: np.ndarray = row[np.ravel_multi_index(tuple(np.moveaxis(neighbours, -1, 0)), lattice)]
    return table


@host_table
def displacements(d: int, kernel: int, odd: bool) -> tuple[tuple[int, ...], ...]:
    """Return a kernel's displacements of odd or even sum, in row-major order.

    Raises ValueError for an even extent, which has no centre.

    >>> displacements(2, 3, odd=True)
    ((-1, 0), (0, -1), (0, 1), (1, 0))
    """
    if kernel % 2 == 0 or kernel < 1:
        raise ValueError(f"a periodic kernel has an odd extent, got {kernel}")
    reach = range(-(kernel // 2), kernel // 2 + 1)
    return tuple(step for step in itertools.product(reach, repeat=d) if sum(step) % 2 == odd)


@host_table
def _sites(lattice: tuple[int, ...], parity: int) -> np.ndarray:
    return np.flatnonzero(np.indices(lattice).sum(axis=0).ravel() % 2 == parity)


def _coordinates(lattice: tuple[int, ...], parity: int) -> np.ndarray:
    return np.stack(np.unravel_index(_sites(lattice, parity), lattice), axis=-1)
