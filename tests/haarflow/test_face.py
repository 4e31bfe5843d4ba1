"""`from haarflow import ...`: the names that a user begins with, loaded when they are used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import haarflow


@pytest.mark.parametrize("name", sorted(haarflow._FIRST))
def test_a_name_is_what_its_module_holds(name):
    module, _, attribute = haarflow._FIRST[name].partition(":")
    thing = getattr(haarflow, name)
    assert thing is getattr(sys.modules[f"haarflow.{module}"], attribute)
    assert name in dir(haarflow) and name in haarflow.__all__
    assert callable(thing) and thing.__doc__


def test_no_name_is_hidden_by_a_package():
    """A lazy name is found only where there is no package of that name, which would come first once it is loaded."""
    folder = Path(haarflow.__file__).parent
    assert not [name for name in haarflow._FIRST if (folder / name).exists() or (folder / f"{name}.py").exists()]


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(AttributeError, match="'haarflow' has no attribute 'Phi5'"):
        haarflow.Phi5  # noqa: B018


def test_the_stub_offers_the_same_names_from_the_same_places():
    stub = ast.parse(Path(haarflow.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    offered = {
        alias.asname: f"{node.module.removeprefix('haarflow.')}:{alias.name}"
        for node in imports
        for alias in node.names
    }
    assert offered == haarflow._FIRST


def test_importing_haarflow_loads_nothing_else():
    """The import itself brings no module of the library and no array library: a name brings what it needs."""
    code = "import sys, haarflow; print([m for m in sys.modules if m.startswith('haarflow.') or m in ('numpy', 'jax', 'torch')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
