"""Runs with a ladder of replicas: the recipe's numbers at its coupling, all others beside them, killed and resumed."""

import json

import numpy
import pytest

from haarflow.pipeline import run
from haarflow.report.text import summary_table
from haarflow.results import ensemble
from haarflow.results.replica_evidence import compared, judged
from haarflow.run import recipes
from haarflow.run.build import build
from haarflow.run.kernels import Proposal
from haarflow.run.recipes.faults import RecipeError
from haarflow.run.sampler_settings import ReplicaExchange
from haarflow.run.samplers import kernel
from haarflow.theories import U1Gauge
from tests.haarflow.run.test_tuned_runs import killed
from tests.support.runs import numbers

LADDER = {"kind": "replicas", "ladder": {"beta": [1.0, 2.0, 3.0]}, "chains": 6, "draws": 60, "warmup": 10, "block": 20}
TABLE = {
    "name": "ladder",
    "lattice": [4, 4],
    "fields_every": 30,
    "theory": {"name": "u1", "beta": 3.0},
    "run": {"backend": "numpy"},
}


def recipe(**words):
    return recipes.check({**TABLE, "samplers": {"replicas": LADDER}, **words})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas") / "whole"
    return folder, run(recipe(), folder)


def test_every_replica_has_the_exact_values_of_its_coupling(whole):
    """360 draws at each of three couplings; five sigma, 3 values of each: fails by luck once in 200,000."""
    _, found = whole
    entry = found["samplers"]["replicas"]
    ladder = entry["replicas"]
    assert [rung["couplings"]["beta"] for rung in ladder["rungs"]] == [1.0, 2.0, 3.0] and ladder["own"] == 2
    for rung in ladder["rungs"]:
        for name in ("plaquette", "Q", "Q2"):
            one = rung["observables"][name]
            assert abs(one["value"] - one["exact"]) < 5 * one["error"]
    assert ladder["rungs"][2]["observables"]["Q2"].items() <= entry["observables"]["Q2"].items()
    assert 0.05 < ladder["rungs"][0]["swaps"]["value"] < 0.9 and ladder["rungs"][2]["swaps"] is None
    assert ladder["round_trips"]["number"] > 10 and not entry["warnings"]


def test_the_report_and_the_terminal_show_the_ladder(whole):
    folder, found = whole
    page, text = (folder / "report.html").read_text(), summary_table(found)
    for shown in (page, text):
        assert "swaps with the next" in shown and "round trips along the ladder" in shown and "p(Q): largest" in shown
    assert json.loads((folder / "summary.json").read_text())["samplers"]["replicas"]["replicas"]["own"] == 2


def test_the_ensemble_holds_every_replica_and_the_fields_of_one(whole):
    folder, _ = whole
    sampled = ensemble.read(folder / "ensemble.h5").samplers["replicas"]
    assert sampled.observables["Q@ladder"].shape == (6, 60, 3) and sampled.steps["swapped"].shape == (6, 60, 2)
    assert (sampled.observables["Q"] == sampled.observables["Q@ladder"][..., 2]).all()
    assert [part.shape for part in ensemble.fields(folder / "ensemble.h5", "replicas")] == [(2, 2, 4, 4)] * 6


def test_a_killed_run_goes_on_to_the_same_numbers(whole, tmp_path, monkeypatch):
    killed(monkeypatch, recipe(), tmp_path / "cut", 1)
    run(recipe(), tmp_path / "cut", report=False)
    assert numbers(whole[0]) == numbers(tmp_path / "cut")


def test_hmc_moves_replicas_of_scalars_at_two_couplings(tmp_path):
    ladder = {"m2": [-4.0, -4.4], "lam": [8.0, 7.0]}
    table = {
        **TABLE,
        "fields_every": 0,
        "theory": {"name": "phi4", "m2": -4.0, "lam": 8.0},
        "samplers": {"replicas": {**LADDER, "ladder": ladder, "kernels": ["hmc"], "steps": 4, "sweeps": 2}},
    }
    found = run(recipes.check(table), tmp_path / "hmc", report=False)["samplers"]["replicas"]
    assert 0.5 < found["acceptance"] < 1.0 and 0.1 < found["replicas"]["rungs"][0]["swaps"]["value"] < 1.0
    assert "exp_minus_dH" not in found


def test_neighbours_are_exchanged_through_a_flow_that_is_told_beta(tmp_path):
    pytest.importorskip("torch")
    words = {
        "flow": {"kind": "sweep", "condition": ["beta"], "bins": 4, "harmonics": 2, "plaquette": 1, "table": False},
        "train": {"steps": 4, "batch": 4, "lr": 0.3, "between": {"beta": [1.0, 3.0]}},
        "run": {"backend": "torch"},
        "lattice": [2, 2],
        "samplers": {"replicas": {**LADDER, "draws": 30, "through_flow": True}},
    }
    found = run(recipe(**words), tmp_path / "through", report=False)["samplers"]["replicas"]
    one = found["observables"]["plaquette"]
    assert abs(one["value"] - one["exact"]) < 5 * one["error"]
    same = {**words, "flow": {}, "train": None, "samplers": {"replicas": {**LADDER, "draws": 30}}}
    same = {name: value for name, value in same.items() if value}
    plain = run(recipe(**same), tmp_path / "plain", report=False)["samplers"]["replicas"]
    shares = [entry["replicas"]["rungs"][0]["swaps"]["value"] for entry in (found, plain)]
    assert shares[0] != shares[1]


def test_a_flow_that_is_not_told_the_ladder_is_refused():
    told = Proposal(None, {}, None)
    with pytest.raises(ValueError, match="through one flow that is told the couplings of the ladder, beta"):
        kernel(U1Gauge((4, 4)), {"beta": 3.0}, ReplicaExchange(ladder={"beta": (1.0, 3.0)}, through_flow=True), told)


WRONG = {
    "it is missing": {"ladder": {}},
    "there is no coupling 'bta'": {"ladder": {"bta": [1.0, 3.0]}},
    "two replicas or more": {"ladder": {"beta": [3.0]}},
    "does not contain theory's beta = 3": {"ladder": {"beta": [1.0, 2.0]}},
    "needs a flow": {"through_flow": True},
}


@pytest.mark.parametrize("says", WRONG)
def test_a_ladder_that_makes_no_sense_is_refused(says):
    with pytest.raises(RecipeError, match=says):
        recipe(samplers={"replicas": {**LADDER, **WRONG[says]}})


def test_a_ladder_without_round_trips_is_called_so():
    rungs = [{"swaps": {"value": 0.5}}, {"swaps": {"value": 0.001}}, {"swaps": None}]
    said = judged({"round_trips": {"number": 0, "time": None}, "rungs": rungs})
    assert len(said) == 1 and "no replica has travelled" in said[0] and "0.001" in said[0]


def test_probabilities_are_compared_with_exact_ones():
    """Of a biased coin one share is far off; of a frozen series nothing is known."""
    coin = (numpy.random.default_rng(1).random((8, 500)) < 0.6).astype(float)
    assert compared(coin, {0: 0.4, 1: 0.6})["largest"] < 5 and compared(coin, {0: 0.5, 1: 0.5})["largest"] > 5
    assert compared(numpy.ones((4, 50)), {0: 0.5, 1: 0.5})["chi2"] is None


def test_the_shipped_ladder_ends_where_the_heat_bath_is_frozen():
    setup = build(recipes.load("u1-replicas", run__backend="numpy"))
    assert setup.plans["replicas"].settings.ladder["beta"][-1] == setup.target.couplings["beta"] == 7.0
