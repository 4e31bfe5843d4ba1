"""The commands that show something: measure, info, backends, recipes, exact, and new, which writes a template."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from haarflow.commands.options import Extents, Group, Json, OwnFlow, OwnTheory, extents, own_of, show


def measure(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="a run folder, an ensemble.h5 or a gauge file")],
    as_json: Json = False,
    theory: OwnTheory = "",
    lattice: Extents = None,
    group: Group = None,
    backend: Annotated[
        str | None,
        typer.Option("--backend", "-b", help="what computes for a gauge file: numpy (default), cupy, jax or torch"),
    ] = None,
    step: Annotated[float, typer.Option(help="the step of the gradient flow of a gauge file")] = 0.05,
    flow_time: Annotated[
        float | None,
        typer.Option("--flow-time", help="its longest time, by default L^2/32 of the smallest extent L; 0 for no flow"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="refuse a gauge file whose links contradict its header")
    ] = True,
) -> None:
    """Re-analyse an ensemble: every observable with its error, autocorrelation time and exact value.

    Of a gauge file: the plaquette, Wilson and Polyakov loops, the flow scales t0 and w0, the topological charge.
    """
    from haarflow.gaugefiles.formats.table import is_gauge_file
    from haarflow.report.text import gauge_table, observables_table
    from haarflow.results.summary import measured

    if is_gauge_file(path):
        from haarflow import backends
        from haarflow.gaugefiles import measure_gauge

        row, given = backends.get(backend or "numpy"), extents(lattice)
        observables = measure_gauge(path, row, step=step, flow_time=flow_time, check=check, lattice=given, group=group)
        return show(observables, as_json, lambda: gauge_table(observables))
    found = measured(path / "ensemble.h5" if path.is_dir() else path, own_of(theory))
    show(found, as_json, lambda: observables_table(found))


def info(
    path: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="a model file, ensemble, gauge field, recipe or run folder, or the name of a shipped model or recipe",
        ),
    ],
    lattice: Extents = None,
    group: Group = None,
    as_json: Json = False,
    theory: OwnTheory = "",
    flow: OwnFlow = "",
) -> None:
    """Describe a file in a screenful: a model's card, an ensemble's samplers, a run's state, a gauge field's checks.

    With --json everything is printed.

    Exit code 1 if the links of a gauge file contradict its header.
    """
    from haarflow.report.overview import overview
    from haarflow.results.info import describe

    found = describe(path, own_of(theory, flow), extents(lattice), group)
    show(found, as_json, lambda: overview(found))
    if found.get("agrees") is False:
        raise typer.Exit(1)


def new(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="the recipe to start from")] = "u1-2d",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="write to this file instead of standard output")
    ] = None,
) -> None:
    """Write a commented recipe with every key and its meaning, to be changed and run."""
    from haarflow.run.toml import template

    text = template(recipe)
    if out is None:
        print(text, end="")
        return
    if out.exists():
        raise ValueError(f"{out} exists already and is not overwritten: choose another --out")
    from haarflow.core.files import write_text

    write_text(out, text)
    print(f"Wrote {out}. To run it: haarflow run {out}")


def backends(as_json: Json = False) -> None:
    """List the backends: version, devices, precision, and how to install those that are missing."""
    from haarflow.report.text import backends_table
    from haarflow.results.info import backends_here, compiled_kernels

    found = backends_here()
    show(found, as_json, lambda: backends_table(found) + "\n" + compiled_kernels())


def recipes(as_json: Json = False) -> None:
    """List the built-in recipes."""
    from haarflow.run import recipes

    found = recipes.names()
    show(found, as_json, lambda: _list(found))


def _list(found: dict[str, str]) -> str:
    width = max(map(len, found))
    rows = [f"{name:<{width}}  {text}" for name, text in found.items()]
    return "\n".join(
        [*rows, "", "To run one: haarflow run NAME. For a commented copy to change: haarflow new NAME > mine.toml"]
    )


def exact(
    theory: Annotated[
        str,
        typer.Argument(
            metavar="THEORY", help="u1, phi4, phi4-hopping, su2, su3, su4, ..., or your own MODULE:NAME, such as xy:XY"
        ),
    ],
    values: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="couplings and lattice: beta=7 lattice=[16,16]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the exact results known for a theory: haarflow exact u1 beta=7 lattice=[16,16]."""
    from haarflow.report.text import indented
    from haarflow.results.info import exact_results

    found = exact_results(theory, values or (), own_of(theory if ":" in theory else ""))
    show(found, as_json, lambda: indented(found))
