"""The coverage statement is whole, and the committed pages are those that the code writes."""

from pathlib import Path

from haarflow.verification import coverage
from tests.mutants import table

DOCS = Path(__file__).parent.parent / "docs"


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
