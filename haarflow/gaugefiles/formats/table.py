"""The formats of gauge files in one literal table, and how the row of a file or a name is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from haarflow.core.untrusted import check_regular
from haarflow.gaugefiles.formats import bqcd, hirep, ildg, milc, nersc, openqcd
from haarflow.gaugefiles.records import Asked, GaugeFileError, Header, Slab, group_name

START = 64


class Format(NamedTuple):
    """A format: how to recognise a file, read its header and slabs, combine checksums, and write (None: only read).

    `words` are the names of the metadata that it can store.
    """

    title: str
    recognises: Callable[[bytes, int], bool]
    read_header: Callable[[BinaryIO, int, Asked], Header]
    slabs: Callable[[BinaryIO, Header], Iterator[Slab]]
    combine: Callable[[tuple[int, ...], tuple[int, ...]], tuple[int, ...]]
    write: Callable[[BinaryIO, Header, Iterator[Any]], tuple[int, ...]] | None
    finish: Callable[[BinaryIO, Header], None] | None
    words: tuple[str, ...] = ()


# HiRep and openQCD come last: they have no magic number and are recognised by plausible values
FORMATS = {
    "ildg": Format(
        "ILDG/LIME",
        ildg.recognises,
        ildg.read_header,
        ildg.slabs,
        ildg.combine,
        ildg.write,
        ildg.finish,
        ("ildg-data-lfn",),
    ),
    "nersc": Format(
        "NERSC",
        nersc.recognises,
        nersc.read_header,
        nersc.slabs,
        nersc.combine,
        nersc.write,
        nersc.finish,
        nersc.FREE_WORDS,
    ),
    "milc": Format("MILC v5", milc.recognises, milc.read_header, milc.slabs, milc.combine, None, None),
    "bqcd": Format("BQCD", bqcd.recognises, bqcd.read_header, bqcd.slabs, bqcd.combine, None, None),
    "hirep": Format(
        "HiRep", hirep.recognises, hirep.read_header, hirep.slabs, hirep.combine, hirep.write, hirep.finish
    ),
    "openqcd": Format(
        "openQCD",
        openqcd.recognises,
        openqcd.read_header,
        openqcd.slabs,
        openqcd.combine,
        openqcd.write,
        openqcd.finish,
    ),
}

# name -> (format, stored rows of an SU(3) matrix, byte orders, precisions); the first order and precision are the default
WRITABLE: dict[str, tuple[str, int, tuple[str, ...], tuple[str, ...]]] = {
    "ildg": ("ildg", 3, ("big",), ("float64", "float32")),
    "nersc": ("nersc", 2, ("big", "little"), ("float64", "float32")),
    "nersc-3x3": ("nersc", 3, ("big", "little"), ("float64", "float32")),
    "openqcd": ("openqcd", 3, ("little",), ("float64",)),
    "hirep": ("hirep", 3, ("big",), ("float64",)),
}

SUFFIXES = {".ildg": "ildg", ".lime": "ildg", ".nersc": "nersc", ".openqcd": "openqcd", ".hirep": "hirep"}


def recognised(path: str | Path) -> str | None:
    """Return the name of the format of a file's content, or None for any other file; the file's name is not used."""
    path = Path(path)
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        start = file.read(START)
    return next((name for name, row in FORMATS.items() if row.recognises(start, path.stat().st_size)), None)


def is_gauge_file(path: str | Path) -> bool:
    """Return whether a file's content is that of a gauge file, or at least its name says so."""
    return recognised(path) is not None or (Path(path).suffix.lower() in SUFFIXES and not Path(path).is_dir())


def known(path: str | Path) -> str:
    """Return the format of a gauge file; raises GaugeFileError if it is not one and FileNotFoundError if it does not exist."""
    check_regular(path, GaugeFileError)
    name = recognised(path)
    if name is None:
        with open(path, "rb") as file:
            start = file.read(12)
        began = f"begins with {start!r}" if start else "is empty"
        titles = ", ".join(row.title for row in FORMATS.values())
        raise GaugeFileError(f"{path} is not a gauge file in one of the formats {titles}: it {began}")
    return name


def wanted(path: str | Path, word: str | None) -> str:
    """Return the format in WRITABLE of a new file, from the option or from the suffix of its name.

    Raises ValueError for an unknown format and for an unknown suffix.

    >>> wanted("u.lime", None), wanted("u.dat", "nersc-3x3")
    ('ildg', 'nersc-3x3')
    """
    choice = ", ".join(WRITABLE)
    if word is None:
        suffix = Path(path).suffix.lower()
        if suffix not in SUFFIXES:
            raise ValueError(
                f"the suffix of {path} is not that of a format: use {', '.join(SUFFIXES)}, or give format={choice}"
            )
        return SUFFIXES[suffix]
    if word not in WRITABLE:
        note = f" ({FORMATS[word].title} files can be read but not written)" if word in FORMATS else ""
        raise ValueError(f"a format to write is one of {choice}, got {word!r}{note}")
    return word


def check_metadata(name: str, metadata: Mapping[str, str]) -> None:
    """Raise ValueError for metadata that a format cannot store, and for values of more than one line."""
    row = FORMATS[name]
    if unknown := sorted(set(metadata) - set(row.words)):
        held = ", ".join(row.words) or "none"
        raise ValueError(f"{row.title} files can store the metadata {held}; got {', '.join(unknown)}")
    if broken := sorted(word for word, value in metadata.items() if len(value.splitlines()) != 1):
        raise ValueError(f"metadata must be one line each; {', '.join(broken)} is not: {metadata[broken[0]]!r}")


def target(
    path: str | Path, word: str | None, n: int, lattice: tuple[int, ...], precision: str, byte_order: str | None
) -> Header:
    """Return the header of a file to be written; raises ValueError for what its format cannot store."""
    word = wanted(path, word)
    name, rows, orders, precisions = WRITABLE[word]
    order = byte_order or orders[0]
    if order not in orders or precision not in precisions:
        raise ValueError(
            f"{word} files store {' or '.join(precisions)} in {' or '.join(orders)} byte order, not {precision} in {order}"
        )
    if name != "ildg" and (n == 1 or len(lattice) != 4):
        raise ValueError(
            f"{word} files store SU(N) in four dimensions, got {group_name(n)} in {len(lattice)} dimensions: use ildg"
        )
    if name == "openqcd":
        openqcd.check_extents(lattice)
        if n != 3:
            raise ValueError(f"openQCD files store SU(3), got SU({n}): use ildg or nersc")
    start = openqcd.HEAD["little"].size if name == "openqcd" else 0
    return Header(name, n, lattice, precision, order, _rows(name, n, rows), start)


def precision_of(path: str | Path, word: str | None, precision: str) -> str:
    """Return the precision to write by default: that of the links if the format can store it.

    >>> precision_of("u.lime", None, "float32"), precision_of("u.openqcd", None, "float32")
    ('float32', 'float64')
    """
    possible = WRITABLE[wanted(path, word)][3]
    return precision if precision in possible else possible[0]


def _rows(name: str, n: int, rows: int) -> int:
    """How many rows a format stores: those of the table for SU(3), quaternions for SU(2) in HiRep, else all."""
    if n == 3:
        return rows
    return 1 if name == "hirep" and n == 2 else n
