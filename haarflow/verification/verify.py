"""`haarflow.verify`: every law that applies to a subject, on every backend asked for, in one table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from haarflow.backends import members
from haarflow.core.laws.law import VOID, Given, Law
from haarflow.core.laws.strategies import PROFILES
from haarflow.flows.laws.cache import remembering
from haarflow.flows.sampling.farm import farm, processes
from haarflow.run.own import NOTHING, Own
from haarflow.run.progress import Progress
from haarflow.verification.classes import representatives
from haarflow.verification.entry import Entry
from haarflow.verification.harness import Result, attempt, barrier, check, result_of
from haarflow.verification.objects import LAWS
from haarflow.verification.subjects import entries

FEW = 8  # fewer blocks than this are split law by law, so that progress is visible and processes share them


class Findings(NamedTuple):
    """The results of the laws that apply, and of those that do not, with the reasons."""

    results: tuple[Result, ...]
    skipped: tuple[Result, ...]

    @property
    def failed(self) -> tuple[Result, ...]:
        """The results that failed."""
        return tuple(result for result in self.results if not result.passed)

    def as_dict(self) -> dict[str, Any]:
        """Return `{"results": [...], "failed": n, "does_not_apply": [...]}`, JSON-able."""
        words = ("law", "object", "backend", "dtype", "residual", "tolerance", "passed", "example")
        rows = [{word: result._asdict()[word] for word in words} for result in self.results]
        skipped = [{"law": r.law, "object": r.object, "backend": r.backend, "reason": r.reason} for r in self.skipped]
        return {"results": rows, "failed": len(self.failed), "does_not_apply": skipped}


def verify(
    subject: Any = None,
    backend: str | Sequence[str] = "all",
    dtype: str = "float64",
    profile: str = "quick",
    laws: str | Sequence[str] = (),
    given: Given | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    own: Own = NOTHING,
) -> Findings:
    """Check a subject against the laws of its kind and return the results.

    `subject` is a flow, model, prior, theory, kernel or group; "module:name" of one; a model file; a recipe; the name of an
    object of the library; or None for the whole library. `backend` is "all" (those present), a name or names
    (`backends.members`), `dtype` a precision, `profile` quick, ci or deep, `laws` the names of laws (default: all), `jobs`
    the number of processes. With `given` only that example is checked, in the form that a failure prints. `own` names a
    custom theory and flow. Raises ValueError for an unknown name.

    >>> from haarflow.core.groups.additive import U1
    >>> findings = verify(U1(), backend="numpy")
    >>> len(findings.results) > 3, findings.failed
    (True, ())
    """
    if profile not in PROFILES:
        raise ValueError(f"a profile is one of {', '.join(PROFILES)}, got {profile!r}")
    found = entries(subject, own)
    wanted = _law_names(laws, found)
    if given is not None:
        names = _members(backend)
        return _divided(
            _one(entry, law, name, dtype, given) for entry in found for law in _laws(entry, wanted) for name in names
        )
    travels = jobs > 1 and (subject is None or isinstance(subject, str))  # an object is checked in this process
    with processes(jobs) if travels else nullcontext() as executor:
        blocks = blocks_of(found, _members(backend, executor), profile, wanted)
        task = _Task(subject if travels else found, blocks, dtype, profile, wanted, own)
        return _divided(_results(task, executor, 4 * jobs, progress or Progress()))


def _results(task: _Task, executor: Executor | None, ahead: int, progress: Progress) -> list[Result]:
    """The results of all blocks of a task, in order; the progress line names the block that is awaited."""
    results: list[Result] = []
    for name in dict.fromkeys(block.expensive for block in task.blocks if block.expensive):
        progress.say(f"{name} comes last: it differentiates many components, which may take minutes")
    with progress.task("laws", len(task.blocks)) as line:
        following = [block.title for block in task.blocks[1:]] + ["laws"]
        line.name = task.blocks[0].title if task.blocks else line.name
        line.show({"checks": 0, "failed": 0})
        for number, part in farm(task, range(len(task.blocks)), executor, ahead):
            results += part
            line.name = following[number]
            line.advance({"checks": len(results), "failed": sum(result.passed is False for result in results)})
    return results


@dataclass(frozen=True)
class _Task:
    """Called with an index it runs that block: laws of one entry on one backend.

    `source` is the list of entries, or for a worker in another process the name that they are made from.
    """

    source: list[Entry] | str | None
    blocks: tuple[_Block, ...]
    dtype: str
    profile: str
    laws: tuple[str, ...]
    own: Own = NOTHING

    def __call__(self, number: int) -> list[Result]:
        _, index, name, drawn, laws, _ = self.blocks[number]
        every = self.source if isinstance(self.source, list) else _named(self.source, self.own)
        entry, record = every[index], members.member(name)
        run = tuple(dict.fromkeys(block.name for block in self.blocks))
        words = (entry, record, self.dtype, self.profile, name, drawn, run)
        asked = _laws(entry, laws or self.laws)
        wall = barrier(LAWS[entry.kind], entry, self.dtype)
        with remembering():
            results = [check(law, *words, barrier=wall) for law in asked]
        return results if wall is None else [_counted(result, wall, self.laws) for result in results]


def _counted(result: Result, wall: Result, asked: tuple[str, ...]) -> Result:
    """A result blocked by a law that comes first: skipped, or a failure if that law was not itself requested."""
    unrequested = bool(asked) and wall.law not in asked
    if not unrequested or result.passed is not None or not result.reason.startswith(wall.law):
        return result
    return result._replace(residual=math.inf, tolerance=0.0, passed=False)


@lru_cache(maxsize=1)
def _named(source: str | None, own: Own) -> list[Entry]:
    """The entries of a name, made once in a worker."""
    return entries(source, own)


class _Block(NamedTuple):
    """A block: its title, the index of its entry and its backend; `drawn` if Hypothesis draws examples besides the plain one;
    its `laws`, empty for all, and which of them is `expensive`.
    """

    title: str
    entry_index: int
    name: str
    drawn: bool
    laws: tuple[str, ...] = ()
    expensive: str = ""


def blocks_of(
    found: list[Entry], names: Sequence[str], profile: str = "quick", laws: Sequence[str] = ()
) -> tuple[_Block, ...]:
    """Return the blocks of some entries on some backends: all laws of an entry per block, or one law if they are fewer than FEW.

    >>> from haarflow.core.groups.additive import U1
    >>> [block.laws for block in blocks_of(entries(U1()), ["numpy"])][:2]
    [('closure',), ('associativity',)]
    """
    blocks = tuple(_blocks(found, names, profile))
    return blocks if len(blocks) >= FEW else tuple(_law_by_law(blocks, found, laws))


def _blocks(found: list[Entry], names: Sequence[str], profile: str) -> Iterator[_Block]:
    """The blocks, grouped by backend so that a worker loads few backends.

    The quick profile draws examples for enough entries to cover every class; the others use the plain one on NumPy.
    """
    few = representatives(found) if profile == "quick" else found
    for name in names:
        for index, entry in enumerate(found):
            if _belongs(entry, name) and (name == "numpy" or entry in few):
                yield _Block(f"{entry.name} on {name}", index, name, entry in few)


def _law_by_law(blocks: Iterable[_Block], found: list[Entry], wanted: Sequence[str]) -> Iterator[_Block]:
    """The blocks of a few objects with one law each, the expensive ones last, so that nothing waits for them."""
    for block in blocks:
        entry = found[block.entry_index]
        obj = entry.make(entry.lattices[0])
        slow = {law.name for law in _laws(entry, wanted) if _is_expensive(law, obj)}
        for law in sorted(_laws(entry, wanted), key=lambda law: law.name in slow):
            title = f"{law.name} of {block.title}"
            yield block._replace(title=title, laws=(law.name,), expensive=law.name if law.name in slow else "")


def _is_expensive(law: Law, obj: Any) -> bool:
    """Whether an example of a law may take minutes; an error of the object is reported by the law itself."""
    try:
        return law.applies(obj) is None and law.expensive(obj)
    except Exception:
        return False


def _belongs(entry: Entry, name: str) -> bool:
    """Whether an entry is checked on a backend: the entry of a backend only on itself."""
    return entry.kind != "backend" or entry.name == name


def _one(entry: Entry, law: Law, name: str, dtype: str, given: Given) -> Result:
    """The result of one example."""
    obj = entry.make(given.lattice)
    reason = law.applies(obj)
    if reason is not None:
        return Result(law.name, entry.name, name, dtype, None, None, None, reason)
    verdict, said = attempt(law, obj, replace(given, backend=members.member(name), dtype=dtype))
    if verdict is not None and verdict.void:
        return Result(law.name, entry.name, name, dtype, None, None, None, verdict.reason.removeprefix(VOID))
    return result_of(law, entry, name, dtype, verdict, said)


def _laws(entry: Entry, wanted: Sequence[str]) -> list[Law]:
    return [law for law in LAWS[entry.kind] if not wanted or law.name in wanted]


def _law_names(laws: str | Sequence[str], found: list[Entry]) -> tuple[str, ...]:
    wanted = (laws,) if isinstance(laws, str) else tuple(laws)
    known = sorted({law.name for entry in found for law in LAWS[entry.kind]})
    for name in wanted:
        if name not in known:
            raise ValueError(f"there is no law {name!r} for this subject; the laws are {', '.join(known)}")
    return wanted


def _members(backend: str | Sequence[str], executor: Executor | None = None) -> tuple[str, ...]:
    """The names of the backends requested; workers find which are present, because they load the backends anyway."""
    if backend == "all":
        reasons = (executor.map if executor else map)(members.absence, members.OURS)
        return tuple(name for name, reason in zip(members.OURS, reasons, strict=True) if reason is None)
    names = tuple(backend.split(",")) if isinstance(backend, str) else tuple(backend)
    for name in names:
        members.member(name)
    return names


def _divided(results: Iterable[Result]) -> Findings:
    all_of_them = tuple(results)
    return Findings(
        tuple(result for result in all_of_them if result.passed is not None),
        tuple(result for result in all_of_them if result.passed is None),
    )
