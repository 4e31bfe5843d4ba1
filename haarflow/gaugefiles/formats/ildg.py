"""ILDG files: LIME records `ildg-format` (XML), `ildg-binary-data` and `scidac-checksum` (XML).

Links big-endian, `[t][z][y][x][mu][a][b]`, mu = x, y, z, t, all rows. The format defines su3gauge in four dimensions.
Other groups are written and read by the same rule as su2gauge, su4gauge, ..., and as u1gauge with the numbers e^{i theta};
lattices of three or two dimensions have no lz, or no lz and no ly, and no links in these directions. Three conventions
store plaquette and link trace: the XML `usqcdInfo` in a record scidac-record-xml, which is written here too, lines
`plaquette = ...` in xlf-info, and BQCD's records bqcd-plaquette and bqcd-cksum (as the command cksum, in decimal).
SciDAC files, with `scidac-binary-data` and the sizes in private XML records, are read as well, and with the caller's
lattice and group files that hold nothing but the links.
Source: ILDG binary file format 1.1, https://www-zeuthen.desy.de/~pleiter/ildg/ildg-file-format-1.1.pdf.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy

from haarflow.gaugefiles import informing, lime, sites, sizes
from haarflow.gaugefiles.checksums import Sums, combine_xor, posix, scidac
from haarflow.gaugefiles.lime import LimeRecord
from haarflow.gaugefiles.records import Asked, GaugeFileError, Header, Slab

NAMESPACE = "http://www.lqcd.org/ildg"
BINARY = ("ildg-binary-data", "scidac-binary-data")


def recognises(start: bytes, size: int) -> bool:
    """Return whether a file begins like a LIME file."""
    return start[:4] == lime.MAGIC.to_bytes(4, "big")


def read_header(file: BinaryIO, size: int, asked: Asked) -> Header:
    """Return the header of a LIME file with links; what only informs and cannot be read becomes a note.

    Raises GaugeFileError if the links or their sizes are missing or inconsistent.
    """
    found, filling = lime.records(file, size)
    data = _data(found)
    before, behind = _neighbours(found, data)
    header = sizes.sizes_of(file, [*reversed(before), *found], data, asked)
    sizes.check_length(data, header)
    plaquette, link_trace, notes = informing.means(file, [*behind, *before])
    checksum, unreadable = informing.checksum(file, [*behind, *before])
    return header._replace(
        start=data.start,
        plaquette=plaquette,
        link_trace=link_trace,
        checksum=checksum,
        unreadable=unreadable,
        metadata={record.kind: lime.text(file, record) for record in found if _is_name(record)},
        notes=(*notes, *_notes(found, data.kind, filling)),
    )


def slabs(file: BinaryIO, header: Header) -> Iterator[Slab]:
    """Yield the time slices with their contributions to the SciDAC checksum."""
    return sites.slabs(file, header, _share)


combine: Callable[[Sums, Sums], Sums] = combine_xor


def write(file: BinaryIO, header: Header, links: Iterator[Any]) -> Sums:
    """Write everything up to the end of the links, slab by slab, and return the SciDAC checksum."""
    file.write(lime.text_record("ildg-format", format_xml(header), begins=True))
    length = sites.data_bytes(header)
    file.write(lime.head("ildg-binary-data", length, False, False))
    total: Sums = (0, 0)
    for t, slab in enumerate(links):
        stored = sites.theirs(slab, header)
        total = combine(total, _share(stored, header, t))
        file.write(stored.data)
    file.write(bytes(lime.padding(length)))
    return total


def finish(file: BinaryIO, header: Header) -> None:
    """Write the records that follow the links: checksum, plaquette and link trace, and the logical file name."""
    sums = "".join(f"<{name}>{word:08x}</{name}>" for name, word in zip(("suma", "sumb"), header.checksum, strict=True))
    file.write(lime.text_record("scidac-checksum", _xml("scidacChecksum", f"<version>1.0</version>{sums}")))
    means = "".join(
        f"<{name}>{number.value:.16e}</{name}>"
        for name, number in (("plaq", header.plaquette), ("linktr", header.link_trace))
        if number is not None
    )
    lfn = header.metadata.get("ildg-data-lfn")
    usqcd = _xml("usqcdInfo", f"<version>1.0</version>{means}")
    file.write(lime.text_record("scidac-record-xml", usqcd, ends=lfn is None))
    if lfn is not None:
        file.write(lime.text_record("ildg-data-lfn", lfn, ends=True))


def format_xml(header: Header) -> str:
    """Return the XML of the record ildg-format.

    >>> "<lt>8</lt>" in format_xml(Header("ildg", 3, (8, 4, 4, 4), "float64", "big", 3))
    True
    """
    space = dict(zip(("lx", "ly", "lz"), header.lattice[1:], strict=False))
    numbers = {"precision": header.precision[5:], **space, "lt": header.lattice[0]}
    body = "".join(f"<{name}>{value}</{name}>" for name, value in numbers.items())
    schema = f'xmlns="{NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    location = f'xsi:schemaLocation="{NAMESPACE} http://www.lqcd.org/ildg/filefmt.xsd"'
    head = f"<version>1.0</version><field>{'u1' if header.n == 1 else f'su{header.n}'}gauge</field>"
    return f'<?xml version="1.0" encoding="UTF-8"?><ildgFormat {schema} {location}>{head}{body}</ildgFormat>'


def _xml(root: str, body: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><{root}>{body}</{root}>'


def _share(raw: numpy.ndarray, header: Header, t: int) -> Sums:
    if len(header.checksum) == 1:
        return posix(raw.tobytes(), t * raw.nbytes, sites.data_bytes(header))
    volume = math.prod(header.lattice[1:])
    return scidac(raw.reshape(volume, -1).view(numpy.uint8), t * volume)


def _data(found: list[LimeRecord]) -> LimeRecord:
    """The record of the first links: ILDG's, or SciDAC's in a file that has none."""
    for kind in BINARY:
        for record in found:
            if record.kind == kind:
                return record
    kinds = ", ".join(record.kind for record in found)
    raise GaugeFileError(f"the LIME file holds no links: wanted a record ildg-binary-data, got {kinds}")


def _neighbours(found: list[LimeRecord], data: LimeRecord) -> tuple[list[LimeRecord], list[LimeRecord]]:
    """The records before and behind the links, without those that belong to other data."""
    place, first = found.index(data), 0
    kinds = [record.kind for record in found]
    for i, kind in enumerate(kinds[:place]):
        if kind in BINARY or (kind == "scidac-checksum" and first):
            first = i + 1
    others = [i for i in range(place + 1, len(found)) if kinds[i] in BINARY]
    starts = [i for i in range(place + 1, len(found)) if kinds[i] in (*BINARY, *sizes.SIZES)]
    return found[first:place], found[place + 1 : starts[0] if others else len(found)]


def _is_name(record: LimeRecord) -> bool:
    return record.kind == "ildg-data-lfn" and record.length <= lime.LONGEST_TEXT


def _notes(found: list[LimeRecord], kind: str, filling: int) -> tuple[str, ...]:
    configurations = sum(record.kind == kind for record in found)
    several = f"{configurations} configurations in the file, this is the first"
    unended = "the last record does not end its message: records behind the links may have been cut off"
    behind = f"{filling} bytes of zeros or blanks behind the last record"
    return (several,) * (configurations > 1) + (unended,) * (not found[-1].ends) + (behind,) * (filling > 0)
