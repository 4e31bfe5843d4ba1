"""Runs whose warm-up tunes HMC, and runs that are stopped because nothing moves."""

import json

import numpy
import pytest

from haarflow.pipeline import run
from haarflow.results import ensemble
from haarflow.run import recipes
from haarflow.run.runfolder import RunFolder
from haarflow.run.stages.sampling import ChainStopped
from tests.support.runs import numbers

HMC = {
    "kind": "hmc",
    "chains": 8,
    "draws": 30,
    "warmup": 60,
    "block": 10,
    "steps": 5,
    "step_size": 0.2,
    "target_acceptance": 0.7,
}
TABLE = {
    "name": "tuned",
    "lattice": [4, 4],
    "theory": {"name": "phi4", "m2": -4.0, "lam": 8.0},
    "run": {"backend": "numpy"},
}


def recipe(**samplers):
    return recipes.check({**TABLE, "samplers": samplers})


def killed(monkeypatch, table, out, at):
    """A run that is interrupted when it writes block number `at`."""
    whole = RunFolder.write_block

    def write(self, sampler, number, arrays):
        if number == at:
            raise KeyboardInterrupt
        whole(self, sampler, number, arrays)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunFolder, "write_block", write)
        run(table, out, report=False)


MIXED = {**HMC, "kind": "cycle", "kernels": ["metropolis", "hmc"], "chains": 4, "warmup": 40}


@pytest.mark.parametrize("at, settings", [(0, HMC), (2, MIXED)])
def test_an_interrupted_run_is_tuned_as_an_uninterrupted_one(tmp_path, monkeypatch, at, settings):
    """Before the first block, when the log already has the tuning's line, and between two blocks."""
    table = recipe(tuned=settings)
    whole = run(table, tmp_path / "whole", report=False)
    killed(monkeypatch, table, tmp_path / "cut", at)
    run(table, tmp_path / "cut", report=False)
    assert numbers(tmp_path / "whole") == numbers(tmp_path / "cut")
    tuning = whole["samplers"]["tuned"]["tuning"]
    assert tuning["step_size"] * tuning["steps"] == pytest.approx(1.0) and tuning["target"] == 0.7
    assert 0.5 < tuning["acceptance"] <= 1.0 and 0.5 < whole["samplers"]["tuned"]["acceptance"] < 1.0
    kept = ensemble.read(tmp_path / "whole" / "ensemble.h5").samplers["tuned"].observables
    assert {x.shape[:2] for x in kept.values()} == {(settings["chains"], 30)}


def test_without_a_target_nothing_is_tuned(tmp_path):
    found = run(recipe(hmc={**HMC, "target_acceptance": 0.0}), tmp_path / "fixed", report=False)
    assert "tuning" not in found["samplers"]["hmc"]
    lines = [json.loads(line) for line in (tmp_path / "fixed" / "metrics.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in lines} == {"sample"} and len(lines) == 9


@pytest.mark.parametrize("steps, undefined", [(3, False), (60, True)])
def test_a_chain_that_never_accepts_stops_and_keeps_its_blocks(tmp_path, steps, undefined):
    """Far above the stability limit; after many steps the energy overflows."""
    table = recipe(hmc={**HMC, "warmup": 20, "steps": steps, "step_size": 25.0, "target_acceptance": 0.0})
    with (
        numpy.errstate(all="ignore"),
        pytest.raises(ChainStopped, match=r"none of 160 .*target_acceptance = 0\.8") as stop,
    ):
        run(table, tmp_path / "stuck", report=False)
    assert ("dH is NaN" in str(stop.value)) == undefined
    assert sorted(file.name for file in (tmp_path / "stuck" / "blocks").iterdir()) == [
        f"hmc.{number:06d}.safetensors" for number in (0, 1, 2)
    ]
    assert not (tmp_path / "stuck" / "summary.json").exists()


@pytest.mark.parametrize(
    "entry, words",
    [
        ({**HMC, "warmup": 39}, r"samplers.hmc.warmup must be 40 or more"),
        ({**HMC, "target_acceptance": 1.0}, r"samplers.hmc.target_acceptance must be less than 1"),
        ({"kind": "cycle", "kernels": ["metropolis"], "target_acceptance": 0.8}, r"add hmc to samplers.hmc.kernels"),
    ],
)
def test_recipes_that_cannot_be_tuned_are_refused(entry, words):
    with pytest.raises(recipes.RecipeError, match=words):
        recipe(hmc=entry)
