"""The bench: the same workloads from the same seed on every backend, compared with each other, then timed in turns.

For each subject and workload every backend has a separate process. Each runs the workload once (the compile time); those
whose results agree then take turns, so that all see the same machine, and the median of the rounds is reported. A backend
whose result disagrees is not timed.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from haarflow.benchmarks.harness import agreement, limits, machine, workloads
from haarflow.benchmarks.harness.meter import quartiles
from haarflow.benchmarks.harness.problems import SUBJECTS, Problem
from haarflow.benchmarks.harness.process import Child
from haarflow.run.progress import Progress

FORMAT = 1
ENGINES = ("numpy", "jax", "torch", "cupy")


@dataclass(frozen=True)
class Plan:
    """What is timed: every workload of every subject at every lattice and batch size, on every backend.

    A backend may be followed by a device after a colon: jax, torch:cuda, cupy:cuda:1. Raises ValueError for unknown names.
    """

    subjects: tuple[str, ...] = tuple(SUBJECTS)
    works: tuple[str, ...] = workloads.DEFAULT
    engines: tuple[str, ...] = ("numpy",)
    lattices: tuple[tuple[int, ...], ...] = ((8, 8),)
    batches: tuple[int, ...] = (64,)
    dtype: str = "float64"
    seed: int = 1
    repeats: int = 7
    threads: int = 1

    def __post_init__(self):
        for name in self.works:
            workloads.work(name)
        if self.repeats < 1:
            raise ValueError(f"at least one round is needed, got repeats = {self.repeats}")
        if self.dtype not in agreement.TOLERANCE:
            raise ValueError(f"a precision is one of {', '.join(agreement.TOLERANCE)}, got {self.dtype!r}")
        tuple(self.problems())

    def problems(self) -> Iterable[Problem]:
        """The problems, by subject and then by size."""
        for subject, lattice, batch in itertools.product(self.subjects, self.lattices, self.batches):
            yield Problem(subject, lattice, batch, self.seed, self.dtype)

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON can hold it."""
        return {
            "subjects": list(self.subjects),
            "works": list(self.works),
            "engines": list(self.engines),
            "lattices": [list(lattice) for lattice in self.lattices],
            "batches": list(self.batches),
            "dtype": self.dtype,
            "seed": self.seed,
            "repeats": self.repeats,
            "threads": self.threads,
        }


def discover() -> tuple[tuple[str, ...], dict[str, str]]:
    """Return every backend with each of its devices, and the missing ones with the reason.

    The plain name stands for the CPU if that is the only device.
    """
    with Child() as child:
        found = child.ask("discover", names=list(ENGINES))
    present: list[str] = []
    absent = {name: entry["remedy"] for name, entry in found.items() if entry["remedy"]}
    for name, entry in found.items():
        devices = entry["devices"]
        present += [name] if devices == ["cpu"] else [f"{name}:{device}" for device in devices]
        if name in ("jax", "torch") and devices and "cuda" not in devices:
            absent[f"{name}:cuda"] = f"{name} sees no GPU here"
    return tuple(present), absent


def bench(plan: Plan, absent: dict[str, str] | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Check and time a plan; return the contents of a `--json` file.

    `{"format", "date", "machine", "versions", "recipe", "rates", "absent", "rows"}`; a row has the problem, the workload,
    the backend, a status ("timed", "refused", "skipped", "absent", "failed"), its reason, and the figures if it was timed.
    """
    tasks = list(itertools.product(plan.problems(), plan.works))
    with Child(plan.threads) as child:
        rates = child.ask("machine")
    rows: list[dict[str, Any]] = []
    with (progress or Progress()).task("workloads", len(tasks)) as line:
        for problem, work in tasks:
            rows += rows_of(plan, problem, work, rates)
            line.advance({"refused": sum(row["status"] == "refused" for row in rows)})
    return rounded(
        {
            "format": FORMAT,
            "date": date.today().isoformat(),
            "machine": machine.kind(),
            "versions": machine.versions(),
            "recipe": plan.as_dict(),
            "rates": rates,
            "absent": absent or {},
            "rows": rows,
        }
    )


def rounded(value: Any, digits: int = 4) -> Any:
    """Return a tree with its numbers rounded to some digits, to keep stored results small.

    >>> rounded({"cpu_s": [0.0123456, 3]})
    {'cpu_s': [0.01235, 3]}
    """
    if isinstance(value, dict):
        return {name: rounded(entry, digits) for name, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry, digits) for entry in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def rows_of(plan: Plan, problem: Problem, work: str, rates: dict[str, float]) -> list[dict[str, Any]]:
    """Return a row per backend for one workload on one problem."""
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        children = {engine: stack.enter_context(Child(plan.threads)) for engine in plan.engines}
        words = {"work": work, "problem": problem.as_dict(), "threads": plan.threads}
        first = {
            engine: child.ask("prepare", engine=engine, answer=str(Path(folder) / f"{index}.npz"), **words)
            for index, (engine, child) in enumerate(children.items())
        }
        answers = {
            engine: agreement.load(str(Path(folder) / f"{index}.npz"))
            for index, engine in enumerate(children)
            if "first" in first[engine]
        }
        tolerance = agreement.TOLERANCE[plan.dtype]
        reference, far = agreement.refused(answers, tolerance) if answers else ("", {})
        fit = [engine for engine in answers if engine not in far]
        rounds = [{engine: children[engine].ask("round") for engine in fit} for _ in range(plan.repeats)]
        timed = {engine: figures(first[engine], [turn[engine] for turn in rounds]) for engine in fit}
        for engine in fit:
            timed[engine] |= children[engine].ask("memory")
            timed[engine]["limit"] = limits.reached(problem, work, rates, timed[engine]["item_cpu_s"])
    add_ratios(timed, rounds)
    return [
        {"problem": problem.as_dict(), "work": work, "engine": engine}
        | status_of(engine, first[engine], timed, reference, far, tolerance)
        for engine in plan.engines
    ]


def status_of(
    engine: str, first: dict[str, Any], timed: dict[str, Any], reference: str, far: dict[str, float], tolerance: float
) -> dict[str, Any]:
    """Return a row's status with its figures or its reason."""
    if engine in timed:
        return {"status": "timed", "reason": None, **timed[engine]}
    if engine in far:
        apart = f"it differs from {reference} by {far[engine]:.2g}, more than {tolerance:.0e}"
        reason = apart if math.isfinite(far[engine]) else "not all of its numbers are finite, or their shapes differ"
        return {"status": "refused", "reason": reason}
    status, reason = next(iter(first.items()))
    return {"status": status, "reason": reason}


def figures(first: dict[str, Any], rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Return the figures of one backend: seconds per call, additional seconds of compilation, items per second."""
    low, cpu, high = quartiles([turn["cpu"] for turn in rounds])
    wall = statistics.median(turn["wall"] for turn in rounds)
    return {
        "cpu_s": cpu,
        "cpu_quartiles": [low, high],
        "wall_s": wall,
        "compile_cpu_s": max(0.0, first["first"]["cpu"] - cpu),
        "compile_wall_s": max(0.0, first["first"]["wall"] - wall),
        "calls_a_round": first["calls"],
        "items": first["items"],
        "unit": first["unit"],
        "item_cpu_s": cpu / first["items"],
        "items_per_cpu_s": first["items"] / cpu,
        "items_per_wall_s": first["items"] / wall,
    }


def add_ratios(timed: dict[str, dict[str, Any]], rounds: Sequence[dict[str, Any]]) -> None:
    """Add to every backend its time relative to the fastest: the median of the ratios within a round.

    Backends on the CPU are compared in CPU seconds; all of them, GPUs included, in wall seconds.
    """
    for word, entrants in (("wall", list(timed)), ("cpu", [engine for engine in timed if "cuda" not in engine])):
        if not entrants:
            continue
        best = min(entrants, key=lambda engine: timed[engine][f"{word}_s"])
        for engine in entrants:
            ratios = [turn[engine][word] / turn[best][word] for turn in rounds]
            timed[engine][f"{word}_ratio"] = statistics.median(ratios)
