"""What a run advises for a flow that fails, and the annealing it takes by default."""

import json

import pytest

from haarflow.run.advice import annealed, failure, half_ordered, next_things, too_few
from haarflow.run.models import refuse_extrapolation, trained_between
from haarflow.run.recipes import load
from haarflow.run.target import target_of
from tests.support.runs import haarflow, uniform_model


def target(recipe, *words):
    return target_of(load(recipe, words))


@pytest.mark.parametrize(
    ("recipe", "words", "named"),
    [
        ("u1-tiny", (), ("train.anneal.beta=0.5", "train.steps=800", "flow.kind=sweep")),
        ("u1-2d", ("theory.beta=7.0", "lattice=[4,4,4]"), ("train.anneal.beta=1", "flow.kind=stripes")),
        ("phi4-2d", (), ("train.anneal.m2=0", "flow.kind=copula")),
        ("su2-2d", (), ("flow.order=4", "fit.samples=1600", "flow.kind=sweep")),
        ("su3-2d-sweep", (), ("a model trained at these couplings",)),
        ("u1-tiny", ("train.start=m.safetensors",), ("train.lr=0.002",)),
    ],
)
def test_advice_names_keys_of_the_recipe(recipe, words, named):
    said = next_things(target(recipe, *words))
    assert all(word in said for word in named), said


def test_advice_can_be_followed():
    """Every key=value that is advised for a recipe is one that the recipe takes."""
    for name in ("u1-tiny", "u1-2d", "phi4-2d"):
        words = [word.strip(";,") for word in next_things(target(name)).split() if "=" in word]
        changes = [word for word in words if not word.startswith("flow.kind")]
        assert len(changes) >= 3
        load(name, changes)


def test_annealing_is_the_default_of_ordered_gauge_theories_alone():
    assert half_ordered(target("u1-tiny")) == 1.0 and half_ordered(target("su3-2d")) == pytest.approx(5.4)
    assert half_ordered(target("phi4-2d")) is None
    ordered = annealed(target("u1-2d", "theory.beta=7.0")).recipe.train
    assert ordered.anneal == {"beta": 1.0} and ordered.anneal_steps == round(2 / 3 * ordered.steps)
    beyond = "theory.beta=7.0"
    for chosen in (
        target("u1-2d"),
        target("u1-2d", beyond, "train.anneal.beta=7.0"),
        target("u1-2d", beyond, "train.start=m.safetensors"),
        target("u1-sweep", beyond),
    ):
        assert annealed(chosen) is chosen


def test_failure_is_few_effective_draws_or_few_accepted():
    assert failure(10_000, 1.0, 0.5) == "" and failure(10_000, 0.002, None) == ""
    assert "5.0 effective draws of 10,000" in failure(10_000, 0.0005, 0.5)
    assert "only 9.0%" in failure(10_000, 0.1, 0.09)


def test_a_few_good_draws_are_no_failure_but_too_few():
    """Below ten draws the ESS, at least 1/n, cannot tell a bad flow; of more draws it can."""
    assert all(
        failure(n, ess, None) == "" and "draw more" in too_few(n, ess) for n in range(1, 10) for ess in (1 / n, 1.0)
    )
    assert failure(8, 0.9, 0.0) == "" and "7.2 effective ones of 8" in too_few(8, 0.9)
    assert failure(30, 0.3, None) == "" and "9.0 effective ones of 30" in too_few(30, 0.3)
    assert "2.7 effective draws of 30" in failure(30, 0.09, None) and too_few(30, 0.09) == ""
    assert too_few(30, 0.4) == "" and too_few(10_000, 0.05) == "" and too_few(8, None) == ""


def test_eight_draws_of_a_perfect_flow_are_too_few(tmp_path):
    """Uniform links at beta = 0 have the same weights: every draw is effective."""
    model = uniform_model(tmp_path / "uniform.safetensors")
    words = ("sample", model, "theory.beta=0.0", "-n", 8, "--backend", "numpy", "--quiet", "--out", tmp_path / "run")
    assert haarflow(*words) == 0
    entry = json.loads((tmp_path / "run" / "summary.json").read_text())["samplers"]["flow-reweighting"]
    assert entry["warnings"] == ["too few draws: 8.0 effective ones of 8, below 10; draw more"]
    assert entry["observables"]["plaquette"]["error"] is None


def test_the_range_of_a_model_is_read_from_its_card():
    assert trained_between({"condition": ["beta"], "training": {"between": {"beta": [3.0, 1.0]}}}) == {
        "beta": (1.0, 3.0)
    }
    assert trained_between({"condition": ["beta"], "training": {"betas": [3.0]}}) == {"beta": (0.0, 3.0)}
    assert trained_between({"condition": [], "fit": {"couplings": [0.0, 6.0]}}) == {}
    refuse_extrapolation("m", {"condition": ["beta"], "fit": {"couplings": [0.0, 6.0]}}, {"beta": 6.0})


def test_a_sweep_at_twice_the_fitted_coupling_is_refused(tmp_path, capsys):
    words = ("sample", "su3-2d-loops", "theory.beta=12.0", "lattice=[4,4]", "-n", 4, "--backend", "numpy", "--quiet")
    assert haarflow(*words, "--out", tmp_path / "run") == 1
    assert "trained for beta from 0 to 6, and beta = 12 lies outside" in capsys.readouterr().err


def test_a_flow_that_fails_says_what_to_try(tmp_path):
    """Uniform links at beta = 12: a handful of effective draws of 500."""
    model = uniform_model(tmp_path / "uniform.safetensors")
    words = ("sample", model, "theory.beta=12.0", "-n", 500, "--backend", "numpy", "--quiet", "--out", tmp_path / "run")
    assert haarflow(*words) == 0
    entry = json.loads((tmp_path / "run" / "summary.json").read_text())["samplers"]["flow-reweighting"]
    assert any(
        "the flow has failed" in one and "a model trained at these couplings" in one for one in entry["warnings"]
    )
    plaquette = entry["observables"]["plaquette"]
    assert plaquette["error"] is None and "effective draws, below 10" in plaquette["note"]


def test_an_untrained_flow_without_another_kind_is_to_draw_more():
    assert next_things(target("qcd-4d")) == "try more draws"
