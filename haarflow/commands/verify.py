"""The command `haarflow verify`: objects checked against their laws."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from haarflow.backends.threads import one_thread_each
from haarflow.commands.options import Json, OwnFlow, OwnTheory, Quiet, own_of, show

Subject = Annotated[
    str | None,
    typer.Argument(
        metavar="[SUBJECT]",
        help="your own flow, model, theory, kernel, prior or group as package.module:name (or a function of the lattice "
        "that returns one); a model file; a recipe; the name of an object of the library. By default the whole library",
    ),
]
Backends = Annotated[
    str, typer.Option("--backend", "-b", help="all (those present), or names: numpy,strict,jax,torch,cupy,...")
]
Precision = Annotated[str, typer.Option(help="precision: float64 or float32")]
Profile = Annotated[str, typer.Option(help="how many examples: quick (two minutes), ci, deep (very long)")]
Laws = Annotated[list[str] | None, typer.Option("--law", "-l", help="check only this law; may be repeated")]
Jobs = Annotated[int | None, typer.Option(min=1, help="processes; by default one per core")]
List = Annotated[bool, typer.Option("--list", help="list the objects of the library and the laws of each kind")]
Why = Annotated[bool, typer.Option("--why", help="also explain why some laws do not apply")]


def verify(
    subject: Subject = None,
    backend: Backends = "all",
    dtype: Precision = "float64",
    profile: Profile = "quick",
    law: Laws = None,
    jobs: Jobs = None,
    names: List = False,
    why: Why = False,
    as_json: Json = False,
    quiet: Quiet = False,
    theory: OwnTheory = "",
    flow: OwnFlow = "",
) -> None:
    """Check objects against their laws: exact Jacobians, equivariance, reversibility, detailed balance and others.

    Each cell of the table is the largest residual in units of its tolerance. A failure prints its smallest example as
    Python code to paste. Exit code 1 if a law fails.
    """
    one_thread_each()
    try:
        import hypothesis  # noqa: F401
    except ImportError:
        raise ImportError("verify needs the package 'hypothesis': pip install 'haarflow[verify]'") from None
    from haarflow.run.progress import progress
    from haarflow.verification.table import catalogue, findings_table, reasons
    from haarflow.verification.verify import verify as check

    if names:
        print(catalogue())
        return
    settings: dict[str, Any] = {
        "jobs": jobs or os.cpu_count() or 1,
        "progress": progress(quiet),
        "own": own_of(theory, flow),
    }
    findings = check(subject, backend, dtype, profile, law or (), **settings)
    show(findings.as_dict(), as_json, lambda: findings_table(findings) + (f"\n\n{reasons(findings)}" if why else ""))
    if findings.failed:
        raise typer.Exit(1)
