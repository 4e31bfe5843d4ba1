"""Recipes of spins: from ising-van to a report, and what a custom theory of spins admits."""

import json

import pytest

from haarflow.pipeline import run
from haarflow.run.build import build
from haarflow.run.own import theory_row
from haarflow.run.recipes import load
from haarflow.run.recipes.faults import RecipeError
from haarflow.run.stages.training import training_of
from haarflow.theories import Ising, Phi4
from haarflow.verification.subjects import entries

SMALL = [
    "lattice=[3,3]",
    "theory.beta=0.3",
    "train.steps=40",
    "train.anneal_steps=20",
    "train.batch=64",
    "samplers.flow-reweighting.draws=2000",
    "samplers.flow-metropolis.draws=50",
    "samplers.heatbath.draws=100",
    "samplers.heatbath.warmup=20",
    "samplers.cluster.draws=100",
]


def test_ising_van_runs_to_a_report_with_the_exact_free_energy(tmp_path):
    run(load("ising-van", SMALL, run__backend="torch"), tmp_path)
    samplers = json.loads((tmp_path / "summary.json").read_text())["samplers"]
    exact = Ising((3, 3)).exact({"beta": 0.3})
    for sampler in samplers.values():
        energy = sampler["observables"]["E"]
        assert energy["exact"] == exact["E"] and abs(energy["value"] - exact["E"]) < 5 * energy["error"]
    for name in ("flow-reweighting", "flow-metropolis"):
        found = samplers[name]["coverage"]
        assert (
            found["exact"] == exact["ln_Z"] and abs(found["ln_Z"]["value"] - exact["ln_Z"]) < 5 * found["ln_Z"]["error"]
        )
    assert f"{exact['ln_Z']:.4f}" in (tmp_path / "report.html").read_text()


def test_a_network_learns_from_images_of_cluster_draws(tmp_path):
    """Of 320 draws on 3 x 3; the exact ln Z within five errors."""
    likelihood = ["train.estimator=forward-kl", "train.images=true", "train.chain=cluster", "train.samples=320"]
    words = [*SMALL, *likelihood, "train.anneal={}", "train.anneal_steps=0", "samplers.heatbath=false"]
    words = [*words, "samplers.flow-metropolis=false", "samplers.cluster.draws=20"]
    run(load("ising-van", words, run__backend="torch"), tmp_path, report=False)
    found = json.loads((tmp_path / "summary.json").read_text())["samplers"]["flow-reweighting"]["coverage"]
    assert abs(found["ln_Z"]["value"] - found["exact"]) < 5 * found["ln_Z"]["error"] < 0.5


def test_images_are_refused_where_there_are_none():
    with pytest.raises(RecipeError, match=r"train\.images is of train\.estimator = 'forward-kl', got 'reinforce'"):
        load("ising-van", ["train.images=true"])
    words = ["train.images=true", "train.estimator=forward-kl", "train.chain=hmc"]
    with pytest.raises(ValueError, match=r"does not have or declare: set train\.images = false"):
        training_of(build(load("u1-tiny", [*words, "run.backend=torch"])))


def test_a_custom_theory_of_spins_admits_what_needs_no_algebra():
    row = theory_row("mine:Ising", Ising)
    assert row.samplers == ("flow", "heatbath", "cluster") and row.family == "spins"
    assert theory_row("mine:Phi4", Phi4).samplers == ("flow", "hmc", "metropolis")


def test_a_recipe_of_spins_is_verified():
    theory, flow = entries("ising-van")
    assert (theory.kind, flow.kind) == ("theory", "model") and flow.make(flow.lattices[0]).group.name == "Signs"
