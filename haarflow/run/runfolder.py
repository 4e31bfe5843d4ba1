"""The folder of one run: who may write to it, what it contains, and what remains after an interruption.

    recipe.toml        the complete recipe with versions; another recipe is refused in the same folder
    metrics.jsonl      one line per training chunk and per block of draws, for which there is a file
    model.safetensors  the trained flow
    ensemble.h5        observables, weights and configurations, (chain, draw) first
    summary.json       the results, a stable interface
    report.html        the report, one page
    blocks/            draws not yet composed, one file per block; removed when the run is complete

The line of a training chunk or block is written before its checkpoint or block is renamed into place, so that a line
without a file is dropped.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from safetensors import safe_open
from safetensors.numpy import save

from haarflow.core import files
from haarflow.run.records import Line, Log, as_json, from_json, log_of

# a file system without locks: Lustre mounted without flock, NFS without lockd, others
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
NO_LOCK_NOTE = "this file system has no locks, so take care that no other process uses the folder"
COMPLEX = "|re,im"  # suffix of complex arrays, for which safetensors has no double precision


class FolderError(ValueError):
    """A folder to which this run must not write."""


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run and how they are written; made by `opened`."""

    path: Path

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def model(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def ensemble(self) -> Path:
        return self.path / "ensemble.h5"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def blocks(self) -> Path:
        return self.path / "blocks"

    def block(self, sampler: str, number: int) -> Path:
        """The file of one block of one sampler."""
        return self.blocks / f"{sampler}.{number:06d}.safetensors"

    def write_line(self, line: Line) -> None:
        """Append one line to metrics.jsonl and flush it to the disk."""
        with open(self.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(as_json(line)) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def log(self) -> Log:
        """The complete lines of metrics.jsonl, without a truncated last one."""
        return log_of(read_metrics(self.metrics))

    def cut(self, keep: Callable[[Line], bool]) -> None:
        """Drop the lines of metrics.jsonl for which `keep` is false, and a truncated last one."""
        text = "".join(json.dumps(as_json(line)) + "\n" for line in read_metrics(self.metrics) if keep(line))
        if not self.metrics.exists() or self.metrics.read_text(encoding="utf-8") != text:
            files.write_text(self.metrics, text)

    def write_block(self, sampler: str, number: int, arrays: Mapping[str, Any]) -> None:
        """Write one block of draws atomically."""
        whole = dict(_as_reals(name, array) for name, array in arrays.items())
        files.write_bytes(self.block(sampler, number), save(whole))

    def read_block(self, sampler: str, number: int, without: tuple[str, ...] = ()) -> dict[str, numpy.ndarray]:
        """Return the arrays of one block."""
        with safe_open(self.block(sampler, number), framework="numpy") as file:
            every = list(file.keys())
            names = [name for name in every if name.removesuffix(COMPLEX).split("/")[0] not in without]
            return dict(_as_complex(name, file.get_tensor(name)) for name in names)

    def clear_blocks(self) -> None:
        """Remove the blocks, which are in ensemble.h5 now."""
        for file in self.blocks.glob("*.safetensors"):
            file.unlink()
        with contextlib.suppress(OSError):
            self.blocks.rmdir()


def _as_reals(name: str, array: Any) -> tuple[str, numpy.ndarray]:
    """An array as it is stored: complex numbers as pairs of reals, marked by the name."""
    host = numpy.ascontiguousarray(array)
    if host.dtype.kind != "c":
        return name, host
    return name + COMPLEX, host.view(host.real.dtype).reshape(*host.shape, 2)


def _as_complex(name: str, array: numpy.ndarray) -> tuple[str, numpy.ndarray]:
    if not name.endswith(COMPLEX):
        return name, array
    return name.removesuffix(COMPLEX), (array[..., 0] + 1j * array[..., 1]).astype(f"c{2 * array.itemsize}")


def read_metrics(path: Path) -> list[Line]:
    """Return the complete lines of a metrics.jsonl, none if there is no file."""
    if not path.exists():
        return []
    found: list[Line | None] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        try:
            found.append(from_json(json.loads(line)))
        except json.JSONDecodeError:
            break
    return [line for line in found if line is not None]


@contextlib.contextmanager
def opened(path: str | Path, recipe_text: str) -> Iterator[RunFolder]:
    """Open the folder for one run: create it if it is new, lock it, remove temporary files, and compare its recipe.

    Raises FolderError if the folder belongs to another recipe or a running process, or contains other files.
    """
    folder = RunFolder(Path(path))
    _check(folder, recipe_text)
    folder.path.mkdir(parents=True, exist_ok=True)
    with _locked(folder.path):
        _check(folder, recipe_text)
        files.remove_leftovers(folder.path)
        if not folder.recipe.exists():
            files.write_text(folder.recipe, recipe_text)
        folder.blocks.mkdir(exist_ok=True)
        files.remove_leftovers(folder.blocks)
        yield folder


def _check(folder: RunFolder, recipe_text: str) -> None:
    if folder.path.exists() and not folder.path.is_dir():
        raise FolderError(f"{folder.path} is a file; a run needs a folder: choose another --out")
    if folder.recipe.exists():
        _refuse_other(folder, recipe_text)
    elif folder.path.exists() and any(not file.name.startswith(".") for file in folder.path.iterdir()):
        raise FolderError(
            f"{folder.path} contains other files and no recipe.toml: choose an empty or new folder with --out"
        )


def _refuse_other(folder: RunFolder, recipe_text: str) -> None:
    try:
        there = _flat(tomllib.loads(folder.recipe.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FolderError(f"{folder.recipe} is not TOML ({error}): choose another --out") from None
    wanted = _flat(tomllib.loads(recipe_text))
    differing = sorted(
        f"{name}: {there.get(name, 'not set')!r} there, {wanted.get(name, 'not set')!r} here"
        for name in there.keys() | wanted.keys()
        if there.get(name) != wanted.get(name) and name != "description"  # words for people, which change no number
    )
    of_versions = [line for line in differing if line.startswith("versions.")]
    if len(differing) > len(of_versions):
        lines = "\n  ".join(line for line in differing if line not in of_versions)
        raise FolderError(
            f"{folder.path} contains a run of another recipe: choose another --out. The differences are:\n  {lines}"
        )
    if of_versions and not folder.summary.exists():
        lines = "\n  ".join(of_versions)
        raise FolderError(
            f"{folder.path} was started with other versions, which must not be mixed in one run: finish it with those, or "
            f"choose another --out. The differences are:\n  {lines}"
        )


def _flat(table: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in table.items():
        here = f"{path}.{name}" if path else name
        found |= _flat(value, here) if isinstance(value, Mapping) else {here: value}
    return found


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Only one process at a time; the lock ends with its process, even after SIGKILL.

    On a file system without locks the run goes on with a note.
    """
    with open(path / ".lock", "a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderError(f"another process is using {path}: wait for it or choose another --out") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            print(f"{path}: {NO_LOCK_NOTE}", file=sys.stderr)
        yield
