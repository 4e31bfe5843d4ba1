"""The NumPy side of a compiled hop: registers, where neighbours lie in memory, machine code, and the call of the loops.

Spinors are spread into a buffer, real and imaginary parts apart, that stays in the cache. Neighbours along other axes are other
rows; along the last one they are the row itself, one site aside, in a copy that has a site more at both ends. On sites of one
parity the row of the other parity takes this place, and whether it is one site aside depends on the row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy

from haarflow.backends.compiled import vector
from haarflow.backends.compiled.vector import Register
from haarflow.core.lattice import spinors
from haarflow.theories.compiled import hop_bodies
from haarflow.theories.compiled.hop_loops import hop_rows
from haarflow.theories.fermions.hopping import Sites

ADDRESSES = 8  # of neighbours, as many as there are in four dimensions
ROWS = 2 + ADDRESSES + len(hop_bodies.BEHIND) + 2  # of the body of a hop
SIZES = {"float64": 8, "float32": 4}
UNUSED = {number: numpy.zeros((), dtype=number) for number in SIZES}  # the factor of a bare hop


def row_shape(sites: Sites) -> tuple[int, int]:
    """Return the number of rows and the sites in a row.

    >>> row_shape(Sites((4, 6))), row_shape(Sites((4, 6), parity=1))
    ((4, 6), (4, 3))
    """
    return math.prod(sites.lattice[:-1]), sites.lattice[-1] // (1 if sites.parity is None else 2)


def link_sets(sites: Sites) -> tuple[int, ...]:
    """Return the directions whose links a row holds: on one parity all, on the whole lattice the forward ones, whose adjoint ones
    are the backward links of other rows, and the backward one along the last axis.

    >>> link_sets(Sites((4, 4, 4, 4))), link_sets(Sites((4, 4), parity=0))
    ((0, 1, 2, 3, 7), (0, 1, 2, 3))
    """
    d = sites.d
    return tuple(range(2 * d)) if sites.parity is not None else (*range(d), 2 * d - 1)


def numbers_of(sites: Sites) -> int:
    """Return the real numbers in a spinor at one site.

    >>> numbers_of(Sites((4, 4, 4, 4), n=3))
    24
    """
    return 2 * spinors.components(sites.d) * sites.n


def register_of(number: str, extent: int) -> Register:
    """Return a register of 32 bytes, or the widest that a row fills completely.

    >>> register_of("float32", 12), register_of("float64", 3).width
    (Register(number='float32', width=4), 1)
    """
    return Register(number, math.gcd(extent, 32 // SIZES[number]))


@cache
def places(sites: Sites, size: int) -> numpy.ndarray:
    """Return the addresses of a row's neighbours `(rows, 8)`, relative to a buffer with all rows and behind them the wide one.

    Numbers have `size` bytes.

    >>> places(Sites((2, 4)), 8)[0].tolist()
    [128, 272, 128, 256, 0, 0, 0, 0]
    """
    d, (count, extent), across = sites.d, row_shape(sites), sites.lattice[:-1]
    rows, line = numpy.arange(count).reshape(across), numbers_of(sites) * extent * size
    # whether the row begins with a site of the other parity: then its neighbour ahead is one further
    right = 0 if sites.parity is None else (sites.parity + numpy.indices(across).sum(axis=0)) % 2
    found = numpy.zeros((count, ADDRESSES), dtype="int64")
    for first, sign in ((0, 1), (d, -1)):
        for mu in range(d - 1):
            found[:, first + mu] = line * numpy.roll(rows, -sign, axis=mu).reshape(-1)
        step = sign if sites.parity is None else right - (sign == -1)
        found[:, first + d - 1] = count * line + size * (1 + numpy.broadcast_to(step, across).reshape(-1))
    return found


@cache
def rows_behind(sites: Sites) -> numpy.ndarray:
    """Return the rows one site back along the axes but the last, `(rows, 3)`.

    >>> rows_behind(Sites((3, 4))).tolist()
    [[2, 0, 0], [0, 0, 0], [1, 0, 0]]
    """
    across = sites.lattice[:-1]
    rows, found = numpy.arange(math.prod(across)).reshape(across), numpy.zeros((math.prod(across), 3), dtype="int64")
    for mu in range(len(across)):
        found[:, mu] = numpy.roll(rows, 1, axis=mu).reshape(-1)
    return found


@cache
def codes(
    d: int, n: int, shape: tuple[int, int], number: str, sign: int, fused: bool, doubled: bool
) -> tuple[vector.Code, ...]:
    """Return the bodies that spread a row, copy it and hop, see `hop_bodies.hop`, for spinors of `shape` (rows, extent)."""
    (rows, extent), size, count = shape, SIZES[number], 2 * spinors.components(d) * n
    apart, line, wide = 2 * rows * extent * size, extent * size, (extent + 2) * size
    register, strides = register_of(number, extent), [line] * ROWS
    for row in (d - 1, 2 * d - 1):
        strides[2 + row] = wide
    body = hop_bodies.hop(d, n, sign, apart, fused, doubled)
    return (
        vector.compiled(hop_bodies.spread(count // 2, apart), 2, line, paired=1, register=register),
        vector.compiled(hop_bodies.copy(count), 2, (line, wide), register=register),
        vector.compiled(body, ROWS, strides, fixed=1, paired=2, register=register),
    )


class Plan(NamedTuple):
    """What the calls of a hop share: shapes, neighbours, the addresses of the bodies, the width of a register."""

    rows: int
    extent: int
    numbers: int
    places: numpy.ndarray
    behind: numpy.ndarray
    bodies: tuple[int, ...]
    width: int


@cache
def plan(sites: Sites, number: str, sign: int, fused: bool) -> Plan:
    """Return the plan of a hop, made once."""
    shape = row_shape(sites)
    made = codes(sites.d, sites.n, shape, number, sign, fused, sites.parity is not None)
    bodies, width = tuple(code.address for code in made), register_of(number, shape[1]).width
    return Plan(*shape, numbers_of(sites), places(sites, SIZES[number]), rows_behind(sites), bodies, width)


def hop(
    sites: Sites,
    sign: int,
    into: Sequence[numpy.ndarray],
    links: numpy.ndarray,
    psi: numpy.ndarray,
    base: numpy.ndarray | None = None,
    factor: numpy.ndarray | None = None,
) -> None:
    """Write H psi (H^+ psi for sign -1) into the one array of `into`, or base - factor H psi.

    `links` are `(*batch, rows, sets 2 n^2, extent)`, see `link_sets`, spinors `(*batch, spin, [n,] sites)`, the factor has the batch's shape; batch
    axes broadcast.
    """
    (result,), own = into, sites.spinor_axes
    if not result.size:
        return
    number = "float64" if result.itemsize == 16 else "float32"
    made = plan(sites, number, sign, base is not None)
    added, strength = (psi, UNUSED[number]) if base is None or factor is None else (base, factor)
    lead, spinors = result.shape[: result.ndim - own], (-1, made.numbers // 2, made.rows, made.extent, 2)
    batches = (psi.shape[: psi.ndim - own], links.shape[: links.ndim - 3], added.shape[: added.ndim - own])
    hop_rows(
        *(numpy.ascontiguousarray(x).view(number).reshape(spinors) for x in (result, added, psi)),
        numpy.ascontiguousarray(links).reshape(-1, *links.shape[-3:]),
        numpy.ascontiguousarray(strength).reshape(-1),
        orders(lead, *batches, strength.shape),
        made.places,
        made.behind,
        made.width,
        made.bodies,
    )


@lru_cache(maxsize=256)
def orders(lead: tuple[int, ...], *batches: tuple[int, ...]) -> numpy.ndarray:
    """Return which row of arrays with these batch axes belongs to each of the broadcast axes `lead`.

    >>> orders((2, 3), (3,), (2, 1)).tolist()
    [[0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1]]
    """
    rows = [numpy.arange(math.prod(batch)).reshape(batch) for batch in batches]
    return numpy.stack([numpy.broadcast_to(row, lead).reshape(-1) for row in rows])
