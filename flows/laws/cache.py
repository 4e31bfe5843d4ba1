"""What a flow gave for a field, kept while laws look at one object: they ask for the same numbers, computed once.

A law starts from forward(x), inverse(y) and what they become a few units in the last place away (flows/laws/cases.py), as the
law before it did. Within `remembering()` a flow that is bound (flows/laws/compiled_flow.py) computes each of these once; outside of it,
and within `forgetting()`, every call is a call. Arguments are told apart bit for bit, by their bytes.
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

LARGEST = 2**16  # numbers of a field that is kept
_kept: ContextVar[dict[Hashable, Any] | None] = ContextVar("kept", default=None)


@contextmanager
def remembering() -> Iterator[None]:
    """Keep results until the end of this block.

    >>> import numpy
    >>> calls = []
    >>> with remembering():
    ...     for number in (1.0, 1.0, 2.0):
    ...         _ = recalled(lambda x: calls.append(1), "a name", numpy.full(2, number))
    >>> len(calls)
    2
    """
    yield from _kept_in({})


@contextmanager
def forgetting() -> Iterator[None]:
    """Compute every result anew in this block, and keep none."""
    yield from _kept_in(None)


def _kept_in(memory: dict[Hashable, Any] | None) -> Iterator[None]:
    token = _kept.set(memory)
    try:
        yield
    finally:
        _kept.reset(token)


def recalled(function: Callable[..., Any], name: Hashable, *args: Any) -> Any:
    """Return `function(*args)`, or what it gave before under this name for arguments of the same bytes."""
    memory = _kept.get()
    if memory is None:
        return function(*args)
    found = [(place, *leaf) for place, tree in enumerate(args) for leaf in paths(tree).items()]
    if any(math.prod(numpy.shape(leaf)) > LARGEST for *_, leaf in found):
        return function(*args)
    key = (name, tuple((place, path, *_bits(leaf)) for place, path, leaf in found))
    if key not in memory:
        memory[key] = function(*args)
    return memory[key]


def _bits(leaf: Array) -> tuple[Any, ...]:
    host = to_host(leaf)
    return type(leaf), host.dtype, host.shape, host.tobytes()
