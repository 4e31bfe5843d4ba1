"""The trained models that ship with the package, and the file of a recipe's word for a model."""

from __future__ import annotations

import difflib
from pathlib import Path

_FOLDER = Path(__file__).parent


class UnknownModel(ValueError):
    """No model ships under this name and no file has it."""


def shipped() -> list[str]:
    """Return the names of the shipped models."""
    return sorted(file.stem for file in _FOLDER.glob("*.safetensors"))


def path_of(name: str) -> Path:
    """Return the file of a shipped model's name or of a path; raises UnknownModel where there is none."""
    shipped_file = _FOLDER / f"{name}.safetensors"
    if "/" not in name and shipped_file.is_file():
        return shipped_file
    path = Path(name)
    path = path / "model.safetensors" if path.is_dir() else path
    if not path.is_file():
        known = shipped()
        there = f"a shipped model ({', '.join(known)})" if known else "a shipped model (none in this copy)"
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise UnknownModel(f"no model {name!r}{hint}: wanted a model file or {there}")
    return path
