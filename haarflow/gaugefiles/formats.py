"""The formats of gauge files in one literal table, and how a file or a name finds its row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from haarflow.gaugefiles import ildg, milc, nersc, openqcd
from haarflow.gaugefiles.records import GaugeFileError, Header, Slab

START = 64


class Format(NamedTuple):
    """What a format does: recognise a file, read header and slabs, combine checksums, write (None: read alone).

    `words` are the names of the metadata that it can hold.
    """

    title: str
    recognises: Callable[[bytes, int], bool]
    read_header: Callable[[BinaryIO, int], Header]
    slabs: Callable[[BinaryIO, Header], Iterator[Slab]]
    combine: Callable[[tuple[int, ...], tuple[int, ...]], tuple[int, ...]]
    write: Callable[[BinaryIO, Header, Iterator[Any]], tuple[int, ...]] | None
    finish: Callable[[BinaryIO, Header], None] | None
    words: tuple[str, ...] = ()


# openQCD comes last: it has no magic word, only numbers that make sense
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

# word -> (format, stored rows of an SU(3) matrix, byte orders, precisions); the first order and precision are the default
WRITABLE: dict[str, tuple[str, int, tuple[str, ...], tuple[str, ...]]] = {
    "ildg": ("ildg", 3, ("big",), ("float64", "float32")),
    "nersc": ("nersc", 2, ("big", "little"), ("float64", "float32")),
    "nersc-3x3": ("nersc", 3, ("big", "little"), ("float64", "float32")),
    "openqcd": ("openqcd", 3, ("little",), ("float64",)),
}

SUFFIXES = {".ildg": "ildg", ".lime": "ildg", ".nersc": "nersc", ".openqcd": "openqcd"}


def recognised(path: str | Path) -> str | None:
    """Return the name of the format that a file's content shows, or None for anything else; its name says nothing."""
    path = Path(path)
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        start = file.read(START)
    return next((name for name, row in FORMATS.items() if row.recognises(start, path.stat().st_size)), None)


def known(path: str | Path) -> str:
    """Return the format of a gauge file; raises GaugeFileError where it is none and FileNotFoundError where nothing is."""
    name = recognised(path)
    if name is None:
        with open(path, "rb") as file:
            start = file.read(12)
        began = f"begins with {start!r}" if start else "is empty"
        titles = ", ".join(row.title for row in FORMATS.values())
        raise GaugeFileError(f"{path} is no gauge file: wanted one of {titles}, it {began}")
    return name


def wanted(path: str | Path, word: str | None) -> str:
    """Return the word of WRITABLE for a new file, from the option or from the suffix of its name.

    Raises ValueError for an unknown word and for a suffix that tells nothing.

    >>> wanted("u.lime", None), wanted("u.dat", "nersc-3x3")
    ('ildg', 'nersc-3x3')
    """
    choice = ", ".join(WRITABLE)
    if word is None:
        suffix = Path(path).suffix.lower()
        if suffix not in SUFFIXES:
            raise ValueError(f"the suffix of {path} names no format: use {', '.join(SUFFIXES)} or say format: {choice}")
        return SUFFIXES[suffix]
    if word not in WRITABLE:
        alone = " (MILC files are read, not written)" if word == "milc" else ""
        raise ValueError(f"a format to write is one of {choice}, got {word!r}{alone}")
    return word


def check_metadata(name: str, metadata: Mapping[str, str]) -> None:
    """Raise ValueError for words that a format cannot hold, and for values of more than one line."""
    row = FORMATS[name]
    if unknown := sorted(set(metadata) - set(row.words)):
        held = ", ".join(row.words) or "none"
        raise ValueError(f"{row.title} files hold the metadata {held}; got {', '.join(unknown)}")
    if broken := sorted(word for word, value in metadata.items() if len(value.splitlines()) != 1):
        raise ValueError(f"metadata of one line was wanted for {', '.join(broken)}, got {metadata[broken[0]]!r}")


def target(
    path: str | Path, word: str | None, n: int, lattice: tuple[int, ...], precision: str, byte_order: str | None
) -> Header:
    """Return the header of a file to be written; raises ValueError for what its format cannot hold."""
    word = wanted(path, word)
    name, rows, orders, precisions = WRITABLE[word]
    order = byte_order or orders[0]
    if order not in orders or precision not in precisions:
        raise ValueError(
            f"{word} files hold {' or '.join(precisions)} in {' or '.join(orders)} byte order, asked for {precision} in "
            f"{order}"
        )
    if name == "openqcd":
        openqcd.check_extents(lattice)
        if n != 3:
            raise ValueError(f"openQCD files hold SU(3), got SU({n}): use ildg or nersc")
    t, x, y, z = lattice
    start = openqcd.HEAD["little"].size if name == "openqcd" else 0
    return Header(name, n, (t, x, y, z), precision, order, rows if n == 3 else n, start)
