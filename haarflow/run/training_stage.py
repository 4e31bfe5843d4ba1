"""The training of a run: from nothing or an existing model, in chunks, each committed as a checkpoint.

metrics.jsonl gets a `TrainLine` a chunk, loss and ess being the means over the chunk's steps. A loss that is not finite ends the run; the last checkpoint stays.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy

from haarflow.backends.tree import tree_map
from haarflow.backends.types import Params
from haarflow.flows.modelfile import save_model
from haarflow.flows.training import coupling_plans, schedules
from haarflow.flows.training.checkpoint import load_checkpoint, save_checkpoint
from haarflow.flows.training.gradients import PathGradient, Reinforce, ReverseKL
from haarflow.flows.training.loop import NotFinite, Training, TrainingState, start, train
from haarflow.flows.training.optimisers import Adam
from haarflow.run.build import Setup, card_of
from haarflow.run.models import opened_model
from haarflow.run.progress import Progress
from haarflow.run.records import TrainLine
from haarflow.run.runfolder import RunFolder
from haarflow.run.settings import Recipe, Train

ESTIMATORS: dict[str, Any] = {"reverse-kl": ReverseKL(), "path-gradient": PathGradient(), "reinforce": Reinforce()}


class TrainingStopped(ArithmeticError):
    """A training that met a loss or gradient that is not finite; what was good is kept."""


def training_of(setup: Setup) -> Training:
    """Return the library's training of a recipe."""
    words = _words(setup.recipe)
    if setup.model is None:
        raise ValueError("flow: is missing; there is nothing to train")
    return Training(
        setup.model,
        setup.target.theory.action,
        Adam(_rate(words), words.b1, words.b2, clip=words.clip or None),
        ESTIMATORS[words.estimator],
        words.batch,
        condition=tuple(sorted(words.between)),
    )


def _words(recipe: Recipe) -> Train:
    if recipe.train is None:
        raise ValueError("train: is missing; a recipe with [flow] needs [train]")
    return recipe.train


def _rate(words: Train) -> Any:
    course: Any = schedules.Constant(words.lr)
    if words.schedule == "linear":
        course = schedules.Linear(words.lr, 0.0, words.steps)
    if words.schedule == "cosine":
        course = schedules.Cosine(words.lr, words.steps)
    return schedules.WarmUp(course, words.warmup) if words.warmup else course


def _plan(setup: Setup) -> Any:
    words, target = _words(setup.recipe), setup.target.couplings
    if words.between:
        low = {name: words.between.get(name, (value, value))[0] for name, value in target.items()}
        high = {name: words.between.get(name, (value, value))[1] for name, value in target.items()}
        return coupling_plans.Drawn(low, high)
    if words.anneal:
        return coupling_plans.Annealed({**target, **words.anneal}, target, float(words.anneal_steps or words.steps))
    return coupling_plans.Fixed(target)


def run_training(setup: Setup, folder: RunFolder, progress: Progress) -> None:
    """Train to the recipe's last step, from the folder's checkpoint if there is one, and write model.safetensors."""
    training, words = training_of(setup), _words(setup.recipe)
    state, cpu_before = _begin(setup, training, folder)
    done = int(state.step)
    try:
        with progress.task("training", words.steps, done) as task:
            for step in train(training, state, words.steps, _plan(setup), every=words.checkpoint):
                state, cpu = step.state, cpu_before + step.cpu_s
                shown = {name: float(numpy.mean(step.records[name])) for name in ("loss", "ess")}
                folder.write_line(TrainLine(step.step, **shown, cpu_s=cpu))
                save_checkpoint(folder.checkpoint, state, {"cpu_s": cpu})
                task.advance(shown, step.step - done)
                done = step.step
    except NotFinite as stop:
        kept = f"the checkpoint of step {done} is kept in {folder.checkpoint}" if done else "no step was good"
        raise TrainingStopped(
            f"training stopped at step {stop.step}: loss or gradient is not finite; {kept}. "
            "Try a smaller train.lr, a smaller train.clip, or train.anneal, with another --out"
        ) from None
    params = tree_map(setup.backend.to_numpy, state.params)
    save_model(folder.model, training.model, params, _card(setup, training, folder))
    folder.checkpoint.unlink(missing_ok=True)


def _begin(setup: Setup, training: Training, folder: RunFolder) -> tuple[TrainingState, float]:
    words, params, backend = _words(setup.recipe), None, setup.backend
    if words.start:
        params = tree_map(backend.asarray, _start_params(setup, training, words.start))
    state, cpu = start(training, setup.stream("train"), params, backend.dtype), 0.0
    if folder.checkpoint.exists():
        state, notes = load_checkpoint(folder.checkpoint, state)
        cpu = float(notes["cpu_s"])
    last = int(state.step)
    folder.cut(lambda line: not isinstance(line, TrainLine) or line.step <= last)
    return state, cpu


def _start_params(setup: Setup, training: Training, name: str) -> Params:
    opened = opened_model(name, setup.target, setup.own)
    if opened.model.flow != training.model.flow:
        raise ValueError(
            f"train.start: {name} holds another flow than [flow] describes; fine-tuning goes on from the same flow. "
            f"It holds {opened.card.get('flow')}"
        )
    return opened.params


def _card(setup: Setup, training: Training, folder: RunFolder) -> dict[str, Any]:
    last = folder.log().trained
    figures = {} if last is None else {"ess": last.ess, "loss": last.loss, "cpu_s": last.cpu_s}
    return {
        **card_of(setup.target, training.condition),
        "training": {**dataclasses.asdict(_words(setup.recipe)), **figures},
        "ess": figures.get("ess"),
    }
