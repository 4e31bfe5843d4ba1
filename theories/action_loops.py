"""The loops of single works on gauge links over the blocks of chains, see theories/compiled_actions.py.

A row of links is laid out when the first visit wants it, at the place (`order.home`) that it leaves after the last: few rows are
there at once, and they stay in the cache. Links are `(chains, d, entries, rows, extent, parts)`, u is room for the rows.
"""

from __future__ import annotations

from typing import Any

import numpy

from haarflow.backends.simd_loops import call, loop
from haarflow.theories.trajectory_loops import (
    add_density,
    add_staples,
    bring_back_line,
    corners,
    kick,
    lay_out_line,
    spread,
)

Array = Any


@loop
def traces(links: Array, sums: Array, u: Array, planes: Array, order: Any, block: int, bodies: Any) -> None:
    """Write the sum of what a body adds at every plaquette of a chain."""
    split, trace = bodies
    chains, _, _, rows, extent, _ = links.shape
    total, laid = numpy.zeros((1, len(planes), extent * block)), numpy.zeros(rows)
    for first in range(0, chains, block):
        count = min(block, chains - first)
        total[:], laid[:] = 0.0, 0.0
        for visit in range(rows):
            lay_out_visit(links, u, laid, order, visit, block, first, count, split)
            add_density(u, order.home, total, order, planes, visit, trace)
        for lane in range(count):
            sums[first + lane] = numpy.sum(total[:, :, lane::block])


@loop
def forces(
    links: Array,
    found: Array,
    strengths: Array,
    u: Array,
    planes: Array,
    order: Any,
    block: int,
    bodies: Any,
) -> None:
    """Write what a kick of the chains' strengths gives to momenta at rest."""
    split, copy, plane, kicked = bodies
    chains, _, _, rows, extent, _ = links.shape
    homes, d, components, length = u.shape
    lanes, momenta = extent * block, found.shape[2]
    v, w = numpy.zeros((homes, d, components, length)), numpy.zeros((momenta, length))
    spare, strength, largest = numpy.zeros(2 * components * length), numpy.zeros(lanes), numpy.zeros(16)
    laid = numpy.zeros(rows)
    for first in range(0, chains, block):
        count = min(block, chains - first)
        spread(strengths, strength, block, first, count)
        laid[:], moved = 0.0, 0
        for visit in range(rows):
            lay_out_visit(links, u, laid, order, visit, block, first, count, split)
            add_staples(u, order.home, v, spare, lanes, order, planes, visit, plane)
            for row in order.done[moved : order.ready[visit]]:
                home = order.home[row]
                for mu in range(d):
                    w[:] = 0.0
                    kick(u[home, mu], v[home, mu], w, strength, largest, kicked)
                    bring_back_row(w, found, mu, row, block, first, count, copy)
            moved = order.ready[visit]


@loop
def plaquettes(links: Array, found: Array, u: Array, planes: Array, order: Any, block: int, bodies: Any) -> None:
    """Write the plaquettes, `(chains, planes, entries, rows, extent, parts)`."""
    split, merge, body = bodies
    chains, _, _, rows, extent, _ = links.shape
    _, _, components, length = u.shape
    lanes, ahead = extent * block, order.ahead
    product, spare, laid = numpy.zeros((components, length)), numpy.zeros(2 * components * length), numpy.zeros(rows)
    for first in range(0, chains, block):
        count = min(block, chains - first)
        laid[:] = 0.0
        for visit in range(rows):
            lay_out_visit(links, u, laid, order, visit, block, first, count, split)
            row = order.sweep[visit]
            for number in range(len(planes)):
                mu, nu = planes[number]
                seats = order.home[row], order.home[ahead[mu, row]], order.home[ahead[nu, row]]
                places = corners(u, lanes, planes[number], *seats)
                call(body, 8 * lanes, (*places, product.ctypes.data, spare.ctypes.data))
                bring_back_row(product, found, number, row, block, first, count, merge)


@loop
def lay_out_visit(
    links: Array, u: Array, laid: Array, order: Any, visit: int, block: int, first: int, count: int, split: int
) -> None:
    """Lay out the rows of a visit that are not there yet."""
    corner = order.sweep[visit]
    lay_out_row(links, u, laid, order, corner, block, first, count, split)
    for axis in range(len(order.ahead)):
        lay_out_row(links, u, laid, order, order.ahead[axis, corner], block, first, count, split)


@loop
def lay_out_row(
    links: Array, u: Array, laid: Array, order: Any, row: int, block: int, first: int, count: int, split: int
) -> None:
    """Lay out a row at its home; in blocks of one chain by a body that takes the parts of its numbers to their components."""
    if laid[row] > 0.0:
        return
    laid[row] = 1.0
    _, d, entries, _, extent, parts = links.shape
    for mu in range(d):
        here = u[order.home[row], mu]
        for entry in range(entries):
            if block > 1:
                lay_out_line(links, here, mu, entry, row, block, first, count)
                continue
            numbers = here[parts * entry : parts * (entry + 1)]
            call(split, 8 * extent, (links[first, mu, entry, row].ctypes.data, numbers.ctypes.data))
            for part in range(parts):
                numbers[part, extent] = numbers[part, 0]


@loop
def bring_back_row(
    components: Array, x: Array, mu: int, row: int, block: int, first: int, count: int, merge: int
) -> None:
    """Undo `lay_out_row` for one direction or plane."""
    _, _, entries, _, extent, parts = x.shape
    for entry in range(entries):
        if block > 1:
            bring_back_line(components, x, mu, entry, row, block, first, count)
        else:
            places = (x[first, mu, entry, row].ctypes.data, components[parts * entry].ctypes.data)
            call(merge, 8 * extent, places)
