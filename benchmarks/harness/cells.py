"""Studies of many cells, each of minutes: every cell is written when it is measured, and a later call measures the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from haarflow.benchmarks.harness.bench import rounded
from haarflow.benchmarks.harness.results import write

Cell = Mapping[str, Any]
DIGITS = 9  # of an estimate: the error of <condensate> is in its fourth digit


def measured(
    path: Path | None,
    kind: str,
    recipe: dict[str, Any],
    cells: Iterable[Cell],
    measure: Callable[[Cell], dict[str, Any]],
) -> list[dict[str, Any]]:
    """Return a row for each cell, its words and what `measure` finds there.

    Where `path` is given, rows that it holds are not measured again, and it is written anew after every other one. Rows of
    cells that are not asked for stay in the file and are not returned. Raises ValueError where the file holds another recipe.

    >>> measured(None, "squares", {}, [{"x": 2}, {"x": 3}], lambda cell: {"square": cell["x"] ** 2})
    [{'x': 2, 'square': 4}, {'x': 3, 'square': 9}]
    """
    rows = stored(path, kind, recipe)
    found = []
    for cell in cells:
        row = next((row for row in rows if cell.items() <= row.items()), None)
        if row is None:
            row = {**cell, **rounded(measure(cell), DIGITS)}
            rows.append(row)
            if path:
                write(path, kind, recipe, rows, DIGITS)
        found.append(row)
    return found


def stored(path: Path | None, kind: str, recipe: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that a file holds, none where there is no file; raises ValueError for rows of another kind or recipe."""
    if path is None or not path.exists():
        return []
    held = json.loads(path.read_text(encoding="utf-8"))
    if (held["kind"], held["recipe"]) != (kind, rounded(recipe, DIGITS)):
        raise ValueError(
            f"{path} holds {held['kind']} of {held['recipe']}, not {kind} of {recipe}: name another file for --json"
        )
    return list(held["rows"])
