"""SU(N) from a recipe to a report: samplers beside the exact torus, complex fields in blocks and ensemble."""

import json

import h5py
import numpy
import pytest

from haarflow.core.chains.heatbath_sun import SUNHeatBath
from haarflow.pipeline import run
from haarflow.run import recipes, samplers
from haarflow.run.recipes import RecipeError
from haarflow.run.runfolder import RunFolder
from haarflow.run.target import target_of
from haarflow.theories import SUNGauge
from haarflow.theories.exact import sun_torus
from tests.support.runs import numbers

RECIPE = """
name = "su2-test"
lattice = [2, 4]
fields_every = 4
theory = { name = "su2", beta = 2.2 }
[samplers]
hmc = { chains = 100, draws = 20, warmup = 10, steps = 4, step_size = 0.25, block = 10 }
heatbath = { chains = 100, draws = 12, warmup = 4, block = 5, overrelaxation = 1 }
mixture = { kind = "cycle", kernels = ["hmc", "heatbath"], chains = 4, draws = 8, warmup = 2, block = 5 }
[run]
backend = "numpy"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run, and its recipe beside it."""
    home = tmp_path_factory.mktemp("su2")
    (home / "su2.toml").write_text(RECIPE)
    run(recipes.load(home / "su2.toml"), home / "run")
    return home


def test_the_summary_has_the_exact_plaquette(folder):
    """1000 draws or more of each chain sampler: 5 sigma, chance of luck 6e-7; the seed is fixed."""
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["theory"] == {"name": "su2", "beta": 2.2}
    for name in ("hmc", "heatbath"):
        entry = summary["samplers"][name]["observables"]["plaquette"]
        assert entry["exact"] == pytest.approx(sun_torus.plaquette(2, 2.2, 8), abs=1e-14)
        assert abs(entry["value"] - entry["exact"]) < 5 * entry["error"] < 0.05


def test_the_report_names_theory_and_exact_value(folder):
    page = (folder / "run" / "report.html").read_text(encoding="utf-8")
    assert "SU(2) gauge theory on 2×4, β = 2.2" in page and f"{sun_torus.plaquette(2, 2.2, 8):.8g}" in page


def test_the_ensemble_holds_links_in_the_group(folder):
    with h5py.File(folder / "run" / "ensemble.h5") as file:
        fields = file["heatbath/fields"][...]
    theory = SUNGauge((2, 4), n=2)
    assert fields.dtype == numpy.complex128 and fields.shape[-5:] == theory.field_shape
    numpy.testing.assert_allclose(
        theory.group.compose(fields, theory.group.inverse(fields)), theory.group.identity(fields), atol=1e-13
    )


def test_a_run_that_was_cut_ends_with_the_same_numbers(folder, tmp_path):
    class Cut(Exception):
        pass

    def falling(self, sampler, number, arrays, write=RunFolder.write_block):
        if (sampler, number) == ("heatbath", 2):
            raise Cut
        write(self, sampler, number, arrays)

    recipe = recipes.load(folder / "su2.toml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "write_block", falling)
        with pytest.raises(Cut):
            run(recipe, tmp_path)
    run(recipe, tmp_path)
    assert numbers(tmp_path) == numbers(folder / "run")


def test_words_that_define_the_theory_are_no_couplings():
    recipe = recipes.check(
        {"name": "try", "lattice": [4, 4], "theory": {"name": "sun", "n": 5, "beta": 1.0, "rectangle": -0.331}}
    )
    assert target_of(recipe).theory == SUNGauge((4, 4), n=5, rectangle=-0.331)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["theory.n=3"], "theory.n: there is no such key"),
        (["theory.name=sun"], "theory.n is missing"),
        (["lattice=[4]"], "two or more extents"),
        (["flow.kind=spectral", "train.steps=1"], "flow"),
    ],
)
def test_faults_of_a_recipe(overrides, words):
    with pytest.raises(RecipeError, match=words):
        recipes.load("su3-2d", overrides)


def test_a_heat_bath_of_rectangles_wants_extents_of_four(folder, tmp_path):
    with pytest.raises(ValueError, match=r"multiples of 4, got the lattice \(2, 4\)"):
        run(recipes.load(folder / "su2.toml", ["theory.rectangle=-0.331"]), tmp_path / "none")
    assert not (tmp_path / "none").exists()
    run(recipes.load(folder / "su2.toml", ["theory.rectangle=-0.331", "lattice=[4,4]"]), tmp_path / "some")
    found = json.loads((tmp_path / "some" / "summary.json").read_text())["samplers"]
    assert "wilson_1x2" in found["heatbath"]["observables"] and "plaquette" in found["mixture"]["observables"]


def test_the_heat_bath_of_a_recipe_is_that_of_its_group():
    recipe = recipes.load("su3-4d")
    kernel = samplers.kernel(target_of(recipe).theory, {"beta": 6.0}, recipe.samplers["overrelaxed"])
    assert isinstance(kernel, SUNHeatBath) and kernel.overrelaxation == 2
