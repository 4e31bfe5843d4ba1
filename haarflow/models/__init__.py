"""The trained models that ship with the package, and the file that a model's name stands for."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


class UnknownModel(ValueError):
    """There is no shipped model and no file of this name."""


def shipped() -> list[str]:
    """Return the names of the shipped models."""
    return sorted(file.stem for file in _FOLDER.glob("*.safetensors"))


def path_of(name: str) -> Path:
    """Return the file of a shipped model or of a path; raises UnknownModel if there is none."""
    shipped_file = _FOLDER / f"{name}.safetensors"
    if "/" not in name and shipped_file.is_file():
        return shipped_file
    path = Path(name)
    path = path / "model.safetensors" if path.is_dir() else path
    if not path.is_file():
        known = shipped()
        shipped_ones = f"one of {', '.join(known)}" if known else "a shipped model (this copy has none)"
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise UnknownModel(f"there is no model {name!r}{hint}: give a model file or {shipped_ones}")
    return path


def open_model(name: str | os.PathLike[str], backend: Any = None, **words: Any) -> Any:
    """Open a shipped model by its name, or a model file or run folder by its path, as `flows.modelfile.open_model` does.

    Raises UnknownModel if there is none of this name, ModelFileError if it is damaged.

    >>> open_model("u1-freezing").model.prior.lattice
    (16, 16)
    """
    from haarflow.flows import modelfile

    return modelfile.open_model(path_of(os.fspath(name)), backend, **words)
