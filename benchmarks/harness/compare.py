"""Comparison of a bench with an older one: what became slower.

On the same kind of machine the CPU seconds of a row are compared; on another kind only its ratio to the fastest backend is
meaningful. A row regressed if it takes more than `threshold` times as long and the quartiles do not overlap.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from haarflow.benchmarks.harness.bench import FORMAT


class Change(NamedTuple):
    """One row then and now: `factor` = now/then of `what` (CPU seconds or the ratio to the fastest backend)."""

    name: str
    what: str
    then: float
    now: float
    regressed: bool

    @property
    def factor(self) -> float:
        """Now over then."""
        return self.now / self.then


def read(path: Path) -> dict[str, Any]:
    """Read a stored bench; raises ValueError for any other file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = found["format"]
    except (json.JSONDecodeError, TypeError, KeyError) as fault:
        raise ValueError(f"{path} is not a stored bench: write one with haarflow bench --json {path.name}") from fault
    if known != FORMAT:
        raise ValueError(f"{path} has format {known}, this version reads {FORMAT}: measure it again")
    return found


def compare(new: Mapping[str, Any], old: Mapping[str, Any], threshold: float = 1.25) -> list[Change]:
    """Return the change of every row that both benches have.

    Raises ValueError for a threshold that is not above 1 and for benches without a common row.
    """
    if not threshold > 1.0:
        raise ValueError(f"the threshold must be above 1, got {threshold}")
    before, after = _rows(old), _rows(new)
    same = old["machine"]["cpu"] == new["machine"]["cpu"]
    common = [name for name in after if name in before]
    if not common:
        raise ValueError("the two benches have no timed row in common: use the same subjects, sizes and precision")
    return [_change(name, before[name], after[name], same, threshold) for name in common]


def _rows(found: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    threads = found["recipe"]["threads"]
    return {name_of(row, threads): row for row in found["rows"] if row["status"] == "timed"}


def name_of(row: Mapping[str, Any], threads: int) -> str:
    """Return the name of a row, the same in every bench."""
    problem = row["problem"]
    size = "x".join(map(str, problem["lattice"]))
    words = (problem["subject"], size, problem["batch"], problem["dtype"], threads, row["work"], row["engine"])
    return " ".join(map(str, words))


def _change(name: str, then: Mapping[str, Any], now: Mapping[str, Any], same: bool, threshold: float) -> Change:
    word = "cpu" if "cpu_ratio" in now and "cpu_ratio" in then else "wall"
    key = f"{word}_s" if same else f"{word}_ratio"
    slower = now[key] > threshold * then[key]
    if same and word == "cpu":
        slower = slower and now["cpu_quartiles"][0] > then["cpu_quartiles"][1]
    return Change(name, f"{word.upper()} s" if same else "ratio", then[key], now[key], slower)


def changes_table(changes: list[Change], threshold: float) -> str:
    """Return the changes as text: the regressions, the gains, and the count of the rest."""
    from haarflow.report.text import table

    bad = [change for change in changes if change.regressed]
    good = [change for change in changes if change.factor < 1.0 / threshold]
    rows = [
        [change.name, change.what, f"{change.then:.3g}", f"{change.now:.3g}", f"{change.factor:.2f}", word]
        for word, some in (("SLOWER", bad), ("faster", good))
        for change in sorted(some, key=lambda change: -change.factor)
    ]
    shown = [table(["row", "of", "then", "now", "factor", ""], rows)] if rows else []
    count = f"{len(changes)} rows compared: {len(bad)} slower by more than {threshold:g}, {len(good)} faster"
    return "\n".join([*shown, count])
