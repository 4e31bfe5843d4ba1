"""Runs that train by the spread of log w, and carry what they trained to another volume and back into a training."""

import pytest

from haarflow.flows.modelfile import read_card
from haarflow.pipeline import run
from haarflow.run.progress import Progress
from haarflow.run.recipes import RecipeError, load

SMALL = (
    *("lattice=[4,4]", "flow.kind=copula", "train.method=least-spread", "train.steps=5", "train.batch=100"),
    *("train.checkpoint=2", "samplers=false", "samplers.flow-reweighting={draws=400}", "run.backend=torch"),
)


class Heard(Progress):
    """Keeps what is said."""

    def __init__(self):
        super().__init__()
        self.said = []

    def say(self, text):
        self.said.append(text)


def test_a_flow_trained_on_one_volume_draws_on_another_and_is_retuned_there(tmp_path):
    """phi^4 at lam = 8: five steps on 4x4; on 4x6 as it is, and after one step more. ESS of 400 draws, errors below 0.02."""
    home, heard = tmp_path / "home", Heard()
    found = {"home": run(load("phi4-2d", list(SMALL)), home, report=False)}
    model = f"model={home / 'model.safetensors'}"
    away = ["lattice=[4,6]", "flow=false", "train=false", model]
    found["away"] = run(
        load("phi4-2d", [*SMALL[:1], *SMALL[6:], *away]), tmp_path / "away", progress=heard, report=False
    )
    tuned = [*SMALL, "lattice=[4,6]", "train.steps=1", f"train.start={home}"]
    found["tuned"] = run(load("phi4-2d", tuned), tmp_path / "tuned", report=False)
    ess = {name: summary["samplers"]["flow-reweighting"]["ess"] for name, summary in found.items()}
    assert ess["home"] > 0.85 and ess["away"] > 0.75 and ess["tuned"] > 0.75
    (said,) = [words for words in heard.said if "trained on" in words]
    assert "model.safetensors, trained on 4x4, draws on 4x6: its weights are exact here too" in said
    assert read_card(home / "model.safetensors")["card"]["training"]["method"] == "least-spread"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "train.estimator=path-gradient",
            "fits one flow to its own draws at one set of couplings: remove train.estimator",
        ),
        ("train.between={lam=[7.0,9.0]}", "remove train.between"),
        ("flow.mixture=2", "remove flow.mixture"),
    ],
)
def test_recipes_that_cannot_be_trained_so_are_refused(words, message):
    with pytest.raises(RecipeError) as refused:
        load("phi4-2d", [*SMALL, words])
    assert message in str(refused.value)


def test_a_model_beside_a_flow_says_how_to_open_it():
    with pytest.raises(RecipeError) as refused:
        load("phi4-2d", ["model=m.safetensors"])
    assert "add flow=false train=false to open the model" in str(refused.value)
