"""A finished run, read back from its folder with all that is known exactly beside it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from haarflow.run import ensemble, recipes
from haarflow.run.ensemble import Ensemble
from haarflow.run.own import NOTHING, Own
from haarflow.run.records import Log
from haarflow.run.runfolder import RunFolder
from haarflow.run.settings import Recipe
from haarflow.run.target import Target, target_of


class ReportError(ValueError):
    """A folder that holds no finished run."""


class Run(NamedTuple):
    """All that a run's folder tells: what was sampled, the results, the log, the draws."""

    target: Target
    summary: dict[str, Any]
    log: Log
    found: Ensemble

    @property
    def recipe(self) -> Recipe:
        """The run's recipe."""
        return self.target.recipe


def read(folder: str | Path, target: Target | None = None, own: Own = NOTHING) -> Run:
    """Return what stands in a finished run's folder; raises ReportError where there is no summary.json.

    `target` saves reading the recipe again where it is at hand.
    """
    run = RunFolder(Path(folder))
    if not run.summary.is_file():
        raise ReportError(f"{folder} holds no summary.json: a report needs a finished run; give `haarflow run` again")
    target = target or target_of(recipes.check(tomllib.loads(run.recipe.read_text(encoding="utf-8")), own))
    summary = json.loads(run.summary.read_text(encoding="utf-8"))
    return Run(target, summary, run.log(), ensemble.read(run.ensemble))
