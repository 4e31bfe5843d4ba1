"""Runs that start at the closed form of divisions of flux, and recipes whose flow caps its ESS."""

import json

import pytest

from haarflow.pipeline import run
from haarflow.run.advice import annealed, cap_of, capped
from haarflow.run.build import build
from haarflow.run.recipes import RecipeError, load
from haarflow.run.target import target_of
from haarflow.theories.exact import u1_torus

SMALL = [
    *("lattice=[2,2]", "theory.beta=2.0", "flow.map=moebius_pairs", "flow.pieces=2", "flow.hidden=[6]"),
    *(
        "train.closed_form=120",
        "train.steps=3",
        "train.batch=8",
        "train.lr=1e-6",
        "train.checkpoint=2",
        "samplers=false",
    ),
    *("samplers.flow-reweighting={draws=1000}", "run.backend=torch"),
]


def test_a_run_starts_at_the_closed_form_and_its_report_names_the_cap_of_the_definition(tmp_path):
    """2x2 is one block, without a cap; on 4x4 the blocks' fluxes are uniform, and the ESS is that of them."""
    found = {}
    for extent in (2, 4):
        recipe = load("u1-tiny", [*SMALL, f"lattice=[{extent},{extent}]", f"train.steps={extent - 2}"])
        run(recipe, tmp_path / str(extent))
        summary = json.loads((tmp_path / str(extent) / "summary.json").read_text())
        found[extent] = (summary["samplers"]["flow-reweighting"]["ess"], cap_of(target_of(recipe)))
        said = (
            f"caps the ESS at {found[extent][1]:.2g} at beta = 2 on 4x4"
            in (tmp_path / str(extent) / "report.html").read_text()
        )
        assert said == (extent == 4)
    assert found[2][0] > 0.85 and found[2][1] == 1.0
    assert 0.5 * found[4][1] < found[4][0] < 1.15 * found[4][1] < 0.9  # of 1,000 draws, whose ESS has an error of 4%


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["flow.kind=sweep", "flow.block=false"], "train.closed_form is for the flow of U(1) that divides fluxes"),
        (["flow.conditioned=false"], "flow.conditioned = true: set it to 0"),
        (["train.anneal.beta=0.5"], "train.closed_form excludes train.start, train.anneal and train.between"),
        (["train.closed_form=0", "train.steps=0"], "train.steps must be 1 or more, or 0 with train.closed_form, got 0"),
        (["flow.mixture=2"], "train.closed_form starts all models of a mixture alike: remove flow.mixture"),
    ],
)
def test_recipes_that_cannot_start_there_are_refused(words, message):
    with pytest.raises(RecipeError) as refused:
        load("u1-tiny", ["train.closed_form=5", *words])
    assert message in str(refused.value)


def test_a_start_at_the_closed_form_is_not_annealed():
    strong = target_of(load("u1-2d-strong"))
    assert annealed(strong) is strong and cap_of(strong) == pytest.approx(0.9996, abs=5e-5) and capped(strong) == ""


def test_a_definition_that_caps_itself_is_told_with_the_block_that_does_not_and_refused_where_it_must_fail(tmp_path):
    words = ["lattice=[16,16]", "theory.beta=5.0"]
    told = capped(target_of(load("u1-2d", words)))
    assert f"{u1_torus.ess_blocks(5.0, 256, 4):.2g}" in told and told.endswith("take flow.block=8")
    assert capped(target_of(load("u1-2d", [*words, "lattice=[12,12]"]))).endswith("take flow.kind=sweep")
    assert capped(target_of(load("u1-2d", [*words, "lattice=[16,16,16]"]))) == ""
    assert capped(target_of(load("u1-sweep", words))) == ""
    with pytest.raises(ValueError, match=r"caps the ESS at 0\.083 at beta = 7 on 16x16, .*: take flow\.block=8"):
        build(load("u1-2d", ["lattice=[16,16]", "theory.beta=7.0", "run.backend=torch"]))
