"""MILC version 5 files, which are only read: a 96-byte header, then links `[t][z][y][x][mu][a][b]`, mu = x, y, z, t.

    int32 20103, int32 extents X Y Z T, char[64] time stamp, int32 order (0: all sites lexicographic), uint32 sum29, sum31

in either byte order, as the first word shows. The sums are over the 32-bit words (`checksums.milc`). MILC writes float32
and SU(3); the header says neither, so that the length of the file tells float64, and the caller another group.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy

from haarflow.gaugefiles import sites
from haarflow.gaugefiles.checksums import Sums, combine_xor, milc
from haarflow.gaugefiles.records import Asked, GaugeFileError, Header, Slab

MAGIC = 20103
FIELDS = "5i64si2I"


def recognises(start: bytes, size: int) -> bool:
    """Return whether the first word is the magic number of MILC, in either byte order."""
    return _order(start) is not None


def read_header(file: BinaryIO, size: int, asked: Asked) -> Header:
    """Return the header; raises GaugeFileError if it is truncated or the sites are in another order."""
    file.seek(0)
    block = file.read(struct.calcsize("<" + FIELDS))
    order = _order(block)
    if order is None or len(block) < struct.calcsize("<" + FIELDS):
        raise GaugeFileError("the 96-byte header of the MILC file is cut short: fetch the file again")
    _, x, y, z, t, stamp, arrangement, sum29, sum31 = struct.unpack(sites.LETTERS[order] + FIELDS, block)
    if arrangement != 0:
        raise GaugeFileError(
            f"MILC links in lexicographic order (0) were wanted, got order {arrangement}: let MILC write it serially"
        )
    if min(x, y, z, t) < 1:
        raise GaugeFileError(f"extents >= 1 were wanted in the MILC header, got X Y Z T = {x} {y} {z} {t}")
    date, n = stamp.partition(b"\0")[0].decode("ascii", "replace").strip(), asked.n or 3
    header = Header(
        "milc", n, (t, x, y, z), "float32", order, n, len(block), checksum=(sum29, sum31), metadata={"date": date}
    )
    double = header._replace(precision="float64")
    if size == double.start + sites.data_bytes(double):
        return double
    sites.check_size("the MILC file", size, header)
    return header


def slabs(file: BinaryIO, header: Header) -> Iterator[Slab]:
    """Yield the time slices with their contributions to the checksum."""
    return sites.slabs(file, header, _share)


combine: Callable[[Sums, Sums], Sums] = combine_xor


def _order(start: bytes) -> str | None:
    for order in ("little", "big"):
        if start[:4] == MAGIC.to_bytes(4, order):  # type: ignore[arg-type]
            return order
    return None


def _share(raw: numpy.ndarray, header: Header, t: int) -> Sums:
    words = raw.view(f"{sites.LETTERS[header.byte_order]}u4").astype(numpy.uint32)
    return milc(words, t * words.size)
