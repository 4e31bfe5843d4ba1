"""Opens the model that a recipe names, on the recipe's lattice."""

from __future__ import annotations

from pathlib import Path

from haarflow.flows.catalogue import constructor
from haarflow.flows.flow import Model
from haarflow.flows.modelfile import ModelFileError, OpenedModel, flow_of, open_model, read_card
from haarflow.models import path_of
from haarflow.run.own import NOTHING, Own
from haarflow.run.target import Target


def opened_model(name: str, target: Target, own: Own = NOTHING) -> OpenedModel:
    """Return the model that a recipe names, on NumPy and on the recipe's lattice.

    A model of a custom flow is made by the function that `own` names, with the options on its card. Raises
    ModelFileError for a model of another theory, and for one whose custom flow the command line does not name.
    """
    path, lattice = path_of(name), target.recipe.lattice
    definition = _of_own_flow(path, lattice, own) if own.flow else None
    try:
        return open_model(path, definition=definition, theory=target.name, lattice=lattice)
    except ModelFileError as error:
        kind = str(flow_of(read_card(path)["card"]).get("kind"))
        if ":" not in kind or kind == own.flow:
            raise
        raise ModelFileError(f"{error}; its flow is a custom one: add --flow {kind} to the command") from None


def _of_own_flow(path: Path, lattice: tuple[int, ...], own: Own) -> Model | None:
    card = flow_of(read_card(path)["card"])
    if card.pop("kind", None) != own.flow:
        return None
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in card.items()}
    model: Model = constructor(own.flows("")[own.flow])(lattice, **options)
    return model
