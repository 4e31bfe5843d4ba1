"""Records of gauge files: what the header says and what was measured; and the error of this folder.

Links in memory are `(mu, N, N, T, X, Y, Z)`, time is axis 0 and mu = 0; a lattice of fewer dimensions lacks Z, or Y and Z.
U(1) is N = 1. A slab is one time slice, `(mu, N, N, X, Y, Z)`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class GaugeFileError(ValueError):
    """A file that is not a complete gauge file, or whose content does not agree with its header."""


class Recorded(NamedTuple):
    """A number in a header: its value, and the rounding error of its printed digits."""

    value: float
    resolution: float = 0.0


class Asked(NamedTuple):
    """What the caller says of a file: its lattice (T, X, Y, Z) and N, for files whose header has neither."""

    lattice: tuple[int, ...] | None = None
    n: int | None = None


class Header(NamedTuple):
    """The header of a gauge file, the same for every format.

    `rows` of the N rows of each matrix are stored, `start` is the first byte of the links, `order_certain` says whether the
    header states the byte order. A number that the format does not store is None, a missing checksum is empty, and
    `unreadable` is the text of one that is no number.
    """

    format: str
    n: int
    lattice: tuple[int, ...]
    precision: str
    byte_order: str
    rows: int
    start: int = 0
    order_certain: bool = True
    plaquette: Recorded | None = None
    link_trace: Recorded | None = None
    checksum: tuple[int, ...] = ()
    metadata: Mapping[str, str] = MappingProxyType({})
    notes: tuple[str, ...] = ()
    unreadable: str = ""

    @property
    def group(self) -> str:
        """The group's name, such as SU(3) or U(1)."""
        return group_name(self.n)


class Slab(NamedTuple):
    """One time slice: links `(mu, N, N, X, Y, Z)` and its contribution to the checksum of the file."""

    links: Any
    checksum: tuple[int, ...]


class Check(NamedTuple):
    """One comparison of a recorded value with a measured one."""

    name: str
    recorded: float | str
    found: float | str
    tolerance: float
    agrees: bool


class Report(NamedTuple):
    """The report on a gauge file.

    plaquette = <1/N Re tr P> and link_trace = <1/N Re tr U> are measured on the links as stored, as are the defects
    max |U^+ U - 1| and max |det U - 1|. `checks` lists every comparison, `remedy` says what to do if one fails.
    """

    path: str
    format: str
    lattice: tuple[int, ...]
    group: str
    precision: str
    byte_order: str
    plaquette: float
    link_trace: float
    unitarity_defect: float
    determinant_defect: float
    checksum: str
    checks: tuple[Check, ...]
    remedy: str
    projected: bool
    notes: tuple[str, ...]
    metadata: dict[str, str]

    @property
    def agrees(self) -> bool:
        """Whether every check agrees."""
        return all(check.agrees for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain numbers, words and nested dicts, for JSON and for the terminal."""
        plain = {name: value for name, value in self._asdict().items() if name not in ("path", "checks", "notes")}
        plain["lattice"] = list(self.lattice)
        checks = {check.name: {k: v for k, v in check._asdict().items() if k != "name"} for check in self.checks}
        return {"gauge_file": self.path, **plain, "agrees": self.agrees, "notes": list(self.notes), "checks": checks}


class Gauge(NamedTuple):
    """A gauge field that was read: links `(mu, N, N, T, X, Y, Z)` and the report on its file."""

    links: Any
    report: Report


def group_name(n: int) -> str:
    """Return the group of n x n links.

    >>> group_name(1), group_name(3)
    ('U(1)', 'SU(3)')
    """
    return "U(1)" if n == 1 else f"SU({n})"


def group_number(group: int | str) -> int:
    """Return N of a group given as a number or a name, 1 for U(1); raises ValueError for anything else.

    >>> group_number("su3"), group_number("SU(2)"), group_number("u1"), group_number(4)
    (3, 2, 1, 4)
    """
    found = re.fullmatch(r"(?:su\(?(?!1\b)|u\(?(?=1\b))?([1-9]\d{0,3})\)?", str(group).strip().lower())
    if not found:
        raise ValueError(f"a group is 3, SU(3), su3, U(1), u1 or the like, got {group!r}")
    return int(found[1])


def size_words(lattice: tuple[int, ...]) -> str:
    """Return the extents of a lattice for a message.

    >>> size_words((8, 4, 4, 4)), size_words((8, 4))
    ('8x4x4x4 (T X Y Z)', '8x4 (T X)')
    """
    return f"{'x'.join(map(str, lattice))} ({' '.join('TXYZ'[: len(lattice)])})"


def recorded(text: str) -> Recorded:
    """Return a printed number with half a unit of its last digit.

    Raises GaugeFileError if the text is not a finite number.

    >>> recorded("0.588"), recorded("5.88e+02")
    (Recorded(value=0.588, resolution=0.0005), Recorded(value=588.0, resolution=0.5))
    """
    mantissa, _, exponent = text.strip().lower().partition("e")
    try:
        found = Recorded(float(text), 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2])))
        if math.isfinite(found.value):
            return found
    except (ValueError, OverflowError):
        pass
    raise GaugeFileError(f"a number was wanted in the header, got {text.strip()[:40]!r}")


def whole(text: str, name: str) -> int:
    """Return a printed extent or number of colours; raises GaugeFileError if it is not an integer >= 1.

    >>> whole("32", "lx")
    32
    """
    word = text.strip()
    if not (word.isdecimal() and len(word) < 10 and int(word) >= 1):
        raise GaugeFileError(f"{name} in the header must be an integer >= 1, got {word!r}")
    return int(word)
