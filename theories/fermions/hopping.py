"""The hop of Wilson's operator at flat sites, for the whole lattice or from one parity to the other.

Spinors are `(*batch, spin, [N,] sites)`, links `(*batch, 2 d, [N, N,] sites)`: U_mu(x), and after them U_mu(x-mu)^+. Written
as one expression, a compiler that fuses makes every half spinor again for each component that reads it; as three programs,
kept apart by `materialise`, each number is made once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.axes import spread
from haarflow.core.broadcasting import of_rank, of_type
from haarflow.core.lattice import spinors
from haarflow.core.lattice.sites import neighbours, neighbours_across


class Sites(NamedTuple):
    """Where a hop ends: on all sites of a lattice, or on those of one parity (0 even, 1 odd); n is that of SU(n), 1 for U(1)."""

    lattice: tuple[int, ...]
    n: int = 1
    parity: int | None = None

    @property
    def d(self) -> int:
        """The lattice's dimension."""
        return len(self.lattice)

    @property
    def spinor_axes(self) -> int:
        """The axes of a spinor at flat sites: spin, colour where there is one, sites."""
        return 2 if self.n == 1 else 3

    @property
    def link_axes(self) -> int:
        """The axes of complex links at flat sites.

        >>> Sites((4, 4)).link_axes, Sites((4, 4), n=3).link_axes
        (2, 4)
        """
        return 2 if self.n == 1 else 4

    @property
    def table(self) -> numpy.ndarray:
        """The neighbours `(2 d, sites)` among all sites, or among those of the other parity."""
        return neighbours(self.lattice) if self.parity is None else neighbours_across(self.lattice)[self.parity]


@dataclass(frozen=True)
class Hopping:
    """How an operator hops: `prepare(links, sites)` lays complex links out as `hop` reads them, in arrays of `axes(links, sites)`
    axes behind the batch.

    `hop(links, psi, sites, sign, base, factor)` returns H psi, for sign -1 H^+ psi; with `base`, base - factor times that,
    where the factor is a number or has the batch's shape.
    """

    prepare: Callable[[Array, Sites], Array]
    axes: Callable[[Array, Sites], int]
    hop: Callable[..., Array]


def hop(links: Array, psi: Array, sites: Sites, sign: int = 1, base: Array | None = None, factor: Any = None) -> Array:
    """Return H psi at the sites of the links (H^+ psi for sign -1), or base - factor H psi.

    >>> hop(numpy.ones((4, 4)) + 0j, numpy.ones((2, 4)) + 0j, Sites((2, 2))).real.tolist()
    [[4.0, 4.0, 4.0, 4.0], [4.0, 4.0, 4.0, 4.0]]
    """
    backend, axis = backends.of(links, psi), -sites.spinor_axes
    halves = backend.materialise(gathered(psi, backend.asarray(sites.table), axis, sign))
    found = collected(backend.materialise(transported(links, halves, axis)), axis, sign)
    return found if base is None else less(base, spread(factor, sites.spinor_axes), found)


def gathered(psi: Array, table: Array, axis: int, sign: int) -> Array:
    """Return the half spinors of every direction at the neighbours, `(*batch, 2 d, spin/2, [N,] sites)`."""
    xp = array_namespace(psi)
    halves = [
        xp.take(spinors.project(psi, mu, sign * s, axis), table[row, :], axis=-1)
        for row, (mu, s) in enumerate(directions(table.shape[0]))
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


def collected(halves: Array, axis: int, sign: int) -> Array:
    """Return the sum over directions of the spinors that the half spinors stand for."""
    xp, behind = array_namespace(halves), (slice(None),) * -axis
    parts = [halves[(..., row, *behind)] for row in range(halves.shape[axis - 1])]
    lower = [spinors.lower(h, mu, sign * s, axis) for h, (mu, s) in zip(parts, directions(len(parts)), strict=True)]
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


ARRAYS = Hopping(lambda links, sites: links, lambda links, sites: sites.link_axes, hop)
