"""The loops of a compiled heat bath over chains, directions, parities and rows.

Rows are `(parity, row, d, component, lane)`: see theories/compiled/heatbath.py for their layout, theories/compiled/heatbath_bodies.py for
what is done at a site.
"""

from __future__ import annotations

from typing import Any

import numpy

from haarflow.backends.compiled.loops import call, loop
from haarflow.backends.types import Array
from haarflow.theories.compiled.gauge_trajectory_loops import spread


@loop
def sweeps(
    links: Array,
    new_links: Array,
    failed: Array,
    u: Array,
    keys: Array,
    counters: Array,
    coupling: Array,
    stride: int,
    tries: int,
    count: int,
    neighbours: Any,
    block: int,
    bodies: tuple[int, ...],
    draws: Array,
    turns: Array,
) -> None:
    """Move links `(chains, d, entries, rows, extent, 2)` by a sweep of draws and `count - 1` sweeps of reflections.

    `keys` `(chains, d, 2)` and `counters` `(chains,)` say which uniform numbers belong to a chain, `stride` how far apart
    those of a link are, `tries` how many a subgroup step takes; `draws` and `turns` are the subgroups' bodies. u is a buffer
    for the rows of a block.
    """
    staples, loops, restore = bodies
    chains, d, _, rows, _, _ = links.shape
    components, length = u.shape[3], u.shape[4]
    half = length // block - 2
    lanes = half * block
    v, spare = numpy.zeros((components, length)), numpy.zeros((components, length))
    lane, visit = numpy.zeros((5, length)), numpy.zeros((2, length))
    for first in range(0, chains, block):
        some = min(block, chains - first)
        lay_out(links, u, neighbours.odd, block, first, some)
        spread(coupling, lane[3, :lanes], block, first, some)
        lane[4] = 0.0
        for sweep in range(count):
            for mu in range(d):
                name_draws(lane, keys, counters, mu, first, some, block, lanes)
                for parity in range(2):
                    for row in range(rows):
                        v[:] = 0.0
                        add_staples(u, v, spare, block, neighbours, parity, row, mu, staples)
                        link = address(u, parity, row, mu, 0, block)
                        call(loops, 8 * lanes, (link, v.ctypes.data))
                        if sweep == 0:
                            begin = parity * len(draws) * tries * stride + row * half
                            draw_link(link, v, lane, visit, begin, tries * stride, stride, lanes, draws)
                        else:
                            for subgroup in range(len(turns)):
                                call(turns[subgroup], 8 * lanes, (link, v.ctypes.data))
                        close(u[parity, row, mu], block)
        for parity in range(2):
            for row in range(rows):
                for mu in range(d):
                    call(restore, 8 * lanes, (address(u, parity, row, mu, 0, block),))
        bring_back(u, new_links, neighbours.odd, block, first, some)
        for chain in range(some):
            failed[first + chain] = numpy.sum(lane[4, chain:lanes:block])


@loop
def name_draws(
    lane: Array, keys: Array, counters: Array, mu: int, first: int, some: int, block: int, lanes: int
) -> None:
    """Write which uniform numbers belong to each lane: its chain's key for a direction and its counter."""
    for index in range(lanes):
        chain = first + min(index % block, some - 1)
        lane[0, index], lane[1, index] = keys[chain, mu, 0], keys[chain, mu, 1]
        lane[2, index] = counters[chain] + index // block


@loop
def draw_link(
    link: int,
    v: Array,
    lane: Array,
    visit: Array,
    begin: int,
    of_subgroup: int,
    stride: int,
    lanes: int,
    draws: Array,
) -> None:
    """Draw a row's links subgroup by subgroup, each with its own `of_subgroup` uniform numbers."""
    for subgroup in range(len(draws)):
        visit[0, :4], visit[1, :4] = begin + subgroup * of_subgroup, stride
        call(draws[subgroup], 8 * lanes, (link, v.ctypes.data, lane.ctypes.data, visit.ctypes.data))


@loop
def add_staples(
    u: Array, v: Array, spare: Array, block: int, neighbours: Any, parity: int, row: int, mu: int, body: int
) -> None:
    """Add the staples of a row's links along mu on the sites of one parity to v."""
    d, other = u.shape[2], 1 - parity
    ahead, behind = neighbours.ahead, neighbours.behind
    up = (parity + neighbours.odd[row]) % 2  # the right site of a pair has its next site in the next pair,
    down = up - 1  # the left site its previous one in the pair before
    right, far = ahead[mu, row], up if mu == d - 1 else 0
    for nu in range(d):
        if nu == mu:
            continue
        above, top = ahead[nu, row], up if nu == d - 1 else 0
        below, low = behind[nu, row], down if nu == d - 1 else 0
        addresses = (
            address(u, parity, row, nu, 0, block),
            address(u, other, above, mu, top, block),
            address(u, other, right, nu, far, block),
            address(u, other, below, mu, low, block),
            address(u, other, below, nu, low, block),
            address(u, parity, ahead[mu, below], nu, far + low, block),
            v.ctypes.data,
            spare.ctypes.data,
        )
        call(body, 8 * (v.shape[1] - 2 * block), addresses)


@loop
def address(u: Array, parity: int, row: int, mu: int, pair: int, block: int) -> int:
    """Return the address of a row's links, `pair` pairs of sites on."""
    begin: int = u.ctypes.data + parity * u.strides[0] + row * u.strides[1] + mu * u.strides[2]
    return begin + 8 * block * (1 + pair)


@loop
def close(link: Array, block: int) -> None:
    """Update the copies of the last pair, in front, and of the first pair, behind."""
    length = link.shape[1]
    for component in range(link.shape[0]):
        for lane in range(block):
            link[component, lane] = link[component, length - 2 * block + lane]
            link[component, length - block + lane] = link[component, block + lane]


@loop
def lay_out(x: Array, u: Array, odd: Array, block: int, first: int, count: int) -> None:
    """Copy `count` chains into the rows, even and odd sites apart; lanes without a chain keep their values."""
    _, d, entries, rows, extent, _ = x.shape
    sites, numbers = x.reshape(-1), u.reshape(-1)
    part, parity = u.shape[4], u.strides[0] // 8
    for lane in range(count):
        for mu in range(d):
            for entry in range(entries):
                for row in range(rows):
                    source, target = lines(x, u, first + lane, mu, entry, row, block)
                    for pair in range(extent // 2):
                        even, uneven, to = entries_of(source, target + lane, odd[row], pair, block)
                        numbers[to], numbers[to + part] = sites[even], sites[even + 1]
                        numbers[to + parity], numbers[to + parity + part] = sites[uneven], sites[uneven + 1]
    for parity in range(2):
        for row in range(rows):
            for mu in range(d):
                close(u[parity, row, mu], block)


@loop
def bring_back(u: Array, x: Array, odd: Array, block: int, first: int, count: int) -> None:
    """Undo `lay_out`."""
    _, d, entries, rows, extent, _ = x.shape
    sites, numbers = x.reshape(-1), u.reshape(-1)
    part, parity = u.shape[4], u.strides[0] // 8
    for lane in range(count):
        for mu in range(d):
            for entry in range(entries):
                for row in range(rows):
                    source, target = lines(x, u, first + lane, mu, entry, row, block)
                    for pair in range(extent // 2):
                        even, uneven, to = entries_of(source, target + lane, odd[row], pair, block)
                        sites[even], sites[even + 1] = numbers[to], numbers[to + part]
                        sites[uneven], sites[uneven + 1] = numbers[to + parity], numbers[to + parity + part]


@loop
def lines(x: Array, u: Array, chain: int, mu: int, entry: int, row: int, block: int) -> tuple[int, int]:
    """Return the offsets of a line of entries in x and in u; views of lines this short would cost more."""
    _, d, entries, rows, extent, parts = x.shape
    source = (((chain * d + mu) * entries + entry) * rows + row) * extent * parts
    return source, ((row * d + mu) * u.shape[3] + entry * parts) * u.shape[4] + block


@loop
def entries_of(source: int, target: int, odd: int, pair: int, block: int) -> tuple[int, int, int]:
    """Return the offsets of a pair's even and odd site in x, and of the even one in u."""
    left = source + 4 * pair
    return left + 2 * odd, left + 2 - 2 * odd, target + pair * block
