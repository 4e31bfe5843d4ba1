"""The commands that compute: run, train, sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from haarflow.backends.threads import use_threads
from haarflow.commands.options import (
    BackendName,
    Device,
    Dtype,
    Json,
    Out,
    Overrides,
    OwnFlow,
    OwnTheory,
    Quiet,
    RecipeName,
    Report,
    Seed,
    Threads,
    Workers,
    backend_overrides,
    own_of,
    show,
)


def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    backend: BackendName = None,
    out: Out = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = None,
    threads: Threads = None,
    workers: Workers = 1,
    report: Report = True,
    as_json: Json = False,
    quiet: Quiet = False,
    theory: OwnTheory = "",
    flow: OwnFlow = "",
) -> None:
    """Train a flow, sample, compare with the exact result, and write report.html.

    The folder will contain recipe.toml (complete, with versions), metrics.jsonl, model.safetensors, ensemble.h5,
    summary.json and report.html. The same command on the same folder resumes an interrupted run; another recipe is
    refused there.
    """
    use_threads(threads)
    from haarflow.pipeline import run as run_recipe
    from haarflow.run.progress import progress
    from haarflow.run.recipes import load

    own = own_of(theory, flow)
    asked = load(recipe, overrides or (), own, **backend_overrides(backend, device, dtype, seed))
    folder = out or Path("runs") / asked.name
    summary = run_recipe(asked, folder, workers, progress(quiet), report, own)
    page = folder / "report.html"
    _show_summary(summary, as_json, f"The report: {page}" if page.exists() else f"The run: {folder}")


def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    backend: BackendName = None,
    out: Out = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = None,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
    theory: OwnTheory = "",
    flow: OwnFlow = "",
) -> None:
    """Only train the flow of a recipe; `haarflow run` with the same recipe and folder continues from there."""
    use_threads(threads)
    from haarflow.pipeline import train_only
    from haarflow.run.progress import progress
    from haarflow.run.recipes import load

    own = own_of(theory, flow)
    asked = load(recipe, overrides or (), own, **backend_overrides(backend, device, dtype, seed))
    folder = out or Path("runs") / asked.name
    figures = train_only(asked, folder, progress(quiet), own)
    found = {"model": str(folder / "model.safetensors"), **figures}
    show(found, as_json, lambda: _trained(found))


def sample(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="a model file, a run folder or the name of a shipped model")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="theory.beta=2.5 lattice=[16,16]; by default those of its training"
        ),
    ] = None,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="configurations to draw")] = 1000,
    metropolis: Annotated[
        bool, typer.Option("--metropolis", help="a Markov chain for e^-S instead of independent draws with weights")
    ] = False,
    backend: BackendName = None,
    out: Out = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = None,
    threads: Threads = None,
    workers: Workers = 1,
    as_json: Json = False,
    quiet: Quiet = False,
    theory: OwnTheory = "",
    flow: OwnFlow = "",
) -> None:
    """Draw configurations with a trained model, on any backend.

    The folder will contain ensemble.h5, with the configurations, their observables and log weights, and summary.json. By
    default it is runs/sample-MODEL, or the next of runs/sample-MODEL-2, ... that holds no other draws.
    """
    use_threads(threads)
    from haarflow.pipeline import run as run_recipe
    from haarflow.run.build import build
    from haarflow.run.progress import progress
    from haarflow.run.recipes import for_model
    from haarflow.run.runfolder import vacant
    from haarflow.run.toml import to_toml

    kind = "flow-metropolis" if metropolis else "flow-reweighting"
    own = own_of(theory, flow)
    asked = for_model(model, kind, number, overrides or (), own, **backend_overrides(backend, device, dtype, seed))
    folder = out or vacant(Path("runs") / asked.name, to_toml(build(asked, own).recipe))
    summary = run_recipe(asked, folder, workers, progress(quiet), report=False, own=own)
    _show_summary(summary, as_json, f"The ensemble: {folder / 'ensemble.h5'}")


def _show_summary(summary: dict[str, Any], as_json: bool, where: str) -> None:
    from haarflow.report.text import summary_table

    show(summary, as_json, lambda: f"{summary_table(summary)}\n\n{where}")


def _trained(found: dict[str, Any]) -> str:
    from haarflow.report.text import tuning

    line = "{steps} steps, {cpu_s:.1f} CPU seconds, ESS {ess}: {model}".format(**_printable(found))
    return "\n".join(filter(None, [line, tuning(found)]))


def _printable(figures: dict[str, Any]) -> dict[str, Any]:
    return figures | {"ess": "unknown" if figures["ess"] is None else f"{figures['ess']:.3f}"}
