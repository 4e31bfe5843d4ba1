"""Tables of plain numbers used by functions of fields: masks, stencils, grids."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

Table = TypeVar("Table", bound=Callable[..., Any])


def host_table(function: Table) -> Table:
    """Return a function of plain numbers whose NumPy table is computed once, and is a constant to a backend that traces Python.

    `torch.compile` would trace the calls of NumPy, and supports only some; the attribute is the one set by
    `torch.compiler.assume_constant_result`, set here without importing torch.

    >>> host_table(lambda n: list(range(n)))(3)
    [0, 1, 2]
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return lru_cache(maxsize=256)(function)  # type: ignore[return-value]
