"""Cost per site of SU(3) in four dimensions against the volume, at equal batch x volume, and memory per configuration.

    python -m haarflow.benchmarks.studies.growth_sun [--works hmc heatbath forward] [--extents 4 6 8 16] [--sites 65536]
        [--engine jax] [--repeats 3] [--turns 1] [--json FILE]

Works are the bench's: a trajectory of 10 leapfrog steps, a heat bath sweep, the trivialising flow of two steps with its
log_det. Each size runs in its own process (one thread, process CPU seconds, median of the calls after the first); memory is
the peak of a call beyond its inputs, compiled code included, divided by the number of configurations. The batch is
`sites` over the volume, rounded; the bar is on the time per site from 8^4 to 16^4. Large lattices depend on memory bandwidth
that other processes share: with `--turns` all sizes are measured that many times in turn, and the ratio is their median.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from haarflow.benchmarks.harness.bench import Plan, rows_of
from haarflow.benchmarks.harness.problems import Problem
from haarflow.benchmarks.harness.process import Child
from haarflow.benchmarks.studies.hmc_u1 import median_interval


def measure(work, extents, sites, engine, repeats):
    """A row for each extent."""
    plan = Plan(("su3",), (work,), (engine,), repeats=repeats)
    with Child() as child:
        rates = child.ask("machine")
    for extent in extents:
        problem = Problem("su3", (extent,) * 4, max(1, round(sites / extent**4)))
        (row,) = rows_of(plan, problem, work, rates)
        if row["status"] != "timed":
            raise RuntimeError(f"{work} of {problem} was {row['status']}: {row['reason']}")
        yield {
            "work": work,
            "engine": engine,
            "extent": extent,
            "batch": problem.batch,
            "us_a_site": 1e6 * row["cpu_s"] / (problem.batch * extent**4),
            "mib_a_configuration": row["work_mib"] / problem.batch,
            "mib": row["work_mib"],
        }


def summary(turns):
    """A row for each extent: medians over the turns, and the median of the ratios to 8^4 (or the first) in each of them."""
    base = [next((row for row in turn if row["extent"] == 8), turn[0]) for turn in turns]
    for same in zip(*turns, strict=True):
        ratios = [row["us_a_site"] / first["us_a_site"] for row, first in zip(same, base, strict=True)]
        medians = {
            name: statistics.median(row[name] for row in same) for name in ("us_a_site", "mib_a_configuration", "mib")
        }
        yield {**same[0], **medians, "over_8": statistics.median(ratios), "interval": list(median_interval(ratios))}


LINE = "{work:10}{extent:6d}^4{batch:7d}{us_a_site:13.3f}{mib_a_configuration:19.2f}{mib:12.0f}"


def main():
    """Measure, print, and store the results if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--works", nargs="+", default=["hmc", "heatbath", "forward"])
    parser.add_argument("--extents", type=int, nargs="+", default=[4, 6, 8, 16])
    parser.add_argument("--sites", type=int, default=65536)
    parser.add_argument("--engine", default="jax")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(
        f"{'work':10}{'lattice':>8}{'batch':>7}{'CPU us/site':>13}{'MiB/configuration':>19}{'MiB in all':>12}",
        flush=True,
    )
    rows = []
    for work in options.works:
        turns: list[list[dict]] = []
        for _ in range(options.turns):
            turns.append([])
            for row in measure(work, options.extents, options.sites, options.engine, options.repeats):
                turns[-1].append(row)
                print(LINE.format(**row), flush=True)
        rows += summary(turns)
        for row in rows[-len(options.extents) :]:
            low, high = row["interval"]
            print(
                f"{work}: {row['extent']}^4 over 8^4 {row['over_8']:.2f} a site ({low:.2f} to {high:.2f})", flush=True
            )
    if options.json:
        from haarflow.benchmarks.harness.results import write

        recipe = {name: value for name, value in vars(options).items() if name != "json"}
        write(options.json, "growth_sun", recipe, rows)


if __name__ == "__main__":
    main()
