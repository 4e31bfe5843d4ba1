"""The classes that an object is made of, and the fewest entries in which each of them is met."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from haarflow.verification.entry import Entry


def parts(obj: Any) -> Iterator[str]:
    """Yield the names of the classes an object is made of: its own, and those of its fields."""
    if isinstance(obj, (tuple, list)):
        for item in obj:
            yield from parts(item)
    elif dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        yield type(obj).__name__
        for field in dataclasses.fields(obj):
            yield from parts(getattr(obj, field.name))


def representatives(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries, simplest first, of which each brings a class that those before it do not have; all backends."""
    every = list(entries)
    kept = [entry for entry in every if entry.kind == "backend"]
    made = [(entry, set(parts(entry.make(entry.lattices[0]))) or {entry.name}) for entry in every if entry not in kept]
    met: set[tuple[str, str]] = set()
    for entry, names in sorted(made, key=lambda pair: len(pair[1])):
        found = {(entry.kind, name) for name in names}
        if not found <= met:
            kept.append(entry)
            met |= found
    return kept
