"""What the verbs share: their options, and how a result is printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="a built-in name (see `haarflow recipes`) or a TOML file")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="change the recipe for this run by its own paths: theory.beta=2.5 lattice=[8,8] train.steps=500; "
        "a table is left out by =false: samplers.hmc=false",
    ),
]
Engine = Annotated[
    str | None,
    typer.Option("--backend", "-b", help="numpy, cupy, jax or torch; by default the first present of jax, torch"),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="the run's folder; by default runs/NAME")]
Device = Annotated[str | None, typer.Option(help="where to compute, such as cpu, cuda, cuda:1")]
Dtype = Annotated[str | None, typer.Option(help="precision: float64 (default) or float32")]
Seed = Annotated[int | None, typer.Option(help="the one seed of all random numbers; by default the recipe's")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="threads the engine may use; by default its own choice. 1 for fair timings")
]
Workers = Annotated[
    int, typer.Option(min=1, help="processes that draw the flow's blocks; the answer does not depend on it")
]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON on standard output")]
Report = Annotated[bool, typer.Option("--report/--no-report", help="write report.html at the end")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress")]


OwnTheory = Annotated[
    str,
    typer.Option(
        "--theory",
        metavar="MODULE:NAME",
        help="a theory of your own, such as xy:XY for the class XY in xy.py of this folder; a recipe names its couplings",
    ),
]
OwnFlow = Annotated[
    str,
    typer.Option(
        "--flow",
        metavar="MODULE:NAME",
        help="a flow of your own: a function of the lattice, and of the words in [flow], that returns a Model",
    ),
]


def own_of(theory: str, flow: str = "") -> Any:
    """Return what the command line names of one's own; the modules are imported here, before anything else is done.

    Raises ValueError where a name leads nowhere, TypeError for what is no theory or flow.
    """
    from haarflow.run.own import Own

    own = Own(theory, flow)
    _ = own.theories, own.flows("")
    return own


def engine_words(backend: str | None, device: str | None, dtype: str | None, seed: int | None) -> dict[str, Any]:
    """Return what a recipe is changed by on the command line's own options."""
    return {"run__backend": backend, "run__device": device, "run__dtype": dtype, "seed": seed}


def show(found: Any, as_json: bool, text: Callable[[], str]) -> None:
    """Print a result on standard output: as JSON, or as the text for people."""
    from haarflow.core.files import plain

    print(json.dumps(plain(found), indent=2) if as_json else text())
