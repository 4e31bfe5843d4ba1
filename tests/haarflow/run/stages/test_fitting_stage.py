"""A recipe that fits a flow along loops: from samples to weights, on an engine without autodiff."""

import json

import pytest

from haarflow.flows.modelfile import open_model
from haarflow.pipeline import run
from haarflow.run import recipes
from haarflow.run.recipes import RecipeError
from haarflow.theories.exact import sun_torus

SMALL = [
    'name="fit"',
    "lattice=[4, 4]",
    "theory.beta=1.0",
    "flow.kind=loops",
    "flow.order=2",
    "flow.degree=1",
    "flow.steps=1",
    "fit.couplings=3",
    "fit.samples=40",
    "fit.sweeps=5",
    "samplers.flow.kind=flow-reweighting",
    "samplers.flow.draws=64",
]


def recipe(*words, **fixed):
    table = recipes.overridden(recipes.read("su2-2d"), [*SMALL, *words], **fixed)
    table["samplers"] = {"flow": table["samplers"]["flow"]}
    table.pop("model", None)
    return recipes.check(table)


def test_a_fit_needs_no_autodiff_and_reports_what_it_left(tmp_path):
    """SU(2) on 4x4 at beta = 1, 64 draws, fixed seeds: 3 sigma of the exact plaquette, chance of luck 0.3%."""
    summary = run(recipe(run__backend="numpy"), tmp_path / "run")
    fit, sampler = summary["fit"], summary["samplers"]["flow"]
    assert (
        summary["training"] is None and fit["samples"] == 120 and fit["numbers"] == 2 * 8 and len(fit["residuals"]) == 3
    )
    assert fit["integration"] == fit["shift"] == 0.0 < fit["spread"]
    assert sampler["ess"] > 0.95
    found = sampler["observables"]["plaquette"]
    assert abs(found["value"] - sun_torus.plaquette(2, 1.0, 16)) < 3 * found["error"]
    card = open_model(tmp_path / "run" / "model.safetensors").card
    assert card["fit"]["residuals"] == fit["residuals"] and card["theory"]["couplings"] == {"beta": 1.0}
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["stage"] == "fit"
    page = (tmp_path / "run" / "report.html").read_text()
    assert "<h2>Fit</h2>" in page and "exact for any number of steps" in page


def test_a_fit_may_keep_a_few_products(tmp_path):
    summary = run(recipe("fit.products=2", run__backend="numpy"), tmp_path / "run", report=False)
    opened = open_model(tmp_path / "run" / "model.safetensors")
    assert summary["fit"]["numbers"] == 4 == opened.params["coefficients"].size
    assert len(opened.model.flow.products) == 2 and opened.card["fit"]["numbers"] == 4


def test_a_flow_may_stay_the_series(tmp_path):
    """The next-to-leading order at beta = 1/2 leaves terms of b^3: ESS above 0.99 on 4x4."""
    summary = run(recipe("fit.samples=0", "theory.beta=0.5", run__backend="numpy"), tmp_path / "run")
    assert summary["fit"]["samples"] == 0 and summary["samplers"]["flow"]["ess"] > 0.99
    assert "series as it stands" in (tmp_path / "run" / "report.html").read_text()


def test_a_fit_of_an_improved_action_samples_by_hmc(tmp_path):
    words = ["theory.rectangle=-0.0833333333", "flow.order=1", "fit.samples=8"]
    summary = run(recipe(*words, run__backend="numpy"), tmp_path / "run", report=False)
    assert summary["samplers"]["flow"]["ess"] > 0.8


CONTINUOUS = ["flow.order=1", "fit.samples=0", "flow.scheme=continuous"]


def test_a_flow_in_continuous_time_reports_its_error_and_is_refused_by_metropolis(tmp_path):
    """One Runge-Kutta step to beta = 1 is off by far more than a tenth of the statistical error of 100,000 draws."""
    summary = run(recipe(*CONTINUOUS, run__backend="numpy"), tmp_path / "run")
    assert 0.0 < summary["fit"]["integration"] < abs(summary["fit"]["shift"])
    assert "measured by halving the steps" in (tmp_path / "run" / "report.html").read_text()
    words = [*CONTINUOUS, "samplers.flow.kind=flow-metropolis", "samplers.flow.draws=100000"]
    with pytest.raises(
        ValueError,
        match=r"take flow.scheme = 'masked', which is exact, flow.steps .* times as large, or flow-reweighting",
    ):
        run(recipe(*words, run__backend="numpy"), tmp_path / "refused")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["flow.kind=trivialising"], "fit needs flow.kind = 'loops'"),
        (["train.steps=3"], "fit and train exclude each other"),
        (["fit.lattice=[4]"], "fit.lattice must have 2 extents"),
        (["fit.samples=1"], "fit.samples must be 2 or more"),
        (["fit=false"], "needs \\[train\\], or \\[fit\\]"),
    ],
)
def test_what_does_not_fit_together_is_named(words, said):
    with pytest.raises(RecipeError, match=said):
        recipe(*words)
