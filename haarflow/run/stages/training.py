"""The training of a run, from scratch or from an existing model, in chunks, each saved as a checkpoint.

metrics.jsonl gets a `TrainLine` per chunk; its loss and ESS are means over the steps of the chunk. A loss that is not
finite stops the run; the last checkpoint is kept.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any

import numpy

from haarflow.backends.tree import leaves, tree_map
from haarflow.backends.types import Params
from haarflow.core.parts import described
from haarflow.flows.mixtures import AnyModel, bare, components
from haarflow.flows.modelfile import save_model
from haarflow.flows.training import coupling_plans, least_spread, loop, schedules
from haarflow.flows.training.checkpoint import load_checkpoint, save_checkpoint
from haarflow.flows.training.closed_form import closed_form_start
from haarflow.flows.training.gradients import ESTIMATORS, Estimator, ForwardKL
from haarflow.flows.training.loop import NotFinite, Training, TrainingState
from haarflow.flows.training.optimisers import Adam
from haarflow.run.advice import capped, next_things
from haarflow.run.build import Setup, card_of
from haarflow.run.chains import target_draws
from haarflow.run.models import opened_model
from haarflow.run.progress import Progress
from haarflow.run.records import FineTuneLine, TrainLine
from haarflow.run.runfolder import RunFolder
from haarflow.run.settings import Recipe, Train
from haarflow.run.stages.fine_tuning import compared

SITE_SYMMETRIES = ("translation", "reflection", "hypercubic")
METHODS = {"adam": loop, "least-spread": least_spread}  # modules with `start` and `train`
FAILED = 2.5  # effective draws of a batch below which a training has failed


class TrainingStopped(ArithmeticError):
    """A loss or gradient was not finite; the last checkpoint is kept."""


def training_of(setup: Setup) -> Training:
    """Return the training that a recipe describes."""
    settings, model = _settings(setup.recipe), _model(setup)
    # one well is learnt at the price of one image, but configurations of the target lie in all of them
    model = model if settings.symmetrised or settings.estimator == "forward-kl" else bare(model)
    return Training(
        model,
        setup.target.theory,  # not its bound method, which no other run of the process would share
        Adam(_rate(settings), settings.b1, settings.b2, clip=settings.clip or None),
        _estimator(setup),
        settings.batch,
        condition=tuple(sorted(settings.between)),
    )


def _model(setup: Setup) -> AnyModel:
    if setup.model is None:
        raise ValueError("flow is missing: there is nothing to train")
    return setup.model


def _settings(recipe: Recipe) -> Train:
    if recipe.train is None:
        raise ValueError("train is missing: a recipe with [flow] needs [train]")
    return recipe.train


def _estimator(setup: Setup) -> Estimator:
    """The estimator of the recipe; raises ValueError for images that are no configurations of the theory."""
    settings, theory = _settings(setup.recipe), described(setup.target.theory)
    if not settings.images:
        return ESTIMATORS[settings.estimator]
    shapes = [tuple(space.shape) for space in leaves(theory.spaces)]
    if shapes != [tuple(setup.recipe.lattice)] or not set(SITE_SYMMETRIES) <= set(theory.symmetries.words):
        raise ValueError(
            f"train.images moves fields on sites by the symmetries {', '.join(SITE_SYMMETRIES)}, which {theory.name} does not "
            "have or declare: set train.images = false"
        )
    return ForwardKL(images=True)


def _rate(settings: Train) -> Any:
    course: Any = schedules.Constant(settings.lr)
    if settings.schedule == "linear":
        course = schedules.Linear(settings.lr, 0.0, settings.steps)
    if settings.schedule == "cosine":
        course = schedules.Cosine(settings.lr, settings.steps)
    return schedules.WarmUp(course, settings.warmup) if settings.warmup else course


def _plan(setup: Setup) -> Any:
    settings, target = _settings(setup.recipe), setup.target.couplings
    if settings.between:
        low = {name: settings.between.get(name, (value, value))[0] for name, value in target.items()}
        high = {name: settings.between.get(name, (value, value))[1] for name, value in target.items()}
        return coupling_plans.Drawn(low, high)
    if settings.anneal:
        return coupling_plans.Annealed(
            {**target, **settings.anneal}, target, float(settings.anneal_steps or settings.steps)
        )
    return coupling_plans.Fixed(target)


def run_training(setup: Setup, folder: RunFolder, progress: Progress) -> None:
    """Train to the recipe's last step, from the folder's checkpoint if there is one, and write model.safetensors."""
    training, settings = training_of(setup), _settings(setup.recipe)
    if limit := capped(setup.target):
        progress.say(limit)
    samples, cpu_chain = _samples(setup, folder, progress)
    method = METHODS[settings.method]
    state, cpu_before = _begin(setup, training, folder, progress)
    cpu_before += cpu_chain
    done = int(state.step)
    if settings.anneal:
        start = ", ".join(f"{name} = {value:g}" for name, value in settings.anneal.items())
        progress.say(
            f"annealing from {start} to the theory's couplings in {settings.anneal_steps or settings.steps} steps"
        )
    try:
        with progress.task("training", settings.steps, done, setup.waiting) as task:
            for step in method.train(training, state, settings.steps, _plan(setup), samples, settings.checkpoint):
                state, cpu = step.state, cpu_before + step.cpu_s
                shown = {name: float(numpy.mean(step.records[name])) for name in ("loss", "ess")}
                folder.write_line(TrainLine(step.step, **shown, cpu_s=cpu))
                save_checkpoint(folder.checkpoint, state, {"cpu_s": cpu})
                task.advance(shown, step.step - done)
                done = step.step
                progress.stop.check()
    except NotFinite as stop:
        kept = f"the checkpoint of step {done} is kept in {folder.checkpoint}" if done else "no step succeeded"
        raise TrainingStopped(
            f"training stopped at step {stop.step}: the loss or a gradient is not finite; {kept}. "
            "Try a smaller train.lr or train.clip, or train.anneal, with another --out"
        ) from None
    params = tree_map(setup.backend.to_numpy, _tuned(setup, training, state.params, folder, progress))
    _say_if_failed(setup, folder, progress)
    save_model(folder.model, _model(setup), params, _card(setup, training, folder))
    folder.checkpoint.unlink(missing_ok=True)


def _samples(setup: Setup, folder: RunFolder, progress: Progress) -> tuple[Any, float]:
    """The configurations of the target from which the training learns, None if from none, and the CPU seconds of their chain."""
    settings, begun = _settings(setup.recipe), time.process_time()
    if settings.estimator != "forward-kl":
        return None, 0.0
    found = target_draws(setup, settings.chain, settings.samples, folder, progress)
    return found, time.process_time() - begun


def _tuned(setup: Setup, training: Training, params: Params, folder: RunFolder, progress: Progress) -> Params:
    """The parameters after fine-tuning, or those before it if they have the larger ESS; as they are if nothing was tuned."""
    name = _settings(setup.recipe).start
    if not name:
        return params
    begin = tree_map(setup.backend.asarray, _start_params(setup, training, name))
    line = compared(setup, training.model, begin, params)
    folder.cut(lambda line: not isinstance(line, FineTuneLine))
    folder.write_line(line)
    if line.kept == "end":
        return params
    progress.say(f"fine-tuning made the flow worse: the parameters of {name} are kept; {next_things(setup.target)}")
    return begin


def _say_if_failed(setup: Setup, folder: RunFolder, progress: Progress) -> None:
    """Say what to try next where one draw holds most of a batch's weight."""
    last, batch = folder.log().trained, _settings(setup.recipe).batch
    if last is not None and last.ess is not None and last.ess * batch < FAILED:
        progress.say(f"the training has failed: ESS {last.ess:.3g}, near 1/{batch}; {next_things(setup.target)}")


def _begin(setup: Setup, training: Training, folder: RunFolder, progress: Progress) -> tuple[TrainingState, float]:
    settings, params, backend, begun = _settings(setup.recipe), None, setup.backend, time.process_time()
    if settings.start:
        params = tree_map(backend.asarray, _start_params(setup, training, settings.start))
    if settings.closed_form and not folder.checkpoint.exists():
        params = _at_closed_form(setup, training, progress)
    first = METHODS[settings.method].start
    state, cpu = first(training, setup.stream("train"), params, backend.dtype), time.process_time() - begun
    if folder.checkpoint.exists():
        state, notes = load_checkpoint(folder.checkpoint, state)
        cpu = float(notes.get("cpu_s") or 0.0)
    last = int(state.step)
    folder.cut(lambda line: not isinstance(line, TrainLine) or line.step <= last)
    return state, cpu


def _at_closed_form(setup: Setup, training: Training, progress: Progress) -> Params:
    """Parameters fitted to the closed form of each division."""
    (model,), sites = components(training.model), math.prod(setup.recipe.lattice)
    steps, beta = _settings(setup.recipe).closed_form, setup.target.couplings["beta"]
    begun = closed_form_start(model.flow, setup.stream("closed form"), beta, steps, dtype=setup.backend.dtype)
    left = sum(kl * sites / area for area, kl in begun.kl.items())
    progress.say(
        f"{steps} steps fitted each division of flux to its closed form in two dimensions; a KL divergence of {left:.3g} is left in each plane"
    )
    return begun.params


def _start_params(setup: Setup, training: Training, name: str) -> Params:
    opened = opened_model(name, setup.target, setup.own)
    if _flows(opened.model) != _flows(training.model):
        raise ValueError(
            f"train.start: {name} contains another flow than [flow] describes, and fine-tuning needs the same one. "
            f"It contains {opened.card.get('flow')}"
        )
    return opened.params


def _flows(model: AnyModel) -> list[Any]:
    return [part.flow for part in components(model)]


def _card(setup: Setup, training: Training, folder: RunFolder) -> dict[str, Any]:
    last = folder.log().trained
    figures = {} if last is None else {"ess": last.ess, "loss": last.loss, "cpu_s": last.cpu_s}
    return {
        **card_of(setup.target, training.condition),
        "training": {**dataclasses.asdict(_settings(setup.recipe)), **figures},
        "ess": figures.get("ess"),
    }


def write_untrained(setup: Setup, folder: RunFolder) -> None:
    """Write model.safetensors with the first parameters of a flow that is a sampler without training."""
    if setup.model is None:
        raise ValueError("flow is missing: there is no model to write")
    params = setup.model.init(setup.stream("init"), setup.backend.dtype)
    card = card_of(setup.target, setup.recipe.flow.get("condition", ()))
    save_model(folder.model, setup.model, tree_map(setup.backend.to_numpy, params), card)
