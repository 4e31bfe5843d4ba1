"""The coverage statement is whole, and the committed pages are those that the code writes."""

import importlib
import sys
from pathlib import Path

import pytest

from haarflow.verification import classes, coverage
from tests.mutants import table

DOCS = Path(__file__).parents[3] / "docs"


def test_no_public_object_is_missing():
    assert [row for row in coverage.coverage() if row.reason == "missing"] == []


def test_every_law_is_checked_for_something():
    rows = coverage.coverage()
    assert {row.law for row in rows} == {row.law for row in rows if row.entries}


def test_the_pages_are_up_to_date():
    assert (DOCS / "coverage.md").read_text(encoding="utf-8") == coverage.statement()
    assert (DOCS / "mutants.md").read_text(encoding="utf-8") == table.statement()


def test_a_class_without_an_entry_would_be_seen(monkeypatch):
    monkeypatch.setattr(coverage, "ENTRIES", ())
    assert {row.reason for row in coverage.coverage()} == {"missing"}


A_CLASS = """
from dataclasses import dataclass


@dataclass(frozen=True)
class {name}:
    size: int

    def compose(self): ...
    def haar(self): ...
    def project(self): ...
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a folder two levels down, named as nothing else is."""
    folder = tmp_path / "a_layer_with_folders" / "family" / "members"
    folder.mkdir(parents=True)
    for one in (folder, folder.parent, folder.parent.parent):
        (one / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield folder
    for name in [name for name in sys.modules if name.startswith("a_layer_with_folders")]:
        del sys.modules[name]


def test_classes_are_found_in_folders_of_a_package(package, monkeypatch):
    (package / "deep.py").write_text(A_CLASS.format(name="Deep"))
    (package.parent.parent / "flat.py").write_text(A_CLASS.format(name="Flat"))
    monkeypatch.setitem(classes.PUBLIC, "group", (("a_layer_with_folders",), classes.PUBLIC["group"][1]))
    assert classes.public("group") == ["Deep", "Flat"]


def test_a_layer_where_no_class_is_found_is_an_error(package, monkeypatch):
    monkeypatch.setitem(classes.PUBLIC, "group", (("a_layer_with_folders",), classes.PUBLIC["group"][1]))
    with pytest.raises(LookupError, match="no public group in a_layer_with_folders"):
        classes.public("group")
