"""A run's folder: what it holds, that it is refused to others, and that SIGKILL at any moment changes no number."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys

import h5py
import numpy
import pytest

from haarflow.core import files
from haarflow.core.statistics import ess
from haarflow.pipeline import run
from haarflow.results import ensemble
from haarflow.results.ensemble import EnsembleError
from haarflow.results.summary_file import SummaryError, read_summary
from haarflow.run import recipes, runfolder
from haarflow.run.records import FitLine, Log, SampleLine, TrainLine
from haarflow.run.runfolder import FolderError, RunFolder, opened, read_metrics
from tests.support.runs import ROOT, haarflow, lives, numbers, process, uniform_recipe

DIED = -signal.SIGKILL


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return uniform_recipe(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    """A run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert haarflow("run", recipe, "--backend", "numpy", "--out", folder, "--quiet", "--no-report") == 0
    return folder


def test_the_folder_holds_the_files_of_the_interface(whole):
    names = {path.name for path in whole.iterdir() if not path.name.startswith(".")}
    assert names >= {"recipe.toml", "metrics.jsonl", "ensemble.h5", "summary.json"}
    assert "blocks" not in names and not list(whole.glob(".*.part"))


def test_the_recipe_is_complete_and_has_its_versions(whole):
    recipe = recipes.load(whole / "recipe.toml")
    assert recipe.run.backend == "numpy" and {"haarflow", "python", "numpy", "h5py"} <= recipe.versions.keys()


def test_the_summary_has_its_interface(whole):
    summary = json.loads((whole / "summary.json").read_text())
    first = ["recipe", "versions", "backend", "seed", "theory", "lattice", "training", "samplers"]
    assert list(summary) == [*first, "provenance"] and summary["provenance"].keys() == {
        "date",
        "host",
        "commit",
        "wall_s",
    }
    assert summary["theory"] == {"name": "u1", "beta": 0.5} and summary["lattice"] == [4, 4]
    for name, sampler in summary["samplers"].items():
        assert {"acceptance", "ess", "cpu_s", "samples", "samples_per_cpu_s", "observables"} <= sampler.keys(), name
        assert {"plaquette", "Q", "Q2", "p_Q0"} <= sampler["observables"].keys()
        for entry in sampler["observables"].values():
            assert {"value", "error", "tau_int", "exact"} <= entry.keys()
            assert entry["tau_int"] is not None or entry["note"]
    assert summary["samplers"]["heatbath"]["acceptance"] is None
    assert summary["samplers"]["flow-reweighting"]["acceptance"] is None
    assert summary["samplers"]["flow-metropolis"]["samples"] == 270
    assert 0 < summary["samplers"]["hmc"]["acceptance"] <= 1


def test_the_ensemble_has_chains_first_and_its_observables_are_those_of_its_fields(whole):
    from haarflow import backends
    from haarflow.theories import U1Gauge

    shapes = {
        "flow-metropolis": (3, 90, 23),
        "flow-reweighting": (1, 100, 25),
        "hmc": (4, 25, 7),
        "mixture": (2, 10, 3),
    }
    found = ensemble.read(whole / "ensemble.h5")
    assert found.couplings == {"beta": 0.5} and found.lattice == (4, 4)
    for name, (chains, draws, kept) in shapes.items():
        charge = found.samplers[name].observables["Q"]
        assert charge.shape == (chains, draws)
        fields = numpy.stack(list(ensemble.fields(whole / "ensemble.h5", name)))
        assert fields.shape == (chains, kept, 2, 4, 4)
        again = U1Gauge((4, 4)).observables(backends.get("numpy").asarray(fields), {"beta": 0.5})
        assert numpy.array_equal(again["Q"], charge[:, ::4])
        numpy.testing.assert_allclose(
            again["plaquette"], found.samplers[name].observables["plaquette"][:, ::4], atol=1e-12
        )


def test_the_weights_ess_in_the_summary_is_that_of_the_ensemble(whole):
    summary = json.loads((whole / "summary.json").read_text())
    found = ensemble.read(whole / "ensemble.h5").samplers["flow-reweighting"]
    assert summary["samplers"]["flow-reweighting"]["ess"] == ess(found.log_w)


def test_a_complete_run_is_not_run_again(whole, recipe):
    before = {path: path.stat().st_mtime_ns for path in whole.iterdir()}
    assert haarflow("run", recipe, "--backend", "numpy", "--out", whole, "--quiet", "--no-report") == 0
    assert {path: path.stat().st_mtime_ns for path in whole.iterdir() if path in before} == before


def test_the_seed_matters_and_leaving_a_sampler_out_does_not(recipe, whole, tmp_path):
    few = ["samplers.flow-metropolis=false", "samplers.mixture=false", "samplers.heatbath=false"]
    run(recipes.load(recipe, few, run__backend="numpy"), tmp_path / "few", report=False)
    run(recipes.load(recipe, few, run__backend="numpy", seed=1), tmp_path / "other", report=False)
    one, two, three = (
        ensemble.read(folder / "ensemble.h5") for folder in (whole, tmp_path / "few", tmp_path / "other")
    )
    for name in ("hmc", "flow-reweighting"):
        plaquette = [found.samplers[name].observables["plaquette"] for found in (one, two, three)]
        assert numpy.array_equal(plaquette[0], plaquette[1]) and not numpy.array_equal(plaquette[1], plaquette[2])


def test_workers_do_not_change_a_bit(recipe, whole, tmp_path):
    code = process("run", recipe, "--backend", "numpy", "--workers", 2, "--no-report", "--out", tmp_path / "run")
    assert code.returncode == 0, code.stderr
    assert numbers(tmp_path / "run") == numbers(whole)


@pytest.mark.parametrize("n", [5, 11])
def test_sigkill_in_a_commit_and_again_ends_with_the_same_bytes(recipe, whole, tmp_path, n):
    command = ("run", recipe, "--backend", "numpy", "--no-report", "--out")
    run = (*command, tmp_path / "run")
    codes, said = lives((None, (*command, tmp_path / "first")), *[(n + life % 2, run) for life in range(40)])
    assert len(codes) > 2 and codes == [0, *[DIED] * (len(codes) - 2), 0], said
    assert numbers(tmp_path / "run") == numbers(whole)


@pytest.mark.parametrize("engine", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_sigkill_while_training_ends_with_the_same_bytes(engine, tmp_path):
    pytest.importorskip(engine)
    few = ["train.steps=12", "train.checkpoint=4", "samplers.hmc=false", "samplers.heatbath=false"]
    command = ("run", "u1-tiny", *few, "--backend", engine, "--threads", "1", "--quiet", "--no-report", "--out")
    killed = (*command, tmp_path / "killed")
    # the second checkpoint half written; then the second of what is left, just renamed
    whole = (*command, tmp_path / "whole")
    codes, said = lives((0, whole), (5, killed), (4, killed), imports=("haarflow.pipeline", engine))
    assert codes == [0, DIED, DIED], said
    steps = [line.step for line in read_metrics(tmp_path / "killed" / "metrics.jsonl")]
    assert steps and steps[-1] <= 12
    assert process(*killed).returncode == 0
    assert numbers(tmp_path / "killed") == numbers(tmp_path / "whole")


def test_sigkill_from_outside_at_any_time(recipe, whole, tmp_path):
    words = ["run", str(recipe), "--backend", "numpy", "--out", str(tmp_path / "run"), "--quiet", "--no-report"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    delay = 0.9
    for _ in range(12):
        running = subprocess.Popen([sys.executable, "-m", "haarflow", *words], env=environment, cwd=ROOT)
        try:
            assert running.wait(timeout=delay) == 0
            break
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            running.wait()
            delay *= 1.3
    else:
        assert haarflow(*words) == 0
    assert numbers(tmp_path / "run") == numbers(whole)


def test_another_recipe_on_the_folder_is_refused_with_what_differs(whole, recipe, capsys):
    before = numbers(whole)
    words = ["run", recipe, "--backend", "numpy", "--out", whole]
    assert haarflow(*words, "theory.beta=0.7", "samplers.hmc.chains=5") == 1
    said = capsys.readouterr().err
    assert "theory.beta: 0.5 there, 0.7 here" in said and "samplers.hmc.chains: 4 there, 5 here" in said
    assert numbers(whole) == before


def test_a_folder_of_other_files_is_refused(recipe, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert haarflow("run", recipe, "--backend", "numpy", "--out", tmp_path) == 1
    assert "contains other files" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    assert haarflow("run", recipe, "--backend", "numpy", "--out", tmp_path / "thesis.tex") == 1
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_two_processes_in_one_folder_are_refused(tmp_path):
    again = opened(tmp_path / "run", "name = 'x'\n")
    with opened(tmp_path / "run", "name = 'x'\n"), pytest.raises(FolderError, match="another process"), again:
        pass


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_gets_a_note(tmp_path, monkeypatch, capsys, code):
    def refused(file, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(runfolder.fcntl, "flock", refused)
    with opened(tmp_path / "run", "name = 'x'\n") as folder:
        assert folder.recipe.is_file()
    assert "has no locks" in capsys.readouterr().err


def test_another_failure_of_the_lock_is_an_error(tmp_path, monkeypatch):
    def refused(file, operation):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(runfolder.fcntl, "flock", refused)
    with pytest.raises(OSError, match="Input/output"), opened(tmp_path / "run", "name = 'x'\n"):
        pass


def test_the_ensemble_is_read_without_locks(whole):
    """HDF5's own lock is never asked for: whole files are renamed into place, and many clusters have no locks."""
    read = f"from haarflow.results import ensemble; print(len(ensemble.read({str(whole / 'ensemble.h5')!r}).samplers))"
    with open(whole / "ensemble.h5", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # HDF5 would refuse a file that another holds
        found = process(code=read)
    assert found.stdout.strip() == "5", found.stderr


def test_other_versions_must_not_go_on_with_a_run_begun(tmp_path):
    with opened(tmp_path / "run", "name = 'x'\n[versions]\nnumpy = '1'\n"):
        pass
    with (
        pytest.raises(FolderError, match="other versions"),
        opened(tmp_path / "run", "name = 'x'\n[versions]\nnumpy = '2'\n"),
    ):
        pass


def test_a_broken_last_line_of_metrics_is_dropped(tmp_path):
    folder = RunFolder(tmp_path)
    line = TrainLine(1, -2.5, 0.5, 0.25)
    folder.write_line(line)
    text = folder.metrics.read_text()
    with open(folder.metrics, "a") as file:
        file.write('{"stage": "tr')
    assert folder.log() == Log(train=(line,))
    folder.cut(lambda line: True)
    assert folder.metrics.read_text() == text
    assert json.loads(text) == {"stage": "train", "step": 1, "loss": -2.5, "ess": 0.5, "cpu_s": 0.25}


def test_lines_of_a_log_come_back_as_their_records(tmp_path):
    fit = FitLine(900, 20, [0.0, 1.0], [0.1, 0.2], 0.01, 0.5, [4, 4], 3.0)
    lines = (TrainLine(10), fit, SampleLine("hmc", 0, 50, acceptance=0.5, cpu_s=1.5), SampleLine("flow", 0, 9, ess=0.5))
    folder = RunFolder(tmp_path)
    for line in lines:
        folder.write_line(line)
    assert read_metrics(folder.metrics) == list(lines)
    assert folder.log() == Log((lines[0],), fit, lines[2:]) and folder.log().cpu_s("hmc") == 1.5
    folder.cut(lambda line: not isinstance(line, SampleLine))
    assert read_metrics(folder.metrics) == list(lines[:2])
    # a line of an older version: a chain's block without ess, a flow's without acceptance
    folder.metrics.write_text(
        '{"stage": "sample", "sampler": "f", "block": 2, "draws": 7, "ess": 0.25, "cpu_s": 0.5}\n'
    )
    assert folder.log().sample == (SampleLine("f", 2, 7, ess=0.25, cpu_s=0.5),)


def test_a_disk_that_fills_leaves_the_old_file(tmp_path, monkeypatch, recipe):
    target = tmp_path / "summary.json"
    target.write_text("old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_text(target, "new")
    assert target.read_text() == "old" and [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_a_damaged_ensemble_says_so(whole, tmp_path):
    cut = tmp_path / "cut.h5"
    cut.write_bytes((whole / "ensemble.h5").read_bytes()[:5000])
    with pytest.raises(EnsembleError, match="truncated"):
        ensemble.read(cut)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["format"] = "something else"
    with pytest.raises(EnsembleError, match="not an ensemble file of this version"):
        ensemble.read(tmp_path / "other.h5")
    with pytest.raises(EnsembleError, match="there is no"):
        ensemble.read(tmp_path / "none.h5")


def test_leftovers_of_a_kill_are_removed(tmp_path):
    with opened(tmp_path / "run", "name = 'x'\n") as folder:
        (folder.path / ".ensemble.h5.0123.part").write_text("half")
        (folder.blocks / ".hmc.000000.safetensors.0123.part").write_text("half")
    with opened(tmp_path / "run", "name = 'x'\n") as folder:
        assert not list(folder.path.glob(".*.part")) + list(folder.blocks.glob(".*.part"))
    assert runfolder.read_metrics(tmp_path / "nothing") == []


@pytest.mark.parametrize(
    "line",
    ["3", "[1]", '{"stage": "train", "step": "7"}', '{"stage": "train", "step": -1}', '{"stage": "sample", "sampler": 3, '
     '"block": 0, "draws": 1}', '{"stage": "train", "step": 1' + "0" * 30 + "}", "[" * 5000],
)  # fmt: skip
def test_a_line_of_another_type_is_named(line, tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_line(TrainLine(1))
    with open(folder.metrics, "a") as file:
        file.write(line + "\n")
    with pytest.raises(FolderError, match=r"line 2 of .*metrics\.jsonl is not one that a run writes"):
        folder.log()


def test_a_loss_that_is_not_a_number_is_a_line(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_line(TrainLine(1, float("nan"), float("inf")))
    assert numpy.isnan(folder.log().trained.loss)


def no_group(file):
    file["x"] = numpy.zeros(3)


def no_observables(file):
    del file["hmc/observables"]


def loop(file):
    file["hmc/observables/again"] = file["hmc"]


def soft_loop(file):
    file["again"] = h5py.SoftLink("/again")


def external(file):
    file["hmc/observables/other"] = h5py.ExternalLink("other.h5", "/x")


def elsewhere(file):
    file.create_dataset("hmc/observables/other", (4, 25), "f8", external=[("/dev/zero", 0, 800)])


def bomb(file):
    file.create_dataset("hmc/observables/large", (10**6, 10**6), "f8", chunks=(1000, 1000), compression="gzip")[
        0, 0
    ] = 1.0


def shorter(file):
    file["hmc/observables/short"] = numpy.zeros((4, 3))


def words(file):
    file["hmc/observables/word"] = numpy.asarray([[b"a"] * 25] * 4)


def kind(file):
    file["hmc"].attrs["kind"] = "os.system"


def couplings(file):
    file.attrs["couplings"] = "[" * 5000


def lattice(file):
    file.attrs["lattice"] = [4.5, -1.0]


@pytest.mark.parametrize("damage", [no_group, no_observables, loop, soft_loop, external, elsewhere, bomb, shorter, words, kind,
                                    couplings, lattice])  # fmt: skip
def test_a_hostile_ensemble_is_refused_before_it_is_read(damage, whole, tmp_path):
    path = tmp_path / "e.h5"
    path.write_bytes((whole / "ensemble.h5").read_bytes())
    with h5py.File(path, "a") as file:
        damage(file)
    with pytest.raises(EnsembleError, match=r"e\.h5 is damaged or not an ensemble file of this version \("):
        ensemble.read(path)


@pytest.mark.parametrize(
    "change",
    [{"samplers": []}, {"seed": "0"}, {"samplers": {"hmc": {}}}, {"lattice": ["4"]}, {"training": 3}, {"theory": {}}],
)
def test_a_damaged_summary_is_refused(change, whole, tmp_path):
    path = tmp_path / "summary.json"
    summary = json.loads((whole / "summary.json").read_text())
    path.write_text(json.dumps(summary))
    assert read_summary(path) == summary
    path.write_text(json.dumps(summary | change))
    with pytest.raises(SummaryError, match="repeat the run"):
        read_summary(path)


@pytest.mark.parametrize(
    "place, value",
    [("observables.E.error", -1), ("observables.E.tau_int", 0), ("observables.E.tau_int", -0.5), ("warnings", [3]),
     ("coverage.ess", 0.5), ("coverage.ln_Z.value", "x"), ("coverage.chains.hmc.above", None), ("coverage.chains.hmc.ln_Z.error", [])],
)  # fmt: skip
def test_a_summary_with_a_senseless_number_is_refused(place, value, tmp_path):
    path, estimate = tmp_path / "summary.json", {"value": 0.5, "error": 0.1, "note": ""}
    beside = {
        "configurations": 9,
        "above": 0.1,
        "above_error": 0.1,
        "expected": 0.1,
        "ess": None,
        "ln_Z": dict(estimate),
    }
    coverage = {"draws": 9, "ess": estimate, "pareto_shape": estimate, "error_growth": None, "ln_Z": dict(estimate),
                "chains": {"hmc": beside}, "remark": ""}  # fmt: skip
    sampler = {"kind": "flow-reweighting", "acceptance": None, "ess": 0.5, "cpu_s": 1.0, "samples": 9, "samples_per_cpu_s": 9.0,
               "warnings": [], "coverage": coverage,
               "observables": {"E": {"value": 0.0, "error": 0.0, "tau_int": 0.5, "exact": None}}}  # fmt: skip
    whole = {"recipe": "x", "versions": {}, "backend": "numpy", "seed": 0, "theory": {"name": "u1"}, "lattice": [4],
             "training": None, "samplers": {"flow": sampler}}  # fmt: skip
    path.write_text(json.dumps(whole))
    assert read_summary(path) == whole
    *way, last = place.split(".")
    table = sampler
    for word in way:
        table = table[word]
    table[last] = value
    path.write_text(json.dumps(whole))
    with pytest.raises(SummaryError, match="repeat the run"):
        read_summary(path)


def test_a_damaged_block_is_named_and_drawn_again_once_it_is_gone(tmp_path):
    with opened(tmp_path / "run", "name = 'x'\n") as folder:
        folder.write_block("hmc", 0, {"log_w": numpy.zeros((3, 2))})
        path = folder.block("hmc", 0)
        path.write_bytes(path.read_bytes()[:-7])
        with pytest.raises(
            FolderError, match=r"hmc\.000000\.safetensors is damaged .* the same command draws it again"
        ):
            folder.read_block("hmc", 0)
