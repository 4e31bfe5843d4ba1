"""What the works of a theory cost, as `haarflow bench` measured it: tables of the manual from benchmarks/results/."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from docs.tools.tables import table
from haarflow.benchmarks.harness.results import FOLDER
from haarflow.benchmarks.page import machine_line

BACKENDS = ("numpy", "jax", "torch")


def costs(text: str, subjects: Sequence[str]) -> list[str]:
    """Return the CPU microseconds of each work for one configuration, on every backend, for subjects of `haarflow bench`."""
    lines = [line for found in _measured() for line in _table(found, subjects)]
    return [*lines, "CPU microseconds for one configuration, one thread; [all of it](../benchmarks.md)."]


def _measured() -> list[Mapping[str, Any]]:
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("bench-*.json"))]
    return sorted(found, key=lambda one: one["date"])


def _table(found: Mapping[str, Any], subjects: Sequence[str]) -> list[str]:
    cells: dict[tuple[str, str], dict[str, float]] = {}
    for row in found["rows"]:
        if row["problem"]["subject"] in subjects and row["status"] == "timed":
            cells.setdefault((_problem(row["problem"]), row["work"]), {})[row["engine"]] = 1e6 * row["item_cpu_s"]
    rows = [(problem, work, *(_number(times, name) for name in BACKENDS)) for (problem, work), times in cells.items()]
    return [*table(("lattice", "work", *BACKENDS), rows), "", machine_line(found), ""] if rows else []


def _problem(problem: Mapping[str, Any]) -> str:
    return f"{problem['subject']}, {'×'.join(map(str, problem['lattice']))}, batch {problem['batch']}"


def _number(times: Mapping[str, float], name: str) -> str:
    if name not in times:
        return ""
    return f"{times[name]:,.0f}" if times[name] >= 1000 else f"{times[name]:.3g}"
