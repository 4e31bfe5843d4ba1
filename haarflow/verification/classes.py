"""The public classes of the library, the classes that an object is made of, and a smallest set of entries with all classes."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from haarflow.flows.traits import parts_of
from haarflow.verification.entry import Entry

# kind -> (packages, the methods by which its public classes are recognised)
PUBLIC: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "group": (("haarflow.core",), ("compose", "haar", "project")),
    "kernel": (("haarflow.core", "haarflow.theories"), ("init", "step", "with_values")),
    "theory": (("haarflow.theories",), ("action", "lattice")),
    "operator": (("haarflow.theories",), ("prepare", "hop", "apply", "adjoint")),
    "prior": (("haarflow.flows",), ("sample", "log_density", "lattice")),
    "model": (("haarflow.flows",), ("init", "forward", "inverse")),
    "density": (("haarflow.flows",), ("init", "sample", "log_density", "field_shape")),
}
LACKING = {"prior": ("init",)}  # kind -> what its classes do not have: a density with parameters is no prior
# classes of the laws themselves
NOT_OBJECTS = ("Bound", "BoundPrior", "Chained", "Unhashable")


def public(kind: str) -> list[str]:
    """Return the names of the public classes of a kind, in all folders of its layer.

    Raises LookupError if there is none: then the layer was not searched.

    >>> public("group")
    ['Complex', 'Real', 'SU', 'Signs', 'U1']
    """
    packages, methods = PUBLIC[kind]
    every = [value for package in packages for module in modules_of(package) for value in _classes_of(module, methods)]
    found = {value.__name__ for value in every if not any(_has(value, name) for name in LACKING.get(kind, ()))}
    if not found:
        raise LookupError(
            f"no public {kind} in {' and '.join(packages)} or their folders: a {kind} has {', '.join(methods)}"
        )
    return sorted(found)


def modules_of(package: str) -> Iterator[ModuleType]:
    """Yield every module of a package and its subpackages.

    >>> "haarflow.core.groups.additive" in {module.__name__ for module in modules_of("haarflow.core")}
    True
    """
    for info in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        yield importlib.import_module(info.name)


def _classes_of(module: ModuleType, methods: tuple[str, ...]) -> Iterator[type]:
    """The public dataclasses that a module defines and that have all the methods."""
    for name, value in vars(module).items():
        if not inspect.isclass(value) or value.__module__ != module.__name__ or not dataclasses.is_dataclass(value):
            continue
        if not name.startswith("_") and name not in NOT_OBJECTS and all(_has(value, method) for method in methods):
            yield value


def _has(owner: Any, name: str) -> bool:
    return hasattr(owner, name) or name in {field.name for field in dataclasses.fields(owner)}


def parts(obj: Any) -> Iterator[str]:
    """Yield the names of the classes that an object is made of: its own and those of its fields."""
    if isinstance(obj, (tuple, list)):
        for item in obj:
            yield from parts(item)
    elif dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        yield type(obj).__name__
        for part in parts_of(obj):
            yield from parts(part)


def representatives(entries: Iterable[Entry]) -> list[Entry]:
    """Return entries that each add public classes to those of the entries before: objects of one class first, then composed
    ones, in order of the number of new classes and of least parts.

    An object of no public class, such as a user's theory, represents itself; so does every backend.
    """
    left = [(entry, {(entry.kind, name) for name in _classes(entry)}) for entry in entries]
    met: set[tuple[str, str]] = set()
    kept = []
    while left := [(entry, classes) for entry, classes in left if not classes <= met]:
        entry, classes = min(left, key=lambda pair: (len(pair[1]) > 1, -len(pair[1] - met), len(pair[1])))
        kept.append(entry)
        met |= classes
    return kept


def _classes(entry: Entry) -> set[str]:
    if entry.kind not in PUBLIC:
        return {entry.name}
    obj = entry.make(entry.lattices[0])
    return set(parts(obj)) & set(public(entry.kind)) or {type(obj).__name__}
