"""The manual is that of this version, and the tutorials' notebooks run: tables, notebooks and pages of the site (docs/tools)."""

import contextlib
import doctest
import importlib
import io
import json
import re
import sys
from types import SimpleNamespace

import pytest

from docs.tools import manual, notebooks, pages, papers
from haarflow.flows.catalogue import FLOWS
from haarflow.report import citing
from haarflow.run.samplers import SAMPLERS
from haarflow.theories.catalogue import THEORIES

PAGES = sorted(manual.MANUAL.glob("*.md"))
TUTORIALS = sorted(notebooks.TUTORIALS.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tables_of_a_page_are_up_to_date(page):
    text = page.read_text(encoding="utf-8")
    assert text == manual.with_tables(text), "write them anew: python -m docs.tools.manual"


@pytest.mark.parametrize(("word", "known"), [("theory", THEORIES), ("flows", FLOWS), ("samplers", SAMPLERS)])
def test_all_of_a_catalogue_have_their_tables(word, known, tmp_path, monkeypatch):
    shown = [name for page in PAGES for name in manual.subjects(page.read_text(encoding="utf-8"), word)]
    assert len(shown) == len(set(shown)) and set(shown) <= set(known)
    assert "<!-- rest -->" in (manual.MANUAL / "index.md").read_text(encoding="utf-8")
    monkeypatch.setattr(manual, "MANUAL", tmp_path)  # a manual that has one of them leaves the others to the index
    first, *others = known
    (tmp_path / "page.md").write_text(f"<!-- {word} {first} -->\n<!-- end -->\n")
    found, tables = "\n".join(manual.rest("", ())), manual.TABLES[word]
    assert "\n".join(tables("", others)) in found and "\n".join(tables("", [first])) not in found


def test_a_table_that_is_out_of_date_is_seen():
    page = (manual.MANUAL / "u1.md").read_text(encoding="utf-8")
    for old, new in (("0.290636", "0.290637"), ("inverse coupling", "coupling"), ("`polyakov`", "`line`")):
        changed = page.replace(old, new)
        assert changed != page and manual.with_tables(changed) == page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_that_cites_papers_lists_them(page):
    text = page.read_text(encoding="utf-8")
    written = manual.MARKED.sub("", text)
    assert not papers.cited(written) or "<!-- papers -->" in text


def test_the_manual_leads_to_all_of_its_pages():
    index = (manual.MANUAL / "index.md").read_text(encoding="utf-8")
    assert {page.name for page in PAGES} - {"index.md"} <= set(re.findall(r"\]\(([\w.]+)\)", index))


def test_every_paper_of_the_bibliography_is_read():
    numbers = re.findall(r"eprint = \{([^}]+)\}", citing.FILE.read_text(encoding="utf-8"))
    found = papers.bibliography()
    assert set(found) == set(numbers)
    assert not [line for line in found.values() if re.search(r"[\\{}]|, \*\*|\(\)", line)]


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_notebook_is_its_page(page):
    stored = page.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert stored == notebooks.notebook(page.read_text(encoding="utf-8")), "write it: python -m docs.tools.notebooks"


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_notebook_runs(page, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "notebook", type(pytest)("notebook"))  # dataclasses look there
    cells = json.loads(page.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    space = {"__name__": "notebook"}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile("".join(cell["source"]), f"{page.stem}, {cell['id']}", "exec"), space)


@pytest.mark.parametrize("name", ["costs", "manual", "notebooks", "pages", "papers", "tables"])
def test_the_examples_of_the_tools_run(name):
    failed, tried = doctest.testmod(importlib.import_module(f"docs.tools.{name}"))
    assert failed == 0 and (tried or name == "costs")


def test_the_site_has_every_page_with_links_that_lead_somewhere(tmp_path):
    pages.write(tmp_path)
    assert {tmp_path / pages.place(page) for page in pages.pages()} <= set(tmp_path.rglob("*.md"))
    written = [*tmp_path.glob("*.md"), *tmp_path.glob("[!r]*/*.md")]
    for page in written:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).is_file(), f"{page.name}: {target}"


def test_the_reference_has_every_module_with_something_public():
    texts = pages.reference()
    named = {name for text in texts.values() for name in re.findall(r"^::: ([\w.]+)$", text, flags=re.MULTILINE)}
    assert {"haarflow", "haarflow.core.random", "haarflow.theories.gauge.u1", "haarflow.flows.loops.flow"} <= named
    assert not [name for name in named if name.startswith("haarflow.benchmarks")]
    assert "haarflow.theories.catalogue" in named and "haarflow.core.chains.hmc" in named


def test_docstrings_are_shown_as_they_are_written(monkeypatch):
    """Examples are code up to the next empty line, prose keeps its <O>, a_b and x*, code stays as it is."""
    griffe = SimpleNamespace(Extension=object, Object=object, Module=object)  # it is no part of this environment
    monkeypatch.setitem(sys.modules, "griffe", griffe)
    examples = importlib.import_module("docs.tools.examples")
    written = "Return <O>_b of `a*b_c`.\n\n    x_i < y_j\n\n>>> f(1)\n[2][0]\n\nThen x * y."
    shown = examples.shown(written)
    assert shown.startswith(r"Return &lt;O>\_b of `a*b_c`.")
    assert "\n    x_i < y_j\n" in shown and "```pycon\n>>> f(1)\n[2][0]\n```" in shown and shown.endswith("Then x * y.")
    obj = SimpleNamespace(docstring=SimpleNamespace(value=written))
    examples.Shown().on_object(obj=obj)
    assert obj.docstring.value == shown
    examples.Shown().on_object(obj=SimpleNamespace(docstring=None))


def test_the_navigation_names_pages_that_are_there():
    listed = re.findall(r'"([\w./]+\.md)"', (pages.ROOT / "zensical.toml").read_text(encoding="utf-8"))
    known = {str(pages.place(page)) for page in pages.pages()} | {"reference/index.md"}
    assert sorted(listed) == sorted(known)
