"""Group, lattice and precision of the links in a LIME file: from ildg-format, from SciDAC's private XML, or from the caller."""

from __future__ import annotations

import re
from typing import BinaryIO

from haarflow.gaugefiles import lime, sites
from haarflow.gaugefiles.lime import LimeRecord, elements, number, wanted
from haarflow.gaugefiles.records import Asked, GaugeFileError, Header, size_words

SIZES = ("ildg-format", "scidac-private-file-xml", "scidac-private-record-xml")
WORDS = {"F": "float32", "D": "float64", "32": "float32", "64": "float64"}


def sizes_of(file: BinaryIO, near: list[LimeRecord], data: LimeRecord, asked: Asked) -> Header:
    """Return the header with group, lattice and precision, from the first records of `near` that say them, or from the caller."""
    there = {record.kind: record for record in reversed(near) if record.kind in SIZES}
    if "ildg-format" in there:
        return _from_format(lime.text(file, there["ildg-format"]))
    if all(kind in there for kind in SIZES[1:]):
        return _from_scidac(*(lime.text(file, there[kind]) for kind in SIZES[1:]))
    return _from_caller(asked, data)


def _from_format(source: str) -> Header:
    found = elements(source, "ildg-format")
    field = wanted(found, "field", "ildg-format")
    group = re.fullmatch(r"su([2-9]|\d{2,4})gauge|u1gauge", field)
    if not group:
        raise GaugeFileError(f"links of SU(N) were wanted (su3gauge), the file holds the field {field!r}")
    names = [name for name in ("lx", "ly", "lz") if name in found or name == "lx"]
    if names == ["lx", "lz"]:
        raise GaugeFileError("the element ly was wanted in the record ildg-format beside lz: the file is damaged")
    lattice = tuple(number(found, name) for name in ("lt", *names))
    return _header(int(group[1] or 1), lattice, wanted(found, "precision", "ildg-format"))


def _from_scidac(of_file: str, of_record: str) -> Header:
    """The sizes of a SciDAC file without ildg-format: dims x y z t, colours and precision in its private XML."""
    file, record = elements(of_file, SIZES[1]), elements(of_record, SIZES[2])
    dims = [int(word) for word in re.findall(r"\d{1,9}", wanted(file, "dims", SIZES[1]))]
    links = record.get("datacount", str(len(dims)))
    if not 2 <= len(dims) <= 4 or links != str(len(dims)):
        raise GaugeFileError(
            f"a link in each direction of a lattice of two to four dimensions was wanted, the SciDAC file has {dims} "
            f"and {links} matrices a site"
        )
    precision = wanted(record, "precision", SIZES[2])
    return _header(number(record, "colors"), (dims[-1], *dims[:-1]), precision)


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


def check_length(data: LimeRecord, header: Header) -> None:
    """Raise GaugeFileError unless the links fill their record."""
    wanted = sites.data_bytes(header)
    if data.length != wanted:
        raise GaugeFileError(
            f"{header.precision} links of {header.group} on {size_words(header.lattice)} take {wanted} bytes, the record "
            f"{data.kind} has {data.length}: the header belongs to another lattice, group or precision"
        )
