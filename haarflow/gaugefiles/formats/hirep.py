"""HiRep files, big-endian: int32 N, T, X, Y, Z, the mean plaquette as float64, then float64 links `[t][x][y][z][mu][a][b]`.

mu = t, x, y, z. Links of SU(2) are four numbers q each, U = ((q0 + i q3, -q2 + i q1), (q2 + i q1, q0 - i q3)), or
whole matrices, as the length of the file tells. There is no magic number: a file is recognised by plausible values. Files
with the bytes of every number swapped are read too.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy

from haarflow.gaugefiles import sites
from haarflow.gaugefiles.checksums import Sums, combine_xor
from haarflow.gaugefiles.formats import openqcd
from haarflow.gaugefiles.records import Asked, GaugeFileError, Header, Recorded, Slab

HEAD = {"big": struct.Struct(">5id"), "little": struct.Struct("<5id")}
START = HEAD["big"].size
LARGEST = 1 << 6


def recognises(start: bytes, size: int) -> bool:
    """Return whether a file begins with a plausible N, four plausible extents and a plaquette, and is not openQCD's."""
    return _order(start, size) is not None and not openqcd.fits(start, size)


def _order(start: bytes, size: int) -> str | None:
    """The byte order in which the header is plausible: extents, and a plaquette or the length of the file."""
    for order, head in HEAD.items():
        if len(start) >= START:
            n, *extents, plaquette = head.unpack_from(start)
            sensible = 2 <= n <= LARGEST and all(1 <= extent <= openqcd.LARGEST for extent in extents)
            if sensible and (abs(plaquette) <= 2 or size == START + math.prod(extents) * 4 * 16 * n * n):
                return order
    return None


def read_header(file: BinaryIO, size: int, asked: Asked) -> Header:
    """Return the header; raises GaugeFileError for a length that does not fit."""
    file.seek(0)
    block = file.read(START)
    order = _order(block, size)
    if order is None:
        raise GaugeFileError("the 28-byte header of the HiRep file is cut short: fetch the file again")
    n, t, x, y, z, plaquette = HEAD[order].unpack(block)
    header = Header("hirep", n, (t, x, y, z), "float64", order, n, START, plaquette=Recorded(plaquette))
    quaternions = header._replace(rows=1)
    if n == 2 and size == START + sites.data_bytes(quaternions):
        return quaternions
    sites.check_size("the HiRep file", size, header)
    return header


def slabs(file: BinaryIO, header: Header) -> Iterator[Slab]:
    """Yield the time slices."""
    for raw in sites.raw_slabs(file, header):
        _, *space = header.lattice
        stored = raw.reshape(*space, 4, header.rows, header.n, 2)
        with numpy.errstate(all="ignore"):
            numbers = stored.astype(numpy.float64).view(numpy.complex128)[..., 0]
        links = numbers.transpose(3, 4, 5, 0, 1, 2)
        yield Slab(_from_quaternions(links) if header.rows < header.n else numpy.ascontiguousarray(links), ())


combine: Callable[[Sums, Sums], Sums] = combine_xor


def write(file: BinaryIO, header: Header, links: Iterator[Any]) -> Sums:
    """Write space for the header, then the links slab by slab."""
    file.write(bytes(START))
    for slab in links:
        numbers = numpy.ascontiguousarray(slab.transpose(3, 4, 5, 0, 1, 2), numpy.complex128)
        if header.rows < header.n:
            numbers = _quaternions(numbers)
        file.write(numbers.view(numpy.float64).astype(sites.float_type(header)).data)
    return ()


def finish(file: BinaryIO, header: Header) -> None:
    """Write N, extents and plaquette at the beginning."""
    file.seek(0)
    mean = header.plaquette.value if header.plaquette else 0.0
    file.write(HEAD[header.byte_order].pack(header.n, *header.lattice, mean))


def _quaternions(links: numpy.ndarray) -> numpy.ndarray:
    """(q0 + i q1, q2 + i q3) of SU(2) links `(X, Y, Z, mu, 2, 2)`."""
    a, b = links[..., 0, 0], links[..., 0, 1]
    return numpy.stack([a.real + 1j * b.imag, -b.real + 1j * a.imag], axis=-1)


def _from_quaternions(pairs: numpy.ndarray) -> numpy.ndarray:
    """Links `(mu, 2, 2, X, Y, Z)` of the pairs `(mu, 1, 2, X, Y, Z)`."""
    first, second = pairs[:, 0, 0], pairs[:, 0, 1]
    a, b = first.real + 1j * second.imag, -second.real + 1j * first.imag
    return numpy.stack([numpy.stack([a, b], 1), numpy.stack([-numpy.conj(b), numpy.conj(a)], 1)], 1)
