"""Checkpoints: a training state in one safetensors file, from which an interrupted run continues bit for bit.

The leaves of the state are stored under their paths (`params.0.w0`, `optimiser.mean.0.w0`, ...), notes as JSON in the
header. Files are replaced atomically (core/files.py): at every moment there is either the old or the new one.
"""

import os
from typing import Any

from haarflow import backends
from haarflow.backends.tree import flatten, paths
from haarflow.core.files import write_bytes
from haarflow.flows.modelfile import ModelFileError, check_leaves, pack, read
from haarflow.flows.training.loop import TrainingState

FORMAT = "haarflow-checkpoint"
VERSION = 1


def save_checkpoint(path: str | os.PathLike[str], state: TrainingState, notes: dict[str, Any] | None = None) -> None:
    """Write a training state and notes, a dict that JSON can hold, to `path`.

    Raises OSError (a full disk) and leaves the old file untouched.
    """
    header = {"format": FORMAT, "version": VERSION, "notes": notes or {}}
    write_bytes(path, pack(paths(state._asdict()), header))


def load_checkpoint(path: str | os.PathLike[str], like: TrainingState) -> tuple[TrainingState, dict[str, Any]]:
    """Read `(state, notes)` onto the backend of `like`, a state of the same training such as `start(...)` returns.

    Raises ModelFileError for a truncated file, another format or version, and leaves of other names, shapes or dtypes.
    """
    arrays, header = read(path, FORMAT, VERSION)
    backend = backends.of(like.key)
    expected, rebuild = paths(like._asdict()), flatten(like._asdict())[1]
    check_leaves(path, arrays, {name: tuple(leaf.shape) for name, leaf in expected.items()})
    for name, leaf in expected.items():
        if (stored := arrays[name].dtype) != backend.to_numpy(leaf).dtype:
            raise ModelFileError(
                f"{path}: {name} is {stored}, but this training uses {leaf.dtype}: choose the file's precision"
            )
    stored_leaves = [backend.asarray(arrays[name], dtype=arrays[name].dtype.name) for name in expected]
    notes = header.get("notes")
    return TrainingState(**rebuild(stored_leaves)), notes if isinstance(notes, dict) else {}
