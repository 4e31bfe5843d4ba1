"""phi^4 with two wells: a Gaussian of one of them, made by hand, is called collapsed and its symmetrised density is not.

The numbers are those of an independent Gaussian model at kappa = 0.3, lam = 0.022 on 8x8, at 4 sigma of both errors.
"""

import json
import math

import numpy
import pytest

from haarflow.flows.flow import Chain, Model
from haarflow.flows.mixtures import Mixture, symmetrised
from haarflow.flows.modelfile import open_model, save_model
from haarflow.flows.priors import Gaussian
from haarflow.flows.scalar.momentum import MomentumScaling
from haarflow.flows.scalar.shift import UniformShift
from haarflow.run.build import build, model_of
from haarflow.run.chains import STREAM, target_draws
from haarflow.run.progress import Progress
from haarflow.run.recipes import RecipeError, load
from haarflow.run.runfolder import opened
from haarflow.run.stages.training import run_training, training_of
from haarflow.run.target import target_of
from haarflow.run.toml import to_toml
from tests.support.runs import haarflow

KAPPA, MASS, V = 0.3, 0.3427, 2.0869
RECIPE = """
name = "wells"
lattice = [8, 8]
model = "{model}"
theory = {{ name = "phi4-hopping", kappa = 0.3, lam = 0.022 }}
[samplers]
both = {{ kind = "flow-reweighting", draws = 8000, block = 4000 }}
one-well = {{ kind = "flow-reweighting", draws = 8000, symmetrised = false, block = 4000 }}
hmc = {{ chains = 64, draws = 40, warmup = 60, steps = 8, step_size = 0.15, thin = 3 }}
"""


def gaussian(v=V):
    """The Gaussian about v with propagator kappa K + MASS, and its parameters."""
    model = Model(Gaussian((8, 8)), Chain((MomentumScaling(2, 0, MASS / KAPPA), UniformShift(2, v))))
    scale = {"a": numpy.asarray([-0.5 * math.log(KAPPA)]), "log_m2": numpy.asarray(math.log(MASS / KAPPA))}
    return model, {"0": scale, "1": {"v": numpy.asarray(v)}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The samplers of the summary, with the model of both wells as it is."""
    folder = tmp_path_factory.mktemp("wells")
    model, params = gaussian()
    card = {"theory": {"name": "phi4-hopping", "lattice": [8, 8], "couplings": {"kappa": KAPPA, "lam": 0.022}}}
    save_model(folder / "wells.safetensors", symmetrised(model, ("Z2",)), params, card)
    (folder / "wells.toml").write_text(RECIPE.format(model=folder / "wells.safetensors"))
    assert haarflow("run", folder / "wells.toml", "--backend", "numpy", "--out", folder / "run", "--quiet") == 0
    page = (folder / "run" / "report.html").read_text()
    return json.loads((folder / "run" / "summary.json").read_text())["samplers"], page


def test_one_well_is_called_collapsed_and_both_are_not(run):
    samplers, page = run
    assert "the flow has collapsed" in " ".join(samplers["one-well"]["warnings"])
    assert not any("collapsed" in one for one in samplers["both"]["warnings"])
    assert "the flow has collapsed" in page and "m &lt; 0" in page and "mass covered" in page
    shares = {row["label"]: row["weighted"] for row in samplers["both"]["coverage"]["modes"]["rows"]}
    assert abs(shares[1]["value"] - 0.5) < 4 * shares[1]["error"] < 0.1


def test_ln_z_of_both_sides_is_the_known_one(run):
    """One well's draws are low by ln 2; every other estimate is right, and the bounds lie as they must."""
    samplers, _ = run
    one, both = (samplers[name]["coverage"] for name in ("one-well", "both"))
    known = [(one["ln_Z"], 67.119, 0.017), (one["elbo"], 66.673, 0.02), (both["ln_Z"], 67.822, 0.010)]
    known += [(both["elbo"], 67.391, 0.02), (both["chains"]["hmc"]["bridge"], 67.8183, 0.0012)]
    known += [(one["chains"]["hmc"]["ln_Z"], 67.8183, 0.0012), (both["chains"]["hmc"]["ln_Z"], 67.8183, 0.0012)]
    for entry, value, error in known:
        assert abs(entry["value"] - value) < 4 * math.hypot(entry["error"], error) < 0.9, (entry, value)
    stuck = one["chains"]["hmc"]["bridge"]  # of chains that never leave their wells
    assert abs(stuck["value"] - 67.8183) < 4 * 0.17 and stuck["error"] is None and stuck["note"]
    assert both["elbo"]["value"] < both["iwae"]["value"] < both["chains"]["hmc"]["bridge"]["value"]
    assert both["chains"]["hmc"]["bridge"]["value"] < both["chains"]["hmc"]["eubo"]["value"]
    assert abs(both["ess"]["value"] - 0.348) < 4 * both["ess"]["error"] < 0.2 and one["ess"]["note"]


def test_the_recipe_makes_a_symmetrised_model_and_mixtures():
    model = model_of(target_of(load("phi4-two-wells")))
    assert model.images.internal == ("Z2",) and "Z2" in model.symmetries
    both = model_of(target_of(load("phi4-two-wells", ["flow.mixture=2"])))
    assert isinstance(both, Mixture) and all(one.images.internal == ("Z2",) for one in both.models)
    with pytest.raises(RecipeError, match=r"flow\.mixture"):
        load("phi4-two-wells", ["flow.mixture=half"])
    with pytest.raises(ValueError, match="averaged over Z2"):
        model_of(target_of(load("phi4-two-wells", ['flow.symmetrised=["parity"]'])))


def test_training_on_the_target_needs_a_chain_and_keeps_the_average(tmp_path):
    pytest.importorskip("torch")
    words = ["train.estimator=forward-kl", "run.backend=torch", "train.samples=100", "samplers.hmc.warmup=3"]
    setup = build(load("phi4-two-wells", [*words, "samplers.hmc.chains=4", "lattice=[4,4]"]))
    assert training_of(setup).model.images is not None
    assert training_of(build(load("phi4-two-wells", ["run.backend=torch"]))).model.images is None
    with opened(tmp_path / "run", to_toml(setup.recipe)) as folder:
        found, again = (target_draws(setup, "hmc", 10, folder, Progress()) for _ in range(2))
    assert found.shape == (12, 4, 4) and bool((found == again).all())
    assert not numpy.array_equal(setup.stream("hmc"), setup.stream(STREAM))
    small = ["flow.pairs=1", "flow.hidden=[2]", "train.steps=3", "train.batch=8", "train.checkpoint=2"]
    setup = build(load("phi4-two-wells", [*words, *small, "samplers.hmc.chains=4", "lattice=[4,4]"]))
    with opened(tmp_path / "trained", to_toml(setup.recipe)) as folder:
        run_training(setup, folder, Progress())
        model, params, card = open_model(folder.model)
    assert (
        model == setup.model and card["training"]["estimator"] == "forward-kl" and params["1"]["0"]["net"]["w0"].any()
    )
    with pytest.raises(RecipeError, match="learns from a Markov chain: add a chain sampler"):
        load("phi4-two-wells", [words[0], "samplers.hmc=false"])
    with pytest.raises(RecipeError, match=r"train\.chain: 'hcm' is no chain sampler"):
        load("phi4-two-wells", [words[0], "train.chain=hcm"])
    with pytest.raises(RecipeError, match=r"remove train\.anneal"):
        load("phi4-two-wells", [words[0], "train.anneal.lam=0.1"])
