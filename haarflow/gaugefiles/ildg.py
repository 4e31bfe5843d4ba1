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
import re
import xml.etree.ElementTree as xml
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy

from haarflow.gaugefiles import lime, sites
from haarflow.gaugefiles.checksums import Sums, combine_xor, posix, scidac
from haarflow.gaugefiles.lime import LimeRecord
from haarflow.gaugefiles.records import Asked, GaugeFileError, Header, Recorded, Slab, recorded, size_words, whole

NAMESPACE = "http://www.lqcd.org/ildg"
BINARY = ("ildg-binary-data", "scidac-binary-data")
SIZES = ("ildg-format", "scidac-private-file-xml", "scidac-private-record-xml")
WORDS = {"F": "float32", "D": "float64", "32": "float32", "64": "float64"}


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
    header = _sizes(file, [*reversed(before), *found], data, asked)
    _check_length(data, header)
    plaquette, link_trace, notes = _measured(file, [*behind, *before])
    checksum, unreadable = _checksum(file, [*behind, *before])
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
    starts = [i for i in range(place + 1, len(found)) if kinds[i] in (*BINARY, *SIZES)]
    return found[first:place], found[place + 1 : starts[0] if others else len(found)]


def _sizes(file: BinaryIO, near: list[LimeRecord], data: LimeRecord, asked: Asked) -> Header:
    """The header with group, lattice and precision, from the first records of `near` that say them, or from the caller."""
    there = {record.kind: record for record in reversed(near) if record.kind in SIZES}
    if "ildg-format" in there:
        return _from_format(lime.text(file, there["ildg-format"]))
    if all(kind in there for kind in SIZES[1:]):
        return _from_scidac(*(lime.text(file, there[kind]) for kind in SIZES[1:]))
    return _from_caller(asked, data)


def _from_format(source: str) -> Header:
    found = _elements(source, "ildg-format")
    field = _wanted(found, "field", "ildg-format")
    group = re.fullmatch(r"su(\d{1,4})gauge|u1gauge", field)
    if not group:
        raise GaugeFileError(f"links of SU(N) were wanted (su3gauge), the file holds the field {field!r}")
    names = [name for name in ("lx", "ly", "lz") if name in found or name == "lx"]
    if names == ["lx", "lz"]:
        raise GaugeFileError("the element ly was wanted in the record ildg-format beside lz: the file is damaged")
    lattice = tuple(_number(found, name) for name in ("lt", *names))
    return _header(int(group[1] or 1), lattice, _wanted(found, "precision", "ildg-format"))


def _from_scidac(of_file: str, of_record: str) -> Header:
    """The sizes of a SciDAC file without ildg-format: dims x y z t, colours and precision in its private XML."""
    file, record = _elements(of_file, SIZES[1]), _elements(of_record, SIZES[2])
    dims = [int(word) for word in re.findall(r"\d{1,9}", _wanted(file, "dims", SIZES[1]))]
    links = record.get("datacount", str(len(dims)))
    if not 2 <= len(dims) <= 4 or links != str(len(dims)):
        raise GaugeFileError(
            f"a link in each direction of a lattice of two to four dimensions was wanted, the SciDAC file has {dims} "
            f"and {links} matrices a site"
        )
    precision = _wanted(record, "precision", SIZES[2])
    return _header(_number(record, "colors"), (dims[-1], *dims[:-1]), precision)


def _from_caller(asked: Asked, data: LimeRecord) -> Header:
    """The sizes that the caller gives, with the precision that makes the links fit their record."""
    if asked.lattice is None or asked.n is None:
        raise GaugeFileError(
            f"the file says neither lattice nor group of its {data.length} bytes of links (wanted a record ildg-format "
            "or SciDAC's private XML): give them with lattice=(T, X, Y, Z) and group=3 (--lattice TxXxYxZ --group su3)"
        )
    double = _header(asked.n, asked.lattice, "64")._replace(order_certain=False)
    half = 2 * data.length == sites.data_bytes(double)
    return double._replace(precision="float32") if half else double


def _header(n: int, lattice: tuple[int, ...], precision: str) -> Header:
    if precision not in WORDS:
        raise GaugeFileError(f"precision 32 or 64 was wanted in the header, got {precision!r}")
    if n < 1 or min(lattice) < 1:
        raise GaugeFileError(f"a group SU(N) on a lattice of extents >= 1 was wanted, got SU({n}) on {lattice}")
    return Header("ildg", n, lattice, WORDS[precision], "big", n)


def _check_length(data: LimeRecord, header: Header) -> None:
    wanted = sites.data_bytes(header)
    if data.length != wanted:
        raise GaugeFileError(
            f"{header.precision} links of {header.group} on {size_words(header.lattice)} take {wanted} bytes, the record "
            f"{data.kind} has {data.length}: the header belongs to another lattice, group or precision"
        )


def _is_name(record: LimeRecord) -> bool:
    return record.kind == "ildg-data-lfn" and record.length <= lime.LONGEST_TEXT


def _notes(found: list[LimeRecord], kind: str, filling: int) -> tuple[str, ...]:
    configurations = sum(record.kind == kind for record in found)
    several = f"{configurations} configurations in the file, this is the first"
    unended = "the last record does not end its message: records behind the links may have been cut off"
    behind = f"{filling} bytes of zeros or blanks behind the last record"
    return (several,) * (configurations > 1) + (unended,) * (not found[-1].ends) + (behind,) * (filling > 0)


def _checksum(file: BinaryIO, near: list[LimeRecord]) -> tuple[Sums, str]:
    """SciDAC's checksum or else that of BQCD, and its text if it cannot be read."""
    for kind, read in (("scidac-checksum", _scidac_sums), ("bqcd-cksum", _bqcd_sum)):
        for record in near:
            if record.kind == kind:
                try:
                    return read(lime.text(file, record)), ""
                except ValueError as error:
                    return (), f"unreadable ({error})"
    return (), ""


def _scidac_sums(text: str) -> Sums:
    found = _elements(text, "scidac-checksum")
    return tuple(int(_wanted(found, name, "scidac-checksum"), 16) for name in ("suma", "sumb"))


def _bqcd_sum(text: str) -> Sums:
    return (int(text.partition(" ")[0]),)


def _measured(file: BinaryIO, near: list[LimeRecord]) -> tuple[Recorded | None, Recorded | None, tuple[str, ...]]:
    """Plaquette and link trace if a record contains them, and a note on each record that cannot be read."""
    means: dict[str, Recorded] = {}
    notes = []
    for record in near:
        if record.kind in MEANS:
            try:
                for name, word in MEANS[record.kind](lime.text(file, record)).items():
                    means.setdefault(name, recorded(word))
            except GaugeFileError as error:
                notes.append(f"the record {record.kind} was not used: {error}")
    return means.get("plaq"), means.get("linktr"), tuple(notes)


def _usqcd(text: str) -> dict[str, str]:
    found = _elements(text, "scidac-record-xml") if "usqcdInfo" in text else {}
    return {name: found[name] for name in ("plaq", "linktr") if name in found}


def _xlf(text: str) -> dict[str, str]:
    line = re.search(r"plaquette\s*=\s*([-+.\deE]+)", text)
    return {"plaq": line[1]} if line else {}


def _bqcd(text: str) -> dict[str, str]:
    return {"plaq": text}


MEANS: dict[str, Callable[[str], dict[str, str]]] = {
    "scidac-record-xml": _usqcd,
    "xlf-info": _xlf,
    "bqcd-plaquette": _bqcd,
}


def _elements(source: str, kind: str) -> dict[str, str]:
    """The texts of all elements by their names without namespaces."""
    try:
        root = xml.fromstring(source.encode())
    except (xml.ParseError, ValueError, LookupError) as error:  # the latter two: unknown encodings
        raise GaugeFileError(f"the LIME record {kind} holds no XML ({error}): the file is damaged") from None
    return {element.tag.rpartition("}")[2]: (element.text or "").strip() for element in root.iter()}


def _wanted(found: dict[str, str], name: str, kind: str) -> str:
    if name not in found:
        raise GaugeFileError(f"the element {name} was wanted in the record {kind}, it has {', '.join(found)}")
    return found[name]


def _number(found: dict[str, str], name: str) -> int:
    return whole(_wanted(found, name, "XML"), name)
