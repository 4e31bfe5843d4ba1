"""The verb `haarflow verify`: objects held against their laws."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from haarflow.backends.threads import one_thread_each
from haarflow.commands.options import Json, OwnFlow, OwnTheory, Quiet, own_of, show


def verify(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="[SUBJECT]",
            help="package.module:name of a flow, model, theory, kernel, prior or group of yours (or of a function of a "
            "lattice that makes one); a model file; a recipe; the name of one of ours. Default: everything of ours",
        ),
    ] = None,
    backend: Annotated[
        str, typer.Option("--backend", "-b", help="all (those present), or names: numpy,strict,jax,torch,cupy,...")
    ] = "all",
    dtype: Annotated[str, typer.Option(help="precision: float64 or float32")] = "float64",
    profile: Annotated[
        str, typer.Option(help="how many examples: quick (two minutes), ci, deep (as long as it takes)")
    ] = "quick",
    law: Annotated[list[str] | None, typer.Option("--law", "-l", help="check only this law; may be repeated")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="processes; by default one a core")] = None,
    names: Annotated[
        bool, typer.Option("--list", help="list what there is to verify, and the laws of each kind")
    ] = False,
    why: Annotated[bool, typer.Option("--why", help="also say why laws do not apply")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    theory: OwnTheory = "",
    flow: OwnFlow = "",
) -> None:
    """Hold objects against the laws: exact Jacobians, equivariance, reversibility, detailed balance, and the rest.

    Each cell of the table is the largest residual in units of its tolerance; what fails prints the smallest example as
    Python to paste. Exit code 1 when a law fails.
    """
    one_thread_each()
    try:
        import hypothesis  # noqa: F401
    except ImportError:
        raise ImportError(
            "the laws draw examples with the package 'hypothesis': pip install 'haarflow[verify]'"
        ) from None
    from haarflow.run.progress import progress
    from haarflow.verification.table import catalogue, findings_table, reasons
    from haarflow.verification.verify import verify as hold

    if names:
        print(catalogue())
        return
    found = hold(
        subject,
        backend,
        dtype,
        profile,
        law or (),
        jobs=jobs or os.cpu_count() or 1,
        progress=progress(quiet),
        own=own_of(theory, flow),
    )
    show(found.as_dict(), as_json, lambda: findings_table(found) + (f"\n\n{reasons(found)}" if why else ""))
    if found.failed:
        raise typer.Exit(1)
