"""openQCD files: four int32 extents T, X, Y, Z, N times the mean plaquette as float64, then links, all little-endian.

Only the odd sites are stored (t + x + y + z odd; t slowest, z fastest), each with its 8 links: +t, -t, +x, -x, +y,
-y, +z, -z, where -mu is U_mu(x - mu). Extents are even, the group is SU(3), precision is double. There is no magic
number and no checksum: a file is recognised by extents that fit its length.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy

from haarflow.gaugefiles import sites
from haarflow.gaugefiles.checksums import Sums, combine_xor
from haarflow.gaugefiles.records import Asked, GaugeFileError, Header, Recorded, Slab

N = 3
HEAD = {"little": struct.Struct("<4id"), "big": struct.Struct(">4id")}
LARGEST = 1 << 12


def recognises(start: bytes, size: int) -> bool:
    """Return whether a file begins with four plausible extents and a plaquette, in either byte order."""
    return any(_sensible(start, order) for order in HEAD)


def fits(start: bytes, size: int) -> bool:
    """Return whether a file begins like this and has the length of its links."""
    for order, head in HEAD.items():
        if _sensible(start, order) and size == head.size + math.prod(head.unpack_from(start)[:4]) * 8 * 8 * N * N:
            return True
    return False


def _sensible(start: bytes, order: str) -> bool:
    if len(start) < HEAD[order].size:
        return False
    *extents, plaquette = HEAD[order].unpack_from(start)
    return all(1 <= extent <= LARGEST for extent in extents) and not abs(plaquette) > 8


def read_header(file: BinaryIO, size: int, asked: Asked) -> Header:
    """Return the header; raises GaugeFileError for odd extents, a big-endian file, or a length that does not fit."""
    file.seek(0)
    block = file.read(HEAD["little"].size)
    if not _sensible(block, "little"):
        raise GaugeFileError(
            "a little-endian openQCD file was wanted, this one is big-endian: swap the bytes of its numbers first (four of an integer, eight of a real)"
        )
    t, x, y, z, plaquette = HEAD["little"].unpack(block)
    check_extents((t, x, y, z))
    header = Header("openqcd", N, (t, x, y, z), "float64", "little", N, len(block), plaquette=Recorded(plaquette / N))
    _refuse_other_groups(header, size)
    sites.check_size("the openQCD file", size, header)
    return header


def check_extents(lattice: tuple[int, ...]) -> None:
    """Raise GaugeFileError unless all extents are even, because only odd sites are stored."""
    if any(extent % 2 for extent in lattice):
        raise GaugeFileError(f"openQCD files hold lattices of even extents, got {lattice}: use ildg or nersc")


def slabs(file: BinaryIO, header: Header) -> Iterator[Slab]:
    """Yield the time slices; the time links of even sites are stored in the next slice."""
    first = numbers = sites.raw_slab(file, header, 0)
    for t in range(header.lattice[0]):
        last = t + 1 == header.lattice[0]
        following = first if last else sites.raw_slab(file, header, t + 1)
        yield Slab(_ours(numbers, following, header, t), ())
        numbers = following


combine: Callable[[Sums, Sums], Sums] = combine_xor


def write(file: BinaryIO, header: Header, links: Iterator[Any]) -> Sums:
    """Write space for the header, then the links slab by slab; the first slab needs the last one and is written at the end."""
    file.write(bytes(header.start))
    first = previous = None
    for t, slab in enumerate(links):
        if previous is None:
            first = slab
            file.seek(header.start + sites.slab_count(header) * 8)
        else:
            file.write(_theirs(slab, previous, t).data)
        previous = slab
    file.seek(header.start)
    file.write(_theirs(first, previous, 0).data)
    return ()


def finish(file: BinaryIO, header: Header) -> None:
    """Write extents and plaquette at the beginning."""
    file.seek(0)
    file.write(HEAD["little"].pack(*header.lattice, N * header.plaquette.value if header.plaquette else 0.0))


def _odd(t: int, extents: tuple[int, ...]) -> numpy.ndarray:
    return (numpy.indices(extents).sum(axis=0) + t) % 2 == 1


def _ours(numbers: numpy.ndarray, following: numpy.ndarray, header: Header, t: int) -> numpy.ndarray:
    """The links of a slice from its stored numbers and those of the next, which hold U_t of its even sites."""
    extents = header.lattice[1:]
    odd = _odd(t, extents)
    this, following_links = (
        raw.view(numpy.dtype("<c16")).reshape(-1, 8, N, N).transpose(1, 2, 3, 0) for raw in (numbers, following)
    )
    links = numpy.empty((4, N, N, *extents), numpy.complex128)
    links[0][:, :, odd], links[0][:, :, ~odd] = this[0], following_links[1]
    for mu in (1, 2, 3):
        behind = numpy.zeros((N, N, *extents), numpy.complex128)
        behind[:, :, odd] = this[2 * mu + 1]
        links[mu] = numpy.roll(behind, -1, axis=1 + mu)
        links[mu][:, :, odd] = this[2 * mu]
    return links


def _theirs(links: Any, before: Any, t: int) -> numpy.ndarray:
    """The stored links `(odd site, 8, N, N)` of slice t from its links and those of the slice before."""
    odd = _odd(t, links.shape[3:])
    found = [links[0], before[0]]
    for mu in (1, 2, 3):
        found += [links[mu], numpy.roll(links[mu], 1, axis=1 + mu)]
    stored = numpy.empty((int(odd.sum()), 8, N, N), numpy.dtype("<c16"))
    for number, link in enumerate(found):
        stored[:, number] = link[:, :, odd].transpose(2, 0, 1)
    return stored


def _refuse_other_groups(header: Header, size: int) -> None:
    for n in (2, 4, 5, 6):
        if size == header.start + sites.data_bytes(header._replace(n=n, rows=n)):
            raise GaugeFileError(f"openQCD files hold SU(3), the length of this one fits SU({n}): use ildg for SU({n})")
