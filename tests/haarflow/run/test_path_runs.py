"""Paths as samplers of a run: fitted once, resumed with equal numbers, populations as one draw, and recipes that are refused."""

import json

import numpy
import pytest

from haarflow.pipeline import run
from haarflow.results import ensemble, populations
from haarflow.run import recipes
from haarflow.run.stages.paths import protocol
from haarflow.run.target import target_of

PATH = {"first": {"beta": 0.0}, "steps": 4, "pilot": 32, "draws": 400, "block": 100, "kernels": ["heatbath"]}


def recipe(theory=None, lattice=(2, 2), **samplers):
    table = {"name": "paths", "lattice": list(lattice), "theory": theory or {"name": "u1", "beta": 1.0}}
    return recipes.check({**table, "samplers": samplers, "run": {"backend": "numpy"}})


def numbers(folder):
    """All that an ensemble holds of paths."""
    found = ensemble.read(folder / "ensemble.h5").samplers["path"]
    return {"log_w": found.log_w.tolist()} | {name: one.tolist() for name, one in found.observables.items()}


def test_a_killed_run_goes_on_with_equal_numbers(tmp_path, monkeypatch):
    table = recipe(path=PATH)
    whole = run(table, tmp_path / "whole", report=False)
    draws, calls = ensemble.compose, []

    def killed(*_):
        calls.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(ensemble, "compose", killed)
    with pytest.raises(KeyboardInterrupt):
        run(table, tmp_path / "cut", report=False)
    monkeypatch.setattr(ensemble, "compose", draws)
    for number in (2, 3):
        (tmp_path / "cut" / "blocks" / f"path.{number:06d}.safetensors").unlink()
    again = run(table, tmp_path / "cut", report=False)
    assert calls == [1] and numbers(tmp_path / "whole") == numbers(tmp_path / "cut")
    assert again["samplers"]["path"]["observables"] == whole["samplers"]["path"]["observables"]
    lines = [json.loads(line) for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    fits = [line for line in lines if line["stage"] == "path"]
    assert len(fits) == 1 and len(fits[0]["numbers"]) == 4 and whole["samplers"]["path"]["cpu_s"] > fits[0]["cpu_s"]


def test_weighted_means_and_ln_z_are_those_of_the_theory(tmp_path):
    resampled = {**PATH, "kind": "path", "population": 8, "resample": 0.95, "draws": 200}
    chain = {**PATH, "kind": "path", "first": {"beta": 0.5}, "chain": 20, "sweeps": 2, "population": 2, "draws": 200}
    found = run(recipe(path=PATH, resampled=resampled, chain=chain), tmp_path / "run", report=False)["samplers"]
    for name in ("path", "resampled", "chain"):
        entry = found[name]["observables"]["plaquette"]
        assert abs(entry["value"] - entry["exact"]) < 4 * entry["error"], name
        assert 0.0 < found[name]["ess"] <= 1.0 and found[name]["coverage"]["ln_Z"]["error"] > 0.0
    assert found["resampled"]["samples"] == 1600 and found["resampled"]["ess"] <= 1 / 8
    assert found["path"]["coverage"]["remark"].startswith("paths do not weigh")


def test_error_bars_of_populations_are_those_of_their_means():
    """Populations of four equal members: as many independent draws as populations."""
    generator = numpy.random.default_rng(5)
    rows, values = generator.normal(size=(1, 50)), generator.normal(size=(1, 50))
    one = ensemble.Sampled("path", {"O": values}, rows, None)
    four = ensemble.Sampled("path", {"O": numpy.repeat(values, 4, axis=0)}, numpy.repeat(rows, 4, axis=0), None)
    found = populations.independent(four)
    assert numpy.abs(found.log_w - rows).max() < 1e-12 and numpy.abs(found.observables["O"] - values).max() < 1e-12
    assert populations.independent(one) is one


@pytest.mark.parametrize(
    "theory, entry, words",
    [
        (None, {"first": {"bta": 0.0}}, "samplers.path.first: there is no coupling 'bta'; there are beta"),
        (None, {"first": {"beta": 0.5}}, "paths start from an exact draw at beta = 0 of links, .*samplers.path.chain"),
        ({"name": "phi4", "m2": -1.0, "lam": 1.0}, {"first": {"m2": 1.0, "lam": 0.0}, "kernels": ["hmc"]}, "layers"),
        (
            {"name": "phi4", "m2": -1.0, "lam": 1.0},
            {"first": {}, "kernels": ["hmc"], "layers": "none"},
            "lam = 0, m2 > 0",
        ),
        (None, {"resample": 0.5}, "resampling wants a population of two paths or more"),
    ],
)
def test_paths_that_cannot_be_made_are_refused_before_anything_is_written(tmp_path, theory, entry, words):
    with pytest.raises(ValueError, match=words):
        run(recipe(theory, path={**PATH, **entry}), tmp_path / "run", report=False)
    assert not (tmp_path / "run").exists()


def test_kernels_that_a_theory_does_not_admit_are_refused():
    with pytest.raises(recipes.RecipeError, match="a heat bath exists for gauge theories and spins only"):
        recipe({"name": "phi4", "m2": -1.0, "lam": 1.0}, path={**PATH, "layers": "none"})


def test_protocols_of_other_theories():
    scalars = recipe(
        {"name": "phi4", "m2": -1.0, "lam": 1.0},
        path={**PATH, "first": {"m2": 1.0, "lam": 0.0}, "layers": "none", "kernels": ["hmc"], "power": 2.0},
    )
    made = protocol(target_of(scalars), "path")
    assert made.start.prior.m2 == 1.0 and made.values["0"]["couplings"]["lam"].tolist() == [0.0625, 0.25, 0.5625, 1.0]
    links = protocol(target_of(recipe({"name": "su3", "beta": 1.0}, (2, 2, 2, 2), path=PATH)), "path")
    assert links.start.prior.n == 3 and links.stretches[0].flow.d == 4
