"""The verb `haarflow convert A B`: one gauge file into another, checked on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from haarflow.commands.options import Json, show


def convert(
    source: Annotated[Path, typer.Argument(metavar="A", help="a gauge file: ILDG, NERSC, openQCD or MILC v5")],
    destination: Annotated[Path, typer.Argument(metavar="B", help="the new file: .lime, .ildg, .nersc or .openqcd")],
    format: Annotated[
        str | None,
        typer.Option("--format", "-f", help="ildg, nersc (two rows), nersc-3x3 or openqcd; by default B's suffix"),
    ] = None,
    precision: Annotated[str | None, typer.Option(help="float64 or float32; by default what the links have")] = None,
    project: Annotated[
        bool | None,
        typer.Option("--project/--no-project", help="move links onto SU(N); by default in single precision"),
    ] = None,
    check: Annotated[bool, typer.Option("--check/--no-check", help="refuse a file that disagrees with itself")] = True,
    as_json: Json = False,
) -> None:
    """Convert a gauge file into another format, checking it on the way; `haarflow info` tells what a file holds."""
    from haarflow.gaugefiles import convert_gauge
    from haarflow.report.text import indented

    done = convert_gauge(source, destination, format, precision=precision, project=project, check=check)
    found = {"read": done.source.as_dict(), "written": done.target.as_dict()}
    show(found, as_json, lambda: indented(found))
