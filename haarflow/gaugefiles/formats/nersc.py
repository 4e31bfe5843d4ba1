"""NERSC archive files: a text header, then links `[t][z][y][x][mu][a][b]`, mu = x, y, z, t.

DATATYPE 4D_SU3_GAUGE stores the first two rows, 4D_SU3_GAUGE_3x3 all (4D_SU2_GAUGE_2x2, ... likewise). Codes disagree
on 4D_SU4_GAUGE, three rows or all: the length of the file tells.
FLOATING_POINT is IEEE32 or IEEE64 with BIG, LITTLE or SMALL (= LITTLE), or without: then the order
is determined from the links. CHECKSUM is the sum of the 32-bit words, PLAQUETTE = <1/N Re tr P>, LINK_TRACE = <1/N Re tr U>.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy

from haarflow.gaugefiles import sites
from haarflow.gaugefiles.checksums import Sums, combine_add, nersc
from haarflow.gaugefiles.records import Asked, GaugeFileError, Header, Recorded, Slab, recorded, whole

BEGIN, END = b"BEGIN_HEADER", b"END_HEADER"
LONGEST = 1 << 14
ORDERS = {"BIG": "big", "LITTLE": "little", "SMALL": "little", "": "little"}
FREE_WORDS = (
    "ENSEMBLE_ID",
    "ENSEMBLE_LABEL",
    "SEQUENCE_NUMBER",
    "CREATOR",
    "CREATOR_HARDWARE",
    "CREATION_DATE",
    "ARCHIVE_DATE",
)
EXTENTS = ("DIMENSION_1", "DIMENSION_2", "DIMENSION_3", "DIMENSION_4")


def recognises(start: bytes, size: int) -> bool:
    """Return whether a file begins with BEGIN_HEADER."""
    return start.lstrip().startswith(BEGIN)


def read_header(file: BinaryIO, size: int, asked: Asked) -> Header:
    """Return the header; raises GaugeFileError if a line is missing or inconsistent, or the file has another length."""
    words, start = _lines(file)
    n, rows = _group(_wanted(words, "DATATYPE"))
    precision, order, certain = _floating_point(_wanted(words, "FLOATING_POINT"))
    x, y, z, t = (whole(_wanted(words, name), name) for name in EXTENTS)
    means, notes = _means(words)
    checksum, unreadable = _checksum(words.get("CHECKSUM"))
    header = Header(
        "nersc",
        n,
        (t, x, y, z),
        precision,
        order,
        rows,
        start,
        certain,
        means.get("PLAQUETTE"),
        means.get("LINK_TRACE"),
        checksum,
        {name: words[name] for name in FREE_WORDS if name in words},
        (*_boundaries(words), *notes),
        unreadable,
    )
    every = header._replace(rows=n)
    if n > 3 and size == start + sites.data_bytes(every):
        return every
    sites.check_size("the NERSC file", size, header)
    return header


def slabs(file: BinaryIO, header: Header) -> Iterator[Slab]:
    """Yield the time slices with their contributions to the checksum."""
    return sites.slabs(file, header, _share)


combine: Callable[[Sums, Sums], Sums] = combine_add


def write(file: BinaryIO, header: Header, links: Iterator[Any]) -> Sums:
    """Write a header with space for what is not known yet, then the links slab by slab, and return the checksum."""
    file.write(header_text(header))
    total: Sums = (0,)
    for t, slab in enumerate(links):
        stored = sites.theirs(slab, header)
        total = combine(total, _share(stored, header, t))
        file.write(stored.data)
    return total


def finish(file: BinaryIO, header: Header) -> None:
    """Write the header again, now that plaquette, link trace and checksum are known; its length is the same."""
    file.seek(0)
    file.write(header_text(header))


def header_text(header: Header) -> bytes:
    """Return the text header; numbers have a fixed width.

    >>> header_text(Header("nersc", 3, (8, 4, 4, 4), "float64", "big", 2)).splitlines()[2]
    b'DATATYPE = 4D_SU3_GAUGE'
    """
    t, x, y, z = header.lattice
    n, metadata = header.n, {"ENSEMBLE_ID": "unknown", "ENSEMBLE_LABEL": "unknown", "SEQUENCE_NUMBER": "0"}
    metadata |= {name: value for name, value in header.metadata.items() if name in FREE_WORDS}
    words = {
        "HDR_VERSION": "1.0",
        "DATATYPE": f"4D_SU{n}_GAUGE" + (f"_{n}x{n}" if header.rows == n else ""),
        "STORAGE_FORMAT": "1.0",
        **{name: str(extent) for name, extent in zip(EXTENTS, (x, y, z, t), strict=True)},
        "LINK_TRACE": _printed(header.link_trace),
        "PLAQUETTE": _printed(header.plaquette),
        **{f"BOUNDARY_{i}": "PERIODIC" for i in (1, 2, 3, 4)},
        "CHECKSUM": f"{(header.checksum or (0,))[0]:08x}",
        **metadata,
        "FLOATING_POINT": f"IEEE{header.precision[5:]}{header.byte_order.upper()}",
    }
    lines = [BEGIN.decode(), *(f"{name} = {value}" for name, value in words.items()), END.decode(), ""]
    return "\n".join(lines).encode()


def _printed(number: Recorded | None) -> str:
    return f"{number.value if number else 0.0: .16e}"


def _share(raw: numpy.ndarray, header: Header, t: int) -> Sums:
    return nersc(raw.reshape(-1).view(f"{sites.LETTERS[header.byte_order]}u4"))


def _lines(file: BinaryIO) -> tuple[dict[str, str], int]:
    """The entries of the header, and the position where the links start."""
    file.seek(0)
    block = file.read(LONGEST)
    end = re.search(rb"^END_HEADER[ \t\r]*\n", block, flags=re.MULTILINE)
    if not end:
        raise GaugeFileError("the NERSC header has no line END_HEADER: the file is cut short, fetch it again")
    lines = block[: end.start()].decode("latin-1").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}, end.end()


def _wanted(words: dict[str, str], name: str) -> str:
    if name not in words:
        raise GaugeFileError(
            f"the line {name} = ... was wanted in the NERSC header, there is none: the file is damaged"
        )
    return words[name]


def _group(datatype: str) -> tuple[int, int]:
    """N and the number of stored rows."""
    found = re.fullmatch(r"4D_SU(\d{1,4})_GAUGE(?:_(\d{1,4})x(\d{1,4}))?", datatype, flags=re.IGNORECASE)
    if not found:
        raise GaugeFileError(f"DATATYPE 4D_SU3_GAUGE or 4D_SU3_GAUGE_3x3 was wanted, got {datatype!r}")
    n, full = int(found[1]), found[2] is not None
    if (full and found[2] != found[1]) or (full and found[3] != found[1]) or n < 2:
        raise GaugeFileError(f"DATATYPE 4D_SUN_GAUGE_NxN with one N >= 2 was wanted, got {datatype!r}")
    return n, n if full else n - 1


def _floating_point(word: str) -> tuple[str, str, bool]:
    found = re.fullmatch(r"IEEE(32|64)(BIG|LITTLE|SMALL)?", word.upper())
    if not found:
        raise GaugeFileError(f"FLOATING_POINT IEEE32 or IEEE64 with BIG or LITTLE was wanted, got {word!r}")
    return f"float{found[1]}", ORDERS[found[2] or ""], found[2] is not None


def _means(words: dict[str, str]) -> tuple[dict[str, Recorded], list[str]]:
    """Plaquette and link trace, and a note on a line that is no number."""
    means: dict[str, Recorded] = {}
    notes = []
    for name in ("PLAQUETTE", "LINK_TRACE"):
        if name in words:
            try:
                means[name] = recorded(words[name])
            except GaugeFileError as error:
                notes.append(f"the line {name} was not used: {error}")
    return means, notes


def _checksum(word: str | None) -> tuple[Sums, str]:
    """The checksum, and its text if that is not hexadecimal."""
    try:
        return () if word is None else (int(word, 16),), ""
    except ValueError:
        return (), f"unreadable ({word!r:.40})"


def _boundaries(words: dict[str, str]) -> tuple[str, ...]:
    names = [f"BOUNDARY_{i}" for i in (1, 2, 3, 4)]
    odd = [f"{name} = {words[name]}" for name in names if words.get(name, "PERIODIC") != "PERIODIC"]
    return (f"the header says {', '.join(odd)}; the links are read unchanged and treated as periodic",) if odd else ()
