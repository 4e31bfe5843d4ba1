"""Array libraries behind one record each: NumPy, CuPy, JAX, PyTorch, and any other Array API library.

>>> from haarflow import backends
>>> backend = backends.get("numpy", dtype="float32")
>>> backends.of(backend.asarray([1.0])).name
'numpy'
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from functools import cache
from importlib import import_module, util
from typing import Any

import array_api_compat

from haarflow.backends import tree
from haarflow.backends.protocol import Backend, MissingBackend, MixedBackends, NoAutodiff

__all__ = ["NAMES", "Backend", "MissingBackend", "MixedBackends", "NoAutodiff", "get", "is_present", "of", "place"]

# name -> (the package that must be importable, what to install)
NAMES = {
    "numpy": ("numpy", "pip install numpy"),
    "cupy": ("cupy", "pip install cupy-cuda12x (or the wheel of your CUDA version)"),
    "jax": ("jax", "pip install 'haarflow[jax]'"),
    "torch": ("torch", "pip install 'haarflow[torch]'"),
}


def is_present(name: str) -> bool:
    """Return whether a backend's package can be imported, without importing it."""
    return util.find_spec(NAMES[name][0]) is not None


def get(name: str, device: Any = None, dtype: str | None = None) -> Backend:
    """Select a backend: `name` of NAMES, a device such as "cuda" or "cpu", and "float64" (the default) or "float32".

    Raises ValueError for an unknown name or dtype and for float64 on JAX while its 64-bit mode is off,
    MissingBackend when the package or the device is missing.

    >>> get("numpy").name
    'numpy'
    """
    if name not in NAMES:
        raise ValueError(f"a backend is one of {', '.join(NAMES)}, got {name!r}")
    return _get(name, None if device is None else str(device), dtype)


def _get(name: str, device: str | None, dtype: str | None) -> Backend:
    package, remedy = NAMES[name]
    try:
        adapter = _adapter(name)
    except ImportError as error:
        raise MissingBackend(f"the backend {name!r} needs the package {package!r}: {remedy} ({error})") from None
    if name == "jax" and dtype is not None:
        adapter.refuse(dtype)
    record: Backend = adapter.backend(device, dtype or "float64")
    return record


# A record is pickled by name, so that a worker makes it anew in its own process.
copyreg.pickle(Backend, lambda record: (get, (record.name, record.device, record.dtype)))


def of(*trees: Any) -> Backend:
    """Return the backend of the arrays in the given trees, tracers included.

    Raises MixedBackends for arrays of several backends, and when there is no array.
    """
    if len(trees) == 1 and (record := _OF_ARRAY.get(type(trees[0]))):  # eager kernels call this all the time
        return record(trees[0])
    # leaves may be plain numbers, which belong to no backend
    kinds = {_kind(leaf): leaf for leaf in tree.leaves(trees) if hasattr(leaf, "dtype")}
    if len(kinds) != 1:
        names = " and ".join(sorted(kinds)) or "no array"
        raise MixedBackends(f"arrays of one backend wanted, got {names}: convert with backend.asarray(...)")
    ((name, array),) = kinds.items()
    return _of_array(name, array)


def place(x: Any) -> Any:
    """Return the device for a new array that is combined with `x`: None where the backend chooses.

    JAX commits an array to a device that is named, and compiles a function again for committed arguments.

    >>> import numpy
    >>> place(numpy.zeros(2))
    'cpu'
    """
    return None if of(x).device is None else array_api_compat.device(x)


def _kind(x: Any) -> str:
    root = type(x).__module__.partition(".")[0]
    return "jax" if root == "jaxlib" else root


# Adapters imported so far: a compiler that traces `of` can read a dict, but not import a module.
_ADAPTERS: dict[str, Any] = {}
_OF_ARRAY: dict[type, Callable[[Any], Backend]] = {}


def _of_array(name: str, array: Any) -> Backend:
    if name not in NAMES:
        return _other(name)
    record: Callable[[Any], Backend] = _adapter(name).of_array
    _OF_ARRAY[type(array)] = record
    return record(array)


def _adapter(name: str) -> Any:
    if name not in _ADAPTERS:
        _ADAPTERS[name] = import_module(f"haarflow.backends.with_{name}")
    return _ADAPTERS[name]


@cache
def _other(name: str) -> Backend:
    """The record of an Array API library without an adapter, by the name of its package."""
    from haarflow.backends import standard

    package = import_module(name)
    return standard.record("standard", package, None, "float64", getattr(package, "__version__", ""))


def __getattr__(name: str) -> Any:
    if name in NAMES:
        return get(name)
    raise AttributeError(f"module 'haarflow.backends' has no attribute {name!r}")
