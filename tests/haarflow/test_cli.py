"""The command line: every verb, its JSON, its help, and what it does where a package is missing."""

import json
import os
import subprocess
import sys

import pytest

from haarflow import __version__, open_model
from haarflow.models import shipped
from haarflow.run import progress, recipes
from tests.support.runs import ROOT, haarflow, process, uniform_model, uniform_recipe

VERBS = (
    "run",
    "train",
    "sample",
    "gather",
    "measure",
    "info",
    "convert",
    "new",
    "backends",
    "recipes",
    "exact",
    "export",
    "cite",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run on NumPy and its recipe."""
    folder = tmp_path_factory.mktemp("cli")
    recipe = uniform_recipe(folder)
    assert haarflow("run", recipe, "--backend", "numpy", "--out", folder / "run", "--no-report", "--quiet") == 0
    return folder


def printed(capsys, *words):
    """What a verb prints as JSON."""
    capsys.readouterr()
    assert haarflow(*words, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_help_names_every_verb_and_teaches(capsys):
    assert haarflow("--help") == 0
    said = capsys.readouterr().out
    assert all(verb in said for verb in VERBS) and "haarflow run u1-tiny" in said


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    assert haarflow(verb, "--help") == 0
    assert verb in capsys.readouterr().out


def test_version(capsys):
    assert haarflow("--version") == 0
    assert capsys.readouterr().out.strip() == f"haarflow {__version__}"


@pytest.mark.parametrize(
    ("words", "hint"), [(["rnu"], "run"), (["run"], "RECIPE"), (["run", "u1-tiny", "--backnd", "x"], "--backend")]
)
def test_a_slip_of_the_hand_is_a_usage_error_with_a_hint(words, hint, capsys):
    assert haarflow(*words) == 2
    assert hint in capsys.readouterr().err


def test_recipes_lists_what_there_is(capsys):
    assert printed(capsys, "recipes").keys() == recipes.names().keys()
    assert haarflow("recipes") == 0
    assert "u1-2d" in capsys.readouterr().out


def test_backends_lists_engines_with_remedies(capsys):
    found = printed(capsys, "backends")
    assert found["numpy"]["present"] and "cpu" in found["numpy"]["devices"] and not found["numpy"]["trains"]
    for entry in found.values():
        assert entry["present"] or entry["remedy"]
    assert haarflow("backends") == 0
    assert "float64" in capsys.readouterr().out


def test_exact_prints_the_published_numbers(capsys):
    found = printed(capsys, "exact", "u1", "beta=7", "lattice=[16,16]")
    assert found["theory"] == {"name": "u1", "beta": 7.0} and found["lattice"] == [16, 16]
    assert found["exact"]["plaquette"] == pytest.approx(0.925532210854, abs=1e-11)
    assert found["exact"]["Q2"] == pytest.approx(1.00641415786, abs=1e-10)
    assert found["exact"]["p_Q0"] == pytest.approx(0.3977110535, abs=1e-9)
    assert printed(capsys, "exact", "phi4", "lattice=[4,4]")["exact"]["identity"] == 1.0
    found = printed(capsys, "exact", "su3", "beta=6", "lattice=[4,4]")
    assert found["theory"] == {"name": "su3", "beta": 6.0}
    assert found["exact"]["plaquette"] == pytest.approx(0.422532056631, abs=1e-12)
    same = printed(capsys, "exact", "sun", "n=3", "beta=6", "lattice=[4,4]")
    assert same["exact"] == found["exact"] and same["theory"]["n"] == 3
    assert haarflow("exact", "u1") == 0
    assert "plaquette: 0.6977746" in capsys.readouterr().out


def test_new_writes_a_template_that_runs_and_never_over_a_file(tmp_path, capsys):
    target = tmp_path / "mine.toml"
    assert haarflow("new", "u1-tiny", "--out", target) == 0
    assert recipes.load(target) == recipes.load("u1-tiny")
    target.write_text("precious")
    assert haarflow("new", "u1-tiny", "--out", target) == 1
    assert target.read_text() == "precious"
    capsys.readouterr()
    assert haarflow("new", "u1-tiny") == 0
    assert "# optimiser steps" in capsys.readouterr().out


def test_run_prints_tables_and_json(finished, capsys):
    words = ("run", finished / "uniform.toml", "--backend", "numpy", "--out", finished / "run", "--no-report")
    assert haarflow(*words) == 0
    said = capsys.readouterr()
    assert "flow-metropolis" in said.out and "pull" in said.out and "complete" in said.err
    assert printed(capsys, *words) == json.loads((finished / "run" / "summary.json").read_text())


def test_measure_agrees_with_the_summary(finished, capsys):
    summary = json.loads((finished / "run" / "summary.json").read_text())
    for path in (finished / "run", finished / "run" / "ensemble.h5"):
        found = printed(capsys, "measure", path)
        for name, sampler in found["samplers"].items():
            assert sampler["observables"] == summary["samplers"][name]["observables"]
            assert sampler["ess"] == summary["samplers"][name]["ess"]
    assert haarflow("measure", finished / "run") == 0
    assert "tau_int" in capsys.readouterr().out


def test_info_tells_of_every_kind_of_file(finished, capsys):
    card = printed(capsys, "info", finished / "uniform.safetensors")
    assert card["card"]["theory"]["couplings"] == {"beta": 0.5} and card["parameters"] == 0
    found = printed(capsys, "info", finished / "run" / "ensemble.h5")
    assert found["samplers"]["hmc"] == {"kind": "hmc", "chains": 4, "draws": 25, **_observables(found)}
    run = printed(capsys, "info", finished / "run")
    assert run["complete"] and run["blocks"]["hmc"] == 4 and run["recipe"]["lattice"] == [4, 4]
    assert printed(capsys, "info", finished / "uniform.toml")["recipe"]["theory"]["beta"] == 0.5
    assert haarflow("info", finished / "uniform.safetensors") == 0
    assert "couplings (beta 0.5)" in capsys.readouterr().out


def _observables(found):
    return {"observables": found["samplers"]["hmc"]["observables"]}


def test_sample_draws_configurations_with_their_weights(finished, tmp_path, capsys):
    import numpy

    from haarflow.results import ensemble

    words = ("sample", finished / "uniform.safetensors", "-n", 60, "--backend", "numpy", "--quiet", "--out")
    summary = printed(capsys, *words, tmp_path / "weighted", "lattice=[6,6]")
    assert summary["lattice"] == [6, 6] and summary["samplers"]["flow-reweighting"]["samples"] == 60
    fields = numpy.stack(list(ensemble.fields(tmp_path / "weighted" / "ensemble.h5", "flow-reweighting")))
    assert fields.shape == (1, 60, 2, 6, 6)
    assert haarflow(*words, tmp_path / "chain", "--metropolis", "theory.beta=0.3") == 0
    assert ensemble.read(tmp_path / "chain" / "ensemble.h5").couplings == {"beta": 0.3}


def test_sampling_says_what_a_card_lacks(tmp_path, capsys):
    from haarflow.flows.flow import Model, Translate
    from haarflow.flows.modelfile import save_model
    from haarflow.flows.priors import UniformLinks

    save_model(tmp_path / "bare.safetensors", Model(UniformLinks((4, 4)), Translate((0, 0), internal=1)), {})
    assert haarflow("sample", tmp_path / "bare.safetensors") == 1
    assert "its card does not say" in capsys.readouterr().err


def test_train_stops_after_training_and_run_goes_on(tmp_path):
    pytest.importorskip("torch")
    few = ("samplers.hmc=false", "samplers.heatbath=false", "train.steps=4", "train.checkpoint=2", "train.batch=8")
    words = ("u1-tiny", *few, "--backend", "torch", "--quiet", "--out", tmp_path)
    assert haarflow("train", *words) == 0
    assert (tmp_path / "model.safetensors").exists() and not (tmp_path / "ensemble.h5").exists()
    before = (tmp_path / "model.safetensors").read_bytes()
    assert haarflow("run", *words, "--no-report") == 0
    assert (tmp_path / "model.safetensors").read_bytes() == before
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["backend"] == "torch" and summary["training"]["steps"] == 4
    assert summary["samplers"]["flow-metropolis"]["acceptance"] > 0


def test_a_model_trained_on_torch_goes_on_from_there_and_draws_on_numpy(tmp_path):
    pytest.importorskip("torch")
    few = ("samplers.hmc=false", "samplers.heatbath=false", "samplers.flow-metropolis=false", "train.steps=2")
    words = ("u1-tiny", *few, "train.batch=8", "--backend", "torch", "--quiet", "--out")
    assert haarflow("train", *words, tmp_path / "first") == 0
    assert haarflow("train", *words, tmp_path / "second", f"train.start={tmp_path / 'first'}", "theory.beta=1.1") == 0
    assert (
        haarflow("sample", tmp_path / "second", "-n", 20, "--backend", "numpy", "--quiet", "--out", tmp_path / "drawn")
        == 0
    )


def test_the_time_left_leaves_out_the_first_units_which_compile(monkeypatch):
    now = iter([100.0, 102.0, 110.0])  # 100 s until the first two units are done, then one a second
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    task = progress.Task("training", 20)
    found = []
    task.show = lambda values: found.append(task.left())
    for units in (2, 2, 8, 8):
        task.advance({}, units)
    assert found == ["", "16s left", "8s left", ""]


def test_a_plain_process_keeps_results_and_progress_apart(finished, tmp_path):
    done = process(
        *("run", finished / "uniform.toml", "samplers.mixture=false", "--backend", "numpy", "--threads", "1"),
        *("--json", "--no-report", "--out", tmp_path / "run"),
    )
    assert done.returncode == 0 and json.loads(done.stdout)["backend"] == "numpy"
    assert "hmc: 4/4" in done.stderr and "\x1b" not in done.stderr


@pytest.mark.parametrize("missing", ["typer", "pydantic"])
def test_a_missing_package_is_one_plain_sentence(missing):
    code = f"import sys; sys.modules[{missing!r}] = None\nfrom haarflow.__main__ import main; sys.exit(main())"
    done = process("recipes", code=code)
    assert done.returncode == 1 and "pip install 'haarflow[cli]'" in done.stderr and "Traceback" not in done.stderr


def test_without_jax_and_torch_numpy_is_chosen_and_says_where_it_would_train(finished, tmp_path):
    code = (
        "import sys; sys.modules['jax'] = None; sys.modules['torch'] = None\n"
        "from importlib import util; find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name in ('jax', 'torch') else find(name, *rest)\n"
        "from haarflow.cli import main; sys.exit(main())"
    )
    some = ("samplers.hmc=false", "samplers.heatbath=false", "samplers.mixture=false", "--no-report", "--json")
    done = process("run", finished / "uniform.toml", *some, "--out", tmp_path / "run", code=code)
    assert done.returncode == 0 and json.loads(done.stdout)["backend"] == "numpy"
    refused = process("run", "u1-tiny", "--out", tmp_path / "tiny", code=code)
    assert refused.returncode == 1 and not (tmp_path / "tiny").exists()
    assert (
        "does not support automatic differentiation, which training needs" in refused.stderr
        and "pip install" in refused.stderr
    )


def test_python_m_haarflow_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "haarflow", "recipes"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert done.returncode == 0 and "u1-tiny" in done.stdout


@pytest.mark.parametrize("name", shipped() or ["none"])
def test_shipped_models_open_by_name(name, capsys):
    if name == "none":
        pytest.skip("no model ships with this copy")
    card = printed(capsys, "info", name)["card"]
    assert card["theory"]["name"] == open_model(name).card["theory"]["name"]


@pytest.mark.parametrize("name", [*shipped(), *recipes.names()])
def test_info_fits_on_a_screen(name, capsys):
    assert haarflow("info", name) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 100


def test_info_of_a_run_fits_on_a_screen(finished, capsys):
    for path in (finished / "run", finished / "run" / "ensemble.h5"):
        assert haarflow("info", path) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) <= 24 and max(map(len, lines)) <= 100


def test_samples_of_one_model_do_not_collide(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number in (20, 30, 20):
        words = ("sample", finished / "uniform.safetensors", "-n", number, "--backend", "numpy", "--quiet")
        assert haarflow(*words) == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["sample-uniform", "sample-uniform-2"]
    capsys.readouterr()


def test_a_batch_log_says_that_it_compiles_until_the_first_unit_is_done(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_LINE_EVERY", 0.01)
    said = ""
    with progress.PlainProgress().task("training", 20, waiting="compiling") as task:
        while "compiling, 0s" not in said:
            said += capsys.readouterr().err
        task.advance({}, 20)
    with progress.PlainProgress().task("hmc", 1) as task:
        task.advance({})
    assert "training: compiling, 0s" in said and capsys.readouterr().err.count("compiling, 0s") < 100


def test_a_phi4_recipe_runs_without_a_flow(tmp_path, capsys):
    text = 'name="free"\nlattice=[4, 4]\ntheory={name="phi4", m2=1.0, lam=0.0}\n[samplers.hmc]\nchains=16\ndraws=150\nwarmup=20\nsteps=4\n'
    text += "step_size=0.15\n[samplers.metropolis]\nchains=4\ndraws=20\nwarmup=5\nwidth=0.7\n"
    (tmp_path / "free.toml").write_text(text)
    words = ("run", tmp_path / "free.toml", "--backend", "numpy", "--no-report", "--quiet", "--out", tmp_path / "run")
    table = printed(capsys, *words)["samplers"]["hmc"]["observables"]
    assert table.keys() == {"phi2", "phi4", "E", "abs_m", "chi2", "binder", "xi_2", "identity", "m"}
    assert table["identity"]["exact"] == 1.0 and abs(table["identity"]["value"] - 1) < 6 * table["identity"]["error"]
    assert table["phi2"]["exact"] is not None


def test_uniform_weights_have_their_exact_ess(tmp_path, capsys):
    model, beta = uniform_model(tmp_path / "uniform.safetensors"), "beta=0.2"
    words = ("sample", model, f"theory.{beta}", "-n", 4000, "--backend", "numpy", "--quiet", "--out", tmp_path / "run")
    exact = printed(capsys, "exact", "u1", beta, "lattice=[4,4]")["exact"]["ess_uniform"]
    assert printed(capsys, *words)["samplers"]["flow-reweighting"]["ess"] == pytest.approx(exact, rel=0.05)
