"""The folder of one run: who may write to it, what it contains, and what remains after an interruption.

    recipe.toml        the complete recipe with versions; another recipe is refused in the same folder
    metrics.jsonl      one line per training chunk and per block of draws, for which there is a file
    model.safetensors  the trained flow
    ensemble.h5        observables, weights and configurations, (chain, draw) first
    summary.json       the results, a stable interface
    report.html        the report, one page
    blocks/            draws not yet composed, one file per block; removed when the run is complete
    shards/            the logs of shards, one file each, until a run or `gather` takes them into metrics.jsonl

The line of a training chunk or block is written before its checkpoint or block is renamed into place, so that a line
without a file is dropped.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from haarflow.core import files, untrusted
from haarflow.run.records import Line, Log, as_json, from_json, log_of

# a file system without locks: Lustre mounted without flock, NFS without lockd, others
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
NO_LOCK_NOTE = "this file system has no locks, so take care that no other process uses the folder"
COMPLEX = "|re,im"  # suffix of complex arrays, for which safetensors has no double precision


class FolderError(ValueError):
    """A folder to which this run must not write."""


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run and how they are written; made by `opened`, for one shard by `shards.opened`.

    A `shard` writes its lines to a log of its own.
    """

    path: Path
    shard: str = ""

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def metrics(self) -> Path:
        return self.shards / f"{self.shard}.jsonl" if self.shard else self.path / "metrics.jsonl"

    @property
    def shards(self) -> Path:
        return self.path / "shards"

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
        try:
            with open(self.metrics, "a", encoding="utf-8") as file:
                file.write(json.dumps(as_json(line)) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            error.filename = str(self.metrics)
            raise

    def log(self) -> Log:
        """The complete lines of metrics.jsonl, without a truncated last one; those of a shard come after the run's."""
        common = read_metrics(self.path / "metrics.jsonl") if self.shard else []
        return log_of([*common, *read_metrics(self.metrics)])

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
        """Return the arrays of one block; raises FolderError if its file is damaged."""
        path = self.block(sampler, number)
        untrusted.check_regular(path, FolderError)
        try:
            with safe_open(path, framework="numpy") as file:
                every = list(file.keys())
                names = [name for name in every if name.removesuffix(COMPLEX).split("/")[0] not in without]
                return dict(_as_complex(name, file.get_tensor(name)) for name in names)
        except SafetensorError as error:
            raise FolderError(f"{path} is damaged ({error}): remove it, and the same command draws it again") from None

    def clear_blocks(self) -> None:
        """Remove the blocks, which are in ensemble.h5 now, and the logs of shards, which are in metrics.jsonl."""
        shutil.rmtree(self.shards, ignore_errors=True)
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
    """Return the complete lines of a metrics.jsonl, none if there is no file.

    Reading ends at a line that is not JSON, as a killed process leaves one. Raises FolderError for a line with values of
    other types.
    """
    if not path.exists():
        return []
    untrusted.check_regular(path, FolderError)
    found: list[Line | None] = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1], 1):
        try:
            table = json.loads(line)
        except json.JSONDecodeError:
            break
        except (ValueError, RecursionError):
            table = None
        try:
            found.append(from_json(table if isinstance(table, dict) else {"stage": "train", "step": line}))
        except ValueError as error:
            raise FolderError(
                f"line {number} of {path} is not one that a run writes ({error}): remove the file, or choose another --out"
            ) from None
    return [line for line in found if line is not None]


@contextlib.contextmanager
def opened(path: str | Path, recipe_text: str) -> Iterator[RunFolder]:
    """Open the folder for one run: create it if it is new, lock it, remove temporary files, and compare its recipe.

    Raises FolderError if the folder belongs to another recipe or a running process, or contains other files.
    """
    folder = RunFolder(Path(path))
    refuse_other(folder, recipe_text)
    folder.path.mkdir(parents=True, exist_ok=True)
    with locked(folder.path / ".lock", fcntl.LOCK_EX):
        refuse_other(folder, recipe_text)
        files.remove_leftovers(folder.path)
        if not folder.recipe.exists():
            files.write_text(folder.recipe, recipe_text)
        folder.blocks.mkdir(exist_ok=True)
        files.remove_leftovers(folder.blocks)
        yield folder


def vacant(path: Path, recipe_text: str) -> Path:
    """Return `path`, or the first of path-2, path-3, ... that is new or belongs to this recipe."""
    others = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(place for place in itertools.chain([path], others) if _serves(place, recipe_text))


def _serves(path: Path, recipe_text: str) -> bool:
    try:
        refuse_other(RunFolder(path), recipe_text)
    except FolderError:
        return False
    return True


def refuse_other(folder: RunFolder, recipe_text: str) -> None:
    """Raise FolderError for a folder that belongs to another recipe or other versions, or holds other files."""
    if folder.path.exists() and not folder.path.is_dir():
        raise FolderError(f"{folder.path} is a file; a run needs a folder: choose another --out")
    if folder.recipe.exists():
        _refuse_other(folder, recipe_text)
    elif folder.path.exists() and any(not file.name.startswith(".") for file in folder.path.iterdir()):
        raise FolderError(
            f"{folder.path} contains other files and no recipe.toml: choose an empty or new folder with --out"
        )


def _refuse_other(folder: RunFolder, recipe_text: str) -> None:
    there = _flat(untrusted.toml(folder.recipe, FolderError))
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
def locked(path: Path, kind: int) -> Iterator[None]:
    """Only one process at a time, or those alone that share (LOCK_SH); the lock ends with its process, even after SIGKILL.

    On a file system without locks the run goes on with a note. Raises FolderError if another process has the lock.
    """
    with open(path, "a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderError(f"another process is using {path.parent}: wait for it or choose another --out") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            print(f"{path.parent}: {NO_LOCK_NOTE}", file=sys.stderr)
        yield
