"""A recipe's word for a model becomes the model, on the recipe's lattice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from haarflow.flows.catalogue import constructor
from haarflow.flows.flow import Model
from haarflow.flows.modelfile import ModelFileError, OpenedModel, open_model, read_card
from haarflow.models import path_of
from haarflow.run.own import NOTHING, Own
from haarflow.run.target import Target


def opened_model(name: str, target: Target, own: Own = NOTHING) -> OpenedModel:
    """Return the model of a recipe's word, on NumPy, on the recipe's lattice; another theory's is refused.

    A model of one's own flow is made by the function that `own` names, with the options on its card; raises
    ModelFileError that tells the command where it is not named.
    """
    path, lattice = path_of(name), target.recipe.lattice
    definition = _of_own_flow(path, lattice, own) if own.flow else None
    try:
        return open_model(path, definition=definition, theory=target.name, lattice=lattice)
    except ModelFileError as error:
        kind = str(_flow_of(path).get("kind"))
        if ":" not in kind or kind == own.flow:
            raise
        raise ModelFileError(f"{error}; its flow is one's own: name it on the command line, --flow {kind}") from None


def _of_own_flow(path: Path, lattice: tuple[int, ...], own: Own) -> Model | None:
    words = _flow_of(path)
    if words.pop("kind", None) != own.flow:
        return None
    options = {word: tuple(value) if isinstance(value, list) else value for word, value in words.items()}
    return constructor(own.flows("")[own.flow])(lattice, **options)


def _flow_of(path: Path) -> dict[str, Any]:
    return dict(read_card(path).get("card", {}).get("flow") or {})
