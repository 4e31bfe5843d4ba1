"""Training: one compiled step, an iterator that yields its progress, and checkpoints that resume bit for bit.

The state (params, optimiser, key, step) is a tree; step t draws with fold_in(key, t), so that a run depends neither on the
block length nor on where it was interrupted. The step is compiled once for each definition and traced once for each
shape; couplings are its arguments (flows/training/coupling_plans.py). If the loss or the gradient is not finite, the state is left
unchanged and the training stops with `NotFinite`, which carries the last good state.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends import Backend
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Key, Params, Theory, Tree
from haarflow.core import random
from haarflow.core.acceleration import accelerated
from haarflow.flows.flow import precision
from haarflow.flows.mixtures import AnyModel
from haarflow.flows.training.coupling_plans import Plan, as_plan
from haarflow.flows.training.gradients import Action, Estimator, Info, ReverseKL, Samples, ess
from haarflow.flows.training.optimisers import Adam, Optimiser, apply_updates, norm

DEFAULT_OPTIMISER = Adam()
DEFAULT_ESTIMATOR = ReverseKL()


class TrainingState(NamedTuple):
    """Everything the next step depends on: parameters, the optimiser's state, the key, and the step number (int32)."""

    params: Params
    optimiser: Tree
    key: Key
    step: Array


class Progress(NamedTuple):
    """The result of a block of k steps: the state and step number after it, host records `(k,)` by name, CPU seconds so far.

    Records: `step` (counted from 0), `loss`, `ess`, `log_z`, `grad_norm`.
    """

    state: TrainingState
    step: int
    records: dict[str, numpy.ndarray]
    cpu_s: float


class NotFinite(ArithmeticError):
    """The loss or gradient was NaN or infinite; `state` is the last good one, `step` the step that failed."""

    def __init__(self, state: TrainingState, step: int, records: dict[str, numpy.ndarray]) -> None:
        self.state, self.step, self.records = state, step, records
        seen = ", ".join(f"{name} {values[-1]:g}" for name, values in records.items() if name != "step")
        super().__init__(
            f"training stopped at step {step}: loss or gradient is not finite ({seen}); the state before that step is "
            "kept: continue from it with a smaller learning rate, a gradient clip (Adam(clip=1.0)) or weaker couplings"
        )


@dataclass(frozen=True)
class Training:
    """What is trained and how: the definition for which one step is compiled.

    `theory` gives the action, by its compiled kernels where it has some; or it is a bare function `(field, couplings)` that
    returns `(batch,)`. `condition` names the couplings on which the flow is conditioned;
    `optimiser` is `Adam` or, on JAX, any optax transform.
    """

    model: AnyModel
    theory: Theory | Action
    optimiser: Optimiser = DEFAULT_OPTIMISER
    estimator: Estimator = DEFAULT_ESTIMATOR
    batch: int = 64
    condition: tuple[str, ...] = ()


def start(training: Training, key: Key, params: Params = None, dtype: str = "float64") -> TrainingState:
    """Return the state before the first step, with fresh parameters or, for fine-tuning, those passed.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.flow import Model, Translate
    >>> from haarflow.flows.priors import Gaussian
    >>> training = Training(Model(Gaussian((2,)), Translate((1,))), theory=None)
    >>> int(start(training, random.key(0, backend), params={"a": backend.asarray([1.0])}).step)
    0
    """
    keys = random.split(key)
    if params is None:
        params = training.model.init(keys[0, :], dtype)
    xp = array_namespace(key)
    zero = xp.zeros((), dtype=xp.int32, device=backends.place(key))
    return TrainingState(params, training.optimiser.init(params), keys[1, :], zero)


def train_step(
    training: Training,
    state: TrainingState,
    couplings: Plan | dict[str, Any] | None = None,
    samples: Array | Samples | None = None,
) -> tuple[TrainingState, Info]:
    """Take one step and return `(state, info)`, info's `loss ess log_z grad_norm finite` being 0-dimensional arrays.

    Raises NoAutodiff on backends without automatic differentiation, ValueError for couplings that are not finite.
    """
    backend = _backend(state)
    plan = as_plan(couplings, backend, precision(state.params))
    return _compiled(training, backend)(state, plan, samples)


def train(
    training: Training,
    state: TrainingState,
    steps: int,
    couplings: Plan | dict[str, Any] | None = None,
    samples: Array | Samples | None = None,
    every: int = 10,
) -> Iterator[Progress]:
    """Train until the state's step number is `steps`, yielding a `Progress` after every `every` steps.

    Blocks end at multiples of `every`; the results depend neither on `every` nor on where a run was resumed. Raises
    NotFinite (with the last good state), NoAutodiff, and ValueError for couplings that are not finite.
    """
    backend = _backend(state)
    plan = as_plan(couplings, backend, precision(state.params))
    step = _compiled(training, backend)
    begin, taken = time.process_time(), int(state.step)
    while taken < steps:
        block = min(steps, taken + every - taken % every) - taken
        infos = []
        for _ in range(block):
            state, info = step(state, plan, samples)
            infos.append(info)
        records = _records(infos, taken)
        _check_finite(state, infos, records, taken)
        taken += block
        yield Progress(state, taken, records, time.process_time() - begin)


def finish(progress: Iterator[Progress]) -> TrainingState:
    """Run a training to its end and return the last state.

    Raises ValueError if no step was left to take.
    """
    blocks = deque(progress, maxlen=1)
    if not blocks:
        raise ValueError("no step was left to take: ask for more steps than the state has already taken")
    return blocks[0].state


Step = Callable[[TrainingState, Plan, Array | Samples | None], tuple[TrainingState, Info]]


@lru_cache(maxsize=64)
def _compiled(training: Training, backend: Backend) -> Step:
    def step(state: TrainingState, plan: Plan, samples: Array | Samples | None) -> tuple[TrainingState, Info]:
        return _step(training, state, plan, samples)

    compiled: Step = backend.jit(step)
    return compiled


def _step(
    training: Training, state: TrainingState, plan: Plan, samples: Array | Samples | None
) -> tuple[TrainingState, Info]:
    draw_key, sample_key = _two(random.split(random.fold_in(state.key, state.step)))
    couplings = plan.draw(draw_key, state.step, training.batch)
    condition = {name: couplings[name] for name in training.condition} or None
    theory: Any = training.theory
    action = accelerated(theory).action if hasattr(theory, "action") else theory
    grads, info = training.estimator.gradient(
        training.model, action, state.params, sample_key, training.batch, couplings, condition, samples
    )
    updates, optimiser = training.optimiser.update(grads, state.optimiser, state.params)
    moved = TrainingState(apply_updates(state.params, updates), optimiser, state.key, state.step + 1)
    info = _summary(info, grads, plan.groups(training.batch))
    return _choose(info["finite"], moved, state), info


def _summary(info: Info, grads: Params, groups: int) -> Info:
    """The figures of a step; if a batch interleaves several couplings, the ESS is the mean over them."""
    size = norm(grads)
    xp = array_namespace(size)
    log_w = info["log_w"]
    share = ess(xp.reshape(log_w, (-1, groups))) if groups > 1 else info["ess"]
    finite = xp.isfinite(info["loss"]) & xp.isfinite(size)
    return {"loss": info["loss"], "ess": xp.mean(share), "log_z": info["log_z"], "grad_norm": size, "finite": finite}


def _choose(good: Array, new: Tree, old: Tree) -> Tree:
    where = array_namespace(good).where
    return tree_map(lambda a, b: where(good, a, b), new, old)


def _two(keys: Key) -> tuple[Key, Key]:
    return keys[0, :], keys[1, :]


def _records(infos: list[Info], taken: int) -> dict[str, numpy.ndarray]:
    records: dict[str, numpy.ndarray] = {"step": numpy.arange(taken, taken + len(infos))}
    for name in ("loss", "ess", "log_z", "grad_norm"):
        records[name] = numpy.asarray([float(info[name]) for info in infos])
    return records


def _check_finite(state: TrainingState, infos: list[Info], records: dict[str, numpy.ndarray], taken: int) -> None:
    bad = [index for index, info in enumerate(infos) if not bool(info["finite"])]
    if bad:
        until = {name: values[: bad[0] + 1] for name, values in records.items()}
        raise NotFinite(state, taken + bad[0], until)


def _backend(state: TrainingState) -> Backend:
    return backends.of(state.key)
