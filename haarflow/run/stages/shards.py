"""Shards of a run: processes that know nothing of one another, each drawing its own blocks of the same recipe.

Shard i of N takes every N-th block of a flow's draws, and of the Markov chains whole samplers in turn, since a chain's blocks
follow from one another. All shards may write to one folder at once: a block is a file of its own, renamed into place, and
every shard has its log, `shards/i-of-N.jsonl`, beside it `shards/i-of-N.json` with its code and host. A block does not depend
on who draws it, so that any N, or a run, may draw what another has left.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haarflow.core import files, untrusted
from haarflow.run.build import Plan
from haarflow.run.executors.identity import Identity
from haarflow.run.records import Line, PathLine, SampleLine, ThermodynamicsLine, TuneLine, as_json
from haarflow.run.runfolder import FolderError, RunFolder, locked, read_metrics, refuse_other

Plans = Mapping[str, Plan]


@dataclass(frozen=True)
class Shard:
    """Shard `number` of `count`, counted from 1.

    >>> str(Shard(2, 4)), Shard(2, 4).name
    ('2/4', '2-of-4')
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def name(self) -> str:
        """The name of its files."""
        return f"{self.number}-of-{self.count}"

    def blocks(self, plans: Plans, sampler: str) -> Sequence[int]:
        """Return the numbers of a sampler's blocks that this shard draws."""
        plan = plans[sampler]
        if plan.from_flow:
            return range(self.number - 1, plan.blocks, self.count)
        place = [name for name, other in plans.items() if not other.from_flow].index(sampler)
        return range(plan.blocks) if place % self.count == self.number - 1 else ()


def shard_of(words: str) -> Shard:
    """Return the shard that i/N names; raises ValueError for anything else.

    >>> shard_of("2/4")
    Shard(number=2, count=4)
    """
    number, slash, count = words.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ValueError(f"a shard is i/N with i from 1 to N, such as 2/4, got {words!r}")
    return Shard(int(number), int(count))


@contextlib.contextmanager
def opened(path: str | Path, recipe_text: str, shard: Shard, own: Identity) -> Iterator[RunFolder]:
    """Open the folder for one shard beside others, and write the recipe if it is the first.

    Raises FolderError if the folder belongs to another recipe, to a run or `gather` under way, or to shards of other code, or
    if this shard is already running.
    """
    folder = RunFolder(Path(path), shard.name)
    refuse_other(folder, recipe_text)
    folder.path.mkdir(parents=True, exist_ok=True)
    with locked(folder.path / ".lock", fcntl.LOCK_SH):
        refuse_other(folder, recipe_text)
        if not folder.recipe.exists():
            files.write_text(folder.recipe, recipe_text)
        for inner in (folder.blocks, folder.shards):
            inner.mkdir(exist_ok=True)
        with locked(folder.shards / f".{shard.name}.lock", fcntl.LOCK_EX):
            refuse_other_code(folder, own)
            files.write_json(folder.shards / f"{shard.name}.json", own._asdict())
            yield folder


def refuse_other_code(folder: RunFolder, own: Identity) -> None:
    """Raise FolderError where a shard of the folder was drawn by other code, or with other versions, than this process has."""
    for path in sorted(folder.shards.glob("*-of-*.json")):
        found = untrusted.json_table(path, FolderError)
        other = Identity(
            found.get("code") or {}, found.get("versions") or {}, f"{found.get('host')} (shard {path.stem})"
        )
        if unlike := own.unlike(other):
            raise FolderError(
                f"{folder.path} has a shard of other code or versions, which must not be mixed in one run: {'; '.join(unlike)}; "
                "install the same on both, or choose another --out"
            )


def take_over(folder: RunFolder, other: Path, recipe_text: str) -> None:
    """Copy the blocks and logs of shards that were drawn into another folder of the same recipe.

    Raises FolderError for a folder of another recipe, seed or versions, for a flow that was trained apart, and for a block that
    both have with other numbers.
    """
    there = RunFolder(other)
    if not there.recipe.exists():
        raise FolderError(f"{other} has no recipe.toml: give the --out folders of shards")
    refuse_other(there, recipe_text)
    if there.model.exists() and folder.model.exists() and there.model.read_bytes() != folder.model.read_bytes():
        raise FolderError(
            f"{other} has another trained flow than {folder.path}: train once, and copy the folder before the shards run"
        )
    folder.shards.mkdir(exist_ok=True)
    for path in sorted([*there.blocks.glob("*.safetensors"), *there.shards.glob("*-of-*.json*")]):
        untrusted.check_regular(path, FolderError)
        here, data = folder.path / path.relative_to(other), path.read_bytes()
        if not here.exists():
            files.write_bytes(here, data)
        elif here.read_bytes() != data and path.suffix == ".safetensors":
            raise FolderError(
                f"{path} and {here} are the same block with other numbers: their shards were not of one code and kind of machine"
            )


def merge(folder: RunFolder, samplers: Iterable[str]) -> None:
    """Take the lines of all shards into metrics.jsonl, in the order in which one process would have written them.

    Raises FolderError where shards have fitted the layers of a path to other numbers.
    """
    if not folder.shards.exists():
        return
    places = {name: place for place, name in enumerate(samplers)}
    logs = [read_metrics(path) for path in sorted(folder.shards.glob("*-of-*.jsonl"))]
    lines = [*read_metrics(folder.metrics), *(line for log in logs for line in log)]
    _refuse_other_fits(folder, lines)
    one = {_place(line, places, number): line for number, line in enumerate(lines)}
    files.write_text(folder.metrics, "".join(json.dumps(as_json(one[place])) + "\n" for place in sorted(one)))


def _place(line: Line, samplers: Mapping[str, int], number: int) -> tuple[int, ...]:
    """Where a line stands in a log: what comes before the draws, each sampler's tuning and blocks, what comes after."""
    if isinstance(line, PathLine):
        return (1, samplers.get(line.sampler, -1))
    if isinstance(line, TuneLine):
        return (2, samplers.get(line.sampler, -1))
    if isinstance(line, SampleLine):
        return (2, samplers.get(line.sampler, -1), 1, line.block)
    return (3 if isinstance(line, ThermodynamicsLine) else 0, number)


def _refuse_other_fits(folder: RunFolder, lines: Iterable[Line]) -> None:
    fitted: dict[str, list[float]] = {}
    for line in lines:
        if isinstance(line, PathLine) and fitted.setdefault(line.sampler, line.numbers) != line.numbers:
            raise FolderError(
                f"the shards of {folder.path} have fitted the layers of {line.sampler} to other numbers, as on machines of two kinds: "
                "let `haarflow run` begin the folder, and the shards go on"
            )


def refuse_missing(folder: RunFolder, plans: Plans) -> None:
    """Raise FolderError that names the shards that are missing, and their blocks, unless every block is there."""
    gone = {name: [n for n in range(plan.blocks) if not folder.block(name, n).exists()] for name, plan in plans.items()}
    if not any(gone.values()):
        return
    seen = {path.stem: path for path in folder.shards.glob("*-of-*.json")}
    counts = {int(stem.split("-")[-1]) for stem in seen}
    if len(counts) != 1:
        begun = (
            "no shard has begun there"
            if not seen
            else f"shards of different counts have begun there: {', '.join(sorted(seen))}"
        )
        raise FolderError(f"{folder.path} lacks {_named(gone)}; {begun}: {REMEDY}")
    count = counts.pop()
    shards = {one: _of(one, plans, gone) for one in (Shard(place + 1, count) for place in range(count))}
    lacking = [
        f"shard {one} ({_state(one, seen)}) lacks {_named(of)}" for one, of in shards.items() if any(of.values())
    ]
    raise FolderError(f"{folder.path} is not complete: {'; '.join(lacking)}: {REMEDY}")


REMEDY = "repeat what is missing, or let `haarflow run` draw it in one process"


def _of(shard: Shard, plans: Plans, gone: Mapping[str, list[int]]) -> dict[str, list[int]]:
    return {name: [number for number in shard.blocks(plans, name) if number in gone[name]] for name in gone}


def _state(shard: Shard, seen: Mapping[str, Path]) -> str:
    if shard.name not in seen:
        return "which has not begun"
    return f"begun on {untrusted.json_table(seen[shard.name], FolderError).get('host')}"


def _named(gone: Mapping[str, list[int]]) -> str:
    """Blocks in words, a few of them by number."""
    parts = [(name, numbers) for name, numbers in gone.items() if numbers]
    return ", ".join(
        f"{len(numbers)} blocks of {name}" if len(numbers) > 5 else f"{name} {', '.join(map(str, numbers))}"
        for name, numbers in parts
    )


def drawn(plans: Plans, shard: Shard) -> dict[str, Any]:
    """Return {"shard", "blocks"}: how many blocks of each sampler this shard has drawn."""
    return {"shard": str(shard), "blocks": {name: len(shard.blocks(plans, name)) for name in plans}}
