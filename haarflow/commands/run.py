"""The verbs that compute: run, train, sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from haarflow.backends.threads import use_threads
from haarflow.commands.options import (
    Device,
    Dtype,
    Engine,
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
    engine_words,
    own_of,
    show,
)


def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    backend: Engine = None,
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
    """Train, draw, compare with the exact result, and write report.html.

    The folder gets recipe.toml (complete, with versions), metrics.jsonl, model.safetensors, ensemble.h5, summary.json
    and report.html. The same command on the same folder goes on where it stopped; another recipe there is refused.
    """
    use_threads(threads)
    from haarflow.pipeline import run as run_recipe
    from haarflow.run.progress import progress
    from haarflow.run.recipes import load

    own = own_of(theory, flow)
    asked = load(recipe, overrides or (), own, **engine_words(backend, device, dtype, seed))
    folder = out or Path("runs") / asked.name
    summary = run_recipe(asked, folder, workers, progress(quiet), report, own)
    page = folder / "report.html"
    _show_summary(summary, as_json, f"The report: {page}" if page.exists() else f"The run: {folder}")


def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    backend: Engine = None,
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
    """Train a recipe's flow and stop there; `haarflow run` with the same recipe and folder goes on."""
    use_threads(threads)
    from haarflow.pipeline import train_only
    from haarflow.run.progress import progress
    from haarflow.run.recipes import load

    own = own_of(theory, flow)
    asked = load(recipe, overrides or (), own, **engine_words(backend, device, dtype, seed))
    folder = out or Path("runs") / asked.name
    figures = train_only(asked, folder, progress(quiet), own)
    found = {"model": str(folder / "model.safetensors"), **figures}
    show(found, as_json, lambda: "{steps} steps, {cpu_s:.1f} CPU seconds, ESS {ess}: {model}".format(**_spoken(found)))


def sample(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="a model file, a run's folder or a shipped model's name")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="theory.beta=2.5 lattice=[16,16]; by default what it was trained for"
        ),
    ] = None,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="configurations to draw")] = 1000,
    metropolis: Annotated[
        bool, typer.Option("--metropolis", help="a Markov chain of e^-S instead of independent draws with weights")
    ] = False,
    backend: Engine = None,
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
    """Draw configurations with a trained model, on any backend; no autodiff engine is needed.

    The folder gets ensemble.h5 with the configurations, their observables and log weights, and summary.json.
    """
    use_threads(threads)
    from haarflow.pipeline import run as run_recipe
    from haarflow.run.progress import progress
    from haarflow.run.recipes import for_model

    kind = "flow-metropolis" if metropolis else "flow-reweighting"
    own = own_of(theory, flow)
    asked = for_model(model, kind, number, overrides or (), own, **engine_words(backend, device, dtype, seed))
    folder = out or Path("runs") / asked.name
    summary = run_recipe(asked, folder, workers, progress(quiet), report=False, own=own)
    _show_summary(summary, as_json, f"The ensemble: {folder / 'ensemble.h5'}")


def _show_summary(summary: dict[str, Any], as_json: bool, where: str) -> None:
    from haarflow.report.text import summary_table

    show(summary, as_json, lambda: f"{summary_table(summary)}\n\n{where}")


def _spoken(figures: dict[str, Any]) -> dict[str, Any]:
    return figures | {"ess": "unknown" if figures["ess"] is None else f"{figures['ess']:.3f}"}
