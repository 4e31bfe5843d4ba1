"""The loops of a compiled hop over spinors and rows; see theories/compiled/hop.py for the layout."""

from __future__ import annotations

import numpy

from haarflow.backends.compiled.loops import call, loop
from haarflow.backends.types import Array


@loop
def hop_rows(
    into: Array,
    base: Array,
    psi: Array,
    links: Array,
    factors: Array,
    which: Array,
    places: Array,
    behind: Array,
    width: int,
    bodies: tuple[int, int, int],
) -> None:
    """Write H psi, or base - factor H psi, for spinors `(count, components, rows, extent, 2)`, row by row.

    `links` are `(fields, rows, components, extent)`; `which` `(4, count)` says which psi, links, base and factor belong to a
    result. A buffer holds one psi, `spread`, `(rows, components, extent)`, and behind it `wide`, one row of it with a site more at both
    ends; `places` `(rows, 8)` are the addresses of a row's neighbours, counted from its begin. `behind` `(rows, 3)` are the rows one
    site back, whose links a hop may read; `width` is that of a register.
    """
    split, copy, body = bodies
    count, half, rows, extent, _ = into.shape
    numbers = 2 * half
    buffer = numpy.empty(rows * numbers * extent + numbers * (extent + 2), dtype=psi.dtype)
    spread = buffer[: rows * numbers * extent].reshape(rows, numbers, extent)
    wide = buffer[rows * numbers * extent :].reshape(numbers, extent + 2)
    lanes = numpy.empty(width, dtype=psi.dtype)
    size, start, held = into.itemsize, spread.ctypes.data, -1
    end, line, factor = size * extent, into.strides[2], lanes.ctypes.data
    for one in range(count):
        if which[0, one] != held:
            held = which[0, one]
            for row in range(rows):
                here = start + row * spread.strides[0]
                call(split, end, (psi.ctypes.data + held * psi.strides[0] + row * line, here))
        result = into.ctypes.data + one * into.strides[0]
        link = links.ctypes.data + which[1, one] * links.strides[0]
        added = base.ctypes.data + which[2, one] * base.strides[0]
        lanes[:] = factors[which[3, one]]
        for row in range(rows):
            call(copy, end, (start + row * spread.strides[0], wide.ctypes.data + size))
            for number in range(numbers):
                wide[number, 0] = spread[row, number, extent - 1]
                wide[number, extent + 1] = spread[row, number, 0]
            a, b, c, d, e, f, g, h = places[row]
            own = (result + row * line, added + row * line)
            around = (a + start, b + start, c + start, d + start, e + start, f + start, g + start, h + start)
            i, j, k = behind[row]
            apart = links.strides[1]
            back = (link + i * apart, link + j * apart, link + k * apart)
            call(body, end, (*own, *around, *back, link + row * apart, factor))
