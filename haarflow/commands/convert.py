"""The command `haarflow convert A B`: convert a gauge file into another format."""

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
    precision: Annotated[str | None, typer.Option(help="float64 or float32; by default that of A")] = None,
    project: Annotated[
        bool | None,
        typer.Option(
            "--project/--no-project", help="project the links onto SU(N); by default if they have single precision"
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="refuse a file whose links contradict its header")
    ] = True,
    as_json: Json = False,
) -> None:
    """Convert a gauge file into another format and check it; `haarflow info` describes a file."""
    from haarflow.gaugefiles import convert_gauge
    from haarflow.report.text import indented

    done = convert_gauge(source, destination, format, precision=precision, project=project, check=check)
    found = {"read": done.source.as_dict(), "written": done.target.as_dict()}
    show(found, as_json, lambda: indented(found))
