"""The equation of state and ln Z along a coupling: table and figure, read by the terminal and by the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from haarflow.report import figures
from haarflow.report.html import Section, picture, piece, prose, table
from haarflow.report.verdict import pull


class Column(NamedTuple):
    """A column of the table: its head, the entry of a row, and the entry of the exact value."""

    head: str
    entry: str
    exact: str = ""


EQUATION = (
    Column("ln Z", "ln_Z", "exact"),
    Column("ln Z a site", "density"),
    Column("pressure", "pressure"),
    Column("over the largest extent's", "excess"),
    Column("entropy a site", "entropy"),
)
CURVE = (
    Column("ln Z", "ln_Z", "exact"),
    Column("d ln Z/dc", "slope", "exact_slope"),
    Column("ln Z by the slopes", "summed", "exact"),
    Column("ln Z a site", "density"),
    Column("entropy a site", "entropy"),
)
WORDS = """ln Z by the flow: of its weights on each lattice and at each coupling alone; by integration: of −⟨dS/dc⟩ of chains, from
    couplings where ln Z is known. In brackets: the distance from the exact value. An exclamation mark: the draws do not support the
    number, the list says why."""
OF_EXTENTS = """ln Z a site is minus the free energy density over the temperature 1/N_t. Pressure: [ln Z(N_t, L + k) − ln Z(N_t,
    L)]/(k N_t), in lattice units; beside it what is left without that of the largest extent. Entropy: (ln Z + ⟨S⟩)/V of the
    distribution of fields, relative to the measure in which ln Z is given."""
OF_CURVE = """d ln Z/dc = −⟨dS/dc⟩ by the weights at the same point; by the slopes: ln Z of the first point and the integral of the
    slopes up to each other, which has to be the same curve. c d ln Z/dc a site, without its value at zero temperature, is the trace
    anomaly over the logarithmic derivative of c by the lattice spacing."""


def head(found: Mapping[str, Any]) -> list[str]:
    """Return the head of the table."""
    return [_axis(found), "by", *(column.head for column in _columns(found)), "ESS", "CPU s"]


def rows(found: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the table as text."""
    return [
        [
            str(row["lattice"][0]) if _of_extents(found) else f"{row['value']:g}",
            row["method"],
            *(_cell(row, column) for column in _columns(found)),
            "–" if row["ess"] is None else f"{row['ess']:.3f}",
            f"{row['cpu_s']:.1f}",
        ]
        for row in found["rows"]
    ]


def remarks(found: Mapping[str, Any]) -> list[str]:
    """Return why some numbers are not supported, one sentence for each row."""
    said = [(cells[0], row) for cells, row in zip(rows(found), found["rows"], strict=True)]
    return [f"{_axis(found)} {place}, {row['method']}: {row['note']}" for place, row in said if row["note"]]


def section(found: Mapping[str, Any]) -> Section:
    """Return the section of the report, with its figure."""
    name = "density" if _of_extents(found) else "slope"
    label = "ln Z a site" if _of_extents(found) else f"d ln Z/d{found['axis']}"
    others = ("excess", "pressure over that of the largest N_t") if _of_extents(found) else ("ln_Z", "ln Z")
    drawn = figures.curves(_axis(found), [(label, _series(found, name)), (others[1], _series(found, others[0]))])
    body: Markup = picture(drawn, "thermodynamics", f"{label} and {others[1]} against {_axis(found)}")
    body += table(head(found), rows(found), "coverage") + piece("remarks", remarks(found))
    heading = "Equation of state" if _of_extents(found) else f"ln Z along {found['axis']}"
    return Section(heading, body, prose(f"{OF_EXTENTS if _of_extents(found) else OF_CURVE} {WORDS}"))


def _of_extents(found: Mapping[str, Any]) -> bool:
    return bool(found["axis"] == "extent")


def _axis(found: Mapping[str, Any]) -> str:
    return "N_t" if _of_extents(found) else str(found["axis"])


def _columns(found: Mapping[str, Any]) -> Sequence[Column]:
    return EQUATION if _of_extents(found) else CURVE


def _cell(row: Mapping[str, Any], column: Column) -> str:
    """A value with its error, and its distance from the exact one."""
    entry = row[column.entry]
    if entry["value"] is None:
        return "–"
    error, mark = "?" if not entry["error"] else f"{entry['error']:.1g}", "!" * bool(row["note"])
    off = pull({**entry, "exact": row[column.exact]}) if column.exact and not mark else None
    return f"{entry['value']:.6g} ± {error}{mark}" + ("" if off is None else f" ({off:+.1f}σ)")


def _series(found: Mapping[str, Any], name: str) -> dict[str, list[tuple[float, float, float]]]:
    """Points (place, value, error) of each method."""
    series: dict[str, list[tuple[float, float, float]]] = {}
    for row in found["rows"]:
        entry, place = row[name], row["lattice"][0] if _of_extents(found) else row["value"]
        if entry["value"] is not None and math.isfinite(entry["value"]):
            series.setdefault(row["method"], []).append((float(place), entry["value"], entry["error"] or 0.0))
    return series
