"""The trained models that ship with the package, and how a recipe's word for a model becomes one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from haarflow.recipes import RecipeError, hint

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


def opened(name: str, recipe: Any) -> Any:
    """Return the `OpenedModel` of a recipe's word, on NumPy, on the recipe's lattice; another theory's is refused."""
    from haarflow.flows.modelfile import open_model

    return open_model(path_of(name), theory=recipe.theory.name, lattice=recipe.lattice)
