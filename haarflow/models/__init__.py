"""The trained models that ship with the package, and how a recipe's word for a model becomes one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from haarflow.flows.catalogue import constructor
from haarflow.flows.flow import Model
from haarflow.flows.modelfile import ModelFileError, OpenedModel, open_model, read_card
from haarflow.run.own import NOTHING, Own
from haarflow.run.recipes import RecipeError, hint

if TYPE_CHECKING:
    from haarflow.run.target import Target

_FOLDER = Path(__file__).parent


def shipped() -> list[str]:
    """Return the names of the shipped models."""
    return sorted(file.stem for file in _FOLDER.glob("*.safetensors"))


def path_of(name: str) -> Path:
    """Return the file of a shipped model's name or of a path; raises RecipeError where there is none."""
    shipped_file = _FOLDER / f"{name}.safetensors"
    if "/" not in name and shipped_file.is_file():
        return shipped_file
    path = Path(name)
    path = path / "model.safetensors" if path.is_dir() else path
    if not path.is_file():
        known = shipped()
        there = f"a shipped model ({', '.join(known)})" if known else "a shipped model (none in this copy)"
        raise RecipeError(f"no model {name!r}{hint(name, known)}: wanted a model file or {there}")
    return path


def opened(name: str, target: Target, own: Own = NOTHING) -> OpenedModel:
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
