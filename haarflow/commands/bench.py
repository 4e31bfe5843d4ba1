"""The verb `haarflow bench`: the same work on every engine, checked, then timed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from haarflow.commands.options import OwnFlow, OwnTheory, Quiet, own_of


def bench(
    subjects: Annotated[
        list[str] | None, typer.Argument(metavar="[SUBJECT]...", help="phi4, u1, su2, su3; by default all of them")
    ] = None,
    work: Annotated[
        str | None,
        typer.Option(
            "--work",
            "-w",
            help="action,force,plaquette,product,hmc,heatbath,local,forward,inverse,train,metropolis,accept, or "
            "package.module:function of yours; by default those that a sampler is made of",
        ),
    ] = None,
    backend: Annotated[
        str,
        typer.Option("--backend", "-b", help="all (with all devices present), or names: numpy,jax,torch:cuda,strict"),
    ] = "all",
    lattice: Annotated[
        list[str] | None, typer.Option("--lattice", "-l", help="such as 8x8; may be repeated (default 8x8)")
    ] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="fields at once; may be repeated (default 64)")] = None,
    dtype: Annotated[str, typer.Option(help="precision: float64 or float32")] = "float64",
    seed: Annotated[int, typer.Option(help="the one seed of all fields, parameters and draws")] = 1,
    repeats: Annotated[int, typer.Option("--repeats", "-r", min=1, help="rounds; a figure is their median")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="threads of every engine")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the results to this file as JSON")] = None,
    plot: Annotated[Path | None, typer.Option(help="draw the ratios into this SVG file")] = None,
    compare: Annotated[
        Path | None, typer.Option(help="an older --json file: exit code 1 where a row is slower")
    ] = None,
    threshold: Annotated[float, typer.Option(help="a row is slower above this factor; 2 on a shared machine")] = 1.25,
    quiet: Quiet = False,
    theory: OwnTheory = "",
    flow: OwnFlow = "",
) -> None:
    """Time the same work on every engine present, from the same seed; what disagrees in its numbers is refused.

    Exit code 1 when an engine is refused or fails, or with --compare when a row became slower.
    """
    from haarflow.benchmarks.harness import bench as bench_module
    from haarflow.benchmarks.harness import console
    from haarflow.benchmarks.harness import workloads as known
    from haarflow.benchmarks.harness.compare import changes_table, read
    from haarflow.benchmarks.harness.compare import compare as compared
    from haarflow.benchmarks.harness.problems import SUBJECTS
    from haarflow.core.files import write_json, write_text
    from haarflow.run.progress import progress

    own_of(theory, flow)
    before = None if compare is None else read(compare)
    engines, absent = bench_module.discover() if backend == "all" else (tuple(backend.split(",")), {})
    plan = bench_module.Plan(
        tuple(subjects or ((",".join(filter(None, [theory, flow])),) if theory else SUBJECTS)),
        tuple(work.split(",")) if work else known.DEFAULT,
        engines,
        tuple(extents(word) for word in lattice or ["8x8"]),
        tuple(batch or [64]),
        dtype,
        seed,
        repeats,
        threads,
    )
    found = bench_module.bench(plan, absent, progress(quiet))
    print(console.render(found))
    if json_file is not None:
        write_json(json_file, found)
    if plot is not None:
        write_text(plot, console.picture(found))
    changes = [] if before is None else compared(found, before, threshold)
    if changes:
        print(changes_table(changes, threshold))
    if console.faults(found) or any(change.regressed for change in changes):
        raise typer.Exit(1)


def extents(word: str) -> tuple[int, ...]:
    """Return the extents of a word such as 8x8.

    >>> extents("4x4x8")
    (4, 4, 8)
    """
    try:
        found = tuple(int(part) for part in word.split("x"))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise ValueError(f"a lattice is written like 8x8, got {word!r}")
    return found
