"""Checksums of gauge files, slab by slab: the contributions of slabs combine to the checksum of the whole file.

- SciDAC: xor over sites of CRC32(bytes of the site), rotated left by (site number) mod 29 and mod 31.
- MILC: xor over 32-bit words, rotated left by (word number) mod 29 and mod 31.
- NERSC: sum of the 32-bit words modulo 2^32.
- POSIX (cksum, used by BQCD): the CRC of all bytes and of their number, a polynomial over GF(2), thus a xor over slabs.
"""

from __future__ import annotations

import zlib

import numpy

Sums = tuple[int, ...]

CRC = 0x04C11DB7  # x^32 + x^26 + ... + 1 without its leading term
TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


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


def posix(data: bytes, start: int, size: int) -> Sums:
    """Return the contribution of bytes that begin at `start` of `size` to the checksum of the command cksum.

    >>> posix(b"123456789", 0, 9), combine_xor(posix(b"1234", 0, 9), posix(b"56789", 4, 9))
    ((930766865,), (930766865,))
    """
    length = size.to_bytes((size.bit_length() + 7) // 8, "little")
    found = _product(_remainder(data), _power(size - start - len(data) + len(length)))
    return (found if start else found ^ _remainder(length) ^ 0xFFFFFFFF,)


def combine_xor(one: Sums, other: Sums) -> Sums:
    """Combine the contributions of two slabs to a SciDAC, MILC or POSIX checksum.

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


def _remainder(data: bytes) -> int:
    """Bytes times x^32 modulo the polynomial, highest bit first; zlib takes the lowest first and starts from ones."""
    found = zlib.crc32(data.translate(TURNED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{found:032b}"[::-1], 2)


def _product(a: int, b: int) -> int:
    """a b modulo the polynomial, whose coefficients are the bits of a number."""
    total = 0
    for bit in f"{b:032b}":
        total = (total << 1) ^ (total >> 31) * (1 << 32 | CRC) ^ int(bit) * a
    return total


def _power(count: int) -> int:
    """x^(8 count) modulo the polynomial."""
    total, square = 1, 256
    while count:
        total, square, count = _product(total, square) if count % 2 else total, _product(square, square), count // 2
    return total
