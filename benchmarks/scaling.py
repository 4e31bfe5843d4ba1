"""Time and memory against volume and against batch, with fitted exponents.

    python -m haarflow.benchmarks.scaling [--subjects phi4 u1] [--works force,hmc,forward] [--engine jax]
        [--lattices 8x8 16x16 ...] [--batches 16 64 ...] [--limit-mib 8000] [--json FILE]

Lattices at one batch, batches on one lattice; each size in a process of its own (the bench's workers). A series ends before
the size whose memory would pass the limit, foretold from the last two. The exponent is the slope of a straight line
through the logarithms of the larger half of the sizes: the smaller ones measure the call itself.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy

from haarflow.benchmarks.bench import Plan, rows_of
from haarflow.benchmarks.crew import Child
from haarflow.benchmarks.problems import Problem


def exponent(sizes, values):
    """The slope of log values against log sizes over the larger half.

    >>> round(exponent([1, 2, 4, 8], [5.0, 5.0, 16.0, 32.0]), 3)
    1.339
    """
    half = max(2, (len(sizes) + 1) // 2)
    x, y = numpy.log(sizes[-half:]), numpy.log(numpy.maximum(values[-half:], 1e-12))
    return float(numpy.polyfit(x, y, 1)[0])


def series(plan, problems, sizes, work, rates, limit_mib):
    """The timed rows of one work over growing sizes, up to the memory that is allowed."""
    found = []
    for problem, size in zip(problems, sizes, strict=True):
        if found and found[-1]["work_mib"] * size / found[-1]["size"] > limit_mib:
            break
        (row,) = rows_of(plan, problem, work, rates)
        if row["status"] != "timed":
            print(f"{row['status']} {work} of {problem.subject}: {row['reason']}", flush=True)
            break
        found.append(row | {"size": size})
        print(
            f"  {problem.subject} {work} {'x'.join(map(str, problem.lattice))} batch {problem.batch}: "
            f"{1e3 * row['cpu_s']:.3g} CPU ms, {row['work_mib']:.0f} MiB",
            flush=True,
        )
    return found


def summary(subject, work, engine, against, names, found):
    """The exponents of a series, and its largest member."""
    sizes, times = [row["size"] for row in found], [row["cpu_s"] for row in found]
    memory = [row["work_mib"] for row in found]
    return {
        "subject": subject,
        "work": work,
        "engine": engine,
        "against": against,
        "from": names[0],
        "to": names[len(found) - 1],
        "time_exponent": exponent(sizes, times),
        "memory_exponent": exponent(sizes, memory) if memory[-1] > 64.0 else None,
        "largest_cpu_s": times[-1],
        "largest_mib": memory[-1],
        "series": [[row["size"], row["cpu_s"], row["work_mib"]] for row in found],
    }


def measure(options):
    """The summaries of all series."""
    lattices = [tuple(int(part) for part in word.split("x")) for word in options.lattices]
    batches, middle = options.batches, options.batches[0]
    plan = Plan(tuple(options.subjects), tuple(options.works.split(",")), (options.engine,), repeats=options.repeats)
    with Child() as child:
        rates = child.ask("machine")
    for subject in options.subjects:
        for work in plan.works:
            volumes = [math.prod(lattice) for lattice in lattices]
            problems = [Problem(subject, lattice, middle) for lattice in lattices]
            found = series(plan, problems, volumes, work, rates, options.limit_mib)
            if len(found) > 1:
                yield summary(subject, work, options.engine, f"volume, batch {middle}", options.lattices, found)
            problems = [Problem(subject, lattices[0], batch) for batch in batches]
            found = series(plan, problems, batches, work, rates, options.limit_mib)
            if len(found) > 1:
                yield summary(
                    subject, work, options.engine, f"batch, {options.lattices[0]}", [str(b) for b in batches], found
                )


def main():
    """Measure, print, and store where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subjects", nargs="+", default=["phi4", "u1"])
    parser.add_argument("--works", default="force,hmc,heatbath,forward,train")
    parser.add_argument("--engine", default="jax")
    parser.add_argument("--lattices", nargs="+", default=["8x8", "16x16", "32x32", "64x64", "128x128", "256x256"])
    parser.add_argument("--batches", nargs="+", type=int, default=[16, 64, 256, 1024, 4096])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit-mib", type=float, default=8000.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for row in measure(options):
        rows.append(row)
        memory = "" if row["memory_exponent"] is None else f", memory ~ size^{row['memory_exponent']:.2f}"
        print(
            f"{row['subject']} {row['work']} on {row['engine']} against {row['against']} ({row['from']} to {row['to']}): "
            f"time ~ size^{row['time_exponent']:.2f}{memory}",
            flush=True,
        )
    if options.json:
        from haarflow.benchmarks.stored import write

        recipe = {name: value for name, value in vars(options).items() if name != "json"}
        write(options.json, "scaling", recipe, rows)


if __name__ == "__main__":
    main()
