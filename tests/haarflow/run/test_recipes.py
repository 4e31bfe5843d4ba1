"""Recipes: every fault at once, each with its path and the nearest right word; what is written is read back the same."""

import tomllib

import pytest

from haarflow.run import recipes, toml
from haarflow.run.recipes import RecipeError, check, load, names
from haarflow.run.sampler_settings import HMC
from haarflow.run.toml import as_table, template, to_toml
from haarflow.theories.catalogue import THEORIES

TINY = {"name": "try", "lattice": [4, 4], "theory": {"name": "u1", "beta": 1.0}}


def faults(table):
    """Return the lines of the complaint about a table."""
    with pytest.raises(RecipeError) as complaint:
        check(table)
    return [line.strip() for line in str(complaint.value).splitlines()[1:]]


@pytest.mark.parametrize("name", sorted(names()))
def test_builtin_recipes_are_sound_and_their_templates_say_the_same(name):
    recipe = load(name)
    assert recipe.name == name and recipe.description
    assert check(tomllib.loads(template(name))) == recipe
    assert check(tomllib.loads(to_toml(recipe))) == recipe
    assert check(as_table(recipe)) == recipe


def test_every_key_of_a_template_is_explained():
    lines = [line for line in template("u1-tiny").splitlines() if " = " in line]
    keys = [line.split(" = ")[0] for line in lines if "#" not in line]
    assert set(keys) <= {"kind", "block", "depth", "map", "hidden"}  # arguments of the flow


def test_three_faults_are_named_at_once_each_with_path_and_nearest_word():
    found = faults({**TINY, "theory": {"name": "u1", "bta": 1.0}, "sampelrs": {}, "lattice": [4, "4"]})
    assert "theory.bta: there is no such key, did you mean 'beta'?" in found
    assert "theory.beta is missing" in found
    assert "sampelrs: there is no such key, did you mean 'samplers'?" in found
    assert "lattice.1 must be an integer, got '4'" in found


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            "theory.name=u2",
            f"theory.name: 'u2' is not known; choose one of {', '.join(THEORIES)}, did you mean 'su2'?",
        ),
        ("theory.beta=-1", "theory.beta must be greater than or equal to 0, got -1"),
        ("theory.beta=inf", "theory.beta must be a finite number, got inf"),
        ("theory.beta='2'", "theory.beta must be a number, got '2'"),
        ("theory.beta=true", "theory.beta must be a number, got True"),
        ("lattice=8", "lattice must be a list, got 8"),
        ("lattice=[0, 4]", "lattice.0 must be greater than 0, got 0"),
        ("lattice=[4]", "lattice: the U(1) gauge theory needs two or more extents, got [4]"),
        ("seed=-1", "seed must be greater than or equal to 0, got -1"),
        ("seed=1.5", "seed must be an integer, got 1.5"),
        (
            "run.backend=jx",
            "run.backend: 'jx' is not known; choose one of numpy, cupy, jax, torch, did you mean 'jax'?",
        ),
        (
            "flow.kind=tutoral",
            "flow.kind: 'tutoral' is not known; choose one of autoregressive, convolutional, stripes, sweep, sweep-couplings, tutorial, did you mean 'tutorial'?",
        ),
        ("flow.peices=3", "flow.peices: there is no such key, did you mean 'pieces'?"),
        ("train.stesp=3", "train.stesp: there is no such key, did you mean 'steps'?"),
        ("train.anneal.bta=3.0", "train.anneal.bta: there is no such coupling, did you mean 'beta'?"),
        ("samplers.hmc.chians=3", "samplers.hmc.chians: there is no such key, did you mean 'chains'?"),
        ("samplers.hmc.scheme=leapfrgo", None),
        ("samplers.hm.kind=hcm", None),
        ("samplers.mine.draws=3", None),
        ("samplers.mix={kind = 'cycle', kernels = ['flow', 'hcm']}", None),
        ("train=3", "train must be a table, got 3"),
        ("train=false", "train is missing: a recipe with [flow] needs [train]"),
        ("flow=false", "samplers.flow-metropolis needs a flow: add [flow] with its kind and [train], or model"),
        ("model=x.safetensors", "model and flow exclude each other: a recipe opens a model or trains a flow"),
    ],
)
def test_a_fault_in_an_override(override, line):
    with pytest.raises(RecipeError) as complaint:
        load("u1-tiny", [override])
    path = override.split("=")[0]
    assert path.split(".")[0] in str(complaint.value) or path in ("flow",)
    if line is not None:
        assert line in str(complaint.value)


def test_overrides_use_the_recipes_own_paths():
    recipe = load(
        "u1-tiny", ["theory.beta=2.5", "lattice=[6,6]", "train.steps=5", "samplers.heatbath=false", "name=other"]
    )
    assert recipe.theory.name == "u1" and recipe.theory.beta == 2.5
    assert recipe.lattice == (6, 6) and recipe.train.steps == 5 and recipe.name == "other"
    assert "heatbath" not in recipe.samplers and recipe.samplers["hmc"] == HMC(
        chains=16, draws=150, warmup=50, block=50
    )


def test_options_of_the_command_win_over_the_recipe():
    recipe = load("u1-tiny", ["seed=1"], seed=2, run__backend="numpy", run__device=None)
    assert recipe.seed == 2 and recipe.run.backend == "numpy" and recipe.run.device == ""


@pytest.mark.parametrize("word", ["theory.beta", "=3", "lattice"])
def test_an_override_without_a_value_is_refused(word):
    with pytest.raises(RecipeError, match="key=value"):
        load("u1-tiny", [word])


def test_an_override_below_a_value_is_refused():
    with pytest.raises(RecipeError, match="is a value, not a table"):
        load("u1-tiny", ["lattice.x=3"])


def test_no_such_recipe_and_no_toml(tmp_path):
    with pytest.raises(RecipeError, match="did you mean 'u1-tiny'"):
        load("u1-tny")
    broken = tmp_path / "broken.toml"
    broken.write_text("lattice = [8")
    with pytest.raises(RecipeError, match="not a TOML file"):
        load(broken)


def test_a_heat_bath_of_phi4_is_refused():
    phi4 = {**TINY, "theory": {"name": "phi4", "m2": -4.0, "lam": 8.0}, "samplers": {"heatbath": {}}}
    assert faults(phi4) == [
        "samplers.heatbath: a heat bath exists for gauge theories and spins only: u1, su2, su3, su4, sun, ising"
    ]


def test_a_free_field_without_mass_is_refused():
    assert faults({**TINY, "theory": {"name": "phi4", "m2": 0.0, "lam": 0.0}})[0].startswith("theory.m2")


def test_toml_text_is_read_back_the_same():
    table = {
        "a": 1,
        "b": -2.5e-300,
        "c": 'quote " and \\ and \n and \u20ac',
        "list": [1, 2],
        "words": ["x", "y"],
        "yes": True,
        "sub": {"odd key.with dots": {"x": 1.0}, "empty": {}},
    }
    assert tomllib.loads(toml.dumps(table)) == table
    with pytest.raises(TypeError, match="TOML holds"):
        toml.dumps({"x": None})


def test_hint_is_silent_where_nothing_is_near():
    assert recipes.hint("zzz", ["leapfrog"]) == ""
