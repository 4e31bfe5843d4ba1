"""ln Z on several lattices and along a coupling, as a stage of a run: exact values, an interruption, and what is refused."""

import json
import math
import shutil

import numpy
import pytest

from haarflow.flows.flow import Model
from haarflow.flows.modelfile import save_model
from haarflow.flows.priors import Gaussian
from haarflow.flows.scalar.momentum import MomentumScaling
from haarflow.pipeline import run
from haarflow.report.text import summary_table
from haarflow.run import recipes
from haarflow.run.recipes.faults import RecipeError
from haarflow.run.runfolder import RunFolder
from haarflow.theories import Phi4

MASS = 1.5
HMC = {"chains": 16, "draws": 30, "warmup": 10, "steps": 5, "step_size": 0.25}
FREE = {
    "name": "free",
    "lattice": [4, 4],
    "theory": {"name": "phi4", "m2": MASS, "lam": 0.0},
    "samplers": {"hmc": HMC},
    "run": {"backend": "numpy"},
    "thermodynamics": {"extents": [2, 4], "draws": 400, "first": {"m2": 3.0}, "points": 4, "sweeps": 160},
}
CURVE = {
    "name": "curve",
    "lattice": [4, 4],
    "theory": {"name": "u1", "beta": 1.0},
    "samplers": {"heatbath": {"chains": 16, "draws": 30, "warmup": 10}},
    "run": {"backend": "numpy"},
    "thermodynamics": {"along": {"beta": [0.5, 1.0, 1.5, 2.0]}, "draws": 0, "first": {"beta": 0.0}, "sweeps": 100},
}


def model(folder, mass):
    """A Gaussian of the field's propagator at a mass, which lives on any lattice."""
    one = Model(Gaussian((4, 4)), MomentumScaling(2, 0, mass))
    params = {"a": numpy.zeros(1), "log_m2": numpy.asarray(math.log(mass))}
    card = {"theory": {"name": "phi4", "lattice": [4, 4], "couplings": {"m2": MASS, "lam": 0.0}}}
    save_model(folder / f"{mass}.safetensors", one, params, card)
    return str(folder / f"{mass}.safetensors")


@pytest.fixture(scope="module")
def free(tmp_path_factory):
    folder = tmp_path_factory.mktemp("free")
    found = run(recipes.check({**FREE, "model": model(folder, MASS)}), folder / "run")
    return folder / "run", found


@pytest.fixture(scope="module")
def curve(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curve") / "run"
    return folder, run(recipes.check(CURVE), folder)


def rows(found, method):
    return [row for row in found["thermodynamics"]["rows"] if row["method"] == method]


def exact(*lattice):
    return Phi4(lattice).exact({"m2": MASS, "lam": 0.0})["ln_Z"]


def test_a_perfect_flow_gives_the_exact_equation_of_state_of_the_free_field(free):
    for row, extent in zip(rows(free[1], "flow"), (2, 4), strict=True):
        small, wide = exact(extent, 4), exact(extent, 6)
        assert row["ln_Z"]["value"] == pytest.approx(small, abs=1e-9) == pytest.approx(row["exact"], abs=1e-9)
        assert row["density"]["value"] == pytest.approx(small / (4 * extent), abs=1e-9)
        assert row["pressure"]["value"] == pytest.approx((wide - small) / (2 * extent), abs=1e-9)
        # the fields are Gaussian: <S> = V/2, at 5 sigma of 400 independent draws, whose S has variance V/2
        gap = row["entropy"]["value"] - (small + 2 * extent) / (4 * extent)
        assert abs(gap) < 5 * math.sqrt(2 * extent / 400) / (4 * extent)


def test_integration_over_the_mass_agrees_with_it(free):
    """Four values at five sigma: fails by luck less than once in 400,000."""
    for row, extent in zip(rows(free[1], "integration"), (2, 4), strict=True):
        pressure = (exact(extent, 6) - exact(extent, 4)) / (2 * extent)
        assert abs(row["ln_Z"]["value"] - row["exact"]) < 5 * row["ln_Z"]["error"] < 0.5
        assert abs(row["pressure"]["value"] - pressure) < 5 * row["pressure"]["error"]


def test_the_excess_is_over_the_largest_extent(free):
    first, last = rows(free[1], "flow")
    assert first["excess"]["value"] == first["pressure"]["value"] - last["pressure"]["value"]
    assert last["excess"]["value"] is None


def test_page_and_terminal_show_the_equation_of_state(free):
    page = (free[0] / "report.html").read_text()
    assert "Equation of state" in page and "pressure over that of the largest N_t" in page
    assert "over the largest extent's" in summary_table(free[1])


def test_numbers_that_the_weights_do_not_support_are_marked(tmp_path):
    words = {**FREE["thermodynamics"], "extents": [4], "draws": 40, "first": {}}
    found = run(
        recipes.check({**FREE, "model": model(tmp_path, 0.3), "thermodynamics": words}), tmp_path / "run", report=False
    )
    (row,) = rows(found, "flow")
    assert "effective" in row["note"]
    assert f"N_t 4, flow: {row['note']}" in summary_table(found)


def test_a_curve_by_heat_bath_and_its_slopes_are_exact(curve):
    """Four values and four slopes at five sigma: fails by luck less than once in 200,000."""
    found = rows(curve[1], "integration")
    assert [row["value"] for row in found] == [0.5, 1.0, 1.5, 2.0]
    for row in found:
        assert abs(row["ln_Z"]["value"] - row["exact"]) < 5 * row["ln_Z"]["error"] < 1.0
        assert abs(row["slope"]["value"] - row["exact_slope"]) < 5 * row["slope"]["error"]


def test_the_integral_of_the_exact_slopes_is_the_curve(curve):
    """The spline through four slopes from the first point on errs little beside the errors of the chain."""
    for row in rows(curve[1], "integration"):
        assert abs(row["summed"]["value"] - row["ln_Z"]["value"]) < 0.1


def test_an_interrupted_run_goes_on_with_the_next_point(free, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(free[0], folder)
    opened, whole = RunFolder(folder), json.loads((folder / "summary.json").read_text())
    kept = opened.log().thermodynamics[:6]
    opened.cut(lambda line: line not in opened.log().thermodynamics or line in kept)
    opened.summary.unlink()
    recipe = recipes.check({**FREE, "model": str(free[0].parent / f"{MASS}.safetensors")})
    again = run(recipe, folder, report=False)
    for one, other in zip(whole["thermodynamics"]["rows"], again["thermodynamics"]["rows"], strict=True):
        assert {**one, "cpu_s": 0} == {**other, "cpu_s": 0}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"extents": [2], "along": {"m2": [1.0, 2.0, 3.0, 4.0]}}, "either extents or along"),
        ({"along": {"m2": [1.0, 3.0, 2.0, 4.0]}}, "increasing values wanted"),
        ({"extents": [2], "first": {"mass": 1.0}}, "there is no coupling 'mass'"),
        ({"extents": [2], "draws": 10}, "there is none: add .flow."),
        ({"extents": [2], "draws": 0}, "nothing gives ln Z"),
        ({"extents": [2], "draws": 0, "first": {"m2": 3.0}, "sampler": "walk"}, "no chain sampler walk"),
    ],
)
def test_points_that_make_no_sense_are_refused(words, said):
    with pytest.raises(RecipeError, match=said):
        recipes.check({**FREE, "thermodynamics": words})


@pytest.mark.parametrize(
    ("theory", "first", "said"),
    [
        ({"name": "phi4", "m2": MASS, "lam": 1.0}, {"m2": 2.0}, "ln Z is not known at m2 = 2, lam = 1"),
        ({"name": "phi4-hopping", "kappa": 0.2, "lam": 0.1}, {"kappa": 0.1}, "ln Z is not known at"),
    ],
)
def test_a_start_where_ln_z_is_not_known_is_refused(theory, first, said, tmp_path):
    words = {**FREE["thermodynamics"], "draws": 0, "first": first, "extents": [4]}
    with pytest.raises(ValueError, match=said):
        run(recipes.check({**FREE, "theory": theory, "thermodynamics": words}), tmp_path / "run", report=False)
