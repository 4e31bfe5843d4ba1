"""The documents say what is true: their code runs, their commands are right, their links and citations lead somewhere.

What is executed, by the language of the block:

- `python`: every block, those of one document in one namespace from the first to the last, in an empty folder.
- `bash`: every line of `haarflow` is parsed by the command line itself. `recipes`, `backends`, `exact` and `new` are
  then executed as they stand, their output redirected where the line says so. The others take minutes or files that a
  reader has by then: of `run` the recipe with its overrides is read and checked, and
  `test_a_run_from_the_readme_in_small` executes the sequence run, info, measure, sample at small size. `make` targets
  must exist; of `pip` the extras must exist; `python -m venv` and `python -m pytest` are not executed.
- `toml`: must parse. Any other language, or none, is refused: nothing escapes this list.
"""

import contextlib
import io
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer.main

from haarflow import __version__ as haarflow_version
from haarflow import cli
from haarflow.run import recipes
from tests import release
from tests.support.runs import haarflow, uniform_model

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
EXECUTED = ("recipes", "backends", "exact", "new")
EXEMPT = ("python3 -m venv", ".venv/bin/python -m pytest", "OMP_NUM_THREADS=1 .venv/bin/python -m pytest")


def blocks(path, language):
    """The fenced blocks of one language, each with the number of its first line."""
    found, text = [], path.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        if match[1] == language:
            found.append((text[: match.start()].count("\n") + 2, match[2]))
    return found


def commands(path):
    """The command lines of a document, comments left out."""
    lines = [line for _, block in blocks(path, "bash") for line in block.splitlines()]
    bare = [re.sub(r"\s+#.*", "", line).strip() for line in lines]
    return [line for line in bare if line and not line.startswith("#")]


def test_the_documents_are_there():
    assert {"README.md", "CONVENTIONS.md", "CONTRIBUTING.md", "docs/own_action.md"} <= set(NAMES)
    assert (ROOT / "LICENSE").is_file() and (ROOT / "references.bib").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_every_block_has_a_language_that_is_checked(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    opened = re.findall(r"^```(\w*)$", text, flags=re.MULTILINE)
    assert len(opened) % 2 == 0 and set(opened[::2]) <= {"python", "bash", "toml"} and set(opened[1::2]) <= {""}


# the tutorials run as notebooks, in test_manual.py
@pytest.mark.parametrize("name", [n for n in NAMES if "tutorials/" not in n and blocks(ROOT / n, "python")])
def test_the_python_of_a_document_runs(name, tmp_path, monkeypatch):
    pytest.importorskip("jax")
    monkeypatch.chdir(tmp_path)
    space = {"__name__": "document"}
    monkeypatch.setitem(__import__("sys").modules, "document", type(pytest)("document"))  # dataclasses look there
    for line, block in blocks(ROOT / name, "python"):
        code = compile("\n" * (line - 1) + block, str(ROOT / name), "exec")
        with contextlib.redirect_stdout(io.StringIO()):
            exec(code, space)


def test_the_examples_of_the_readme_have_about_twenty_lines():
    for _, block in blocks(ROOT / "README.md", "python"):
        assert len([line for line in block.splitlines() if line.strip()]) <= 22


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_one_of_the_kinds_that_are_checked(name):
    for line in commands(ROOT / name):
        known = line.startswith(("make ", "haarflow ", ".venv/bin/haarflow ", ".venv/bin/pip install ", *EXEMPT))
        assert known, f"{name}: {line}"


@pytest.mark.parametrize("name", NAMES)
def test_make_targets_and_extras_exist(name):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for line in commands(ROOT / name):
        if line.startswith("make "):
            assert line.split()[1] in targets, line
        for group in re.findall(r"pip install.*\.\[([\w,]+)\]", line):
            assert set(group.split(",")) <= set(extras), line
    for group in re.findall(r"haarflow\[([\w,]+)\]", (ROOT / name).read_text(encoding="utf-8")):
        assert set(group.split(",")) <= set(extras), f"{name}: haarflow[{group}]"


@pytest.mark.parametrize("name", NAMES)
def test_the_haarflow_lines_of_a_document_are_right(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for line in commands(ROOT / name):
        if line.removeprefix(".venv/bin/").startswith("haarflow "):
            check_line(line.removeprefix(".venv/bin/"), capsys)


def check_line(line, capsys):
    """Parse a line as the command line does; execute the quick verbs, check the recipe of a run."""
    words, _, target = line.partition(" > ")
    verb, *rest = shlex.split(words)[1:]
    known = typer.main.get_command(cli.app).commands[verb]
    with known.make_context(verb, list(rest), resilient_parsing=False) as context:
        given = context.params
    if verb in EXECUTED:
        capsys.readouterr()
        assert haarflow(verb, *rest) == 0, line
        printed = capsys.readouterr().out
        assert printed
        if target:
            Path(target).write_text(printed)
    elif verb in ("run", "train"):
        recipes.load(given["recipe"], given["overrides"] or ())


def test_a_run_from_the_readme_in_small(tmp_path, monkeypatch, capsys):
    """run, info, measure and sample one after the other on NumPy, with the model of uniform links for a flow."""
    monkeypatch.chdir(tmp_path)
    model = uniform_model(tmp_path / "uniform.safetensors")
    small = [f"model={model}", "flow=false", "train=false", "lattice=[4,4]", "theory.beta=0.5", "fields_every=0"]
    small += ["samplers.flow-metropolis.draws=90", "samplers.flow-metropolis.warmup=10"]
    small += ["samplers.flow-reweighting.draws=100"]
    for chain in ("hmc", "heatbath"):
        small += [f"samplers.{chain}.{word}" for word in ("chains=4", "draws=20", "warmup=4")]
    assert haarflow("run", "u1-2d", *small, "--backend", "numpy", "--out", "runs/u1-2d", "--quiet") == 0
    assert haarflow("info", "runs/u1-2d") == 0
    assert haarflow("measure", "runs/u1-2d") == 0
    assert haarflow("sample", model, "-n", "50", "--backend", "numpy", "--out", "drawn", "--quiet") == 0
    assert (Path("runs/u1-2d") / "report.html").is_file() and Path("drawn/ensemble.h5").is_file()
    assert "plaquette" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files_and_headings(name):
    assert not lost(ROOT / name)


def lost(page):
    """The links of a page that lead nowhere, to no file or to no heading of one."""
    targets = re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", page.read_text(encoding="utf-8"))
    links = [link for target in targets for link in target if link and not link.startswith("https://")]
    return [link for link in links if not leads(page, *link.partition("#")[::2])]


def leads(page, path, anchor):
    """Whether there is a file, relative to the page, and in it a heading of this anchor, if one is asked for."""
    file = page.parent / path if path else page
    return file.exists() and (not anchor or anchor in headings(file))


def headings(file):
    """The anchors of a page's headings, as GitHub and the site form them."""
    text = re.sub(r"^```.*?^```$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = [re.sub(r"[^\w\- ]", "", title.lower()) for title in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)]
    return {title.strip().replace(" ", "-") for title in titles}


def test_a_link_that_leads_nowhere_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One `name` (here)\n\n[a](#one-name-here), [b](page.md#two), [c](none.md), [d](page.md)\n")
    assert lost(page) == ["page.md#two", "none.md"]


def test_the_version_is_the_same_everywhere():
    assert release.version() == haarflow_version


def test_the_hooks_before_a_commit_are_the_checks_of_the_makefile():
    """The same commands, in the environment that the Makefile makes: so they are the same ruff and mypy."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    entries = re.findall(r"entry: (.+)$", hooks, flags=re.MULTILINE)
    check = (ROOT / "Makefile").read_text(encoding="utf-8").split("\ncheck: ")[1].split("\n\n")[0]
    for tool in ("ruff check", "ruff format", "mypy", "lint-imports"):
        assert f"$(BIN)/{tool}" in check and any(entry.startswith(f".venv/bin/{tool}") for entry in entries), tool
    assert "rev:" not in hooks  # nothing that could be of another version


def test_every_paper_that_the_sources_cite_is_in_the_bibliography():
    listed = set(re.findall(r"eprint = \{([^}]+)\}", (ROOT / "references.bib").read_text(encoding="utf-8")))
    cited = {}
    for folder in ("backends", "core", "theories", "flows", "benchmarks", "tests"):
        files = list((ROOT / folder).rglob("*.py"))
        assert files, f"no sources in {folder}"
        cited |= citations(files)
    cited |= citations((ROOT / "haarflow").glob("**/*.py")) | citations(DOCUMENTS)
    missing = {number: where for number, where in cited.items() if number not in listed}
    assert not missing, f"cited but not in references.bib: {missing}"
    assert len(listed) == (ROOT / "references.bib").read_text(encoding="utf-8").count("eprint = ")


def citations(paths):
    """arXiv numbers cited in files, each with one place."""
    pattern = r"arXiv:(\d{4}\.\d{4,5})|\b((?:hep-lat|hep-th|cond-mat)/\d{7})"
    found = {}
    for path in paths:
        for new, old in re.findall(pattern, path.read_text(encoding="utf-8")):
            found[new or old] = path.name
    return found
