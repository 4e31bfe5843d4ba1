"""Stored results: small JSON files in benchmarks/results, one per kind of machine, date and command.

Each has `format`, `kind` (twins, scaling, ...; a bench has none), `date`, `machine`, `versions`, `recipe`, `rows`.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from haarflow.benchmarks.harness import machine
from haarflow.benchmarks.harness.bench import FORMAT, rounded
from haarflow.core.files import write_json

FOLDER = Path(__file__).parent.parent / "results"


def write(path: Path, kind: str, recipe: dict[str, Any], rows: list[dict[str, Any]], digits: int = 4) -> None:
    """Write rows with the machine, the versions and the recipe that produced them, numbers of so many digits."""
    found = {
        "format": FORMAT,
        "kind": kind,
        "date": date.today().isoformat(),
        "machine": machine.kind(),
        "versions": machine.versions(),
        "recipe": recipe,
        "rows": rows,
    }
    write_json(path, rounded(found, digits))
