"""A finished run, read back from its folder with all that is known exactly beside it."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from haarflow import assemble, ensemble, recipes
from haarflow.ensemble import Ensemble
from haarflow.runfolder import read_metrics
from haarflow.settings import Recipe


class ReportError(ValueError):
    """A folder that holds no finished run."""


class Run(NamedTuple):
    """All that a run's folder tells: recipe, results, log, draws; and the exact results, p(Q) where it is known."""

    recipe: Recipe
    summary: dict[str, Any]
    lines: list[dict[str, Any]]
    found: Ensemble
    exact: dict[str, float]
    charges: dict[int, float] | None


def read(folder: str | Path) -> Run:
    """Return what stands in a finished run's folder; raises ReportError where there is no summary.json."""
    folder = Path(folder)
    if not (folder / "summary.json").is_file():
        raise ReportError(f"{folder} holds no summary.json: a report needs a finished run; give `haarflow run` again")
    recipe = recipes.check(tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8")))
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    exact = assemble.theory_of(recipe).exact(assemble.couplings_of(recipe))
    found = ensemble.read(folder / "ensemble.h5")
    return Run(recipe, summary, read_metrics(folder / "metrics.jsonl"), found, exact, _exact_charges(recipe))


def _exact_charges(recipe: Recipe) -> dict[int, float] | None:
    """p(Q) of U(1) in two dimensions."""
    if recipe.theory.name != "u1" or len(recipe.lattice) != 2:
        return None
    from haarflow.theories.torus import charge_distribution

    return charge_distribution(recipe.theory.beta, math.prod(recipe.lattice))
