"""Checkpoints: a training state in one safetensors file, bit for bit, that a killed run goes on from.

The leaves of the state are stored under their paths (`params.0.w0`, `optimiser.mean.0.w0`, ...), notes as JSON in the
header. The file is the old one or the whole new one at every moment (core/files.py).
"""

import os
from typing import Any

from haarflow import backends
from haarflow.backends.tree import flatten, paths
from haarflow.core.files import write_bytes
from haarflow.flows.modelfile import ModelFileError, check_leaves, pack, read
from haarflow.flows.training import TrainingState

FORMAT = "haarflow-checkpoint"
VERSION = 1


def save_checkpoint(path: str | os.PathLike[str], state: TrainingState, notes: dict[str, Any] | None = None) -> None:
    """Write a training state and JSON-able notes to `path`.

    Raises OSError (a full disk) with the old file untouched.
    """
    header = {"format": FORMAT, "version": VERSION, "notes": notes or {}}
    write_bytes(path, pack(paths(state._asdict()), header))


def load_checkpoint(path: str | os.PathLike[str], like: TrainingState) -> tuple[TrainingState, dict[str, Any]]:
    """Read `(state, notes)` back onto the backend of `like`, a state of the same training such as `start(...)` gives.

    Raises ModelFileError for a truncated file, another format or version, and leaves of other names, shapes or dtypes.
    """
    arrays, header = read(path, FORMAT, VERSION)
    backend = backends.of(like.key)
    wanted, rebuild = paths(like._asdict()), flatten(like._asdict())[1]
    check_leaves(path, arrays, {name: tuple(leaf.shape) for name, leaf in wanted.items()})
    for name, leaf in wanted.items():
        if (stored := arrays[name].dtype) != backend.to_numpy(leaf).dtype:
            raise ModelFileError(f"{path}: {name} is {stored}, this training's is {leaf.dtype}: choose that precision")
    found = [backend.asarray(arrays[name], dtype=arrays[name].dtype.name) for name in wanted]
    return TrainingState(**rebuild(found)), header["notes"]
