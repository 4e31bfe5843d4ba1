"""Records of gauge files: what the header says and what was measured; and the error of this folder.

Links in memory are `(mu, N, N, T, X, Y, Z)`, time is axis 0 and mu = 0. A slab is one time slice of them,
`(mu, N, N, X, Y, Z)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class GaugeFileError(ValueError):
    """A file that is not a complete gauge file, or whose content does not agree with its header."""


class Recorded(NamedTuple):
    """A number in a header: its value, and the rounding error of its printed digits."""

    value: float
    resolution: float = 0.0


class Header(NamedTuple):
    """The header of a gauge file, the same for every format.

    `rows` of the N rows of each matrix are stored, `start` is the first byte of the links, `order_certain` says whether the
    header states the byte order. A number that the format does not store is None, a missing checksum is empty.
    """

    format: str
    n: int
    lattice: tuple[int, int, int, int]
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


def recorded(text: str) -> Recorded:
    """Return a printed number with half a unit of its last digit.

    Raises GaugeFileError if the text is not a number.

    >>> recorded("0.588"), recorded("5.88e+02")
    (Recorded(value=0.588, resolution=0.0005), Recorded(value=588.0, resolution=0.5))
    """
    mantissa, _, exponent = text.strip().lower().partition("e")
    try:
        return Recorded(float(text), 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2])))
    except (ValueError, OverflowError):
        raise GaugeFileError(
            f"a number was wanted in the header, got {text.strip()!r}: the header is damaged"
        ) from None


def whole(text: str, name: str) -> int:
    """Return a printed extent or number of colours; raises GaugeFileError if it is not an integer >= 1.

    >>> whole("32", "lx")
    32
    """
    word = text.strip()
    if not (word.isdecimal() and len(word) < 10 and int(word) >= 1):
        raise GaugeFileError(f"{name} in the header must be an integer >= 1, got {word!r}")
    return int(word)
