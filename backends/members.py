"""The backends on which the laws are checked, by name, hostile ones included.

`numpy`, `cupy`, `jax`, `torch` are the library's own; `strict` has the Array API standard and nothing else; `readonly` is
NumPy with read-only arrays; `jax-eager` compiles nothing; `torch-compile` traces every function as one graph, without
graph breaks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

from haarflow import backends
from haarflow.backends.protocol import Backend, MissingBackend
from haarflow.backends.types import Array

OURS = ("numpy", "strict", "jax", "torch", "cupy")
HOSTILE = ("readonly", "jax-eager", "torch-compile")


def member(name: str) -> Backend:
    """Return the record of a member; raises ValueError for an unknown name, MissingBackend for a missing package.

    >>> member("readonly").asarray([1.0]).flags.writeable
    False
    """
    if name in backends.NAMES:
        return backends.get(name)
    if name not in MAKERS:
        raise ValueError(f"a member is one of {', '.join(OURS + HOSTILE)}, got {name!r}")
    return MAKERS[name]()


def absence(name: str) -> str | None:
    """Return why a member is missing, or None."""
    try:
        member(name)
    except MissingBackend as missing:
        return str(missing)
    return None


def _strict() -> Backend:
    try:
        package = import_module("array_api_strict")
    except ImportError as missing:
        remedy = "pip install array-api-strict"
        raise MissingBackend(f"the member 'strict' needs the package array-api-strict: {remedy} ({missing})") from None
    return backends.of(package.asarray([0.0]))


def _readonly() -> Backend:
    plain = backends.get("numpy")

    def asarray(x: Any, dtype: Any = None) -> Array:
        array = plain.asarray(x, dtype).copy()
        array.flags.writeable = False
        return array

    return replace(plain, asarray=asarray)


def _eager() -> Backend:
    return replace(backends.get("jax"), jit=lambda function: function)


def _whole_graph() -> Backend:
    record = backends.get("torch")
    return replace(record, jit=import_module("haarflow.backends.with_torch").whole_graph)


MAKERS: dict[str, Callable[[], Backend]] = {
    "strict": _strict,
    "readonly": _readonly,
    "jax-eager": _eager,
    "torch-compile": _whole_graph,
}
