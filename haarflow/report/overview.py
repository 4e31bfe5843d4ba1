"""Nested information in a screenful of text, for `haarflow info`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WIDTH, HEIGHT = 100, 24
Path = tuple[str, ...]


def overview(found: Mapping[str, Any], width: int = WIDTH, height: int = HEIGHT) -> str:
    """Return nested information as at most `height` lines of `width` columns; where
    they do not suffice, inner tables are given by the names of their entries.

    >>> print(overview({"model": "u1.safetensors", "card": {"theory": {"name": "u1", "beta": 7.0}, "ess": 0.9}}))
    model: u1.safetensors
    card: theory (name u1, beta 7.0), ess 0.9
    >>> print(overview({"card": {"theory": {"name": "u1", "beta": 7.0}, "ess": 0.9}}, width=30))
    card:
      theory: name u1, beta 7.0
      ess: 0.9
    """
    opened: frozenset[Path] = frozenset()
    queue: list[Path] = [(name,) for name in found]
    for path in queue:  # which grows: outer tables are opened before inner ones
        table = _at(found, path)
        if isinstance(table, Mapping) and len(_lines(found, width, opened | {path})) <= height:
            opened |= {path}
            queue += [(*path, name) for name in table]
    lines = [_clipped(line, width) for line in _lines(found, width, opened)]
    if len(lines) > height:
        lines = [*lines[: height - 1], f"... {len(lines) - height + 1} more lines: --json prints everything"]
    return "\n".join(lines)


def _at(found: Any, path: Path) -> Any:
    for name in path:
        found = found[name]
    return found


def _lines(found: Mapping[str, Any], width: int, opened: frozenset[Path], here: Path = ()) -> list[str]:
    """One line for each entry: a table whole if it fits, else by its own lines if it is opened, else by its names."""
    lines, indent = [], "  " * len(here)
    for name, entry in found.items():
        whole = f"{indent}{name}: {_row(entry)}"
        if not isinstance(entry, Mapping) or len(whole) <= width:
            lines.append(whole)
        elif (*here, name) in opened:
            lines += [f"{indent}{name}:", *_lines(entry, width, opened, (*here, name))]
        else:
            lines.append(f"{indent}{name}: {', '.join(entry)}")
    return lines


def _row(entry: Any) -> str:
    """A table as one row of words, tables within it in brackets."""
    if not isinstance(entry, Mapping):
        return str(entry)
    return ", ".join(
        f"{name} ({_row(value)})" if isinstance(value, Mapping) else f"{name} {value}" for name, value in entry.items()
    )


def _clipped(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 4] + " ..."
