"""A run's set-up: a recipe becomes a theory and couplings once, a model file is opened once."""

import json

import pytest

from haarflow import models
from haarflow.flows import modelfile
from haarflow.pipeline import run
from haarflow.run import build, target
from haarflow.run.recipes import load
from haarflow.run.stages.training import training_of
from haarflow.theories import catalogue
from tests.support.runs import uniform_recipe


def counted(monkeypatch, module, name, calls):
    """Count the calls of a function, whoever imported it from its module."""
    import sys

    plain = getattr(module, name)

    def count(*given, **words):
        calls.append(name)
        return plain(*given, **words)

    for known in [one for one in sys.modules.values() if getattr(one, "__name__", "").startswith("haarflow")]:
        if vars(known).get(name) is plain:
            monkeypatch.setattr(known, name, count)


def counted_rows(monkeypatch, calls):
    """Count every theory that a catalogue's row makes."""

    def row(name, plain):
        def make(*given, **words):
            calls.append(name)
            return plain.make(*given, **words)

        make.__signature__ = catalogue.inspect.signature(plain.make)
        return plain._replace(make=make)

    for name, plain in catalogue.THEORIES.items():
        settings = load("u1-tiny").theory.__class__ if name == "u1" else None
        if settings is not None:
            monkeypatch.setattr(settings, "row", row(name, plain))


def test_a_run_makes_its_theory_once_and_opens_its_model_once(tmp_path, monkeypatch):
    recipe = uniform_recipe(tmp_path)
    calls = []
    counted_rows(monkeypatch, calls)
    counted(monkeypatch, target, "target_of", calls)
    counted(monkeypatch, modelfile, "open_model", calls)
    counted(monkeypatch, build, "try_model", calls)
    counted(monkeypatch, build, "build", calls)
    run(load(recipe, run__backend="numpy"), tmp_path / "run")
    assert sorted(calls) == ["build", "open_model", "target_of", "try_model", "u1"]
    assert (tmp_path / "run" / "report.html").exists()


def test_a_trained_run_makes_its_theory_once_and_opens_its_model_once(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    calls = []
    counted_rows(monkeypatch, calls)
    counted(monkeypatch, target, "target_of", calls)
    counted(monkeypatch, modelfile, "open_model", calls)
    counted(monkeypatch, build, "try_model", calls)
    words = ["train.steps=2", "train.batch=4", "samplers.flow-metropolis.draws=400"]
    run(load("u1-tiny", words, run__backend="torch"), tmp_path / "run")
    assert sorted(calls) == ["open_model", "target_of", "try_model", "u1"]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["training"]["steps"] == 2
    assert models.shipped()


def test_seeds_and_couplings_of_a_recipe_share_the_compiled_training_step():
    """Steps are compiled once for each training: equal ones share theirs."""
    pytest.importorskip("jax")

    def training(*words):
        return training_of(build.build(load("u1-tiny", words, run__backend="jax")))

    plain = training()
    assert training("seed=1") == plain and hash(training("seed=1")) == hash(plain)
    assert training("theory.beta=2.0") == plain
    assert training("lattice=[6,6]") != plain and training("train.batch=32") != plain
