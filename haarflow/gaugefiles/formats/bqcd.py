"""BQCD's own format, which is only read: a text NAME.info, and beside it a file with the links of each time slice.

    >BeginConfInfoHeader    lines `WORD VALUE ...`: L X Y Z T, REAL_kind 8, PlaqEnergy (1 - the mean plaquette), beta, kappa, ...
    >BeginCheckSum          of each time slice the file's name, and what the command cksum says of it: checksum and bytes

A slice holds big-endian float64, SU(3) links `[z][y][x][mu][b][a]`, mu = x, y, z, t: the columns b = 0, 1 of U_ab. Fortran may have
broken the lines of >BeginCheckSum. Later versions of BQCD write ILDG.
Source: conf.F90, conf_info.F90 and comm/field_io_mpi.F90 of BQCD, format 3 (the program: arXiv:1011.0199).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy

from haarflow.core.untrusted import check_regular
from haarflow.gaugefiles import sites
from haarflow.gaugefiles.checksums import Sums, combine_xor, posix
from haarflow.gaugefiles.records import Asked, GaugeFileError, Header, Recorded, Slab, recorded, size_words, whole

BEGINS, SUMS, END = ">BeginConfInfoHeader", ">BeginCheckSum", ">EndCheckSum"
LONGEST = 1 << 20  # bytes of the text
TOLD = ("Run", "Traj", "Date", "beta", "kappa", "csw")


def recognises(start: bytes, size: int) -> bool:
    """Return whether a file begins like BQCD's description of a configuration."""
    return start.lstrip().startswith(BEGINS.encode())


def read_header(file: BinaryIO, size: int, asked: Asked) -> Header:
    """Return the header, with a checksum for each time slice.

    Raises GaugeFileError for a word that is missing, and for slices that are missing or have another length.
    """
    about, slices = _parts(file)
    x, y, z, t = (whole(word, "L") for word in _values(about, "L", 4))
    if (kind := _values(about, "REAL_kind", 1)[0]) != "8":
        raise GaugeFileError(f"links in double precision (REAL_kind 8) were wanted, got REAL_kind {kind!r:.20}")
    lattice = (t, x, y, z)
    if len(slices) != t or len({name for name, _ in slices}) != t:
        raise GaugeFileError(f"a file for each of {t} time slices was wanted in CheckSum, got {len(slices)} lines")
    plaquette, notes = _plaquette(about)
    header = Header("bqcd", 3, lattice, "float64", "big", 2, plaquette=plaquette, notes=notes)
    for name, _ in slices:
        _check_slice(_beside(file, name), header)
    told = {word: " ".join(about[word]) for word in TOLD if about.get(word)}
    return header._replace(checksum=tuple(number for _, number in slices), metadata=told)


def slabs(file: BinaryIO, header: Header) -> Iterator[Slab]:
    """Yield the time slices, each with its own checksum and zeros for the others."""
    names, count = [name for name, _ in _parts(file)[1]], sites.slab_count(header)
    for t, name in enumerate(names):
        raw = numpy.fromfile(_beside(file, name), sites.float_type(header), count)
        if raw.size != count:
            raise GaugeFileError(f"time slice {t} of {len(names)} is cut short: fetch {name} again")
        (own,) = posix(raw.tobytes(), 0, raw.nbytes)
        columns = sites.ours(raw, header)  # U transposed
        yield Slab(columns.swapaxes(1, 2), tuple(own if other == t else 0 for other in range(len(names))))


combine: Callable[[Sums, Sums], Sums] = combine_xor


def _parts(file: BinaryIO) -> tuple[dict[str, list[str]], list[tuple[str, int]]]:
    """The words of the header with their values, and name and checksum of each time slice's file."""
    file.seek(0)
    text = file.read(LONGEST + 1).decode("ascii", "replace")
    if len(text) > LONGEST:
        raise GaugeFileError(f"the text of BQCD's format was wanted, at most {LONGEST} bytes: give its .info file")
    about, begins, rest = text.partition(SUMS)
    rest, ends, _ = rest.partition(END)
    if not begins or not ends:
        raise GaugeFileError("the list of time slices in BQCD's .info file is cut short: fetch the file again")
    lines = [line.split() for line in about.splitlines()]
    words = rest.split()
    names = words[::3]
    sums = [int(word) if word.isdecimal() and len(word) <= 10 else -1 for word in words[1::3]]
    if len(words) % 3 or min(sums, default=0) < 0:
        raise GaugeFileError(
            "name, checksum and bytes of each time slice were wanted in CheckSum: fetch the file again"
        )
    return {line[0]: line[1:] for line in reversed(lines) if line}, list(zip(names, sums, strict=True))


def _values(about: dict[str, list[str]], word: str, count: int) -> list[str]:
    found = about.get(word, [])
    if len(found) != count:
        raise GaugeFileError(f"{count} whole numbers were wanted for {word} in BQCD's .info file, got {found!r:.60}")
    return found


def _plaquette(about: dict[str, list[str]]) -> tuple[Recorded | None, tuple[str, ...]]:
    """The plaquette, 1 - PlaqEnergy, or a note that it cannot be read."""
    if "PlaqEnergy" not in about:
        return None, ()
    try:
        energy = recorded(" ".join(about["PlaqEnergy"]))
    except GaugeFileError as error:
        return None, (f"PlaqEnergy was not used: {error}",)
    return Recorded(1.0 - energy.value, energy.resolution), ()


def _beside(file: BinaryIO, name: str) -> Path:
    """The path of a time slice, which lies in the folder of the text; raises GaugeFileError for another place."""
    if Path(name).name != name or "\\" in name or "\0" in name:
        raise GaugeFileError(f"names of files in the same folder were wanted in CheckSum, got {name!r:.60}")
    return Path(file.name).parent / name


def _check_slice(path: Path, header: Header) -> None:
    """Raise GaugeFileError unless a file holds the links of one time slice."""
    if not path.exists():
        raise GaugeFileError(f"the time slice {path.name} is missing: it belongs into the folder of the .info file")
    check_regular(path, GaugeFileError)
    wanted, size = sites.slab_count(header) * 8, path.stat().st_size
    if size != wanted:
        place = size_words(header.lattice)
        raise GaugeFileError(f"a time slice of {place} has {wanted} bytes, {path.name} has {size}: fetch it again")
