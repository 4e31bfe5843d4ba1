"""Tables of plain numbers that a function of fields looks into: masks, stencils, grids."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

Table = TypeVar("Table", bound=Callable)


def host_table(function: Table) -> Table:
    """Return a function of plain numbers whose NumPy table is made once, and is a constant to an engine that traces Python.

    `torch.compile` would trace NumPy's calls, of which it knows some; the mark is the one that
    `torch.compiler.assume_constant_result` leaves, set here without importing torch.

    >>> host_table(lambda n: list(range(n)))(3)
    [0, 1, 2]
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return lru_cache(maxsize=256)(function)  # type: ignore[return-value]
