"""The model of a flow that is a sampler without training: its first parameters, written as those of a trained flow are."""

from __future__ import annotations

from haarflow.backends.tree import tree_map
from haarflow.flows.modelfile import save_model
from haarflow.run.build import Setup, card_of
from haarflow.run.runfolder import RunFolder


def write_untrained(setup: Setup, folder: RunFolder) -> None:
    """Write model.safetensors with the parameters that the flow starts from."""
    if setup.model is None:
        raise ValueError("flow is missing: there is no model to write")
    params = setup.model.init(setup.stream("init"), setup.backend.dtype)
    card = card_of(setup.target, setup.recipe.flow.get("condition", ()))
    save_model(folder.model, setup.model, tree_map(setup.backend.to_numpy, params), card)
