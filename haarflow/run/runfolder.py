"""The folder of one run: who may write in it, what it holds, and what is left after a kill.

    recipe.toml        the complete recipe with versions; another recipe on the same folder is refused
    metrics.jsonl      one line a training chunk and one a block of draws, cut back to what is committed
    model.safetensors  the trained flow
    ensemble.h5        observables, weights and configurations, (chain, draw) first
    summary.json       the results, a stable interface
    report.html        one page to read
    blocks/            draws not yet composed, each block a whole file; gone when the run is done

A training line, or a block's line, is written before the checkpoint or block it tells of is renamed into place, so a
line without its file is a line to drop.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
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

COMPLEX = "|re,im"  # behind the names of complex arrays, which safetensors does not know in double precision


class FolderError(ValueError):
    """A folder this run must not write in."""


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run and the few ways to write them; made by `opened`."""

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
        """Append one line to metrics.jsonl and see it onto the disk."""
        with open(self.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(as_json(line)) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def log(self) -> Log:
        """The whole lines of metrics.jsonl; a last line cut short by a kill is left out."""
        return log_of(read_metrics(self.metrics))

    def cut(self, keep: Callable[[Line], bool]) -> None:
        """Drop the lines of metrics.jsonl that `keep` refuses, and a broken last one."""
        text = "".join(json.dumps(as_json(line)) + "\n" for line in read_metrics(self.metrics) if keep(line))
        if not self.metrics.exists() or self.metrics.read_text(encoding="utf-8") != text:
            files.write_text(self.metrics, text)

    def write_block(self, sampler: str, number: int, arrays: Mapping[str, Any]) -> None:
        """Commit one block of draws."""
        whole = dict(_as_reals(name, array) for name, array in arrays.items())
        files.write_bytes(self.block(sampler, number), save(whole))

    def read_block(self, sampler: str, number: int, without: tuple[str, ...] = ()) -> dict[str, numpy.ndarray]:
        """Return the arrays of one committed block."""
        with safe_open(self.block(sampler, number), framework="numpy") as file:
            every = list(file.keys())
            names = [name for name in every if name.removesuffix(COMPLEX).split("/")[0] not in without]
            return dict(_as_complex(name, file.get_tensor(name)) for name in names)

    def clear_blocks(self) -> None:
        """Remove the blocks; they stand in ensemble.h5 now."""
        for file in self.blocks.glob("*.safetensors"):
            file.unlink()
        with contextlib.suppress(OSError):
            self.blocks.rmdir()


def _as_reals(name: str, array: Any) -> tuple[str, numpy.ndarray]:
    """What a block's file holds of an array: complex numbers as pairs of reals, marked by the name."""
    host = numpy.ascontiguousarray(array)
    if host.dtype.kind != "c":
        return name, host
    return name + COMPLEX, host.view(host.real.dtype).reshape(*host.shape, 2)


def _as_complex(name: str, array: numpy.ndarray) -> tuple[str, numpy.ndarray]:
    if not name.endswith(COMPLEX):
        return name, array
    return name.removesuffix(COMPLEX), (array[..., 0] + 1j * array[..., 1]).astype(f"c{2 * array.itemsize}")


def read_metrics(path: Path) -> list[Line]:
    """Return the whole lines of a metrics.jsonl, none where there is no file."""
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
    """Hold the folder for one run: made if new, locked, its leftovers removed, its recipe the same or refused.

    Raises FolderError for a folder of another recipe, of another running process, or of other files.
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
        raise FolderError(f"{folder.path} holds other files and no recipe.toml: choose an empty or new folder by --out")


def _refuse_other(folder: RunFolder, recipe_text: str) -> None:
    try:
        there = _flat(tomllib.loads(folder.recipe.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FolderError(f"{folder.recipe} is not TOML ({error}): choose another --out") from None
    wanted = _flat(tomllib.loads(recipe_text))
    differing = sorted(
        f"{name}: {there.get(name, 'not set')!r} there, {wanted.get(name, 'not set')!r} here"
        for name in there.keys() | wanted.keys()
        if there.get(name) != wanted.get(name)
    )
    of_versions = [line for line in differing if line.startswith("versions.")]
    if len(differing) > len(of_versions):
        lines = "\n  ".join(line for line in differing if line not in of_versions)
        raise FolderError(
            f"{folder.path} holds a run of another recipe; choose another --out. What differs:\n  {lines}"
        )
    if of_versions and not folder.summary.exists():
        lines = "\n  ".join(of_versions)
        raise FolderError(
            f"{folder.path} was begun with other versions, and a run must not mix them; finish it with those or choose "
            f"another --out. What differs:\n  {lines}"
        )


def _flat(table: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in table.items():
        here = f"{path}.{name}" if path else name
        found |= _flat(value, here) if isinstance(value, Mapping) else {here: value}
    return found


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the lock dies with its process, SIGKILL included."""
    with open(path / ".lock", "a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderError(f"another process is running in {path}: wait for it or choose another --out") from None
        yield
