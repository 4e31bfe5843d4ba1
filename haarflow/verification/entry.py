"""One object that the laws check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """A named object: its kind (the table of laws), the function that makes it on a lattice, and allowed lattices.

    The smallest lattice comes first; backends that compile for each shape use only that one. `source` is the Python
    expression for the object in `haarflow.verify(...)`, by default its name.
    """

    name: str
    kind: str
    make: Callable[[tuple[int, ...]], Any]
    lattices: tuple[tuple[int, ...], ...]
    source: str = ""
