"""One run from a recipe to its results: train, sample, compose, analyse, report; it may be killed at any time.

The same recipe on the same folder resumes from the last finished block and gives the same numbers.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from haarflow.core import files
from haarflow.flows.modelfile import read_card
from haarflow.flows.sampling.farm import processes
from haarflow.models import path_of
from haarflow.results import ensemble
from haarflow.results.provenance import provenance
from haarflow.results.summary import summarise, training_figures
from haarflow.results.summary_file import read_summary
from haarflow.run.build import Setup, build, models_of, trained
from haarflow.run.models import carried
from haarflow.run.own import NOTHING, Own
from haarflow.run.progress import Progress
from haarflow.run.records import Line, PathLine, SampleLine, TuneLine
from haarflow.run.runfolder import RunFolder, opened
from haarflow.run.samplers import needs_flow
from haarflow.run.sampling import sample
from haarflow.run.settings import Recipe
from haarflow.run.stages.paths import check_paths, with_paths
from haarflow.run.stages.thermodynamics import check_thermodynamics, measure_thermodynamics
from haarflow.run.toml import to_toml


def run(
    recipe: Recipe,
    out: str | Path,
    workers: int = 1,
    progress: Progress | None = None,
    report: bool = True,
    own: Own = NOTHING,
) -> dict[str, Any]:
    """Run a recipe in the folder `out` and return what summary.json holds.

    `workers` processes draw the flow's blocks; the results do not depend on their number. `own` names a custom theory
    and flow. Raises ValueError, NoAutodiff, OSError, TrainingStopped and ChainStopped, each with a remedy; finished
    blocks are kept.
    """
    progress, setup = progress or Progress(), build(recipe, own)
    check_paths(setup.target)
    check_thermodynamics(setup.target)
    with opened(out, to_toml(setup.recipe)) as folder:
        if not folder.summary.exists():
            _work(setup, folder, workers, progress)
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


def _work(setup: Setup, folder: RunFolder, workers: int, progress: Progress) -> None:
    begun = time.monotonic()
    if setup.recipe.flow:
        _train(setup, folder, progress)
    for name in models_of(setup.recipe):
        if words := carried(name, read_card(path_of(name))["card"], setup.target):
            progress.say(words)
    folder.cut(lambda line: _has_block(folder, line))
    if not folder.ensemble.exists():
        if any(map(needs_flow, setup.recipe.samplers.values())) and setup.recipe.flow:
            setup = trained(setup, folder.model)
        setup = with_paths(setup, folder, progress)
        with _executor(workers) as executor:
            for name in setup.recipe.samplers:
                sample(setup, name, folder, progress, executor)
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


@contextlib.contextmanager
def _executor(workers: int) -> Iterator[Executor | None]:
    if workers <= 1:
        yield None
        return
    with processes(workers) as executor:
        yield executor


def _report(setup: Setup, folder: RunFolder, progress: Progress) -> None:
    if folder.report.exists():
        return
    try:
        from haarflow.report.report import write_report
    except ImportError as missing:
        progress.say(f"no report.html was written: it needs the package {missing.name!r}: pip install 'haarflow[cli]'")
        return
    write_report(folder.path, setup.target)
