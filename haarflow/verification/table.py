"""The results of the laws as a table: law x object, one column per backend, residual over tolerance."""

from __future__ import annotations

import math
from collections.abc import Sequence

from haarflow.core.laws.law import formula
from haarflow.report.text import table
from haarflow.verification.harness import Result
from haarflow.verification.objects import ENTRIES, LAWS
from haarflow.verification.verify import Findings


def findings_table(findings: Findings) -> str:
    """Return the table, the counterexamples of failures, and the counts.

    A cell is the largest residual in units of its tolerance, so that 1 is the limit.
    """
    backends = list(dict.fromkeys(result.backend for result in findings.results))
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for result in findings.results:
        cells.setdefault((result.object, result.law), {})[result.backend] = _cell(result)
    rows, last = [], ""
    for (name, law), found in cells.items():
        rows.append(["" if name == last else name, law, *[found.get(backend, "") for backend in backends]])
        last = name
    parts = [table(*_flush(["object", "law", *backends], rows))] if rows else []
    parts += [_counterexample(result) for result in findings.failed]
    return "\n\n".join([*parts, _count(findings)])


def _flush(head: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows with the second column aligned left as well."""
    width = max(len(row[1]) for row in rows)
    padded = [[row[0], row[1].ljust(width), *row[2:]] for row in (head, *rows)]
    return padded[0], padded[1:]


def _cell(result: Result) -> str:
    ratio = result.ratio
    number = "nan" if ratio is None else ("inf" if math.isinf(ratio) else f"{ratio:.2g}")
    return number if result.passed else f"FAIL {number}"


def _counterexample(result: Result) -> str:
    lines = [
        f"FAILED {result.law} for {result.object} on {result.backend} in {result.dtype}: residual "
        f"{_number(result.residual)}, tolerance {_number(result.tolerance)} ({result.reason})"
    ]
    if result.example:
        lines.append(f"  from haarflow.core.laws.law import Given; {result.example}")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _count(findings: Findings) -> str:
    checked, failed, skipped = len(findings.results), len(findings.failed), len(findings.skipped)
    passed: Sequence[Result] = [result for result in findings.results if result.passed]
    closest = max(passed, key=lambda result: result.ratio or 0.0, default=None)
    words = f"{checked} checks, {failed} failed; {skipped} do not apply (--why explains)"
    if closest is None:
        return words
    where = f"{closest.law} of {closest.object} on {closest.backend}"
    return f"{words}; the largest residual of those that hold is {closest.ratio:.2g} of its tolerance, {where}"


def reasons(findings: Findings) -> str:
    """Return which laws do not apply to which objects, and why."""
    found = dict.fromkeys((result.object, result.law, result.reason) for result in findings.skipped)
    return "\n".join(f"{name}: {law} does not apply, because {reason}" for name, law, reason in found)


def catalogue() -> str:
    """Return the objects that are verified by default, by kind, and the laws of each kind with their formulas."""
    parts = []
    for kind, laws in LAWS.items():
        objects = ", ".join(entry.name for entry in ENTRIES if entry.kind == kind)
        lines = [f"{law.name:<30}  {formula(law.law)}" for law in laws]
        parts.append("\n".join([f"{kind}: {objects}", *[f"  {line}" for line in lines]]))
    return "\n\n".join(parts)
