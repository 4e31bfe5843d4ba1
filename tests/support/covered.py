"""Coverage by package, from the data that the tests have left: `python -m tests.support.covered` after `make coverage`'s tests.

Bodies that Numba compiles run outside Python, so that their lines are not seen: those packages stand apart.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import coverage

ROOT = Path(__file__).parents[2]
LIBRARIES = ("backends", "core", "theories", "flows")  # whose packages have a line each
COMPILED = ("compiled", "kernels")


def package(file):
    """Return the package of a file of the library, two levels deep, None for any other file."""
    path = Path(file).resolve()
    if not path.is_relative_to(ROOT):
        return None
    parts = path.relative_to(ROOT).parts
    if parts[0] == "haarflow":
        return ".".join(("haarflow", *parts[1:2])) if len(parts) > 2 else "haarflow"
    if parts[0] in LIBRARIES:
        return ".".join(("haarflow", *parts[:2])) if len(parts) > 2 else f"haarflow.{parts[0]}"
    return None


def by_package(measured):
    """Return (statements, missed) by package, of a `coverage.Coverage` that has loaded its data."""
    found = defaultdict(lambda: [0, 0])
    for file in measured.get_data().measured_files():
        name = package(file)
        if name is not None:
            _, statements, _, missing, _ = measured.analysis2(file)
            found[name][0] += len(statements)
            found[name][1] += len(missing)
    return {name: tuple(found[name]) for name in sorted(found)}


def table(rows):
    """Return the lines of the table: package, statements, covered share; the whole last."""
    seen = {name: row for name, row in rows.items() if row[0]}
    plain = [row for name, row in seen.items() if name.split(".")[-1] not in COMPILED]
    total = tuple(map(sum, zip(*plain, strict=True))) if plain else (0, 0)
    lines = [_line(name, row) for name, row in seen.items()]
    return ["package                          statements  covered", *lines, _line("all but compiled kernels", total)]


def _line(name, row):
    statements, missed = row
    share = 1.0 - missed / statements if statements else 1.0
    return f"{name:<32} {statements:>10}  {share:>7.1%}"


if __name__ == "__main__":
    loaded = coverage.Coverage()
    loaded.load()
    print("\n".join(table(by_package(loaded))))
