"""Training of flows with few numbers by the spread of log w: Gauss and Newton's method on the model's own draws.

Each step draws x from the prior and takes log w and its derivatives J by all numbers, draw by draw. Where the flow is exact log w is
constant, so that the change d of the numbers that minimises

    sum_draws v (log w - mean + (J - mean) d)^2 + damping sum_k scale_k^2 d_k^2

(scale_k the root mean square of column k, v = 1/2 + w/2 in units of the mean weight, as if half of the draws were the target's, so that
the fit sees where the flow is too thin) needs some hundred draws and ten steps where stochastic gradients take thousands:
near the solution the residuals, and with them the noise of d, vanish. The damping is adapted from step to step (Levenberg, Q. Appl.
Math. 2 (1944) 164; Marquardt, SIAM J. Appl. Math. 11 (1963) 431), and a step that does not lower the variance is not taken.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy

from haarflow import backends
from haarflow.backends import Backend
from haarflow.backends.tree import leaves, tree_map
from haarflow.backends.types import Array, Key, Params
from haarflow.core import random, statistics
from haarflow.core.acceleration import accelerated
from haarflow.core.laws.law import to_host
from haarflow.flows.flow import Model, precision
from haarflow.flows.proposals import log_weight
from haarflow.flows.stochastic.values import flat_numbers, with_numbers
from haarflow.flows.training import loop
from haarflow.flows.training.coupling_plans import Plan, as_plan
from haarflow.flows.training.gradients import Samples
from haarflow.flows.training.loop import NotFinite, Progress, Training, TrainingState

MOST = 500  # numbers of a flow: the linear problem and the derivatives of all draws are kept in memory
SITES = 100_000  # of the draws that are differentiated at a time
FIRST, LEAST, LARGEST = 1e-3, 1e-8, 1.0  # damping
FACTORS, PARTS = (0.1, 1.0, 10.0), (1.0, 0.5)  # of the damping, and of the step, that are tried
STUCK = 30.0  # factor of the damping after a step that none lowered
HEAVIEST = 10.0  # a weight, in units of their mean, in v
FLOOR = 3e-4  # of the largest column: a smaller one has no say yet


class Block(NamedTuple):
    """log w `(n,)` of the draws of a step and its derivatives by all numbers `(n, numbers)`, on the host."""

    log_w: numpy.ndarray
    slopes: numpy.ndarray


def start(training: Training, key: Key, params: Params = None, dtype: str = "float64") -> TrainingState:
    """Return the state before the first step; its optimiser is the damping.

    Raises ValueError for mixtures, averages over images and discrete fields, for more than MOST numbers, and for no more draws in
    a batch than numbers.
    """
    if not isinstance(training.model, Model) or training.model.images is not None:
        raise ValueError("least-spread trains one flow: leave out flow.mixture, and train.symmetrised")
    state = loop.start(training, key, params, dtype)
    numbers = sum(math.prod(leaf.shape) for leaf in leaves(state.params))
    if numbers > MOST or training.batch <= numbers:
        raise ValueError(
            f"least-spread fits at most {MOST} numbers, to more draws than numbers in each step, got {numbers} numbers and "
            f"{training.batch} draws: enlarge train.batch, or train this flow by train.method = 'adam'"
        )
    damping = backends.of(key).asarray(numpy.asarray(FIRST), dtype="float32")
    return state._replace(optimiser={"damping": damping})


def train(
    training: Training,
    state: TrainingState,
    steps: int,
    couplings: Plan | dict[str, Any] | None = None,
    samples: Array | Samples | None = None,
    every: int = 1,
) -> Iterator[Progress]:
    """Train until the state's step number is `steps`, yielding a `Progress` after every `every` steps; see `loop.train`.

    `samples` are not used: a step draws at least `training.batch` configurations from the model. Raises NotFinite (with the last good
    state) and NoAutodiff.
    """
    backend = backends.of(state.key)
    plan, begin, taken = as_plan(couplings, backend, precision(state.params)), time.process_time(), int(state.step)
    rows: list[dict[str, float]] = []
    while taken < steps:
        state, row = _step(training, backend, state, plan)
        rows, taken = [*rows, row], taken + 1
        if taken == steps or taken % every == 0:
            yield Progress(state, taken, _records(rows, taken), time.process_time() - begin)
            rows = []


def _step(
    training: Training, backend: Backend, state: TrainingState, plan: Plan
) -> tuple[TrainingState, dict[str, float]]:
    pieces = _pieces(training)
    keys = random.split(random.fold_in(state.key, state.step), pieces + 1)
    couplings = plan.draw(keys[pieces, :], state.step, -(-training.batch // pieces))
    weigh, differentiate = _compiled(training, backend)

    def log_w(numbers: numpy.ndarray) -> numpy.ndarray:
        params = with_numbers(state.params, numbers)
        parts = [to_host(weigh(params, keys[k, :], couplings)).astype("float64") for k in range(pieces)]
        return numpy.concatenate(parts)

    parts = [differentiate(state.params, keys[k, :], couplings) for k in range(pieces)]
    block = Block(*(numpy.concatenate([to_host(part[i]).astype("float64") for part in parts]) for i in (0, 1)))
    row = _row(block)
    if not all(numpy.isfinite(part).all() for part in block):
        raise NotFinite(state, int(state.step), _records([row], int(state.step) + 1))
    numbers, damping = lowered(log_w, flat_numbers(state.params), block, float(state.optimiser["damping"]))
    optimiser = {"damping": backend.asarray(numpy.asarray(damping), dtype="float32")}
    return TrainingState(with_numbers(state.params, numbers), optimiser, state.key, state.step + 1), row


def lowered(
    log_w: Callable[[numpy.ndarray], numpy.ndarray], numbers: numpy.ndarray, block: Block, damping: float
) -> tuple[numpy.ndarray, float]:
    """Return the numbers with the smallest spread among the damped steps, and the damping that found them.

    `block` holds log w and its derivatives at `numbers`. Where no step lowers the spread the numbers stay, and the damping grows.

    >>> x = numpy.linspace(-1.0, 1.0, 9)
    >>> found, _ = lowered(lambda c: c[0] * x, numpy.ones(1), Block(x, x[:, None]), 1e-6)
    >>> abs(float(found[0])) < 1e-5
    True
    """
    shares = _shares(block.log_w)

    def spread(values: numpy.ndarray) -> float:
        return float(shares @ (values - shares @ values) ** 2)

    columns, rest = block.slopes - shares @ block.slopes, block.log_w - shares @ block.log_w
    scale = numpy.sqrt(shares @ columns**2)
    scale = numpy.maximum(scale, FLOOR * scale.max() + 1e-300)
    columns = columns / scale
    curvature, slope = (columns.T * shares) @ columns, columns.T @ (shares * rest)
    best, found = spread(block.log_w), (numbers, min(STUCK * damping, LARGEST))
    for factor, part in itertools.product(FACTORS, PARTS):
        tried = min(max(factor * damping, LEAST), LARGEST)
        moved = numbers - part * numpy.linalg.solve(curvature + tried * numpy.eye(len(scale)), slope) / scale
        there = spread(log_w(moved))
        if there < best:  # false for NaN
            best, found = there, (moved, tried)
    return found


def _shares(log_w: numpy.ndarray) -> numpy.ndarray:
    """v of each draw; they sum to one."""
    weights = numpy.exp(log_w - numpy.logaddexp.reduce(log_w) + math.log(len(log_w)))
    shares: numpy.ndarray = 1.0 + numpy.minimum(weights, HEAVIEST)
    shares /= shares.sum()
    return shares


def _pieces(training: Training) -> int:
    """The number of pieces in which the draws of a step come."""
    model: Any = training.model
    sites: int = math.prod(model.prior.lattice)
    return max(1, math.ceil(training.batch * sites / SITES))


@lru_cache(maxsize=16)
def _compiled(training: Training, backend: Backend) -> tuple[Callable[..., Array], Callable[..., tuple[Array, Array]]]:
    """The compiled functions (params, key, couplings) -> log w of a piece of the batch, and -> log w and its derivatives."""
    model: Any = training.model
    theory: Any = training.theory
    action = accelerated(theory).action if hasattr(theory, "action") else theory
    n = -(-training.batch // _pieces(training))

    def log_w(params: Params, x: Array, couplings: Any) -> Array:
        y, log_det = model.flow.forward(params, x)
        return log_weight(action(y, couplings), model.prior.log_density(x) - log_det)

    def drawn(params: Params, key: Key) -> Array:
        return model.prior.sample(key, n, precision(params))

    def weigh(params: Params, key: Key, couplings: Any) -> Array:
        return log_w(params, drawn(params, key), couplings)

    def differentiate(params: Params, key: Key, couplings: Any) -> tuple[Array, Array]:
        def of_one(x: Array) -> tuple[Array, Array]:
            value, pullback = backend.vjp(
                lambda p: log_w(p, tree_map(lambda part: part[None, ...], x), couplings)[0], params
            )
            slopes = leaves(pullback(backend.xp.ones_like(value)))
            return value, backend.xp.concat([backend.xp.reshape(leaf, (-1,)) for leaf in slopes])

        found: tuple[Array, Array] = backend.vmap(of_one)(drawn(params, key))
        return found

    return backend.jit(weigh), backend.jit(differentiate)


def _row(block: Block) -> dict[str, float]:
    with numpy.errstate(over="ignore", invalid="ignore"):  # a step that is not finite is told of by NotFinite
        return {
            "loss": float(-block.log_w.mean()),
            "ess": float(statistics.ess(block.log_w)),
            "log_z": float(numpy.logaddexp.reduce(block.log_w) - math.log(len(block.log_w))),
            "grad_norm": float(numpy.linalg.norm(block.slopes.mean(axis=0))),
            "spread": float(numpy.var(block.log_w)),
        }


def _records(rows: list[dict[str, float]], taken: int) -> dict[str, numpy.ndarray]:
    steps = {"step": numpy.arange(taken - len(rows), taken)}
    return steps | {name: numpy.asarray([row[name] for row in rows]) for name in rows[0]}
