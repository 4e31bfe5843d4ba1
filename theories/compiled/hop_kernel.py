"""The NumPy side of a compiled hop: registers, where neighbours lie in memory, machine code, and the call of the loops.

Spinors are spread into a buffer, real and imaginary parts apart, that stays in the cache. Neighbours along other axes are other
rows; along the last one they are the row itself, one site aside, in a copy that has a site more at both ends. On sites of one
parity the row of the other parity takes this place, and whether it is one site aside depends on the row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy

from haarflow.backends.compiled import vector
from haarflow.backends.compiled.vector import Register
from haarflow.core.lattice import spinors
from haarflow.theories.compiled import hop_bodies
from haarflow.theories.compiled.hop_loops import hop_rows
from haarflow.theories.fermions.hopping import Sites

ADDRESSES = 8  # of neighbours, as many as there are in four dimensions
SIZES = {"float64": 8, "float32": 4}


def row_shape(sites: Sites) -> tuple[int, int]:
    """Return the number of rows and the sites in a row.

    >>> row_shape(Sites((4, 6))), row_shape(Sites((4, 6), parity=1))
    ((4, 6), (4, 3))
    """
    return math.prod(sites.lattice[:-1]), sites.lattice[-1] // (1 if sites.parity is None else 2)


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
def codes(sites: Sites, number: str, sign: int, fused: bool) -> tuple[vector.Code, ...]:
    """Return the bodies that spread a row, copy it and hop; see `hop_bodies.hop`. The code is that of any parity."""
    (rows, extent), size, count = row_shape(sites), SIZES[number], numbers_of(sites)
    apart, line, wide = 2 * rows * extent * size, extent * size, (extent + 2) * size
    register, strides = register_of(number, extent), [line] * (ADDRESSES + 4)
    for row in (sites.d - 1, 2 * sites.d - 1):
        strides[2 + row] = wide
    body = hop_bodies.hop(sites.d, sites.n, sign, apart, fused)
    return (
        vector.compiled(hop_bodies.spread(count // 2, apart), 2, line, paired=1, register=register),
        vector.compiled(hop_bodies.copy(count), 2, (line, wide), register=register),
        vector.compiled(body, ADDRESSES + 4, strides, fixed=1, paired=2, register=register),
    )


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

    `links` are `(*batch, rows, 2 d 2 n^2, extent)`, spinors `(*batch, spin, [n,] sites)`, the factor has the batch's shape; batch
    axes broadcast.
    """
    (result,), (rows, extent), count = into, row_shape(sites), numbers_of(sites)
    if not result.size:
        return
    number, fused = "float64" if result.itemsize == 16 else "float32", base is not None
    lead, axes, width = (
        result.shape[: result.ndim - sites.spinor_axes],
        sites.spinor_axes,
        register_of(number, extent).width,
    )
    added = result if base is None else base
    strength = numpy.zeros((), dtype=number) if factor is None else factor
    end = rows * count * extent
    buffer = numpy.empty(end + count * (extent + 2), dtype=number)
    hop_rows(
        *(_in_rows(x, number, (-1, count // 2, rows, extent, 2)) for x in (result, added, psi)),
        numpy.ascontiguousarray(links).reshape(-1, *links.shape[-3:]),
        numpy.stack([_order(x, lead, own) for x, own in ((psi, axes), (links, 3), (added, axes))]),
        numpy.broadcast_to(strength[..., None], (*lead, width)).astype(number).reshape(-1, width),
        places(sites, SIZES[number]) + buffer.ctypes.data,
        buffer[:end].reshape(rows, count, extent),
        buffer[end:].reshape(count, extent + 2),
        tuple(code.address for code in codes(sites, number, sign, fused)),
    )


def _order(x: numpy.ndarray, lead: tuple[int, ...], own: int) -> numpy.ndarray:
    """Which row of x, with `own` axes behind its batch, belongs to each of the broadcast batch axes `lead`."""
    batch = x.shape[: x.ndim - own]
    return numpy.broadcast_to(numpy.arange(math.prod(batch)).reshape(batch), lead).reshape(-1)


def _in_rows(x: numpy.ndarray, number: str, shape: tuple[int, ...]) -> numpy.ndarray:
    return numpy.ascontiguousarray(x).view(number).reshape(shape)
