"""Threefry-2x32 on the host in unsigned words and in place: bit for bit core.random's, in a third of its passes.

Array API libraries need no unsigned shifts and no writing in place, so core.random does without; NumPy, and Torch on the
CPU, have both, and an eager chain spends half of its time on random words otherwise.
"""

from __future__ import annotations

import math

import numpy

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = numpy.uint32(0x1BD11BDA)


def threefry(
    key0: numpy.ndarray, key1: numpy.ndarray, x0: numpy.ndarray, x1: int
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the int32 words that 20 rounds make of the counters `(x0, x1)` under the key words.

    `key0`, `key1` and `x0` are int32 arrays of broadcastable shapes, `x1` one number for all.

    >>> zero = numpy.zeros(1, dtype=numpy.int32)
    >>> [hex(int(word.view(numpy.uint32)[0])) for word in threefry(zero, zero, zero, 0)]
    ['0x6b200159', '0x99ba4efe']
    """
    shape = numpy.broadcast_shapes(key0.shape, key1.shape, x0.shape)
    if math.prod(shape) == 1:
        return _one(key0, key1, x0, x1, shape)
    first, second = (numpy.asarray(word).view(numpy.uint32) for word in (key0, key1))
    schedule = (first, second, first ^ second ^ PARITY)
    left, right = numpy.empty(shape, dtype=numpy.uint32), numpy.empty(shape, dtype=numpy.uint32)
    numpy.add(numpy.asarray(x0).view(numpy.uint32), first, out=left)
    numpy.add(numpy.uint32(x1), second, out=right)
    spare = numpy.empty_like(right)
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            left += right
            numpy.right_shift(right, numpy.uint32(32 - rotation), out=spare)
            right <<= numpy.uint32(rotation)
            right |= spare
            right ^= left
        left += schedule[(group + 1) % 3]
        right += schedule[(group + 2) % 3]
        right += numpy.uint32(group + 1)
    return left.view(numpy.int32), right.view(numpy.int32)


def _one(
    key0: numpy.ndarray, key1: numpy.ndarray, x0: numpy.ndarray, x1: int, shape: tuple[int, ...]
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The same for one pair of words, in whole numbers: a chain derives keys three times a step."""
    mask = 0xFFFFFFFF
    first, second = int(key0.item()) & mask, int(key1.item()) & mask
    schedule = (first, second, first ^ second ^ int(PARITY))
    left, right = (int(x0.item()) + first) & mask, (x1 + second) & mask
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            left = (left + right) & mask
            right = (((right << rotation) | (right >> (32 - rotation))) & mask) ^ left
        left = (left + schedule[(group + 1) % 3]) & mask
        right = (right + schedule[(group + 2) % 3] + group + 1) & mask
    return numpy.full(shape, left, numpy.uint32).view(numpy.int32), numpy.full(shape, right, numpy.uint32).view(
        numpy.int32
    )
