"""The hop of Wilson's operator at flat sites, for the whole lattice or from one parity to the other.

Spinors are `(*batch, spin, [N,] sites)`, links `(*batch, 2 d, [N, N,] sites)`: U_mu(x), and after them U_mu(x-mu)^+. Written
as one expression, a compiler that fuses makes every half spinor again for each component that reads it; as three programs,
kept apart by `materialise`, each number is made once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.broadcasting import of_rank, of_type
from haarflow.core.lattice import spinors


def hop(links: Array, psi: Array, table: numpy.ndarray, colours: int) -> Array:
    """Return H psi at the sites of the links.

    `table` `(2 d, sites)` holds their neighbours among the sites of psi; `colours` is the number of colour axes, 0 or 1.

    >>> from haarflow.core.lattice.sites import neighbours
    >>> hop(numpy.ones((4, 4)) + 0j, numpy.ones((2, 4)) + 0j, neighbours((2, 2)), colours=0).real.tolist()
    [[4.0, 4.0, 4.0, 4.0], [4.0, 4.0, 4.0, 4.0]]
    """
    backend, axis = backends.of(links, psi), -2 - colours
    halves = backend.materialise(gathered(psi, backend.asarray(table), axis))
    return collected(backend.materialise(transported(links, halves, axis)), axis)


def gathered(psi: Array, table: Array, axis: int) -> Array:
    """Return the half spinors of every direction at the neighbours, `(*batch, 2 d, spin/2, [N,] sites)`."""
    xp = array_namespace(psi)
    halves = [
        xp.take(spinors.project(psi, mu, sign, axis), table[row, :], axis=-1)
        for row, (mu, sign) in enumerate(directions(table.shape[0]))
    ]
    return xp.stack(halves, axis=axis - 1)


def transported(links: Array, halves: Array, axis: int) -> Array:
    """Return the half spinors multiplied by the links."""
    if axis == -2:
        return product(links[..., None, :], halves)
    terms = [product(links[..., None, :, k, :], halves[..., None, k, :]) for k in range(links.shape[-2])]
    return sum(terms[1:], terms[0])


def product(x: Array, y: Array) -> Array:
    """Return x y, of which one may lack batch axes."""
    rank = max(x.ndim, y.ndim)
    return of_rank(x, rank) * of_rank(y, rank)


def collected(halves: Array, axis: int) -> Array:
    """Return the sum over directions of the spinors that the half spinors stand for."""
    xp, behind = array_namespace(halves), (slice(None),) * -axis
    parts = [halves[(..., row, *behind)] for row in range(halves.shape[axis - 1])]
    lower = [spinors.lower(h, mu, sign, axis) for h, (mu, sign) in zip(parts, directions(len(parts)), strict=True)]
    return xp.concat([sum(parts[1:], parts[0]), sum(lower[1:], lower[0])], axis=axis)


def directions(count: int) -> list[tuple[int, int]]:
    """Return mu and the sign in 1 +- gamma_mu for every row of a table of neighbours: forward hops, then backward ones.

    >>> directions(4)
    [(0, -1), (1, -1), (0, 1), (1, 1)]
    """
    return [(mu, sign) for sign in (-1, 1) for mu in range(count // 2)]


def flat(x: Array, d: int) -> Array:
    """Return an array with its d lattice axes as one.

    >>> flat(numpy.ones((2, 4, 4)), 2).shape
    (2, 16)
    """
    return array_namespace(x).reshape(x, (*x.shape[:-d], math.prod(x.shape[-d:])))


def less(psi: Array, factor: Any, hopped: Array) -> Array:
    """Return psi - factor hopped; a factor that is an array has axes of extent one for those of a spinor."""
    rank = max(hopped.ndim, getattr(factor, "ndim", 0))
    if hasattr(factor, "dtype"):
        factor = of_rank(of_type(factor, hopped), rank)
    return of_rank(psi, rank) - factor * of_rank(hopped, rank)


def check_shape(x: Array, shape: tuple[int, ...], what: str) -> None:
    """Raise ValueError unless the last axes of x are those of a field.

    >>> check_shape(numpy.ones((3, 2, 4)), (2, 4, 4), "a spinor field")
    Traceback (most recent call last):
        ...
    ValueError: a spinor field has the last axes (2, 4, 4), got the shape (3, 2, 4)
    """
    if tuple(x.shape[-len(shape) :]) != shape:
        raise ValueError(f"{what} has the last axes {shape}, got the shape {tuple(x.shape)}")
