"""The command `haarflow bench`: the same computations on every backend, compared, then timed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from haarflow.commands.options import OwnFlow, OwnTheory, Quiet, own_of

Subjects = Annotated[
    list[str] | None, typer.Argument(metavar="[SUBJECT]...", help="phi4, u1, su2, su3; all of them by default")
]
Work = Annotated[
    str | None,
    typer.Option(
        "--work",
        "-w",
        help="action,force,plaquette,product,hmc,heatbath,local,forward,inverse,train,metropolis,accept, or your own "
        "package.module:function; by default the parts of a sampler",
    ),
]
Backends = Annotated[
    str,
    typer.Option("--backend", "-b", help="all (with all devices present), or names: numpy,jax,torch:cuda,strict"),
]
Lattices = Annotated[
    list[str] | None, typer.Option("--lattice", "-l", help="such as 8x8 (the default); may be repeated")
]
Batches = Annotated[
    list[int] | None, typer.Option(min=1, help="fields computed together (default 64); may be repeated")
]
Precision = Annotated[str, typer.Option(help="precision: float64 or float32")]
OneSeed = Annotated[int, typer.Option(help="the seed of all fields, parameters and draws")]
Repeats = Annotated[int, typer.Option("--repeats", "-r", min=1, help="rounds; the median is reported")]
Threads = Annotated[int, typer.Option(min=1, help="threads of every backend")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="write the results to this file as JSON")]
Plot = Annotated[Path | None, typer.Option(help="draw the ratios to this SVG file")]
Compare = Annotated[Path | None, typer.Option(help="an older --json file: exit code 1 if a row became slower")]
Threshold = Annotated[float, typer.Option(help="a row counts as slower above this ratio; use 2 on a shared machine")]


def bench(
    subjects: Subjects = None,
    work: Work = None,
    backend: Backends = "all",
    lattice: Lattices = None,
    batch: Batches = None,
    dtype: Precision = "float64",
    seed: OneSeed = 1,
    repeats: Repeats = 7,
    threads: Threads = 1,
    json_file: JsonFile = None,
    plot: Plot = None,
    compare: Compare = None,
    threshold: Threshold = 1.25,
    quiet: Quiet = False,
    theory: OwnTheory = "",
    flow: OwnFlow = "",
) -> None:
    """Time the same computations on every backend present, from one seed; backends whose results disagree are refused.

    Exit code 1 if a backend is refused or fails, or with --compare if a row became slower.
    """
    from haarflow.benchmarks.harness import bench as harness
    from haarflow.benchmarks.harness import console, workloads
    from haarflow.benchmarks.harness.compare import read
    from haarflow.run.progress import progress

    before = None if compare is None else read(compare)
    names, absent = harness.discover() if backend == "all" else (tuple(backend.split(",")), {})
    plan = harness.Plan(
        subjects_of(subjects, theory, flow),
        tuple(work.split(",")) if work else workloads.DEFAULT,
        names,
        tuple(extents(text) for text in lattice or ["8x8"]),
        tuple(batch or [64]),
        dtype,
        seed,
        repeats,
        threads,
    )
    results = harness.bench(plan, absent, progress(quiet))
    print(console.render(results))
    _write(results, json_file, plot)
    slower = before is not None and _is_slower(results, before, threshold)
    if slower or console.faults(results):
        raise typer.Exit(1)


def subjects_of(subjects: list[str] | None, theory: str, flow: str) -> tuple[str, ...]:
    """Return the names of what is timed: those given, the custom theory with its flow, or the whole table.

    Raises ValueError for a custom flow without a custom theory, and for a theory beside other subjects.

    >>> subjects_of(["u1"], "", "")
    ('u1',)
    """
    from haarflow.benchmarks.harness.problems import SUBJECTS

    own_of(theory, flow)
    if flow and not theory:
        raise ValueError(f"--flow {flow} needs the theory it samples: add --theory module:name")
    if theory and subjects:
        raise ValueError(f"--theory {theory} is timed by itself: remove {', '.join(subjects)}")
    custom = ",".join(filter(None, [theory, flow]))
    return (custom,) if custom else tuple(subjects or SUBJECTS)


def _write(results: dict[str, Any], json_file: Path | None, plot: Path | None) -> None:
    from haarflow.benchmarks.harness import console
    from haarflow.core.files import write_json, write_text

    if json_file is not None:
        write_json(json_file, results)
    if plot is not None:
        write_text(plot, console.picture(results))


def _is_slower(results: dict[str, Any], before: dict[str, Any], threshold: float) -> bool:
    """Whether a row became slower; the changes are printed."""
    from haarflow.benchmarks.harness.compare import changes_table, compare

    changes = compare(results, before, threshold)
    if changes:
        print(changes_table(changes, threshold))
    return any(change.regressed for change in changes)


def extents(text: str) -> tuple[int, ...]:
    """Return the extents that a text such as 8x8 stands for.

    >>> extents("4x4x8")
    (4, 4, 8)
    """
    try:
        numbers = tuple(int(part) for part in text.split("x"))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise ValueError(f"a lattice is written like 8x8, got {text!r}")
    return numbers
