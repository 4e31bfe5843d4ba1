"""Heat bath and over-relaxation of SU(N) links as one compiled kernel, for arrays in host memory.

Even and odd sites are stored separately, packed in pairs along the last axis as in core/lattice/evenodd.py: the links of one
direction and parity are updated while all links of their staples are held. A row holds, component by component, a line of
pairs along the last axis and at each pair the chains of a block, between a copy of its last pair in front and one of its first
pair behind, so that a neighbour is an offset. Uniform numbers are generated where they are used, from the counters that
`core.random` assigns to them, and only as many tries are drawn as are needed.

The reference is `core.chains.heatbath_sun.SUNHeatBath`; both agree to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.compiled import vector
from haarflow.backends.types import Array
from haarflow.core import random
from haarflow.core.axes import batch_shape, per_chain, spread
from haarflow.core.chains.heatbath_sun import NUMBERS
from haarflow.core.groups.matrices import precision
from haarflow.core.groups.sun import SU
from haarflow.theories.compiled import heatbath_bodies
from haarflow.theories.compiled.heatbath_loops import sweeps

FILLED = 16  # lanes of a row: enough to hide the cost of the loops
CACHED = 2**17  # numbers in the rows of a block, 1 MiB


class Neighbours(NamedTuple):
    """The rows one site on and one back along every axis, `(d, rows)`, along the last the row itself; whether the sum of a
    row's coordinates is odd."""

    ahead: numpy.ndarray
    behind: numpy.ndarray
    odd: numpy.ndarray


def compiled(
    theory: Any, key: Array, field: Array, coupling: Any, tries: int, overrelaxation: int, plain: Any
) -> tuple[Array, Array] | None:
    """Return links and failed subgroup steps after the sweeps of `SUNHeatBath`, or None where there is no kernel.

    `coupling` is a number or `(*batch, 1, ..., 1)` over the sites; `plain(key, field, coupling)` does the same by arrays.
    """
    if precision(field) != "float64":
        return None
    lattice, batch, d, xp = theory.lattice, batch_shape(theory, field), theory.d, array_namespace(field)
    share, pairs = per_chain(key, batch), math.prod(lattice) // 2
    stride = math.prod(share) * pairs
    if 2 * len(theory.group.subgroups) * _numbers(tries) * stride >= 2**31:  # the counters are 32-bit
        return None
    ones = xp.ones(batch, dtype=xp.float64, device=backends.place(field))
    keys = xp.stack([random.fold_in(key, mu) for mu in range(d)], axis=-2)
    keys = xp.broadcast_to(xp.reshape(keys, (*key.shape[:-1], *(1,) * len(share), d, 2)), (*batch, d, 2))
    first = backends.of(field).asarray(pairs * numpy.arange(math.prod(share), dtype=float).reshape(share))
    weights = xp.reshape(coupling * spread(ones, d), batch)

    def by_arrays(field: Array, keys: Array, first: Array, weights: Array, key: Array) -> tuple[Array, Array]:
        swept: tuple[Array, Array] = plain(key, field, spread(weights, d))
        return swept

    kernel = partial(sweep, theory.n, lattice, stride, tries, overrelaxation)
    swept: tuple[Array, Array] | None = backends.of(field).on_host(
        kernel, by_arrays, (field, ones), field, keys, first * ones, weights, key
    )
    return swept


def sweep(
    n: int,
    lattice: tuple[int, ...],
    stride: int,
    tries: int,
    overrelaxation: int,
    into: Sequence[numpy.ndarray],
    field: numpy.ndarray,
    keys: numpy.ndarray,
    first: numpy.ndarray,
    weights: numpy.ndarray,
    _: numpy.ndarray,
) -> None:
    """Write links and failed steps; `first`, the counters at which the chains begin, and the weights have the batch's
    shape."""
    chains, d, extent, components = first.size, len(lattice), lattice[-1], 2 * n * n
    if not chains:
        return
    swept, failed = into
    failed[...] = 0.0
    rows = math.prod(lattice[:-1])
    block = _block(extent // 2, chains, components, 2 * rows * d)
    length = (extent // 2 + 2) * block
    draws, turns, *others = _compiled(n, tries, length)
    sweeps(
        *(x.view("float64").reshape(chains, d, -1, rows, extent, 2) for x in (numpy.ascontiguousarray(field), swept)),
        failed.reshape(-1),
        numpy.zeros((2, rows, d, components, length)),
        numpy.ascontiguousarray(keys).reshape(chains, d, 2),
        numpy.ascontiguousarray(first).reshape(-1),
        numpy.ascontiguousarray(weights).reshape(-1),
        stride,
        _numbers(tries),
        1 + overrelaxation,
        neighbours(lattice),
        block,
        tuple(code.address for code in others),
        *(numpy.asarray([code.address for code in codes]) for codes in (draws, turns)),
    )


@cache
def neighbours(lattice: tuple[int, ...]) -> Neighbours:
    """Return the neighbours of a lattice's rows.

    >>> rows = neighbours((4, 2))
    >>> rows.ahead.tolist(), rows.behind.tolist(), rows.odd.tolist()
    ([[1, 2, 3, 0], [0, 1, 2, 3]], [[3, 0, 1, 2], [0, 1, 2, 3]], [0, 1, 0, 1])
    """
    rows = numpy.arange(math.prod(lattice[:-1])).reshape(lattice[:-1])
    shifted = [[*(numpy.roll(rows, step, axis) for axis in range(rows.ndim)), rows] for step in (-1, 1)]
    ahead, behind = (numpy.stack(tables).reshape(len(lattice), -1) for tables in shifted)
    return Neighbours(ahead, behind, numpy.indices(lattice[:-1]).sum(axis=0).reshape(-1) % 2)


def _numbers(tries: int) -> int:
    """The number of uniform numbers in one subgroup step."""
    return NUMBERS * tries + 2


def _block(pairs: int, chains: int, components: int, rows: int) -> int:
    """The number of chains in a block: whole registers, evenly filled, rows of at most about FILLED numbers, and rows of all
    chains that fit into the cache."""
    least = vector.WIDTH // math.gcd(pairs, vector.WIDTH)
    most = max(1, min(FILLED // pairs, CACHED // (rows * components * pairs)) // least)
    groups = -(-chains // least)
    return least * -(-groups // -(-groups // most))


@cache
def _compiled(
    n: int, tries: int, length: int
) -> tuple[list[vector.Code], list[vector.Code], vector.Code, vector.Code, vector.Code]:
    """The bodies as machine code for a length of rows: draws and reflections of all subgroups, staples, loops, restore."""
    stride, pairs = length * vector.BYTES, SU(n, 1).subgroups
    return (
        [vector.compiled(heatbath_bodies.heat_bath(n, pair, tries), 4, stride, fixed=1) for pair in pairs],
        [vector.compiled(heatbath_bodies.reflection(n, pair), 2, stride) for pair in pairs],
        vector.compiled(heatbath_bodies.staples(n), 8, stride, fixed=1),
        vector.compiled(heatbath_bodies.loops(n), 2, stride),
        vector.compiled(heatbath_bodies.restore(n), 1, stride),
    )
