"""Compiled loops for action, force and plaquettes of gauge links, over blocks of chains; see theories/compiled/gauge_action.py.

Links are `(chains, d, entries, rows, extent, parts)`, u is a buffer for their rows. A row is copied there at the first visit
that needs it, to the slot `order.home`, and frees the slot after the last: few rows are held at a time and stay in the cache.
"""

from __future__ import annotations

import numpy

from haarflow.backends.compiled.loops import call, loop
from haarflow.backends.types import Array
from haarflow.theories.compiled.gauge_trajectory_loops import (
    add_density,
    add_staples,
    bring_back_row,
    corners,
    kick,
    lay_out_row,
    spread,
)
from haarflow.theories.compiled.row_order import Order


@loop
def traces(
    links: Array, sums: Array, u: Array, planes: Array, order: Order, block: int, bodies: tuple[int, ...]
) -> None:
    """Write for each chain the sum over all plaquettes of what the body adds."""
    split, trace = bodies
    chains, _, _, rows, extent, _ = links.shape
    total, laid = numpy.zeros((1, len(planes), extent * block)), numpy.zeros(rows)
    for first in range(0, chains, block):
        count = min(block, chains - first)
        total[:] = 0.0
        laid[:] = 0.0
        for visit in range(rows):
            lay_out_visit(links, u, laid, order, visit, block, first, count, split)
            add_density(u, order.home, total, order, planes, visit, trace)
        for lane in range(count):
            sums[first + lane] = numpy.sum(total[:, :, lane::block])


@loop
def forces(
    links: Array,
    result: Array,
    strengths: Array,
    u: Array,
    planes: Array,
    order: Order,
    block: int,
    bodies: tuple[int, ...],
) -> None:
    """Write the momenta that a kick of each chain's strength gives to links at rest."""
    split, copy, plane, kicked = bodies
    chains, _, _, rows, extent, _ = links.shape
    _, d, components, length = u.shape
    lanes, momenta = extent * block, result.shape[2]
    v, w = numpy.zeros((max(order.home) + 1, d, components, length)), numpy.zeros((momenta, length))
    spare, strength, largest = numpy.zeros(2 * components * length), numpy.zeros(lanes), numpy.zeros(16)
    laid = numpy.zeros(rows)
    for first in range(0, chains, block):
        count = min(block, chains - first)
        spread(strengths, strength, block, first, count)
        laid[:] = 0.0
        moved = 0
        for visit in range(rows):
            lay_out_visit(links, u, laid, order, visit, block, first, count, split)
            add_staples(u, order.home, v, spare, lanes, order, planes, visit, plane)
            for row in order.done[moved : order.ready[visit]]:
                home = order.home[row]
                for mu in range(d):
                    w[:] = 0.0
                    kick(u[home, mu], v[home, mu], w, strength, largest, kicked)
                    bring_back_row(w, result, mu, row, block, first, count, copy)
            moved = order.ready[visit]


@loop
def plaquettes(
    links: Array, result: Array, u: Array, planes: Array, order: Order, block: int, bodies: tuple[int, ...]
) -> None:
    """Write the plaquettes, `(chains, planes, entries, rows, extent, parts)`."""
    split, merge, body = bodies
    chains, _, _, rows, extent, _ = links.shape
    _, _, components, length = u.shape
    lanes, home, ahead = extent * block, order.home, order.ahead
    product, spare, laid = numpy.zeros((components, length)), numpy.zeros(2 * components * length), numpy.zeros(rows)
    for first in range(0, chains, block):
        count = min(block, chains - first)
        laid[:] = 0.0
        for visit in range(rows):
            lay_out_visit(links, u, laid, order, visit, block, first, count, split)
            row = order.sweep[visit]
            for index in range(len(planes)):
                mu, nu = planes[index]
                links_of_plaquette = corners(
                    u, lanes, planes[index], home[row], home[ahead[mu, row]], home[ahead[nu, row]]
                )
                call(body, 8 * lanes, (*links_of_plaquette, product.ctypes.data, spare.ctypes.data))
                bring_back_row(product, result, index, row, block, first, count, merge)


@loop
def lay_out_visit(
    links: Array,
    u: Array,
    laid: Array,
    order: Order,
    visit: int,
    block: int,
    first: int,
    count: int,
    split: int,
) -> None:
    """Lay out the rows that a visit needs and that are not in the buffer yet: the corner's row and those one site on."""
    corner = order.sweep[visit]
    for axis in range(-1, len(order.ahead)):
        row = corner if axis < 0 else order.ahead[axis, corner]
        if laid[row] == 0.0:
            laid[row] = 1.0
            lay_out_row(links, u[order.home[row]], row, block, first, count, split)
