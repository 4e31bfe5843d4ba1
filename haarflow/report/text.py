"""Results as plain text tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from haarflow.report import coverage, free_energy, replicas, thermodynamics
from haarflow.report.columns import shown
from haarflow.report.verdict import pull, verdict
from haarflow.results.chain_evidence import warnings_of


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return columns of text, the first aligned left, the others right.

    >>> print(table(["name", "value"], [["a", "1.5"], ["bb", "10"]]))
    name  value
    a       1.5
    bb       10
    """
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = []
    for line in lines:
        cells = [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
        ]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)


def with_error(value: float | None, error: float | None) -> str:
    """Return a value with its error on the last two digits.

    >>> with_error(0.69777, 0.00012), with_error(1.0, None)
    ('0.69777(12)', '1')
    """
    if value is None:
        return "-"
    if not error or not math.isfinite(error):
        return f"{value:.8g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    last = round(error * 10**digits)
    return f"{value:.{digits}f}({last})" if error < 10 else f"{value:.0f}({error:.0f})"


def _number(value: float | None, spec: str = ".4g") -> str:
    return "-" if value is None else format(value, spec)


def observables_table(found: Mapping[str, Any]) -> str:
    """Return every sampler's observables with error, tau_int, exact value, pull and notes, and the verdict on all.

    Values that are not to be trusted have a mark and no pull; the verdict says why.
    """
    parts = []
    for name, sampler in found["samplers"].items():
        marked, entries = bool(warnings_of(sampler)), sampler["observables"].items()
        rows = [_row(word, entry, marked) for word, entry in entries]
        notes = [f"  {word}: {entry['note']}" for word, entry in entries if entry.get("note") and not marked]
        parts.append("\n".join([table([name, "value", "tau_int", "exact", "pull"], rows), *notes]))
    return "\n\n".join([*parts, verdict_lines(found["samplers"])]).rstrip()


def _row(word: str, entry: Mapping[str, Any], marked: bool) -> list[str]:
    return [
        word,
        with_error(entry["value"], entry["error"]) + "!" * marked,
        _number(entry["tau_int"], ".3g"),
        _number(entry["exact"], ".8g"),
        "-" if marked else _number(pull(entry), "+.2f"),
    ]


def verdict_lines(samplers: Mapping[str, Any]) -> str:
    """Return the verdict, a line for each sentence; a grave one begins with an exclamation mark."""
    return "\n".join(f"{'! ' * line.grave}{line.text}" for line in verdict(samplers))


def summary_table(summary: Mapping[str, Any]) -> str:
    """Return a run's results: its training, a table of its samplers, and their observables."""
    theory = "  ".join(f"{name} {value}" for name, value in summary["theory"].items() if name != "name")
    lattice = "x".join(map(str, summary["lattice"]))
    head = f"{summary['recipe']}: {summary['theory']['name']} {lattice}  {theory}  on {summary['backend']}"
    training = summary["training"]
    if training:
        head += f"\ntraining: {training['steps']} steps, {training['cpu_s']:.1f} CPU s, ESS {_number(training['ess'], '.3f')}"
        head += f"\n{tuned}" if (tuned := tuning(training)) else ""
    columns = shown(summary["samplers"].values())
    rows = [[name, *(column.cell(sampler) for column in columns)] for name, sampler in summary["samplers"].items()]
    glance = table(["sampler", *(column.head for column in columns)], rows)
    parts = [head, glance, coverage_table(summary["samplers"]), replicas_table(summary["samplers"])]
    parts.append(thermodynamics_table(summary.get("thermodynamics")))
    return "\n\n".join(filter(None, [*parts, observables_table(summary)]))


def thermodynamics_table(found: Mapping[str, Any] | None) -> str:
    """Return the equation of state or ln Z along a coupling, nothing where the recipe did not ask for it."""
    if not found:
        return ""
    lines = "\n".join(thermodynamics.remarks(found))
    return "\n\n".join(filter(None, [table(thermodynamics.head(found), thermodynamics.rows(found)), lines]))


def tuning(training: Mapping[str, Any]) -> str:
    """Return what fine-tuning did, nothing where training started from scratch.

    >>> tuning({"fine_tuning": {"draws": 2048, "start": 0.7, "end": 0.4, "difference": -0.3, "error": 0.02, "kept": "start"}})
    'fine-tuning: ESS 0.700 before and 0.400 after on the same 2,048 draws (-0.300 ± 0.020); the parameters before it are kept'
    """
    found = training.get("fine_tuning")
    if not found:
        return ""
    kept = "after" if found["kept"] == "end" else "before"
    if found["difference"] is None:
        return f"fine-tuning: NaN log weights on {found['draws']:,} draws; the parameters {kept} it are kept"
    return (
        f"fine-tuning: ESS {found['start']:.3f} before and {found['end']:.3f} after on the same {found['draws']:,} draws "
        f"({found['difference']:+.3f} ± {found['error']:.3f}); the parameters {kept} it are kept"
    )


def coverage_table(samplers: Mapping[str, Any]) -> str:
    """Return whether the flows cover the target, ln Z from their weights, the modes, and what cannot be known of them."""
    found = ((coverage.HEAD, coverage.rows(samplers)), (free_energy.HEAD, free_energy.rows(samplers)))
    tables = [table(head, rows) for head, rows in (*found, free_energy.mode_table(samplers)) if rows]
    return "\n\n".join(filter(None, [*tables, "\n".join(coverage.remarks(samplers))]))


def replicas_table(samplers: Mapping[str, Any]) -> str:
    """Return the ladders of replica exchange, nothing where there are none."""
    rows = replicas.rows(samplers)
    return "\n\n".join([table(replicas.head(samplers), rows), "\n".join(replicas.remarks(samplers))]) if rows else ""


def gauge_table(found: Mapping[str, Any]) -> str:
    """Return the observables of a gauge file with a column of notes, followed by the notes on the file."""
    lattice = "x".join(map(str, found["lattice"]))
    rows = [[name, _value(entry["value"]), entry.get("note", "")] for name, entry in found["observables"].items()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{name:<{widths[0]}}  {value:>{widths[1]}}  {note}".rstrip() for name, value, note in rows]
    head = f"{found['gauge_file']}: {found['format']}, {found['group']} {lattice}"
    return "\n".join([head, "", *lines, "", *found["notes"]])


def _value(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_value, value))
    return _number(value, ".8g")


def backends_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the backends with their abilities, and how to install those that are missing."""
    rows = [
        [
            name,
            entry["version"] or "-",
            ", ".join(entry["devices"]) or "-",
            ", ".join(entry["precision"]) or "-",
            "yes" if entry["trains"] else "no",
        ]
        for name, entry in found.items()
    ]
    absent = [f"{name} is not installed: {entry['remedy']}" for name, entry in found.items() if entry["remedy"]]
    return "\n".join([table(["backend", "version", "devices", "precision", "trains"], rows), *absent])


def indented(value: Any, depth: int = 0) -> str:
    """Return a nested dict as indented lines.

    >>> print(indented({"theory": {"beta": 2.0}, "ess": 0.5}))
    theory:
      beta: 2.0
    ess: 0.5
    """
    lines = []
    for name, entry in value.items():
        if isinstance(entry, Mapping):
            lines.append(f"{'  ' * depth}{name}:")
            if entry:
                lines.append(indented(entry, depth + 1))
        else:
            lines.append(f"{'  ' * depth}{name}: {entry}")
    return "\n".join(lines)
