"""A cache of a flow's results while one object is checked: most laws need the same ones.

Every law starts from forward(x), inverse(y) and their values at arguments a few ulp away (flows/laws/cases.py). Within
`remembering()` a bound flow (flows/laws/compiled_flow.py) computes each of these once; outside of it, and within
`forgetting()`, every call is evaluated. Arguments are compared bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy

from haarflow.backends.tree import paths
from haarflow.backends.types import Array
from haarflow.core.laws.law import to_host

LARGEST = 2**16  # numbers of the largest field whose results are kept
_kept: ContextVar[dict[Hashable, Any] | None] = ContextVar("kept", default=None)


@contextmanager
def remembering() -> Iterator[None]:
    """Keep results until the end of this block.

    >>> import numpy
    >>> calls = []
    >>> with remembering():
    ...     for value in (1.0, 1.0, 2.0):
    ...         _ = recalled(lambda x: calls.append(1), "a name", numpy.full(2, value))
    >>> len(calls)
    2
    """
    yield from _kept_in({})


@contextmanager
def forgetting() -> Iterator[None]:
    """Evaluate every call in this block, and keep no result."""
    yield from _kept_in(None)


def _kept_in(memory: dict[Hashable, Any] | None) -> Iterator[None]:
    token = _kept.set(memory)
    try:
        yield
    finally:
        _kept.reset(token)


def recalled(function: Callable[..., Any], name: Hashable, *args: Any) -> Any:
    """Return `function(*args)`, or its earlier result under this name for arguments with the same bytes."""
    memory = _kept.get()
    if memory is None:
        return function(*args)
    entries = [(index, *leaf) for index, tree in enumerate(args) for leaf in paths(tree).items()]
    if any(math.prod(numpy.shape(leaf)) > LARGEST for *_, leaf in entries):
        return function(*args)
    key = (name, tuple((index, path, *_bits(leaf)) for index, path, leaf in entries))
    if key not in memory:
        memory[key] = function(*args)
    return memory[key]


def _bits(leaf: Array) -> tuple[Any, ...]:
    host = to_host(leaf)
    return type(leaf), host.dtype, host.shape, host.tobytes()
