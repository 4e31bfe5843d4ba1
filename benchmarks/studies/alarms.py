"""Whether warnings come when numbers are wrong, and stay away when they are right: counts over the seeds of whole runs.

    python -m haarflow.benchmarks.studies.alarms [--cases wells u1-tiny ...] [--seeds 10] [--runs 300] [--json FILE] [--folder RUNS]

Wrong numbers: `wells`, a flow for phi^4 in two wells that leaves out a part of the target; `one-well`, a flow that only draws
from one of them, beside HMC and alone; `two wells, untreated` and `phi4-two-wells`, the shipped recipe without and with its cure;
`u1-freezing`, HMC and heat bath in which the charge is frozen, and a convolutional flow
of which a hundredth of the proposals is accepted. Each of --seeds runs is flagged if every sampler whose numbers are wrong has
a warning. Right numbers: the sweep flow of u1-freezing, the other shipped recipes with their own seeds, and u1-tiny with one
seed after another until --runs of them had an ESS above 0.5. A false alarm is a sampler with warnings among them, or a
verdict that bids not to trust the run. Notes at single numbers, which say how well an error bar is known, are
counted apart. Intervals are Wilson's, 95%.

The seeds of a case run in one process and share their compiled programs. --json keeps a row for each run, and an
interrupted command goes on from them; --folder keeps the runs themselves, which then go on from their last block.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

from haarflow.benchmarks.harness.bench import rounded
from haarflow.benchmarks.harness.results import write
from haarflow.core.statistics.coverage import lower_limit
from haarflow.pipeline import run
from haarflow.report.verdict import pull, verdict
from haarflow.run import recipes

SIGMAS = 1.96  # of the intervals
GOOD = 0.5  # ESS above which the weights of u1-tiny are right
MOST = 6  # false alarms over all right numbers

WELLS: dict[str, Any] = {
    "name": "wells",
    "lattice": [4, 4],
    "theory": {"name": "phi4", "m2": -4.0, "lam": 1.0},
    "flow": {"kind": "convolutional"},
    "train": {"steps": 300, "batch": 128, "lr": 5e-3, "clip": 1.0},
    "samplers": {
        "flow-metropolis": {"draws": 9000, "warmup": 1000},
        "flow-reweighting": {"draws": 8000},
        "hmc": {"chains": 16, "draws": 500, "warmup": 100, "step_size": 0.06},
    },
}
ONE_WELL = ("flow.kind=tutorial", "flow.layers=8", "train.steps=200", "train.lr=0.003")
FLOWS = ("flow-metropolis", "flow-reweighting")


class Case(NamedTuple):
    """A recipe, the samplers whose numbers are wrong, and those whose numbers are right (None: all)."""

    name: str
    recipe: str | Mapping[str, Any]
    overrides: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    right: tuple[str, ...] | None = None

    def load(self, seed: int | None) -> Any:
        """Return the checked recipe with a seed, its own for None."""
        table = recipes.read(self.recipe) if isinstance(self.recipe, str) else json.loads(json.dumps(self.recipe))
        return recipes.check(recipes.overridden(table, self.overrides, seed=seed))


TINY = Case("u1-tiny", "u1-tiny")
# reverse KL without its cure, and from a start that knows of neither well
UNTREATED = (
    "flow.symmetrised=[]",
    "flow.shift=0",
    "train.steps=200",
    "train.batch=128",
    "samplers.symmetrised.draws=8000",
    "samplers.one-well=false",
    "samplers.mixture=false",
    "samplers.hmc.draws=200",
)
WITHOUT_CHAIN = {**WELLS, "samplers": {name: WELLS["samplers"][name] for name in FLOWS}}
WRONG = (
    Case("wells", WELLS, (), FLOWS, ()),
    Case("one-well", WELLS, ONE_WELL, FLOWS, ()),
    Case("one-well, no chain", WITHOUT_CHAIN, ONE_WELL, FLOWS, ()),
    Case("two wells, untreated", "phi4-two-wells", UNTREATED, ("symmetrised",), ()),
    Case("phi4-two-wells", "phi4-two-wells", (), ("one-well", "hmc"), ("symmetrised", "mixture")),
    Case("u1-freezing", "u1-freezing", (), ("hmc", "heatbath", "flow-convolutional"), FLOWS),
)
RIGHT = tuple(Case(name, name) for name in recipes.names() if name not in ("u1-tiny", *(case.name for case in WRONG)))
CASES = {case.name: case for case in (*WRONG, TINY, *RIGHT)}


class Row(NamedTuple):
    """What one run said: the least ESS of its flows, the samplers' warnings, grave words about distances, notes by number.

    `off` is the largest distance of the numbers of samplers with warnings from exact values, in their own errors; `cpu_s` is that of training and
    samplers.
    """

    case: str
    seed: int
    ess: float | None
    warnings: dict[str, list[str]]
    grave: list[str]
    notes: dict[str, str]
    off: dict[str, float]
    cpu_s: float

    @property
    def flagged(self) -> bool:
        """Whether every sampler with wrong numbers has a warning."""
        return all(name in self.warnings for name in CASES[self.case].wrong)

    @property
    def false_alarms(self) -> dict[str, list[str]]:
        """The warnings of samplers with right numbers, and the verdict's grave words on distances where all are right."""
        case = CASES[self.case]
        found = {name: said for name, said in self.warnings.items() if case.right is None or name in case.right}
        return found | ({"verdict": self.grave} if self.grave and not case.wrong else {})

    @property
    def judged(self) -> bool:
        """Whether the run counts: one of u1-tiny does if its flow is good."""
        return self.case != TINY.name or (self.ess is not None and self.ess > GOOD)


def row_of(case: str, seed: int, summary: Mapping[str, Any]) -> Row:
    """Return what a run said, from its summary.json."""
    samplers = summary["samplers"]
    sizes = [entry["ess"] for entry in samplers.values() if "coverage" in entry]
    notes = {
        f"{label}: {name}": entry["note"]
        for label, sampler in samplers.items()
        for name, entry in sampler["observables"].items()
        if entry.get("note") and not sampler["warnings"]
    }
    return Row(
        case,
        seed,
        min(sizes, default=None, key=lambda size: -1.0 if size is None else size),
        {label: sampler["warnings"] for label, sampler in samplers.items() if sampler["warnings"]},
        [line.text for line in verdict(samplers) if line.grave and " is not to be trusted: " not in line.text],
        notes,
        {name: max(_distances(sampler), default=0.0) for name, sampler in samplers.items() if sampler["warnings"]},
        sum(sampler["cpu_s"] for sampler in samplers.values()) + ((summary["training"] or {}).get("cpu_s") or 0.0),
    )


def _distances(sampler: Mapping[str, Any]) -> Iterator[float]:
    """Distances from exact values in standard errors, without signs."""
    return (abs(found) for entry in sampler["observables"].values() if (found := pull(entry)) is not None)


class Counted(NamedTuple):
    """The runs of a case, how many of them were flagged (None where all is right), how many had a false alarm, and how many
    false alarms there were."""

    case: str
    runs: int
    flagged: int | None
    alarmed: int
    alarms: int


def counted(rows: Iterable[Row]) -> list[Counted]:
    """Return the counts of every case that has rows, in the order of the cases; the first that are judged alone count."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.judged:
            found.setdefault(row.case, []).append(row)
    return [_count(name, found[name]) for name in CASES if name in found]


def _count(name: str, rows: list[Row]) -> Counted:
    alarms = [len(row.false_alarms) for row in rows]
    flagged = sum(row.flagged for row in rows) if CASES[name].wrong else None
    return Counted(name, len(rows), flagged, sum(map(bool, alarms)), sum(alarms))


def interval(found: int, runs: int) -> tuple[float, float]:
    """Return Wilson's interval of a share.

    >>> [round(end, 3) for end in interval(10, 10)]
    [0.722, 1.0]
    """
    return lower_limit(found / runs, runs, SIGMAS), 1.0 - lower_limit(1.0 - found / runs, runs, SIGMAS)


def texts(rows: Iterable[Row]) -> Counter[tuple[str, str, str]]:
    """Return how often each text was said, without numbers and names, by case and as "warning", "false alarm" or "note"."""
    found: Counter[tuple[str, str, str]] = Counter()
    for row in filter(lambda row: row.judged, rows):
        for label, said in (row.warnings | {"verdict": row.grave}).items():
            kind = "false alarm" if label in row.false_alarms else "warning"
            found.update((row.case, kind, bare(text)) for text in said)
        found.update((row.case, "note", bare(text)) for text in row.notes.values())
    return found


def bare(text: str) -> str:
    """Return a text with # for its numbers and without its list of observables.

    >>> bare("ln Z is 3.14 and 4.4% of 8,000 draws, 2.5 sigma (Q2, wilson_1x2)")
    'ln Z is # and # of # draws, # sigma'
    """
    without_names = re.sub(r" \([A-Za-z_][\w., ]*\)", "", text)
    return re.sub(r"[-+]?\d+(,\d{3})*(\.\d+)?(e[-+]?\d+)?%?", "#", without_names)


# ---- runs


def seeds_of(case: Case, seeds: int, runs: int, done: list[Row]) -> Iterator[int | None]:
    """Return the seeds of a case: u1-tiny's go on until enough of its runs are judged; right recipes have their own."""
    if case is TINY:
        yield from itertools.takewhile(lambda _: sum(row.judged for row in _of(case, done)) < runs, itertools.count())
    else:
        yield from range(seeds) if case.wrong else (None,)


def _of(case: Case, rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.case == case.name]


def ran(case: Case, seed: int | None, folder: Path | None) -> Row:
    """Run a case with a seed, in a folder that is kept if one is given, and return what it said."""
    recipe = case.load(seed)
    with contextlib.ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        summary = run(recipe, place / f"{case.name}-{recipe.seed}", report=False)
    return row_of(case.name, recipe.seed, summary)


def kept_in(path: Path | None) -> list[Row]:
    """Return the rows of a file, none where there is none yet; raises SystemExit for another study's."""
    if path is None or not path.exists():
        return []
    stored = json.loads(path.read_text(encoding="utf-8"))
    if stored.get("kind") != "alarms":
        raise SystemExit(f"{path} holds {stored.get('kind')}, not alarms: name another file")
    return [Row(**row) for row in stored["rows"]]


def keep(path: Path | None, rows: Iterable[Row]) -> None:
    """Write the rows to a file, if one is named."""
    if path is not None:
        write(path, "alarms", {"good": GOOD, "most": MOST}, [row._asdict() for row in rows])


def completed(given: argparse.Namespace) -> list[Row]:
    """Return the rows of all cases that are asked for, those that are missing run now."""
    rows = kept_in(given.json)
    for case in (CASES[name] for name in given.cases):
        for seed in seeds_of(case, given.seeds, given.runs, rows):
            if any(seed is None or row.seed == seed for row in _of(case, rows)):
                continue
            row = Row(**rounded(ran(case, seed, given.folder)._asdict()))
            rows.append(row)
            keep(given.json, rows)
            print(line_of(row), flush=True)
    return rows


def line_of(row: Row) -> str:
    """Return one run in a line."""
    said = ", ".join(f"{label} ({row.off.get(label, 0.0):.1f} off)" for label in row.warnings) or "silent"
    size = "" if row.ess is None else f"  ESS {row.ess:.3f}"
    return f"{row.case:20} seed {row.seed:4d}{size}  {said}{'  GRAVE' * bool(row.grave)}  {row.cpu_s:.1f} CPU s"


def report(rows: list[Row]) -> str:
    """Return the counts, the false alarms, and every text with its number."""
    lines = [f"\n{'':20}{'runs':>6}{'flagged':>9}{'95%':>16}{'alarmed':>9}{'95%':>16}{'false alarms':>14}"]
    for one in counted(rows):
        flagged = ("", "") if one.flagged is None else (str(one.flagged), _said(one.flagged, one.runs))
        lines.append(
            f"{one.case:20}{one.runs:6d}{flagged[0]:>9}{flagged[1]:>16}{one.alarmed:9d}{_said(one.alarmed, one.runs):>16}{one.alarms:14d}"
        )
    total = sum(one.alarms for one in counted(rows))
    weak = sum(not row.judged for row in rows)
    lines.append(f"{total} false alarms (at most {MOST}); {weak} runs of u1-tiny with an ESS below {GOOD} are left out")
    for row in filter(lambda row: row.judged, rows):
        for label, said in row.false_alarms.items():
            off = f" ({row.off[label]:.1f} sigma from exact values)" if label in row.off else ""
            lines.append(f"  {row.case}, seed {row.seed}, {label}{off}: {'; '.join(said)}")
    lines += [f"{number:6d}  {case}, {kind}: {text}" for (case, kind, text), number in sorted(texts(rows).items())]
    return "\n".join(lines)


def _said(found: int, runs: int) -> str:
    return "{:.3f} to {:.3f}".format(*interval(found, runs))


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--seeds", type=int, default=10, help="of each case with wrong numbers")
    parser.add_argument("--runs", type=int, default=300, help="of u1-tiny with an ESS above 0.5")
    parser.add_argument("--json", type=Path, help="file that keeps a row for each run")
    parser.add_argument("--folder", type=Path, help="folder that keeps the runs")
    return parser.parse_args(words)


def main() -> None:
    """Print a line for each run, then the counts."""
    import jax

    jax.config.update("jax_enable_x64", True)
    print(report(completed(parsed())))


if __name__ == "__main__":
    main()
