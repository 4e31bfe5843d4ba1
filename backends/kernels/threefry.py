"""Threefry-2x32 on the host in unsigned words and in place: the same bits as core.random, faster.

The Array API standard promises neither unsigned shifts nor writing in place, so core.random uses neither; NumPy has both,
as has Torch on the CPU, and an eager chain would otherwise spend half of its time on random words.
"""

from __future__ import annotations

from functools import cache

import numpy

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
WORD, LANE = 0xFFFFFFFF, numpy.dtype("<u8")
FEW = 128  # words up to which Python integers are faster than a hundred calls of NumPy
SIX, ONE = numpy.uint32(6), numpy.asarray(1.0).view(numpy.uint64)[()]


def threefry(
    key0: numpy.ndarray, key1: numpy.ndarray, x0: numpy.ndarray, x1: int
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the int32 words that 20 rounds make of the counters `(x0, x1)` under the key words.

    `key0`, `key1` and `x0` are int32 arrays of broadcastable shapes, `x1` is one integer.

    >>> zero = numpy.zeros(1, dtype=numpy.int32)
    >>> [hex(int(word.view(numpy.uint32)[0])) for word in threefry(zero, zero, zero, 0)]
    ['0x6b200159', '0x99ba4efe']
    """
    shape = numpy.broadcast_shapes(key0.shape, key1.shape, x0.shape)
    if x0.size <= FEW and key0.size == key1.size == 1:
        words = _lanes(int(key0.item()), int(key1.item()), x0, x1)
        return words[0].reshape(shape), words[1].reshape(shape)
    first, second = (numpy.asarray(word).view(numpy.uint32) for word in (key0, key1))
    schedule = (first, second, first ^ second ^ numpy.uint32(PARITY))
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


def uniform(key: numpy.ndarray, count: int, purpose: int) -> numpy.ndarray:
    """Return `count` float64 numbers (n + 1/2) 2^-52 for each key `(*batch, 2)`, 26 bits of n from each of two words.

    The 52 bits become the mantissa of 1 + n 2^-52, from which 1 - 2^-53 is subtracted: no rounding, no conversion.

    >>> uniform(numpy.zeros(2, dtype=numpy.int32), 1, 2).round(6).tolist()
    [0.965321]
    """
    counters = numpy.arange(count, dtype=numpy.int32)
    high, low = (word.view(numpy.uint32) for word in threefry(key[..., 0:1], key[..., 1:2], counters, purpose))
    bits = (high >> SIX).astype(numpy.uint64)
    bits <<= numpy.uint64(26)
    bits |= low >> SIX
    bits |= ONE
    u = bits.view(numpy.float64)
    u -= 1.0 - 2.0**-53
    return u


def fold(key: numpy.ndarray, number: numpy.ndarray | int, purpose: int) -> numpy.ndarray:
    """Return the words of the counters `(number, purpose)` as keys `(*batch, 2)`; one key and number by Python integers.

    >>> fold(numpy.zeros(2, dtype=numpy.int32), 3, 1).tolist() == fold(numpy.zeros((1, 2), dtype=numpy.int32), 3, 1)[0].tolist()
    True
    """
    if key.ndim == 1 and numpy.ndim(number) == 0:
        return numpy.concatenate(_lanes(int(key[0]), int(key[1]), numpy.asarray([number]), purpose))
    numbers = numpy.asarray(number, dtype=numpy.int64).astype(numpy.int32)[..., None]
    return numpy.concatenate(threefry(key[..., 0:1], key[..., 1:2], numbers, purpose), axis=-1)


def _lanes(first: int, second: int, x0: numpy.ndarray, x1: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Threefry of a few counters under one key: each word is 64 bits of one Python integer, the upper 32 spare.

    This is the common case: a step of a chain derives three keys and draws one number per chain.
    """
    one, mask = _ones(x0.size), _ones(x0.size) * WORD
    first, second = first & WORD, second & WORD
    schedule = tuple(word * one for word in (first, second, first ^ second ^ PARITY))
    numbers = int.from_bytes((x0.astype(LANE) & LANE.type(WORD)).tobytes(), "little")
    left, right = (numbers + schedule[0]) & mask, (x1 * one + schedule[1]) & mask
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            left = (left + right) & mask
            turned = right << rotation
            right = ((turned | (turned >> 32)) & mask) ^ left
        left = (left + schedule[(group + 1) % 3]) & mask
        right = (right + schedule[(group + 2) % 3] + (group + 1) * one) & mask
    return _words(left, x0.size), _words(right, x0.size)


@cache
def _ones(count: int) -> int:
    return sum(1 << (64 * index) for index in range(count))


def _words(lanes: int, count: int) -> numpy.ndarray:
    return numpy.frombuffer(lanes.to_bytes(8 * count, "little"), dtype=LANE).astype(numpy.uint32).view(numpy.int32)
