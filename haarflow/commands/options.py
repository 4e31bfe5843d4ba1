"""What the commands share: their options, and how a result is printed."""

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
        help="change values of the recipe for this run: theory.beta=2.5 lattice=[8,8] train.steps=500; set a table to false to "
        "omit it: samplers.hmc=false",
    ),
]
BackendName = Annotated[
    str | None,
    typer.Option(
        "--backend", "-b", help="numpy, cupy, jax or torch; by default the first of jax and torch that is installed"
    ),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="the folder of the run; by default runs/NAME")]
Device = Annotated[str | None, typer.Option(help="the device, such as cpu, cuda, cuda:1")]
Dtype = Annotated[str | None, typer.Option(help="precision: float64 (default) or float32")]
Seed = Annotated[int | None, typer.Option(help="the seed of all random numbers; by default the recipe's")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="threads the backend may use, by default its own choice; use 1 for timings")
]
Workers = Annotated[
    int, typer.Option(min=1, help="processes that draw the flow's blocks, short for --executor processes:N")
]
Executor = Annotated[
    str,
    typer.Option(
        metavar="WHERE",
        help="where the flow's blocks are drawn: processes:N, dask:ADDRESS, mpi or slurm:KEY=VALUE,...; the results do not "
        "depend on it",
    ),
]
ShardWords = Annotated[
    str,
    typer.Option(
        "--shard",
        metavar="i/N",
        help="draw only every N-th block, from the i-th; `haarflow gather` makes the run of all shards",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON on standard output")]
Report = Annotated[bool, typer.Option("--report/--no-report", help="write report.html at the end")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="do not show progress")]


Extents = Annotated[
    str | None,
    typer.Option("--lattice", help="TxXxYxZ, the lattice of a gauge file that does not say it, such as 16x8x8x8"),
]
Group = Annotated[
    str | None, typer.Option("--group", help="su3, u1, ...: the group of a gauge file that does not say it")
]
OwnTheory = Annotated[
    str,
    typer.Option(
        "--theory",
        metavar="MODULE:NAME",
        help="your own theory, such as xy:XY for the class XY in xy.py of the current folder; the recipe sets its couplings",
    ),
]
OwnFlow = Annotated[
    str,
    typer.Option(
        "--flow",
        metavar="MODULE:NAME",
        help="your own flow: a function of the lattice and of the options in [flow] that returns a Model",
    ),
]


def own_of(theory: str, flow: str = "") -> Any:
    """Return the custom theory and flow of the command line; their modules are imported here, before anything else.

    Raises ValueError if a module or name does not exist, TypeError for an object that is not a theory or a flow.
    """
    from haarflow.run.own import Own

    own = Own(theory, flow)
    _ = own.theories, own.flows("")
    return own


def extents(word: str | None) -> tuple[int, ...] | None:
    """Return the lattice of the option --lattice; raises ValueError for one that is not a row of integers.

    >>> extents("16x8x8x8"), extents("[8,8]")
    ((16, 8, 8, 8), (8, 8))
    """
    if word is None:
        return None
    found = word.strip("[]() ").replace(",", "x").split("x")
    if not all(extent.strip().isdecimal() and len(extent) < 10 for extent in found):
        raise ValueError(f"--lattice is a row of extents such as 16x8x8x8, got {word!r}")
    return tuple(map(int, found))


def backend_overrides(backend: str | None, device: str | None, dtype: str | None, seed: int | None) -> dict[str, Any]:
    """Return the changes to a recipe that the options --backend, --device, --dtype and --seed make."""
    return {"run__backend": backend, "run__device": device, "run__dtype": dtype, "seed": seed}


def show(found: Any, as_json: bool, text: Callable[[], str]) -> None:
    """Print a result on standard output, as JSON or as readable text."""
    from haarflow.core.files import plain

    print(json.dumps(plain(found), indent=2) if as_json else text())
