"""The loop over keys and counters of host_normals.py."""

from __future__ import annotations

import numpy

from haarflow.backends.compiled.loops import call, loop
from haarflow.backends.types import Array


@loop
def fill(keys: Array, drawn: Array, chunk: int, body: int) -> None:
    """Fill `drawn` `(keys, count)`: pair i of `half` pairs uses the counters i and half + i and is stored at these positions."""
    count = drawn.shape[1]
    half = (count + 1) // 2
    counters, normals, key = numpy.empty((2, chunk)), numpy.empty((2, chunk)), numpy.empty((2, chunk))
    for row in range(len(keys)):
        key[0], key[1] = keys[row, 0], keys[row, 1]
        for first in range(0, half, chunk):
            size = min(chunk, half - first)
            for lane in range(chunk):
                counters[0, lane], counters[1, lane] = first + lane, half + first + lane
            call(body, 8 * size, (counters.ctypes.data, normals.ctypes.data, key.ctypes.data))
            drawn[row, first : first + size] = normals[0, :size]
            left = min(size, count - half - first)
            drawn[row, half + first : half + first + left] = normals[1, :left]
