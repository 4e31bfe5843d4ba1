"""Checksums of gauge files, slab by slab: the contributions of slabs combine to the checksum of the whole file.

- SciDAC: xor over sites of CRC32(bytes of the site), rotated left by (site number) mod 29 and mod 31.
- MILC: xor over 32-bit words, rotated left by (word number) mod 29 and mod 31.
- NERSC: sum of the 32-bit words modulo 2^32.
"""

from __future__ import annotations

import zlib

import numpy

Sums = tuple[int, ...]


def scidac(sites: numpy.ndarray, first: int) -> Sums:
    """Return the SciDAC pair (suma, sumb) of bytes `(site, byte)`; `first` is the index of the first site.

    >>> [hex(word) for word in scidac(numpy.frombuffer(b"123456789", numpy.uint8)[None], 0)]
    ['0xcbf43926', '0xcbf43926']
    """
    length, data = sites.shape[1], numpy.ascontiguousarray(sites).data.cast("B")
    found = (zlib.crc32(data[i : i + length]) for i in range(0, len(data), length))
    return _rotated_pair(numpy.fromiter(found, numpy.uint32, len(sites)), first)


def milc(words: numpy.ndarray, first: int) -> Sums:
    """Return the MILC pair (sum29, sum31) of 32-bit words; `first` is the index of the first one.

    >>> milc(numpy.asarray([1, 1], numpy.uint32), 0)
    (3, 3)
    """
    return _rotated_pair(words.reshape(-1), first)


def nersc(words: numpy.ndarray) -> Sums:
    """Return the sum of 32-bit words modulo 2^32.

    >>> nersc(numpy.asarray([2**32 - 1, 3], numpy.uint32))
    (2,)
    """
    return (int(words.sum(dtype=numpy.uint64)) % 2**32,)


def combine_xor(one: Sums, other: Sums) -> Sums:
    """Combine the contributions of two slabs to a SciDAC or MILC checksum.

    >>> combine_xor((5, 1), (1, 1))
    (4, 0)
    """
    return tuple(a ^ b for a, b in zip(one, other, strict=True))


def combine_add(one: Sums, other: Sums) -> Sums:
    """Combine the contributions of two slabs to a NERSC checksum.

    >>> combine_add((2**32 - 1,), (3,))
    (2,)
    """
    return tuple((a + b) % 2**32 for a, b in zip(one, other, strict=True))


def _rotated_pair(words: numpy.ndarray, first: int) -> Sums:
    numbers = numpy.arange(first, first + len(words), dtype=numpy.int64)
    return tuple(int(numpy.bitwise_xor.reduce(_rotated(words, numbers % prime))) for prime in (29, 31))


def _rotated(words: numpy.ndarray, left: numpy.ndarray) -> numpy.ndarray:
    left = left.astype(numpy.uint32)
    return (words << left) | (words >> ((32 - left) & 31))
