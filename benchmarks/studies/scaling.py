"""Time and memory against volume, to the largest lattice that fits, and against batch, with fitted exponents.

    python -m haarflow.benchmarks.studies.scaling [--series u1:force u1:forward phi4:force su3:hmc] [--engine jax]
        [--lattices 8x8 16x16 ...] [--batch 1] [--batches 16 64 ...] [--limit-mib 8000] [--repeats 3] [--json FILE]

Two series for each subject and work: lattices at one batch, batches on the first lattice; each size in its own process
(the workers of the bench). Without `--lattices` the volume doubles, one extent after the other, until the memory of a process
would exceed the limit, by default the share SHARE of the free memory. The memory of the next size is extrapolated by the
straight line through the last two. The exponent is the slope of a straight line through the logarithms of the larger half
of the sizes: the smaller ones are dominated by the overhead of a call. The memory is what a call adds.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy

from haarflow.benchmarks.harness import machine
from haarflow.benchmarks.harness.bench import Plan, rows_of
from haarflow.benchmarks.harness.problems import Problem
from haarflow.benchmarks.harness.process import Child
from haarflow.benchmarks.harness.results import write

SHARE = 0.6  # of the memory that is free, for a process at its largest
MEASURED = 64.0  # MiB: below, a call's memory is lost in what the process holds anyway
START = {"phi4": (32, 32), "u1": (32, 32), "su2": (4, 4, 4, 4), "su3": (4, 4, 4, 4)}
SERIES = ("u1:force", "u1:forward", "phi4:force", "su3:hmc")


def doubled(lattice: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield lattices that double in volume, starting from one: the last of the shortest extents doubles.

    >>> from itertools import islice
    >>> list(islice(doubled((4, 4)), 4))
    [(4, 4), (4, 8), (8, 8), (8, 16)]
    """
    while True:
        yield lattice
        last = max(axis for axis, extent in enumerate(lattice) if extent == min(lattice))
        lattice = tuple(extent * (1 + (axis == last)) for axis, extent in enumerate(lattice))


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The slope of log values against log sizes over the larger half.

    >>> round(exponent([1, 2, 4, 8], [5.0, 5.0, 16.0, 32.0]), 3)
    1.0
    """
    half = max(2, (len(sizes) + 1) // 2)
    x, y = numpy.log(sizes[-half:]), numpy.log(numpy.maximum(values[-half:], 1e-12))
    return float(numpy.polyfit(x, y, 1)[0])


def foretold(sizes: Sequence[float], values: Sequence[float], size: float) -> float:
    """Extrapolate to a size by the straight line through the last two, or in proportion to a single one.

    >>> foretold([1, 2], [300.0, 400.0], 4), foretold([2], [100.0], 4)
    (600.0, 200.0)
    """
    if len(sizes) == 1:
        return values[0] * size / sizes[0]
    slope = (values[-1] - values[-2]) / (sizes[-1] - sizes[-2])
    return values[-1] + max(slope, 0.0) * (size - sizes[-1])


def series(
    plan: Plan, problems: Iterable[tuple[float, Problem]], work: str, rates: dict[str, float], limit_mib: float
) -> tuple[list[dict[str, Any]], float | None]:
    """The timed rows of one work over growing sizes, and the MiB extrapolated for the first size that does not fit."""
    rows: list[dict[str, Any]] = []
    for size, problem in problems:
        held = foretold([row["size"] for row in rows], [row["process_mib"] for row in rows], size) if rows else 0.0
        if held > limit_mib:
            return rows, held
        (row,) = rows_of(plan, problem, work, rates)
        if row["status"] != "timed":
            print(f"{row['status']} {work} of {problem.subject}: {row['reason']}", flush=True)
            break
        rows.append(row | {"size": size})
        print(
            f"  {problem.subject} {work} {_by(problem.lattice)} batch {problem.batch}: {1e3 * row['cpu_s']:.3g} CPU ms, "
            f"{row['work_mib']:.0f} MiB beyond its inputs, {row['process_mib']:.0f} MiB in all",
            flush=True,
        )
    return rows, None


def summary(against: str, rows: Sequence[dict[str, Any]], next_mib: float | None) -> dict[str, Any]:
    """The exponents of a series, its largest member, and the memory that the next one would need."""
    sizes, times = [row["size"] for row in rows], [row["cpu_s"] for row in rows]
    memory, ends = [row["work_mib"] for row in rows], [row["problem"] for row in (rows[0], rows[-1])]
    by_volume = against.startswith("volume")
    names = [_by(problem["lattice"]) if by_volume else str(problem["batch"]) for problem in ends]
    large = [(size, held) for size, held in zip(sizes, memory, strict=True) if held > MEASURED]
    return {
        "subject": rows[0]["problem"]["subject"],
        "work": rows[0]["work"],
        "engine": rows[0]["engine"],
        "against": against,
        "from": names[0],
        "to": names[1],
        "time_exponent": exponent(sizes, times),
        "memory_exponent": exponent(*zip(*large, strict=True)) if len(large) > 1 else None,
        "largest_cpu_s": times[-1],
        "largest_mib": memory[-1],
        "process_mib": rows[-1]["process_mib"],
        "next_mib": next_mib,
        "series": [[row["size"], row["cpu_s"], row["work_mib"], row["process_mib"]] for row in rows],
    }


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The summaries of all series."""
    asked = [tuple(int(part) for part in name.split("x")) for name in options.lattices]
    with Child() as child:
        rates = child.ask("machine")
    for subject, work in (name.split(":") for name in options.series):
        plan = Plan((subject,), (work,), (options.engine,), repeats=options.repeats)
        lattices: Iterator[tuple[int, ...]] = iter(asked) if asked else doubled(START[subject])
        first = next(lattices)
        volumes = ((math.prod(one), Problem(subject, one, options.batch)) for one in chain([first], lattices))
        batches = ((batch, Problem(subject, first, batch)) for batch in options.batches)
        for against, problems in ((f"volume, batch {options.batch}", volumes), (f"batch, {_by(first)}", batches)):
            rows, next_mib = series(plan, problems, work, rates, options.limit_mib)
            if len(rows) > 1:
                yield summary(against, rows, next_mib)


def _by(lattice: Sequence[int]) -> str:
    return "x".join(map(str, lattice))


def main() -> None:
    """Measure, print, and store the results if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", nargs="+", default=list(SERIES), metavar="SUBJECT:WORK")
    parser.add_argument("--engine", default="jax")
    parser.add_argument("--lattices", nargs="+", default=[], help="by default the volume doubles as long as it fits")
    parser.add_argument("--batch", type=int, default=1, help="of the series of lattices")
    parser.add_argument("--batches", nargs="+", type=int, default=[16, 64, 256, 1024])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit-mib", type=float, help=f"of a process; by default {SHARE:.0%} of the memory free now")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.limit_mib = options.limit_mib or SHARE * machine.free_mib()
    recipe = {name: value for name, value in vars(options).items() if name != "json"}
    rows = []
    for row in measure(options):
        rows.append(row)
        memory = "" if row["memory_exponent"] is None else f", memory ~ size^{row['memory_exponent']:.2f}"
        print(
            f"{row['subject']} {row['work']} on {row['engine']} against {row['against']} ({row['from']} to {row['to']}): "
            f"time ~ size^{row['time_exponent']:.2f}{memory}",
            flush=True,
        )
        if options.json:  # after each series: they take long
            write(options.json, "scaling", recipe, rows)


if __name__ == "__main__":
    main()
