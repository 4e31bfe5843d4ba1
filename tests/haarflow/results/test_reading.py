"""An ensemble in the hands of an analysis: the numbers of the summary, the draws of the file, two other packages."""

import json

import h5py
import numpy
import pytest

import haarflow
from haarflow.core.statistics import Estimate, gamma_method
from haarflow.results.ensemble import EnsembleError
from tests.support.runs import haarflow as command
from tests.support.runs import uniform_recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("reading")
    words = ("--backend", "numpy", "--out", where / "run", "--quiet", "--no-report")
    assert command("run", uniform_recipe(where), *words) == 0
    return where / "run"


def test_estimates_are_those_of_the_summary(folder):
    summary = json.loads((folder / "summary.json").read_text())
    draws = haarflow.read_ensemble(folder)
    assert draws.samplers == tuple(summary["samplers"]) and draws.sampler == draws.samplers[0]
    for label, sampler in summary["samplers"].items():
        one = haarflow.read_ensemble(folder / "ensemble.h5", label)
        assert list(one.warnings) == sampler["warnings"]
        for name, entry in sampler["observables"].items():
            found = one.estimate(name)
            assert isinstance(found, Estimate)
            assert (found.value, found.error, found.tau_int) == tuple(entry[k] for k in ("value", "error", "tau_int"))
            assert bool(found.note) == bool(entry.get("note"))


def test_series_go_into_the_gamma_method_as_they_stand(folder):
    hmc = haarflow.read_ensemble(folder, "hmc")
    with h5py.File(folder / "ensemble.h5") as file:
        assert numpy.array_equal(hmc.series("plaquette"), file["hmc/observables/plaquette"])
        assert gamma_method(file["hmc/observables/plaquette"]) == gamma_method(hmc.series("plaquette"))
    assert hmc.series("plaquette").shape == (4, 25) and hmc.weights is None
    assert gamma_method(hmc.series("plaquette"))[:3] == hmc.estimate("plaquette")[:3]


def test_weights_are_relative_to_their_mean(folder):
    flow = haarflow.read_ensemble(folder).choose("flow-reweighting")
    assert flow.weights.shape == flow.series("Q").shape and flow.weights.mean() == pytest.approx(1.0)
    value = (flow.weights * flow.series("plaquette")).mean()
    assert flow.estimate("plaquette").value == pytest.approx(value)
    assert haarflow.read_ensemble(folder, "flow-metropolis").weights is None


def test_configurations_come_with_their_draws(folder):
    draws = haarflow.read_ensemble(folder, "heatbath")
    plaquette = draws.target.theory.observables(next(draws.fields()))["plaquette"]
    assert numpy.allclose(plaquette, draws.series("plaquette")[0, ::4])


def test_what_is_not_there_is_named(folder, tmp_path):
    draws = haarflow.read_ensemble(folder)
    with pytest.raises(EnsembleError, match="choose one of flow-metropolis, flow-reweighting, hmc"):
        draws.choose("hcm")
    with pytest.raises(EnsembleError, match=r"was not measured.*plaquette"):
        draws.series("plaquete")
    with pytest.raises(EnsembleError, match="was not measured"):
        draws.estimate("plaquete")
    with pytest.raises(EnsembleError, match="there is no ensemble file"):
        haarflow.read_ensemble(tmp_path)
    assert "'flow-metropolis'" in repr(draws)


@pytest.mark.filterwarnings("ignore")
def test_pyerrors_finds_the_same_means_and_errors(folder):
    pytest.importorskip("pyerrors")
    for label in ("hmc", "flow-reweighting"):  # 100 draws, for which windows differ by a draw
        draws = haarflow.read_ensemble(folder, label)
        found = draws.to_pyerrors("plaquette")
        found.gamma_method(S=1.5)
        ours = draws.estimate("plaquette")
        assert found.value == pytest.approx(ours.value) and found.dvalue == pytest.approx(ours.error, rel=0.25)


@pytest.mark.statistical  # for the time it takes to import ArviZ
def test_arviz_has_the_same_draws(folder):
    pytest.importorskip("arviz")
    draws = haarflow.read_ensemble(folder, "hmc")
    found = draws.to_arviz()
    assert numpy.array_equal(found.posterior["plaquette"].values, draws.series("plaquette"))
    assert found.sample_stats["accepted"].shape == (4, 25)


def test_weights_are_not_lost_on_the_way_to_arviz(folder):
    with pytest.raises(EnsembleError, match="have weights"):
        haarflow.read_ensemble(folder, "flow-reweighting").to_arviz()
