"""A finished run, read back from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from haarflow.core import untrusted
from haarflow.core.parts import described
from haarflow.results import ensemble
from haarflow.results.ensemble import Ensemble
from haarflow.results.summary_file import read_summary
from haarflow.run import recipes
from haarflow.run.own import NOTHING, Own
from haarflow.run.records import Log
from haarflow.run.runfolder import RunFolder
from haarflow.run.settings import Recipe
from haarflow.run.target import Target, target_of


class ReportError(ValueError):
    """A folder without a finished run."""


class Run(NamedTuple):
    """The contents of a run folder: what was sampled, the results, the log, the draws."""

    target: Target
    summary: dict[str, Any]
    log: Log
    found: Ensemble

    @property
    def recipe(self) -> Recipe:
        """The run's recipe."""
        return self.target.recipe


def read(folder: str | Path, target: Target | None = None, own: Own = NOTHING) -> Run:
    """Return the contents of a finished run's folder; raises ReportError if there is no summary.json.

    `target` saves reading the recipe again if the caller has it.
    """
    run = RunFolder(Path(folder))
    if not run.summary.is_file():
        raise ReportError(
            f"{folder} has no summary.json: a report needs a finished run, so repeat its `haarflow run` first"
        )
    target = target or target_of(recipes.check(untrusted.toml(run.recipe, ReportError), own))
    summary, found = read_summary(run.summary), ensemble.read(run.ensemble)
    derived = set(described(target.theory).part("derived") or {})  # of other observables, which have the draws
    for label, sampler in summary["samplers"].items():
        drawn = found.samplers.get(label)
        if (
            drawn is None
            or drawn.kind != sampler["kind"]
            or not sampler["observables"].keys() - derived <= drawn.observables.keys()
        ):
            raise ReportError(
                f"{run.ensemble} has other draws of {label:.80} than summary.json: repeat the run elsewhere"
            )
    return Run(target, summary, run.log(), found)
