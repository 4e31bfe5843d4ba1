"""One object that the laws are held against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """An object by name: its kind (which table of laws), how to make it on a lattice, and legal lattices.

    The smallest lattice comes first: backends that compile for each shape see that one. `source` is the Python
    expression that gives the object in `haarflow.verify(...)`, by default its name.
    """

    name: str
    kind: str
    make: Callable[[tuple[int, ...]], Any]
    lattices: tuple[tuple[int, ...], ...]
    source: str = ""
