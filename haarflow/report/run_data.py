"""A finished run, read back from its folder."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from haarflow.results import ensemble
from haarflow.results.ensemble import Ensemble
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
    target = target or target_of(recipes.check(tomllib.loads(run.recipe.read_text(encoding="utf-8")), own))
    summary = json.loads(run.summary.read_text(encoding="utf-8"))
    return Run(target, summary, run.log(), ensemble.read(run.ensemble))
