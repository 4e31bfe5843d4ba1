"""The verb `haarflow convert A B`: one gauge file into another, checked on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


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
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON on standard output")] = False,
) -> None:
    """Convert a gauge file into another format, checking it on the way; `haarflow info` tells what a file holds."""
    from haarflow.core.files import plain
    from haarflow.gaugefiles import convert_gauge
    from haarflow.tables import indented

    done = convert_gauge(source, destination, format, precision=precision, project=project, check=check)
    found = {"read": done.source.as_dict(), "written": done.target.as_dict()}
    print(json.dumps(plain(found), indent=2) if as_json else indented(found))
