"""Training on several couplings by the command line: a conditioned flow, annealing, and fine-tuning from a model."""

import json

import pytest
from safetensors.numpy import load_file

from haarflow.run.runfolder import RunFolder
from tests.support.runs import haarflow

SMALL = ("train.steps=30", "train.batch=32", "train.b2=0.95", "--backend", "torch", "--quiet")


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def conditioned(tmp_path_factory):
    """The model of u1-tiny trained for every beta between 0.5 and 2."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("conditioned")
    words = ("train.between.beta=[0.5,2.0]", 'flow.condition=["beta"]', *SMALL)
    assert haarflow("train", "u1-tiny", *words, "--out", folder) == 0
    return folder


def test_a_conditioned_flow_is_weighed_at_the_coupling_asked_for(conditioned, tmp_path):
    # 4,000 draws each, two pulls: |pull| < 5 fails by luck less than once in a million.
    ess = {}
    for beta in (0.6, 1.4):
        out = tmp_path / str(beta)
        words = (
            "sample",
            conditioned,
            f"theory.beta={beta}",
            "-n",
            4000,
            "--backend",
            "numpy",
            "--quiet",
            "--out",
            out,
        )
        assert haarflow(*words) == 0
        sampler = summary(out)["samplers"]["flow-reweighting"]
        plaquette, ess[beta] = sampler["observables"]["plaquette"], sampler["ess"]
        assert abs(plaquette["value"] - plaquette["exact"]) < 5 * plaquette["error"]
    assert ess[0.6] > ess[1.4] > 0.01


def test_a_conditioned_card_names_the_coupling(conditioned, capsys):
    capsys.readouterr()
    assert haarflow("info", conditioned / "model.safetensors", "--json") == 0
    assert json.loads(capsys.readouterr().out)["card"]["condition"] == ["beta"]


def test_fine_tuning_starts_from_the_annealed_model(tmp_path):
    pytest.importorskip("torch")
    first = ("theory.beta=1.5", "train.anneal.beta=0.5", "train.anneal_steps=20", *SMALL)
    assert haarflow("train", "u1-tiny", *first, "--out", tmp_path / "annealed") == 0
    model = tmp_path / "annealed" / "model.safetensors"
    second = ("theory.beta=1.6", f"train.start={model}", *SMALL, "train.checkpoint=1", "train.steps=1")
    assert haarflow("train", "u1-tiny", *second, "--out", tmp_path / "tuned") == 0
    losses = [[line.loss for line in RunFolder(tmp_path / name).log().train] for name in ("annealed", "tuned")]
    # An untrained flow of uniform links has the loss 0; the start goes on far below it.
    assert losses[1][0] < losses[0][-1] / 2 < 0


def test_fine_tuning_never_hands_back_less(tmp_path, capsys):
    """Sixty steps at a rate fifty times the recipe's: the parameters they started from are kept, and the run says so."""
    pytest.importorskip("torch")
    assert haarflow("train", "u1-tiny", *SMALL, "--out", tmp_path / "first") == 0
    model = tmp_path / "first" / "model.safetensors"
    words = [word for word in SMALL if word != "--quiet"]
    again = (
        f"train.start={model}",
        *words,
        "train.lr=0.25",
        "train.steps=20",
        "train.clip=0.0",
        "--out",
        tmp_path / "tuned",
    )
    assert haarflow("train", "u1-tiny", *again) == 0
    said = capsys.readouterr()
    assert "fine-tuning made the flow worse" in said.err and "train.lr=0.025" in said.err
    line = RunFolder(tmp_path / "tuned").log().fine_tune
    assert line.kept == "start" and line.difference < -5 * line.error < 0.0 and line.end < line.start
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("first", "tuned"))
    assert one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)
    assert "the parameters before it are kept" in said.out


def test_couplings_outside_the_training_are_refused(conditioned, tmp_path, capsys):
    words = (
        "sample",
        conditioned,
        "theory.beta=4.0",
        "-n",
        20,
        "--backend",
        "numpy",
        "--quiet",
        "--out",
        tmp_path / "run",
    )
    assert haarflow(*words) == 1
    assert "was trained for beta from 0.5 to 2, and beta = 4 lies outside" in capsys.readouterr().err
    assert haarflow(*words, "extrapolate=true") == 0
    assert (
        haarflow("train", "u1-tiny", "train.between.beta=[2.0,3.0]", 'flow.condition=["beta"]', "--out", tmp_path / "x")
        == 1
    )
    assert "does not contain theory.beta = 1" in capsys.readouterr().err


def test_another_flow_is_no_start(conditioned, tmp_path, capsys):
    words = ("theory.beta=1.5", f"train.start={conditioned / 'model.safetensors'}", *SMALL)
    assert haarflow("train", "u1-tiny", *words, "--out", tmp_path / "refused") == 1
    assert "fine-tuning needs the same one" in capsys.readouterr().err
