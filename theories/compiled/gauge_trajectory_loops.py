"""The loops of a compiled trajectory over chains, rows and planes; they are the same for every gauge group.

Rows are `(row, d, component, lane)`: see theories/compiled/gauge_trajectory.py for their layout, theories/compiled/gauge_bodies.py for what
is done at a site. `bodies` are the addresses of plane, kick, near, far, restore and density, and of the bodies that split
links and momenta into components and merge them again.
"""

from __future__ import annotations

import numpy

from haarflow.backends.compiled.loops import call, loop, prefetch
from haarflow.backends.types import Array
from haarflow.theories.compiled.row_order import Order


@loop
def trajectory(
    links: Array,
    momenta: Array,
    new_links: Array,
    new_momenta: Array,
    action: Array,
    u: Array,
    w: Array,
    moves: Array,
    kicks: Array,
    planes: Array,
    order: Order,
    block: int,
    components: int,
    bodies: tuple[int, ...],
    near_up_to: float,
) -> None:
    """Move links `(chains, d, entries, rows, extent, parts)` and momenta by the drifts and kicks of every chain.

    `action` becomes that of the new links less that of the old ones at beta = 1; u and w are buffers for the rows of a block.
    `order` is a lattice's `row_order.Order`.
    """
    plane, kicked, near, far, restore, density, split, merge, split_real, merge_real = bodies
    chains, d, _, rows, extent, _ = links.shape
    lanes, length = extent * block, (extent + 1) * block
    seat = numpy.arange(rows)  # every row has its own slot
    v = numpy.zeros((max(order.home) + 1, d, components, length))
    spare = numpy.zeros(2 * components * length)
    change = numpy.zeros((rows, len(planes), lanes))
    scale, strength, largest = numpy.zeros(lanes), numpy.zeros(lanes), numpy.zeros(16)
    for first in range(0, chains, block):
        count = min(block, chains - first)
        for row in range(rows):
            lay_out_row(links, u[row], row, block, first, count, split)
            lay_out_row(momenta, w[row], row, block, first, count, split_real)
        change[:] = 0.0
        for step in range(len(moves)):
            reach = spread(moves[step], scale, block, first, count) / near_up_to
            if step > 0:
                spread(kicks[step - 1], strength, block, first, count)
            moved = 0
            for visit in range(rows):
                if step > 0:
                    add_staples(u, seat, v, spare, lanes, order, planes, visit, plane)
                else:
                    add_density(u, seat, change, order, planes, visit, density)
                for row in order.done[moved : order.ready[visit]]:
                    for mu in range(d):
                        size2 = numpy.inf
                        if step > 0:
                            size2 = kick(u[row, mu], v[order.home[row], mu], w[row, mu], strength, largest, kicked)
                        fetch(w, order.sweep[(visit + 1) % rows], mu, d)
                        drift = near if size2 * reach * reach <= 1.0 else far
                        drift_link(u[row, mu], w[row, mu], scale, drift, restore, step == len(moves) - 1)
                moved = order.ready[visit]
        for visit in range(rows):
            add_density(u, seat, change, order, planes, visit, density)
        for row in range(rows):
            for mu in range(d):
                bring_back_row(u[row, mu], new_links, mu, row, block, first, count, merge)
                bring_back_row(w[row, mu], new_momenta, mu, row, block, first, count, merge_real)
        for lane in range(count):
            action[first + lane] = numpy.sum(change[:, :, lane::block])


@loop
def lay_out_line(
    x: Array, components: Array, mu: int, entry: int, row: int, block: int, first: int, count: int
) -> None:
    """Copy one entry of a row's links in one direction, and that of its first site, to its components."""
    _, _, _, _, extent, parts = x.shape
    for lane in range(count):
        sites = x[first + lane, mu, entry, row]
        for part in range(parts):
            numbers = components[entry * parts + part]
            for site in range(extent):
                numbers[site * block + lane] = sites[site, part]
            numbers[extent * block + lane] = sites[0, part]


@loop
def bring_back_line(
    components: Array, x: Array, mu: int, entry: int, row: int, block: int, first: int, count: int
) -> None:
    """Undo `lay_out_line`."""
    _, _, _, _, extent, parts = x.shape
    for lane in range(count):
        sites = x[first + lane, mu, entry, row]
        for part in range(parts):
            numbers = components[entry * parts + part]
            for site in range(extent):
                sites[site, part] = numbers[site * block + lane]


@loop
def lay_out_row(x: Array, buffer: Array, row: int, block: int, first: int, count: int, split: int) -> None:
    """Copy the links or momenta of `count` chains in a row, and those of their first sites, to `(d, component, lane)`.

    In blocks of one chain a compiled body does it; lanes without a chain keep their values.
    """
    _, d, entries, _, extent, _ = x.shape
    for mu in range(d):
        if block > 1:
            for entry in range(entries):
                lay_out_line(x, buffer[mu], mu, entry, row, block, first, count)
            continue
        call(split, 8 * extent, (x[first, mu, 0, row].ctypes.data, buffer[mu].ctypes.data))
        for component in range(buffer.shape[1]):
            buffer[mu, component, extent] = buffer[mu, component, 0]


@loop
def bring_back_row(
    components: Array, x: Array, mu: int, row: int, block: int, first: int, count: int, merge: int
) -> None:
    """Undo `lay_out_row` for one direction or plane."""
    if block == 1:
        call(merge, 8 * x.shape[4], (x[first, mu, 0, row].ctypes.data, components.ctypes.data))
        return
    for entry in range(x.shape[2]):
        bring_back_line(components, x, mu, entry, row, block, first, count)


@loop
def spread(numbers: Array, lanes: Array, block: int, first: int, count: int) -> float:
    """Write one number per chain into the chains' lanes; return the largest modulus."""
    largest = 0.0
    for lane in range(len(lanes)):
        lanes[lane] = numbers[first + lane % block] if lane % block < count else 0.0
        largest = max(largest, abs(lanes[lane]))
    return largest


@loop
def corners(x: Array, lanes: int, plane: Array, row: int, right: int, above: int) -> tuple[int, int, int, int]:
    """Return the addresses of U_mu(x), U_nu(x), U_nu(x+mu), U_mu(x+nu); `right` and `above` are the rows at x+mu, x+nu."""
    begin, d, link, one_on = x.ctypes.data, x.shape[1], x.strides[1], 8 * (x.shape[3] - lanes)
    mu, nu = plane
    far, high = begin + (right * d + nu) * link, begin + (above * d + mu) * link
    if mu == d - 1:
        far += one_on
    if nu == d - 1:
        high += one_on
    return begin + (row * d + mu) * link, begin + (row * d + nu) * link, far, high


@loop
def add_staples(
    u: Array, seat: Array, v: Array, spare: Array, lanes: int, order: Order, planes: Array, visit: int, body: int
) -> None:
    """Add the plaquettes with corners in the row of a visit to the staples of their links; `seat` is the slot of each row in u."""
    ahead, home, sweep = order.ahead, order.home, order.sweep
    row, following = sweep[visit], sweep[(visit + 1) % len(sweep)]
    for index in range(len(planes)):
        plane = planes[index]
        right, above = ahead[plane[0], row], ahead[plane[1], row]
        links = corners(u, lanes, plane, seat[row], seat[right], seat[above])
        first, second, far, high = corners(v, lanes, plane, home[row], home[right], home[above])
        call(body, 8 * lanes, (*links, first, second, high, far, spare.ctypes.data))
        fetch(u, seat[ahead[0, following]], index, len(planes))


@loop
def add_density(u: Array, seat: Array, change: Array, order: Order, planes: Array, visit: int, body: int) -> None:
    """Replace each value c in `change`, for plaquettes with corners in the row of a visit, by their action - c."""
    lanes, ahead, sweep = change.shape[2], order.ahead, order.sweep
    row, following = sweep[visit], sweep[(visit + 1) % len(sweep)]
    for index in range(len(planes)):
        mu, nu = planes[index]
        links = corners(u, lanes, planes[index], seat[row], seat[ahead[mu, row]], seat[ahead[nu, row]])
        call(body, 8 * lanes, (*links, change[row % len(change), index].ctypes.data))
        fetch(u, seat[ahead[0, following]], index, len(planes))


@loop
def kick(u: Array, v: Array, w: Array, strength: Array, largest: Array, body: int) -> float:
    """Kick the momenta of a row's links in one direction; return the largest w^2."""
    lanes = len(strength)
    for component in range(v.shape[0]):  # add what the copies of the first sites received
        for lane in range(v.shape[1] - lanes):
            v[component, lane] += v[component, lanes + lane]
            v[component, lanes + lane] = 0.0
    largest[:] = 0.0
    addresses = (u.ctypes.data, v.ctypes.data, w.ctypes.data, strength.ctypes.data, largest.ctypes.data)
    call(body, 8 * lanes, addresses)
    most: float = max(largest)
    return most


@loop
def move(link: Array, lanes: int, addresses: tuple[int, ...], body: int) -> None:
    """Run a body that changes a row's links in one direction, and the copies of the first sites with them."""
    call(body, 8 * lanes, addresses)
    for component in range(link.shape[0]):
        for lane in range(link.shape[1] - lanes):
            link[component, lanes + lane] = link[component, lane]


@loop
def drift_link(link: Array, w: Array, scale: Array, drift: int, restore: int, last: bool) -> None:
    """Move a row's links in one direction along their momenta; after the last drift bring them back onto the group."""
    move(link, len(scale), (link.ctypes.data, w.ctypes.data, scale.ctypes.data), drift)
    if last:
        move(link, len(scale), (link.ctypes.data,), restore)


@loop
def fetch(x: Array, row: int, part: int, parts: int) -> None:
    """Prefetch a part of the cache lines of a row that is needed next, so that computation hides the memory's latency."""
    size = x.strides[0] // parts
    begin = x.ctypes.data + row * x.strides[0] + part * size
    for address in range(begin, begin + size, 64):
        prefetch(address)
