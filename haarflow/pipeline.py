"""One run from a recipe to its results: train, sample, compose, analyse, report; it may be killed at any time.

The same recipe on the same folder resumes from the last finished block and gives the same numbers.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from haarflow.core import files
from haarflow.flows.modelfile import read_card
from haarflow.models import path_of
from haarflow.results import ensemble
from haarflow.results.provenance import provenance
from haarflow.results.summary import summarise, training_figures
from haarflow.results.summary_file import read_summary
from haarflow.run.build import Setup, build, models_of, trained
from haarflow.run.executors import table as executors
from haarflow.run.executors.identity import identity
from haarflow.run.models import carried
from haarflow.run.own import NOTHING, Own
from haarflow.run.progress import Progress
from haarflow.run.recipes import load
from haarflow.run.records import Line, PathLine, SampleLine, TuneLine
from haarflow.run.runfolder import RunFolder, opened
from haarflow.run.samplers import needs_flow
from haarflow.run.settings import Recipe
from haarflow.run.stages import shards
from haarflow.run.stages.paths import check_paths, with_paths
from haarflow.run.stages.sampling import sample
from haarflow.run.stages.shards import Shard
from haarflow.run.stages.thermodynamics import check_thermodynamics, measure_thermodynamics
from haarflow.run.toml import to_toml


def run(
    recipe: Recipe,
    out: str | Path,
    workers: int = 1,
    progress: Progress | None = None,
    report: bool = True,
    own: Own = NOTHING,
    executor: str = "",
) -> dict[str, Any]:
    """Run a recipe in the folder `out` and return what summary.json holds.

    `executor` says where the flow's blocks are drawn, see `haarflow.run.executors.table`; `workers` is short for processes:N. The
    results do not depend on it. `own` names a custom theory and flow. Raises ValueError, NoAutodiff, OSError, TrainingStopped
    and ChainStopped, each with a remedy, Stopped where a signal has asked the run to end; finished blocks are kept.
    """
    progress, setup = _begun(recipe, progress, own)
    with _executor(setup, out, workers, executor) as pool, opened(out, to_toml(setup.recipe)) as folder:
        return _finished(setup, folder, progress, report, pool)


def run_shard(
    recipe: Recipe,
    out: str | Path,
    shard: Shard,
    workers: int = 1,
    progress: Progress | None = None,
    own: Own = NOTHING,
    executor: str = "",
) -> dict[str, Any]:
    """Draw the blocks of one shard into the folder `out`, beside other shards, and return how many of each sampler it has.

    `gather` then makes the run of them. Raises as `run` does, and ValueError for a flow that is not trained yet.
    """
    progress, setup = _begun(recipe, progress, own)
    same = identity(setup.recipe.versions, own.modules)
    with (
        _executor(setup, out, workers, executor) as pool,
        shards.opened(out, to_toml(setup.recipe), shard, same) as folder,
    ):
        if folder.ensemble.exists():
            progress.say(f"{folder.path} is complete: nothing to do")
        else:
            setup = with_paths(_with_flow(setup, folder), folder, progress)
            for name in setup.recipe.samplers:
                sample(setup, name, folder, progress, pool, shard.blocks(setup.plans, name))
        return shards.drawn(setup.plans, shard)


def gather(
    out: str | Path,
    others: Iterable[str | Path] = (),
    progress: Progress | None = None,
    report: bool = True,
    own: Own = NOTHING,
) -> dict[str, Any]:
    """Make one run of the shards in the folder `out`, and in `others`, and return what summary.json holds.

    Raises FolderError that names the shards that are missing, and for shards of other recipes, seeds, versions or code.
    """
    progress, setup = _begun(load(Path(out) / "recipe.toml", own=own), progress, own)
    recipe, same = to_toml(setup.recipe), identity(setup.recipe.versions, own.modules)
    with opened(out, recipe) as folder:
        if not folder.ensemble.exists():
            for other in others:
                shards.take_over(folder, Path(other), recipe)
            shards.refuse_other_code(folder, same)
            shards.refuse_missing(folder, setup.plans)
            _with_flow(setup, folder)
        return _finished(setup, folder, progress, report)


def _begun(recipe: Recipe, progress: Progress | None, own: Own) -> tuple[Progress, Setup]:
    """What every command needs before it writes a file."""
    progress, setup = progress or Progress(), build(recipe, own)
    check_paths(setup.target)
    check_thermodynamics(setup.target)
    return progress, setup


def _finished(
    setup: Setup, folder: RunFolder, progress: Progress, report: bool, pool: Executor | None = None
) -> dict[str, Any]:
    if not folder.summary.exists():
        _work(setup, folder, pool, progress)
    else:
        progress.say(f"{folder.path} is complete: nothing to do")
    if report:
        _report(setup, folder, progress)
    folder.clear_blocks()
    return read_summary(folder.summary)


def train_only(recipe: Recipe, out: str | Path, progress: Progress | None = None, own: Own = NOTHING) -> dict[str, Any]:
    """Train a recipe's flow in the folder `out` and return the figures of the training; `run` continues from there."""
    if not recipe.flow:
        raise ValueError(f"the recipe {recipe.name!r} has no [flow] to train")
    progress, setup = progress or Progress(), build(recipe, own)
    with opened(out, to_toml(setup.recipe)) as folder:
        _train(setup, folder, progress)
        return training_figures(folder.log()) or {"steps": 0, "cpu_s": 0.0, "ess": None}


def _work(setup: Setup, folder: RunFolder, pool: Executor | None, progress: Progress) -> None:
    begun = time.monotonic()
    if setup.recipe.flow:
        _train(setup, folder, progress)
    for name in models_of(setup.recipe):
        if words := carried(name, read_card(path_of(name))["card"], setup.target):
            progress.say(words)
    shards.merge(folder, setup.recipe.samplers)
    folder.cut(lambda line: _has_block(folder, line))
    if not folder.ensemble.exists():
        setup = with_paths(_with_flow(setup, folder), folder, progress)
        for name in setup.recipe.samplers:
            sample(setup, name, folder, progress, pool)
        shards.merge(folder, setup.recipe.samplers)  # now with the blocks that shards had left
        progress.say("composing ensemble.h5")
        ensemble.compose(setup, folder)
    if setup.recipe.thermodynamics is not None:
        measure_thermodynamics(setup, setup.recipe.thermodynamics, folder, progress)
    summary = summarise(setup.target, ensemble.read(folder.ensemble), folder.log())
    files.write_json(folder.summary, summary | {"provenance": provenance(time.monotonic() - begun)})


def _has_block(folder: RunFolder, line: Line) -> bool:
    """Whether the block of draws to which a line belongs is there; a sampler's tuning and the fit of its path belong to its first."""
    if isinstance(line, TuneLine | PathLine):
        return folder.block(line.sampler, 0).exists()
    return not isinstance(line, SampleLine) or folder.block(line.sampler, line.block).exists()


def _train(setup: Setup, folder: RunFolder, progress: Progress) -> None:
    from haarflow.run.stages.fitting import run_fit
    from haarflow.run.stages.training import run_training, write_untrained

    if folder.model.exists():
        progress.say("the flow is already trained")
    elif setup.recipe.fit is not None:
        run_fit(setup, folder, progress)
    elif setup.recipe.train is None:
        write_untrained(setup, folder)
    else:
        run_training(setup, folder, progress)


def _with_flow(setup: Setup, folder: RunFolder) -> Setup:
    """The set-up with the run's own trained flow, if its samplers need one."""
    if not (setup.recipe.flow and any(map(needs_flow, setup.recipe.samplers.values()))):
        return setup
    if not folder.model.exists():
        raise ValueError(
            f"{folder.path} has no trained flow yet, and shards do not train: run `haarflow train` with the same recipe and --out first"
        )
    return trained(setup, folder.model)


def _executor(setup: Setup, out: str | Path, workers: int, words: str) -> AbstractContextManager[Executor | None]:
    if words and workers != 1:
        raise ValueError(
            f"--workers N is short for --executor processes:N: give one of --workers {workers} and --executor {words}"
        )
    if not words and workers == 1:
        return nullcontext()  # this process alone, which has no others to compare itself with
    return executors.opened(words or f"processes:{workers}", setup.recipe.versions, setup.own.modules, Path(out))


def _report(setup: Setup, folder: RunFolder, progress: Progress) -> None:
    if folder.report.exists():
        return
    try:
        from haarflow.report.report import write_report
    except ImportError as missing:
        progress.say(f"no report.html was written: it needs the package {missing.name!r}: pip install 'haarflow[cli]'")
        return
    write_report(folder.path, setup.target)
