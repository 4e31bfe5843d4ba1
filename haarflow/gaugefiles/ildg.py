"""ILDG files: LIME records `ildg-format` (XML), `ildg-binary-data` and `scidac-checksum` (XML).

Links big-endian, `[t][z][y][x][mu][a][b]`, mu = x, y, z, t, all rows. The format defines su3gauge; other groups are
written and read as su2gauge, su4gauge, ... by the same rule. Two conventions store plaquette and link trace: the XML
`usqcdInfo` in a record scidac-record-xml, which is written here too, and lines `plaquette = ...` in xlf-info.
SciDAC files, with `scidac-binary-data` and the sizes in private XML records, are read as well.
Source: ILDG binary file format 1.1, https://www-zeuthen.desy.de/~pleiter/ildg/ildg-file-format-1.1.pdf.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as xml
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy

from haarflow.gaugefiles import lime, sites
from haarflow.gaugefiles.checksums import Sums, combine_xor, scidac
from haarflow.gaugefiles.records import GaugeFileError, Header, Recorded, Slab, recorded, whole

NAMESPACE = "http://www.lqcd.org/ildg"
BINARY = ("ildg-binary-data", "scidac-binary-data")
TEXTS = ("ildg-format", "scidac-checksum", "scidac-record-xml", "scidac-private-file-xml", "scidac-private-record-xml")
WORDS = {"F": "float32", "D": "float64", "32": "float32", "64": "float64"}


def recognises(start: bytes, size: int) -> bool:
    """Return whether a file begins like a LIME file."""
    return start[:4] == lime.MAGIC.to_bytes(4, "big")


def read_header(file: BinaryIO, size: int) -> Header:
    """Return the header of a LIME file with links; raises GaugeFileError if a record is missing or inconsistent."""
    found = lime.records(file, size)
    data = [record for record in found if record.kind in BINARY]
    if not data:
        kinds = ", ".join(record.kind for record in found)
        raise GaugeFileError(f"the LIME file holds no links: wanted a record ildg-binary-data, got {kinds}")
    texts = {record.kind: lime.text(file, record) for record in reversed(found) if record.kind in (*TEXTS, "xlf-info")}
    lfn = {record.kind: lime.text(file, record) for record in found if record.kind == "ildg-data-lfn"}
    header = _from_format(texts["ildg-format"]) if "ildg-format" in texts else _from_scidac(texts)
    _check_length(data[0], header)
    plaquette, link_trace = _measured(texts)
    return header._replace(
        start=data[0].start,
        plaquette=plaquette,
        link_trace=link_trace,
        checksum=_checksum(texts.get("scidac-checksum")),
        metadata=lfn,
        notes=_notes(found, len(data)),
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
    t, x, y, z = header.lattice
    numbers = {"precision": header.precision[5:], "lx": x, "ly": y, "lz": z, "lt": t}
    body = "".join(f"<{name}>{value}</{name}>" for name, value in numbers.items())
    schema = f'xmlns="{NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    location = f'xsi:schemaLocation="{NAMESPACE} http://www.lqcd.org/ildg/filefmt.xsd"'
    head = f"<version>1.0</version><field>su{header.n}gauge</field>"
    return f'<?xml version="1.0" encoding="UTF-8"?><ildgFormat {schema} {location}>{head}{body}</ildgFormat>'


def _xml(root: str, body: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><{root}>{body}</{root}>'


def _share(raw: numpy.ndarray, header: Header, t: int) -> Sums:
    _, x, y, z = header.lattice
    return scidac(raw.reshape(x * y * z, -1).view(numpy.uint8), t * x * y * z)


def _from_format(source: str) -> Header:
    found = _elements(source, "ildg-format")
    group = re.fullmatch(r"su(\d{1,4})gauge", _wanted(found, "field", "ildg-format"))
    if not group:
        raise GaugeFileError(f"links of SU(N) were wanted (su3gauge), the file holds the field {found['field']!r}")
    t, x, y, z = (_number(found, name) for name in ("lt", "lx", "ly", "lz"))
    precision = _wanted(found, "precision", "ildg-format")
    return _header(int(group[1]), (t, x, y, z), precision)


def _from_scidac(texts: dict[str, str]) -> Header:
    """The sizes of a SciDAC file without ildg-format: dims x y z t, colours and precision in its private XML."""
    for kind in ("scidac-private-file-xml", "scidac-private-record-xml"):
        if kind not in texts:
            raise GaugeFileError(
                f"the sizes of the lattice were wanted in a record ildg-format or {kind}, there is none"
            )
    file, record = (
        _elements(texts[f"scidac-private-{kind}-xml"], f"scidac-private-{kind}-xml") for kind in ("file", "record")
    )
    dims = [int(word) for word in re.findall(r"\d+", _wanted(file, "dims", "scidac-private-file-xml"))]
    if len(dims) != 4 or record.get("datacount", "4") != "4":
        raise GaugeFileError(
            f"four links on a four-dimensional lattice were wanted, the SciDAC file has {dims} and "
            f"{record.get('datacount')} matrices a site"
        )
    x, y, z, t = dims
    return _header(_number(record, "colors"), (t, x, y, z), _wanted(record, "precision", "scidac-private-record-xml"))


def _header(n: int, lattice: tuple[int, int, int, int], precision: str) -> Header:
    if precision not in WORDS:
        raise GaugeFileError(f"precision 32 or 64 was wanted in the header, got {precision!r}")
    if n < 2 or min(lattice) < 1:
        raise GaugeFileError(f"a group SU(N) on a lattice of extents >= 1 was wanted, got SU({n}) on {lattice}")
    return Header("ildg", n, lattice, WORDS[precision], "big", n)


def _check_length(data: lime.LimeRecord, header: Header) -> None:
    wanted = sites.data_bytes(header)
    if data.length != wanted:
        t, x, y, z = header.lattice
        raise GaugeFileError(
            f"{header.precision} links of SU({header.n}) on {t}x{x}x{y}x{z} (T X Y Z) take {wanted} bytes, the record "
            f"{data.kind} has {data.length}: the header belongs to another lattice, group or precision"
        )


def _notes(found: list[lime.LimeRecord], configurations: int) -> tuple[str, ...]:
    several = f"{configurations} configurations in the file, this is the first"
    unended = "the last record does not end its message: records behind the links may have been cut off"
    return (several,) * (configurations > 1) + (unended,) * (not found[-1].ends)


def _checksum(source: str | None) -> Sums:
    if source is None:
        return ()
    found = _elements(source, "scidac-checksum")
    try:
        return tuple(int(_wanted(found, name, "scidac-checksum"), 16) for name in ("suma", "sumb"))
    except ValueError:
        raise GaugeFileError(f"hexadecimal sums were wanted in scidac-checksum, got {source!r}") from None


def _measured(texts: dict[str, str]) -> tuple[Recorded | None, Recorded | None]:
    """Plaquette and link trace if a record contains them."""
    usqcd = texts.get("scidac-record-xml", "")
    if "usqcdInfo" in usqcd:
        found = _elements(usqcd, "scidac-record-xml")
        plaquette, trace = (recorded(found[name]) if name in found else None for name in ("plaq", "linktr"))
        return plaquette, trace
    line = re.search(r"plaquette\s*=\s*([-+.\deE]+)", texts.get("xlf-info", ""))
    return (recorded(line[1]) if line else None), None


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
