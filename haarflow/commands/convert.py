"""The command `haarflow convert A B`: convert a gauge file into another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from haarflow.commands.options import Extents, Group, Json, extents, show


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="A", help="a gauge file: ILDG, NERSC, openQCD, HiRep, MILC v5 or BQCD")
    ],
    destination: Annotated[
        Path, typer.Argument(metavar="B", help="the new file: .lime, .ildg, .nersc, .openqcd or .hirep")
    ],
    format: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", help="ildg, nersc (two rows), nersc-3x3, openqcd or hirep; by default B's suffix"
        ),
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
    qcdml: Annotated[
        Path | None,
        typer.Option(help="for ILDG: write B.xml, QCDml for ILDG's catalogue, with the words of this TOML file"),
    ] = None,
    lattice: Extents = None,
    group: Group = None,
    as_json: Json = False,
) -> None:
    """Convert a gauge file into another format and check it; `haarflow info` describes a file."""
    from haarflow.gaugefiles import convert_gauge
    from haarflow.gaugefiles import qcdml as metadata
    from haarflow.report.text import indented

    words = None if qcdml is None else metadata.words_of(qcdml)
    done = convert_gauge(
        source,
        destination,
        format,
        precision=precision,
        project=project,
        check=check,
        lattice=extents(lattice),
        group=group,
    )
    if words is not None:
        metadata.write_qcdml(destination, words)
    found = {"read": done.source.as_dict(), "written": done.target.as_dict()}
    show(found, as_json, lambda: indented(found))
