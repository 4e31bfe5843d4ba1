"""The checks of a gauge file: recorded values compared with measured ones, their tolerances, and remedies."""

from __future__ import annotations

from haarflow.gaugefiles.plaquette import Measured
from haarflow.gaugefiles.records import Check, Header, Report

# tolerances of header values (often summed in the precision of the links) and of the distance of links from SU(N)
MEANS = {"float32": 1e-5, "float64": 1e-7}
UNITARITY = {"float32": 1e-5, "float64": 1e-9}
PROJECTABLE = 0.1

REMEDIES = {
    "byte order": "the links are stored in the other byte order than the header says: read with byte_order={other!r}",
    "checksum": "bytes have changed since the file was written: fetch it again",
    "plaquette": "these are not the links that the header describes (another configuration, a boundary phase, an order "
    "of axes, a normalisation)",
    "link trace": "these are not the links that the header describes, or they were gauge-transformed",
    "unitarity": "links stored with few digits can be moved onto SU(N) with project=True; a large defect means damage, "
    "and zero links an open boundary, which is not supported",
    "determinant": "the links are U(N), not SU(N), or carry phases: take those out first",
}


def checks(header: Header, found: Measured, sums: tuple[int, ...], project: bool | None) -> tuple[Check, ...]:
    """Return every comparison that the header allows, and the deviations of the links from SU(N)."""
    rows: list[Check] = []
    if header.checksum:
        rows.append(Check("checksum", *_compared(header.checksum, sums), 0.0, header.checksum == sums))
    elif header.unreadable:
        rows.append(Check("checksum", header.unreadable, _hex(sums), 0.0, False))
    for name, recorded, value in (
        ("plaquette", header.plaquette, found.plaquette),
        ("link trace", header.link_trace, found.link_trace),
    ):
        if recorded is not None:
            tolerance = MEANS[header.precision] + recorded.resolution
            rows.append(Check(name, recorded.value, value, tolerance, abs(recorded.value - value) <= tolerance))
    limit = PROJECTABLE if project else UNITARITY[header.precision]
    for name, value in (("unitarity", found.unitarity_defect), ("determinant", found.determinant_defect)):
        rows.append(Check(name, 0.0, value, limit, value <= limit))
    return tuple(rows)


def remedy(header: Header, made: tuple[Check, ...]) -> str:
    """Return a sentence on every failed check and its remedy, empty if all agree."""
    other = "little" if header.byte_order == "big" else "big"
    return "; ".join(
        f"{check.name}: recorded {_shown(check.recorded)}, found {_shown(check.found)}"
        + (f" (tolerance {check.tolerance:.1g})" if check.tolerance else "")
        + f": {REMEDIES[check.name].format(other=other)}"
        for check in made
        if not check.agrees
    )


def verdict(made: tuple[Check, ...]) -> str:
    """Return agrees, disagrees, or none (recorded)."""
    found = [check.agrees for check in made if check.name == "checksum"]
    return "none" if not found else "agrees" if found[0] else "disagrees"


def sentence(report: Report) -> str:
    """Return the error message of a report with a failed check."""
    return (
        f"{report.path} ({report.format}) disagrees with itself: {report.remedy}. To read it all the same, pass "
        "check=False (--no-check)"
    )


def _compared(header: tuple[int, ...], found: tuple[int, ...]) -> tuple[str, str]:
    """Recorded and found checksums as text; where there is one for each time slice, those that differ."""
    differ = [pair for pair in zip(header, found, strict=False) if pair[0] != pair[1]]
    if len(found) > 2 and differ:
        return _hex(tuple(one for one, _ in differ)), _hex(tuple(other for _, other in differ))
    return _hex(header), _hex(found)


def _hex(sums: tuple[int, ...]) -> str:
    return " ".join(f"{word:08x}" for word in sums)


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.10g}"
