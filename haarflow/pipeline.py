"""One run from a recipe to its results: train, draw, compose, weigh up, report; at any moment it may be killed.

The same recipe on the same folder goes on from the last commit and ends with the same numbers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from concurrent.futures import Executor
from importlib import metadata
from pathlib import Path
from typing import Any

from haarflow import __version__, assemble, backends, ensemble, models
from haarflow.backends import Backend, NoAutodiff
from haarflow.core import files
from haarflow.flows.farm import processes
from haarflow.flows.modelfile import versions
from haarflow.progress import Progress
from haarflow.recipes import to_toml
from haarflow.runfolder import RunFolder, opened
from haarflow.sampling import plan, sample
from haarflow.settings import Recipe
from haarflow.summary import summarise


def run(
    recipe: Recipe, out: str | Path, workers: int = 1, progress: Progress | None = None, report: bool = True
) -> dict[str, Any]:
    """Run a recipe in the folder `out` and return what summary.json holds.

    `workers` processes draw the flow's blocks; the answer does not depend on their number. Raises ValueError,
    NoAutodiff, OSError and TrainingStopped, each with what to do; what was committed before stays.
    """
    progress = progress or Progress()
    recipe = resolved(recipe)
    backend = engine(recipe)
    model = prepared(recipe, backend)
    with opened(out, to_toml(recipe)) as folder:
        if not folder.summary.exists():
            _work(recipe, model, folder, backend, workers, progress)
        else:
            progress.say(f"{folder.path} is complete; nothing to do again")
        if report:
            _report(folder, progress)
        folder.clear_blocks()
        return json.loads(folder.summary.read_text(encoding="utf-8"))


def train_only(recipe: Recipe, out: str | Path, progress: Progress | None = None) -> dict[str, Any]:
    """Train a recipe's flow in the folder `out` and return the training's figures; `run` goes on from there."""
    progress, recipe = progress or Progress(), resolved(recipe)
    if not recipe.flow:
        raise ValueError(f"the recipe {recipe.name!r} trains nothing: it has no [flow]")
    backend = engine(recipe)
    model = prepared(recipe, backend)
    with opened(out, to_toml(recipe)) as folder:
        _train(recipe, model, folder, backend, progress)
        return training_figures(folder)


def resolved(recipe: Recipe) -> Recipe:
    """Return the recipe with its engine named and the versions that matter to its numbers.

    An empty backend means the first present of jax, torch, and numpy where neither is there.
    """
    name = recipe.run.backend or next((name for name in ("jax", "torch") if backends.is_present(name)), "numpy")
    found = versions()
    found |= {"haarflow": __version__, "h5py": metadata.version("h5py")}
    matter = ("haarflow", "python", "numpy", "numba", "array-api-compat", "h5py", name)
    there = {word: found[word] for word in matter if word in found}
    return dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, backend=name), versions=there)


def engine(recipe: Recipe) -> Backend:
    """Return the backend of a resolved recipe."""
    return backends.get(recipe.run.backend, recipe.run.device or None, recipe.run.dtype)


def prepared(recipe: Recipe, backend: Backend) -> Any:
    """Check all that can be checked before anything is written; return the untrained model, if the recipe has one.

    Raises ValueError for couplings, lattice or masks that do not fit, NoAutodiff where this backend cannot train.
    """
    theory, couplings = assemble.theory_of(recipe), assemble.couplings_of(recipe)
    if check := getattr(theory, "check", None):
        check(couplings)
    backend.asarray([0.0])
    for name, sampler in recipe.samplers.items():
        word = getattr(sampler, "model", "") or recipe.model
        flow = _opened_flow(recipe, word) if word and _has_flow(sampler) else None
        if not plan(recipe, name).is_flow and (flow or not _has_flow(sampler)):
            assemble.kernel_of(recipe, sampler, flow)
    if not recipe.flow:
        return None
    if recipe.train is not None and not backend.autodiff:
        raise NoAutodiff(
            f"training needs automatic differentiation, which {backend.name} does not have: choose --backend jax or "
            "torch (pip install 'haarflow[jax]'), leave the flow out (flow=false and its samplers), or open a trained "
            "model (flow=false model=FILE)"
        )
    model = assemble.model_of(recipe)
    words = recipe.train.between if recipe.train else recipe.flow.get("condition", ())
    condition = {name: assemble.couplings_of(recipe)[name] for name in words}
    assemble.try_model(recipe, model, condition=condition or None)
    return model


def _work(recipe: Recipe, model: Any, folder: RunFolder, backend: Backend, workers: int, progress: Progress) -> None:
    if recipe.flow:
        _train(recipe, model, folder, backend, progress)
    folder.cut(lambda line: line.get("stage") != "sample" or folder.block(line["sampler"], line["block"]).exists())
    if not folder.ensemble.exists():
        with _executor(workers) as executor:
            for name in recipe.samplers:
                sample(recipe, name, folder, backend, _flow_for(recipe, name, folder), progress, executor)
        progress.say("composing ensemble.h5")
        ensemble.compose(recipe, folder)
    files.write_json(folder.summary, summarise(recipe, ensemble.read(folder.ensemble), folder.lines()))


def _train(recipe: Recipe, model: Any, folder: RunFolder, backend: Backend, progress: Progress) -> None:
    from haarflow.fitting_stage import run_fit
    from haarflow.training_stage import run_training

    if folder.model.exists():
        progress.say("the flow is trained")
    elif recipe.fit is not None:
        run_fit(recipe, model, folder, backend, progress)
    else:
        run_training(recipe, model, folder, backend, progress)


@contextlib.contextmanager
def _executor(workers: int) -> Iterator[Executor | None]:
    if workers <= 1:
        yield None
        return
    with processes(workers) as executor:
        yield executor


def _has_flow(sampler: Any) -> bool:
    return hasattr(sampler, "model") and "flow" in getattr(sampler, "kernels", ("flow",))


def _flow_for(recipe: Recipe, name: str, folder: RunFolder) -> tuple[Any, Any, Any] | None:
    """The (model, host parameters, condition) of a sampler that has a flow."""
    sampler: Any = recipe.samplers[name]
    return _opened_flow(recipe, sampler.model or recipe.model or str(folder.model)) if _has_flow(sampler) else None


def _opened_flow(recipe: Recipe, name: str) -> tuple[Any, Any, Any]:
    found = models.opened(name, recipe)
    couplings = assemble.couplings_of(recipe)
    condition = {word: couplings[word] for word in found.card.get("condition", ())} or None
    assemble.try_model(recipe, found.model, found.params, condition)
    return found.model, found.params, condition


def training_figures(folder: RunFolder) -> dict[str, Any]:
    """Return {"steps", "cpu_s", "ess"} of the last chunk of training."""
    lines = [line for line in folder.lines() if line.get("stage") == "train"]
    last = lines[-1] if lines else {"step": 0, "cpu_s": 0.0, "ess": None}
    return {"steps": last["step"], "cpu_s": last["cpu_s"], "ess": last["ess"]}


def _report(folder: RunFolder, progress: Progress) -> None:
    if folder.report.exists():
        return
    try:
        from haarflow.report import write_report
    except ImportError as missing:
        progress.say(f"no report.html: it needs the package {missing.name!r}: pip install 'haarflow[cli]'")
        return
    write_report(folder.path)
