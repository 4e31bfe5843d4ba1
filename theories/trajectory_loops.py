"""The loops of a compiled trajectory over chains, rows and planes, the same for every gauge group.

Rows are `(row, d, component, lane)`: see theories/trajectories.py for their layout, theories/trajectory_bodies.py for what
happens at a site. `bodies` are the addresses of plane, kick, near and far.
"""

from __future__ import annotations

from typing import Any

import numpy

from haarflow.backends.simd_loops import call, loop

Array = Any


@loop
def trajectory(
    links: Array,
    momenta: Array,
    new_links: Array,
    new_momenta: Array,
    moves: Array,
    kicks: Array,
    ahead: Array,
    planes: Array,
    thick: int,
    block: int,
    components: int,
    bodies: Any,
    near_up_to: float,
) -> None:
    """Move links `(chains, d, entries, rows, extent, parts)` and momenta by the drifts and kicks of every chain."""
    chains, d, _, rows, extent, _ = links.shape
    lanes, length = extent * block, (extent + 1) * block
    u, v = numpy.zeros((rows, d, components, length)), numpy.zeros((rows, d, components, length))
    w, spare = numpy.zeros((rows, d, momenta.shape[2], length)), numpy.zeros(2 * components * length)
    scale, strength, largest = numpy.zeros(lanes), numpy.zeros(lanes), numpy.zeros(16)
    for first in range(0, chains, block):
        count = min(block, chains - first)
        lay_out(links, u, block, first, count)
        lay_out(momenta, w, block, first, count)
        for number in range(len(moves)):
            reach = spread(moves[number], scale, block, first, count) / near_up_to
            if number > 0:
                spread(kicks[number - 1], strength, block, first, count)
            # a slice of axis 0 moves when its staples are complete, the first one when the last has read it
            for corner in range(0, rows + thick, thick):
                if number > 0 and corner < rows:
                    for row in range(corner, corner + thick):
                        add_staples(u, v, spare, lanes, ahead, planes, row, bodies[0])
                if corner > 0:
                    for row in range(corner % rows, corner % rows + thick):
                        for mu in range(d):
                            size2 = numpy.inf
                            if number > 0:
                                size2 = kick(u[row, mu], v[row, mu], w[row, mu], strength, largest, bodies[1])
                            near = size2 * reach * reach <= 1.0
                            drift(u[row, mu], w[row, mu], scale, bodies[2] if near else bodies[3])
        bring_back(u, new_links, block, first, count)
        bring_back(w, new_momenta, block, first, count)


@loop
def lay_out(x: Array, rows: Array, block: int, first: int, count: int) -> None:
    """Copy `count` chains into the rows; lanes without a chain stay as they are."""
    _, d, entries, number, extent, parts = x.shape
    for mu in range(d):
        for entry in range(entries):
            for row in range(number):
                for lane in range(count):
                    sites = x[first + lane, mu, entry, row]
                    for part in range(parts):
                        numbers = rows[row, mu, entry * parts + part]
                        for site in range(extent):
                            numbers[site * block + lane] = sites[site, part]


@loop
def bring_back(rows: Array, x: Array, block: int, first: int, count: int) -> None:
    """Undo `lay_out`."""
    _, d, entries, number, extent, parts = x.shape
    for mu in range(d):
        for entry in range(entries):
            for row in range(number):
                for lane in range(count):
                    sites = x[first + lane, mu, entry, row]
                    for part in range(parts):
                        numbers = rows[row, mu, entry * parts + part]
                        for site in range(extent):
                            sites[site, part] = numbers[site * block + lane]


@loop
def spread(numbers: Array, lanes: Array, block: int, first: int, count: int) -> float:
    """Write the chains' numbers into their lanes; return the largest modulus."""
    largest = 0.0
    for lane in range(len(lanes)):
        lanes[lane] = numbers[first + lane % block] if lane % block < count else 0.0
        largest = max(largest, abs(lanes[lane]))
    return largest


@loop
def add_staples(u: Array, v: Array, spare: Array, lanes: int, ahead: Array, planes: Array, row: int, body: int) -> None:
    """Add the plaquettes with corners in a row to the staples of their links."""
    d, link, one_on = u.shape[1], u.strides[1], 8 * (u.shape[3] - lanes)
    a, b = u.ctypes.data, v.ctypes.data
    for number in range(len(planes)):
        mu, nu = planes[number, 0], planes[number, 1]
        first, second = (row * d + mu) * link, (row * d + nu) * link
        far, high = (ahead[mu, row] * d + nu) * link, (ahead[nu, row] * d + mu) * link
        if mu == d - 1:
            far += one_on
        if nu == d - 1:
            high += one_on
        links, sums = (a + first, a + second, a + far, a + high), (b + first, b + second, b + high, b + far)
        call(body, 8 * lanes, links + sums + (spare.ctypes.data,))


@loop
def kick(u: Array, v: Array, w: Array, strength: Array, largest: Array, body: int) -> float:
    """Kick the momenta of a row's links in one direction; return the largest w^2."""
    lanes = len(strength)
    for component in range(v.shape[0]):  # what was added to the copies of the first sites is theirs
        for lane in range(v.shape[1] - lanes):
            v[component, lane] += v[component, lanes + lane]
            v[component, lanes + lane] = 0.0
    largest[:] = 0.0
    places = (u.ctypes.data, v.ctypes.data, w.ctypes.data, strength.ctypes.data, largest.ctypes.data)
    call(body, 8 * lanes, places)
    return max(largest)


@loop
def drift(u: Array, w: Array, scale: Array, body: int) -> None:
    """Move a row's links in one direction, and the copies of the first sites with them."""
    lanes = len(scale)
    call(body, 8 * lanes, (u.ctypes.data, w.ctypes.data, scale.ctypes.data))
    for component in range(u.shape[0]):
        for lane in range(u.shape[1] - lanes):
            u[component, lanes + lane] = u[component, lane]
