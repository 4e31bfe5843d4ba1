"""Markdown tables of the manual."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table without the columns that are empty in every row; none for no rows.

    >>> table(("name", "symbol", "value"), [("a|b", "", "1")])
    ['| name | value |', '|---|---|', '| a\\\\|b | 1 |']
    """
    rows = list(rows)
    kept = [i for i in range(len(head)) if any(row[i] for row in rows)]
    cells = ["| " + " | ".join(line[i].replace("|", "\\|") for i in kept) + " |" for line in (head, *rows)]
    return [cells[0], "|" + "---|" * len(kept), *cells[1:]] if rows else []
