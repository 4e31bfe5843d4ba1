"""Links in files that go site by site, time slowest and x fastest: `[t][z][y][x][mu][a][b]`, mu = x, y, z, t.

ILDG, NERSC and MILC share this order; they differ in headers, precision, stored rows and checksums. In fewer dimensions
z, or y and z, are left out. The file's direction (mu - 1) mod d is ours mu.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy

from haarflow.gaugefiles.records import GaugeFileError, Header, Slab, size_words
from haarflow.gaugefiles.unitarity import completed

LETTERS = {"big": ">", "little": "<"}


def float_type(header: Header) -> numpy.dtype:
    """Return the type of a stored number.

    >>> float_type(Header("nersc", 3, (4, 4, 4, 4), "float32", "big", 2)).str
    '>f4'
    """
    return numpy.dtype(f"{LETTERS[header.byte_order]}f{int(header.precision[5:]) // 8}")


def slab_count(header: Header) -> int:
    """Return how many real numbers one time slice has in the file.

    >>> slab_count(Header("nersc", 3, (8, 2, 2, 2), "float32", "big", 2))
    384
    """
    return math.prod(header.lattice[1:]) * len(header.lattice) * header.rows * header.n * 2


def data_bytes(header: Header) -> int:
    """Return how many bytes the links have in the file."""
    return slab_count(header) * header.lattice[0] * float_type(header).itemsize


def check_size(path: str, size: int, header: Header) -> None:
    """Raise GaugeFileError unless the links fill a file of `size` bytes from their start to its end."""
    wanted = header.start + data_bytes(header)
    if size == wanted:
        return
    what = (
        f"{path}: the header promises {header.precision} links of {header.group} on {size_words(header.lattice)}, "
        f"{wanted} bytes in all, the file has {size}"
    )
    if size < wanted:
        raise GaugeFileError(f"{what}: it is cut short by {wanted - size} bytes, fetch it again")
    raise GaugeFileError(f"{what}: {size - wanted} too many; the header belongs to another lattice, group or precision")


def raw_slabs(file: BinaryIO, header: Header) -> Iterator[numpy.ndarray]:
    """Yield the real numbers of each time slice as they are stored.

    Raises GaugeFileError if the file is truncated.
    """
    for t in range(header.lattice[0]):
        yield raw_slab(file, header, t)


def raw_slab(file: BinaryIO, header: Header, t: int) -> numpy.ndarray:
    """Return the stored real numbers of time slice t; raises GaugeFileError if the file is truncated."""
    count, kind = slab_count(header), float_type(header)
    file.seek(header.start + t * count * kind.itemsize)
    raw = numpy.fromfile(file, kind, count)
    if raw.size != count:
        raise GaugeFileError(f"time slice {t} of {header.lattice[0]} is cut short: fetch the file again")
    return raw


def slabs(
    file: BinaryIO, header: Header, share: Callable[[numpy.ndarray, Header, int], tuple[int, ...]]
) -> Iterator[Slab]:
    """Yield the time slices as complex128 links in the axes of this library, with their contributions to the checksum."""
    for t, raw in enumerate(raw_slabs(file, header)):
        yield Slab(ours(raw, header), share(raw, header, t))


def ours(raw: numpy.ndarray, header: Header) -> numpy.ndarray:
    """Return stored numbers of a time slice as complex128 links `(mu, N, N, X, Y, Z)`, missing rows completed."""
    space = header.lattice[1:]
    d, axes = len(header.lattice), len(space)
    stored = raw.reshape(*reversed(space), d, header.rows, header.n, 2)
    links = numpy.empty((d, header.rows, header.n, *space), numpy.complex128)
    turned = (axes, axes + 1, *reversed(range(axes)))
    with numpy.errstate(all="ignore"):  # numbers in the wrong byte order overflow, which the checks report
        for mu in range(d):
            links[mu].real = stored[..., (mu - 1) % d, :, :, 0].transpose(turned)
            links[mu].imag = stored[..., (mu - 1) % d, :, :, 1].transpose(turned)
        return completed(links) if header.rows < header.n else links


def theirs(links: Any, header: Header) -> numpy.ndarray:
    """Return links `(mu, N, N, X, Y, Z)` as a file stores them: real numbers `(site, number)`."""
    d, space = links.shape[0], links.shape[3:]
    stored = numpy.empty((*reversed(space), d, header.rows, header.n, 2), float_type(header))
    turned = (*reversed(range(2, 2 + len(space))), 0, 1)
    for mu in range(d):
        link = links[mu, : header.rows].transpose(turned)
        stored[..., (mu - 1) % d, :, :, 0], stored[..., (mu - 1) % d, :, :, 1] = link.real, link.imag
    return stored.reshape(math.prod(space), -1)


def size_of(file: BinaryIO) -> int:
    """Return the length of an open file."""
    return os.fstat(file.fileno()).st_size
