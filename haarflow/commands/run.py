"""The commands that compute: run, train, sample, gather."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from haarflow.backends.threads import use_threads
from haarflow.commands.options import (
    BackendName,
    Device,
    Dtype,
    Executor,
    Json,
    Out,
    Overrides,
    OwnFlow,
    OwnTheory,
    Quiet,
    RecipeName,
    Report,
    Seed,
    ShardWords,
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
    executor: Executor = "",
    shard: ShardWords = "",
    report: Report = True,
    as_json: Json = False,
    quiet: Quiet = False,
    theory: OwnTheory = "",
    flow: OwnFlow = "",
) -> None:
    """Train a flow, sample, compare with the exact result, and write report.html.

    The folder will contain recipe.toml (complete, with versions), metrics.jsonl, model.safetensors, ensemble.h5,
    summary.json and report.html. The same command on the same folder resumes an interrupted run; another recipe is
    refused there. SIGTERM or SIGUSR1 lets it commit the block or checkpoint under way and exit with code 75.
    """
    use_threads(threads)
    from haarflow.run.recipes import load

    own = own_of(theory, flow)
    asked = load(recipe, overrides or (), own, **backend_overrides(backend, device, dtype, seed))
    _draw(Drawing(asked, out or Path("runs") / asked.name, own, workers, executor, shard, report), as_json, quiet)


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
    from haarflow.run.stops import on_signals

    own = own_of(theory, flow)
    asked = load(recipe, overrides or (), own, **backend_overrides(backend, device, dtype, seed))
    folder = out or Path("runs") / asked.name
    with on_signals() as stop:
        figures = train_only(asked, folder, progress(quiet, stop), own)
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
    executor: Executor = "",
    shard: ShardWords = "",
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
    from haarflow.run.build import build
    from haarflow.run.recipes import for_model
    from haarflow.run.runfolder import vacant
    from haarflow.run.toml import to_toml

    kind = "flow-metropolis" if metropolis else "flow-reweighting"
    own = own_of(theory, flow)
    asked = for_model(model, kind, number, overrides or (), own, **backend_overrides(backend, device, dtype, seed))
    folder = out or vacant(Path("runs") / asked.name, to_toml(build(asked, own).recipe))
    _draw(Drawing(asked, folder, own, workers, executor, shard, report=False), as_json, quiet)


def gather(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="the --out folder of the shards, where the run will be")
    ],
    others: Annotated[
        list[Path] | None, typer.Argument(metavar="[OTHER]...", help="folders of shards that were drawn apart from it")
    ] = None,
    threads: Threads = None,
    report: Report = True,
    as_json: Json = False,
    quiet: Quiet = False,
    theory: OwnTheory = "",
    flow: OwnFlow = "",
) -> None:
    """Make one run of all shards: one ensemble, one Metropolis chain, summary.json and report.html.

    Nothing is drawn here. A shard that is missing is named, and so is one of another recipe, seed, version or code.
    """
    use_threads(threads)
    from haarflow.pipeline import gather as gather_shards
    from haarflow.run.progress import progress
    from haarflow.run.stops import on_signals

    with on_signals() as stop:
        summary = gather_shards(folder, others or (), progress(quiet, stop), report, own_of(theory, flow))
    _show_summary(summary, as_json, folder)


class Drawing(NamedTuple):
    """What is drawn, into which folder, and by whom."""

    recipe: Any
    folder: Path
    own: Any
    workers: int
    executor: str
    shard: str
    report: bool


def _draw(asked: Drawing, as_json: bool, quiet: bool) -> None:
    """Run a recipe, or one shard of it, and show the result."""
    from haarflow import pipeline
    from haarflow.run.executors.table import Served
    from haarflow.run.progress import progress
    from haarflow.run.stages.shards import shard_of
    from haarflow.run.stops import on_signals

    recipe, folder, own, workers, executor, shard, report = asked
    with contextlib.suppress(Served), on_signals() as stop:
        shown = progress(quiet, stop)
        if not shard:
            summary = pipeline.run(recipe, folder, workers, shown, report, own, executor)
            _show_summary(summary, as_json, folder)
            return
        drawn = pipeline.run_shard(recipe, folder, shard_of(shard), workers, shown, own, executor)
        blocks = ", ".join(f"{count} of {name}" for name, count in drawn["blocks"].items() if count) or "none"
        show(
            drawn,
            as_json,
            lambda: f"shard {shard} has its blocks: {blocks}\nAfter all shards: haarflow gather {folder}",
        )


def _show_summary(summary: dict[str, Any], as_json: bool, folder: Path) -> None:
    from haarflow.report.text import summary_table

    page, ensemble = folder / "report.html", folder / "ensemble.h5"
    where = f"The report: {page}" if page.exists() else f"The ensemble: {ensemble}"
    show(summary, as_json, lambda: f"{summary_table(summary)}\n\n{where}")


def _trained(found: dict[str, Any]) -> str:
    from haarflow.report.text import tuning

    line = "{steps} steps, {cpu_s:.1f} CPU seconds, ESS {ess}: {model}".format(**_printable(found))
    return "\n".join(filter(None, [line, tuning(found)]))


def _printable(figures: dict[str, Any]) -> dict[str, Any]:
    return figures | {"ess": "unknown" if figures["ess"] is None else f"{figures['ess']:.3f}"}
