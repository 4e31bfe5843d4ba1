"""The loops of a compiled action and a compiled force over the blocks of chains, see theories/compiled_actions.py."""

from __future__ import annotations

from typing import Any

import numpy

from haarflow.backends.simd_loops import call, loop
from haarflow.theories.trajectory_loops import add_density, add_staples, bring_back, kick, lay_out, spread

Array = Any


@loop
def traces(links: Array, sums: Array, u: Array, planes: Array, order: Any, block: int, bodies: Any) -> None:
    """Write the sum of what a body adds at every plaquette of a chain; links are `(chains, d, entries, rows, extent, parts)`.

    u is room for the rows of a block.
    """
    split, trace = bodies
    chains, _, _, rows, extent, _ = links.shape
    total = numpy.zeros((1, len(planes), extent * block))
    for first in range(0, chains, block):
        count = min(block, chains - first)
        lay_out_links(links, u, block, first, count, split)
        total[:] = 0.0
        for visit in range(rows):
            add_density(u, total, order, planes, visit, trace)
        for lane in range(count):
            sums[first + lane] = numpy.sum(total[:, :, lane::block])


@loop
def forces(
    links: Array,
    found: Array,
    strengths: Array,
    u: Array,
    w: Array,
    planes: Array,
    order: Any,
    block: int,
    components: int,
    bodies: Any,
) -> None:
    """Write what a kick of the chains' strengths gives to momenta at rest; u and w are room for the rows of a block."""
    split, copy, plane, kicked = bodies
    chains, d, _, rows, extent, _ = links.shape
    lanes, length = extent * block, (extent + 1) * block
    v = numpy.zeros((max(order.home) + 1, d, components, length))
    spare, strength, largest = numpy.zeros(2 * components * length), numpy.zeros(lanes), numpy.zeros(16)
    for first in range(0, chains, block):
        count = min(block, chains - first)
        lay_out_links(links, u, block, first, count, split)
        spread(strengths, strength, block, first, count)
        w[:] = 0.0
        moved = 0
        for visit in range(rows):
            add_staples(u, v, spare, lanes, order, planes, visit, plane)
            for row in order.done[moved : order.ready[visit]]:
                for mu in range(d):
                    kick(u[row, mu], v[order.home[row], mu], w[row, mu], strength, largest, kicked)
            moved = order.ready[visit]
        bring_back_forces(w, found, block, first, count, copy)


@loop
def lay_out_links(links: Array, u: Array, block: int, first: int, count: int, split: int) -> None:
    """Do what `lay_out` does; blocks of one chain by a body that takes real and imaginary parts to their rows."""
    if block > 1:
        lay_out(links, u, block, first, count)
        return
    _, d, entries, rows, extent, _ = links.shape
    for mu in range(d):
        for entry in range(entries):
            for row in range(rows):
                numbers = u[row, mu, 2 * entry : 2 * entry + 2]
                call(split, 8 * extent, (links[first, mu, entry, row].ctypes.data, numbers.ctypes.data))
                numbers[0, extent], numbers[1, extent] = numbers[0, 0], numbers[1, 0]


@loop
def bring_back_forces(w: Array, found: Array, block: int, first: int, count: int, copy: int) -> None:
    """Do what `bring_back` does; blocks of one chain by a body that copies rows."""
    if block > 1:
        bring_back(w, found, block, first, count)
        return
    _, d, components, rows, extent, _ = found.shape
    for mu in range(d):
        for component in range(components):
            for row in range(rows):
                call(
                    copy, 8 * extent, (w[row, mu, component].ctypes.data, found[first, mu, component, row].ctypes.data)
                )
