"""Compare the speed of two checkouts of this project: has the new one become slower?

    python -m haarflow.benchmarks.studies.checkouts OLD NEW [--subjects u1 su3] [--works hmc train] [--backends numpy jax]
                                            [--turns 9] [--json FILE]

A row is one workload of `haarflow bench` for one theory and one backend, on a small lattice, on one thread. Each checkout
runs in its own process with only its own folder on the path; after both have compiled they take turns, and the ratio of
process CPU seconds, new over old, is taken within each turn. A row shows the median over its turns with the 95% interval
of that median by bootstrap; a row whose whole interval lies above ROW_BAR is measured again in fresh processes, and both
measurements are pooled. The exit code is 1 if such a row stays above the bar, if the geometric mean over all rows is above
MEAN_BAR, or if one checkout fails at what the other can do.

All rows take about ten minutes on two quiet cores, most of it compilation; nine turns last about two seconds a row.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from haarflow.benchmarks.harness.process import Child

MEAN_BAR, ROW_BAR = 1.05, 1.15
SUBJECTS = ("phi4", "u1", "su2", "su3")
WORKS = ("action", "force", "hmc", "heatbath", "forward", "inverse", "train", "metropolis")
BACKENDS = ("numpy", "jax", "torch")
LATTICES = {"su3": [4, 4]}  # of the others [8, 8]
BATCH, RESAMPLES = 64, 2000
SKIPPED = ("skipped", "absent")


class Row(NamedTuple):
    """CPU seconds of a call in both checkouts (medians), and new over old in every turn."""

    name: str
    old: float
    new: float
    ratios: list[float]

    @property
    def ratio(self) -> float:
        """The median of new over old."""
        return float(numpy.median(self.ratios))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the median."""
        return interval(self.ratios)

    @property
    def slower(self) -> bool:
        """Whether the whole interval lies above the bar."""
        return self.interval[0] > ROW_BAR


class Failed(NamedTuple):
    """A row that failed in one of the checkouts."""

    name: str
    reason: str


def interval(ratios: list[float]) -> tuple[float, float]:
    """Return the 95% interval of the median by bootstrap, from a fixed seed.

    >>> interval([1.0, 1.0, 1.0])
    (1.0, 1.0)
    """
    drawn = numpy.random.default_rng(1).choice(ratios, (RESAMPLES, len(ratios)))
    low, high = numpy.quantile(numpy.median(drawn, axis=1), (0.025, 0.975))
    return float(low), float(high)


def mean(rows: list[Row]) -> tuple[float, float, float]:
    """Return the geometric mean of the rows' ratios with its 95% interval, resampling the turns of every row.

    >>> mean([Row("a", 1.0, 2.0, [2.0, 2.0]), Row("b", 2.0, 1.0, [0.5, 0.5])])
    (1.0, 1.0, 1.0)
    """
    generator = numpy.random.default_rng(2)
    logs = numpy.zeros(RESAMPLES)
    for row in rows:
        drawn = generator.choice(row.ratios, (RESAMPLES, len(row.ratios)))
        logs += numpy.log(numpy.median(drawn, axis=1)) / len(rows)
    low, high = numpy.exp(numpy.quantile(logs, (0.025, 0.975)))
    return math.exp(sum(math.log(row.ratio) for row in rows) / len(rows)), float(low), float(high)


def measure(old: Path, new: Path, subject: str, work: str, backend: str, turns: int) -> Row | Failed | None:
    """Return a row; None if, in both checkouts, the workload does not apply to the theory or the backend is missing."""
    name = f"{subject} {work} {backend}"
    problem = {"subject": subject, "lattice": LATTICES.get(subject, [8, 8]), "batch": BATCH, "seed": 1}
    order = {"engine": backend, "work": work, "problem": {**problem, "dtype": "float64"}, "threads": 1}
    with tempfile.TemporaryDirectory() as folder, Child(checkout=old) as one, Child(checkout=new) as other:
        for index, child in enumerate((one, other)):
            child.send("prepare", **order, answer=str(Path(folder) / f"{index}.npz"))
        first = [one.answer(), other.answer()]
        if all(any(which in answer for which in SKIPPED) for answer in first):
            return None
        for which, answer in zip(("old", "new"), first, strict=True):
            if "first" not in answer:
                return Failed(name, f"{which}: {next(iter(answer.values()))}")
        seconds = [taken(one, other, index) for index in range(turns)]
    olds, news = (numpy.asarray(column) for column in zip(*seconds, strict=True))
    return Row(name, float(numpy.median(olds)), float(numpy.median(news)), (news / olds).tolist())


def taken(old: Child, new: Child, turn: int) -> tuple[float, float]:
    """Return the CPU seconds of both in one turn; they alternate in going first."""
    order = (old, new) if turn % 2 == 0 else (new, old)
    seconds = {child: child.ask("round")["cpu"] for child in order}
    return seconds[old], seconds[new]


def measured(options: argparse.Namespace) -> Iterator[Row | Failed]:
    """Measure and print row by row; rows that look slower are measured twice."""
    for subject, work, backend in itertools.product(options.subjects, options.works, options.backends):
        row = measure(options.old, options.new, subject, work, backend, options.turns)
        if isinstance(row, Row) and row.slower:
            again = measure(options.old, options.new, subject, work, backend, options.turns)
            row = row._replace(ratios=row.ratios + again.ratios) if isinstance(again, Row) else again
        if row is not None:
            print(line(row), flush=True)
            yield row


def line(row: Row | Failed) -> str:
    """Return a row as a line of text.

    >>> line(Row("u1 hmc jax", 0.001, 0.0011, [1.1, 1.1]))
    'u1 hmc jax               1.000      1.100    1.100 (1.100 to 1.100)'
    """
    if isinstance(row, Failed):
        return f"{row.name:22}FAILED: {row.reason}"
    low, high = row.interval
    flag = f"  SLOWER than {ROW_BAR}" if row.slower else ""
    return f"{row.name:22}{1e3 * row.old:8.3f}{1e3 * row.new:11.3f}{row.ratio:9.3f} ({low:.3f} to {high:.3f}){flag}"


def verdict(outcomes: list[Row | Failed]) -> int:
    """Print the geometric mean and the rows above the bar; return the exit code."""
    rows = [row for row in outcomes if isinstance(row, Row)]
    if not rows:
        print("no row was measured: check the paths of the checkouts and the backends")
        return 1
    middle, low, high = mean(rows)
    slower = [row.name for row in rows if row.slower]
    failed = [row.name for row in outcomes if isinstance(row, Failed)]
    print(f"geometric mean of {len(rows)} rows: {middle:.3f} ({low:.3f} to {high:.3f}), bar {MEAN_BAR}")
    print(f"rows above {ROW_BAR} with their whole interval: {', '.join(slower) or 'none'}")
    print(f"rows that failed: {', '.join(failed) or 'none'}")
    return int(middle > MEAN_BAR or bool(slower) or bool(failed))


def main() -> int:
    """Measure all rows, print them and the verdict, and store them if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=lambda path: Path(path).resolve(strict=True))
    parser.add_argument("new", type=lambda path: Path(path).resolve(strict=True))
    for name, values in (("subjects", SUBJECTS), ("works", WORKS), ("backends", BACKENDS)):
        parser.add_argument(f"--{name}", nargs="+", default=values, choices=values)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    begin = time.perf_counter()
    print(f"{'row':22}{'old ms':>8}{'new ms':>11}{'new/old (95% interval)':>25}")
    outcomes = list(measured(options))
    print(f"{time.perf_counter() - begin:.0f} s")
    if options.json:
        store(options, outcomes)
    return verdict(outcomes)


def store(options: argparse.Namespace, outcomes: list[Row | Failed]) -> None:
    """Write the rows with the machine and the versions."""
    from haarflow.benchmarks.harness.results import write

    rows: list[dict[str, Any]] = [
        {
            "row": row.name,
            "old_cpu_s": row.old,
            "new_cpu_s": row.new,
            "ratio": row.ratio,
            "interval": list(row.interval),
        }
        for row in outcomes
        if isinstance(row, Row)
    ]
    write(options.json, "checkouts", {"turns": options.turns, "batch": BATCH}, rows)


if __name__ == "__main__":
    sys.exit(main())
