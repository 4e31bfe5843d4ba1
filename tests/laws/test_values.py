"""Definitions are values: every dataclass of the library is frozen, and equal ones share a hash, and so a compiled program."""

import dataclasses
import importlib
import pkgutil

import pytest

PACKAGES = ("core", "backends", "theories", "flows")


def dataclasses_of(package):
    """The dataclasses that the modules of a package define."""
    found = {}
    for module in pkgutil.walk_packages(
        importlib.import_module(f"haarflow.{package}").__path__, f"haarflow.{package}."
    ):
        if module.name.rsplit(".", 1)[-1] in ("with_cupy",):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.name:
                found[f"{module.name}.{value.__name__}"] = value
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_dataclasses_are_frozen_values(package):
    classes = dataclasses_of(package)
    assert classes
    thawed = [name for name, kind in classes.items() if not kind.__dataclass_params__.frozen]
    assert not thawed
    unhashable = [name for name, kind in classes.items() if kind.__hash__ is None]
    assert not unhashable
