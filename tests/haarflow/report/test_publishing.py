"""What leaves the house: the folder to publish, its checksums, and the papers of a run."""

import re

import pytest

from haarflow.flows.catalogue import FLOWS
from haarflow.report import citing
from haarflow.report.citing import ALWAYS, ESTIMATORS, HEAT_BATHS, INTEGRATORS, bibtex, cited, entries
from haarflow.report.exporting import SUMS, DamagedExport, check_sums
from haarflow.run import recipes
from haarflow.run.kernels import KERNELS
from haarflow.run.samplers import SAMPLERS
from haarflow.theories.catalogue import THEORIES
from tests.support.runs import haarflow, uniform_recipe


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run on NumPy."""
    folder = tmp_path_factory.mktemp("publishing")
    recipe = uniform_recipe(folder)
    assert haarflow("run", recipe, "--backend", "numpy", "--out", folder / "run", "--no-report", "--quiet") == 0
    return folder / "run"


@pytest.fixture
def published(finished, tmp_path):
    """The run, exported."""
    assert haarflow("export", finished, tmp_path / "out", "--author", "A. Person", "--licence", "CC0-1.0") == 0
    return tmp_path / "out"


def test_the_folder_is_whole_and_says_what_it_holds(published, finished):
    assert {file.name for file in published.iterdir()} == {
        "README.md",
        "SHA256SUMS",
        "model.safetensors",
        "recipe.toml",
        "references.bib",
        "summary.json",
    }
    assert (published / "model.safetensors").read_bytes() == (finished.parent / "uniform.safetensors").read_bytes()
    page = (published / "README.md").read_text(encoding="utf-8")
    for said in ("beta = 0.5", "4x4", "A. Person", 'license: "cc0-1.0"', "of 100 draws", "| training | none |"):
        assert said in page
    assert [path.name for path in published.parent.iterdir()] == ["out"]


def test_what_was_published_is_verified_and_drawn_from(published, tmp_path, capsys):
    pytest.importorskip("hypothesis")
    assert haarflow("verify", published, "-b", "numpy", "-l", "round_trip", "-q") == 0
    assert haarflow("sample", published, "-n", 20, "-b", "numpy", "-q", "-o", tmp_path / "drawn") == 0
    assert (tmp_path / "drawn" / "ensemble.h5").is_file()


@pytest.mark.parametrize("name", ["model.safetensors", "recipe.toml", "README.md"])
def test_a_changed_or_missing_file_is_named_before_anything_is_opened(published, name, capsys):
    pytest.importorskip("hypothesis")
    data = (published / name).read_bytes()
    (published / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert haarflow("verify", published, "-b", "numpy", "-q") == 1
    assert f"{name} is missing or not what SHA256SUMS says" in capsys.readouterr().err
    (published / name).unlink()
    with pytest.raises(DamagedExport, match=name):
        check_sums(published)


def test_sums_without_the_model_are_refused(published):
    lines = (published / SUMS).read_text().splitlines(keepends=True)
    (published / SUMS).write_text("".join(line for line in lines if "model" not in line))
    with pytest.raises(DamagedExport, match="no line for model"):
        check_sums(published)


def test_nothing_is_overwritten_and_half_a_run_is_refused(published, finished, tmp_path, capsys):
    assert haarflow("export", finished, published) == 1
    assert "exists already" in capsys.readouterr().err
    assert haarflow("export", tmp_path, tmp_path / "other") == 1
    assert "has no recipe.toml" in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_every_key_is_in_the_bibliography_once():
    rows = [row for kinds in FLOWS.values() for row in kinds.values()]
    rows += [*THEORIES.values(), *SAMPLERS.values(), *KERNELS.values()]
    tables = (ALWAYS, INTEGRATORS, ESTIMATORS, HEAT_BATHS)
    keys = {key for row in rows for key in row.papers} | {
        key for table in tables for row in table.values() for key in row
    }
    assert keys and not keys - entries().keys()
    starts = re.findall(r"^@\w+\{([^,]+),", citing.FILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(starts) == len(set(starts)) == len(entries())


@pytest.mark.parametrize("name", sorted(recipes.names()))
def test_a_recipe_cites_its_flow_and_samplers(name):
    recipe = recipes.load(name)
    found = cited(recipe)
    assert found.items() >= ALWAYS.items()
    theory = THEORIES[recipe.theory.name]
    wanted = [theory.papers, *(SAMPLERS[settings.kind].papers for settings in recipe.samplers.values())]
    if "kind" in recipe.flow:
        wanted.append(FLOWS[theory.family][recipe.flow["kind"]].papers)
    assert {key for keys in wanted for key in keys} <= {key for keys in found.values() for key in keys}
    text = bibtex(found)
    assert all(text.count(f"{{{key},") == 1 for keys in found.values() for key in keys)


def test_cite_prints_what_a_run_used(finished, capsys):
    assert haarflow("cite", finished) == 0
    said = capsys.readouterr().out
    assert "% hmc" in said and "{Duane1987," in said and "{Best1979," in said and "{Kingma2014," not in said
