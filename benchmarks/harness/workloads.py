"""The workloads that are timed: a literal table of functions (problem, backend) -> Job.

`call()` is timed; `answer(result)` is the part of its result on which all backends must agree. What is an argument of a
compiled function in practice (fields, couplings, parameters, keys) is an argument here.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import numpy

from haarflow.benchmarks.harness.problems import DoesNotApply, Problem
from haarflow.core import random
from haarflow.core.chains.heatbath_sun import SUNHeatBath
from haarflow.core.chains.heatbath_u1 import U1HeatBath
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.kernel import run
from haarflow.core.chains.metropolis import LocalMetropolis, independence_chain
from haarflow.core.lattice import loops
from haarflow.core.parts import described, force_of
from haarflow.flows.laws.shapes import misshapen
from haarflow.flows.proposals import Weighted
from haarflow.flows.training.loop import Training, start, train_step
from haarflow.flows.training.optimisers import Adam
from haarflow.theories.theory import field_shape

STEPS, PROPOSALS, RATE = 10, 1024, 1e-3


class Job(NamedTuple):
    """A function without arguments, the number of items that one call makes, and the part of its result that is compared."""

    call: Callable[[], Any]
    items: int
    unit: str
    answer: Callable[[Any], Any] = lambda found: found


def action(problem: Problem, backend: Any) -> Job:
    """S of every field."""
    return _of_field(problem, backend, problem.theory.action)


def force(problem: Problem, backend: Any) -> Job:
    """F = dS along the group, of every field."""
    return _of_field(problem, backend, force_of(problem.theory))


def plaquette(problem: Problem, backend: Any) -> Job:
    """The plaquettes of every field, as an array."""
    plaquettes = described(_gauge(problem)).part("plaquettes")
    if plaquettes is None:
        raise DoesNotApply(f"{problem.subject} has no method plaquettes(field)")
    return _of_field(problem, backend, lambda x, _: plaquettes(x))


def product(problem: Problem, backend: Any) -> Job:
    """Products of the matrices of two directions, U_0(x) U_1(x)."""
    theory, d = _gauge(problem), len(problem.lattice)
    if theory.group.name == "U1":
        raise DoesNotApply("links of U(1) are angles: there are no matrices to multiply")
    pair = [loops.direction(problem.field(backend), mu, d, theory.group) for mu in (0, 1)]
    compiled = backend.jit(theory.group.compose)
    return Job(lambda: compiled(*pair), problem.batch * _volume(problem), "matrices")


def hmc(problem: Problem, backend: Any) -> Job:
    """One trajectory of 10 leapfrog steps and its accept step, all chains."""
    values = {"couplings": problem.couplings, "step_size": problem.step_size}
    return _of_kernel(problem, backend, HMC(problem.theory, steps=STEPS, values=values), "trajectories")


def heatbath(problem: Problem, backend: Any) -> Job:
    """One heat-bath sweep over all links, all chains."""
    theory = _gauge(problem)
    kind: Any = U1HeatBath if theory.group.name == "U1" else SUNHeatBath
    return _of_kernel(problem, backend, kind(theory, values={"couplings": problem.couplings}), "sweeps")


def local(problem: Problem, backend: Any) -> Job:
    """One sweep of local Metropolis moves, all chains."""
    kernel = LocalMetropolis(problem.theory, values={"couplings": problem.couplings, "width": 0.5})
    return _of_kernel(problem, backend, kernel, "sweeps")


def forward(problem: Problem, backend: Any) -> Job:
    """The flow and its log-determinant on draws of the prior."""
    model, params = problem.model, problem.params(backend)
    x = model.prior.sample(problem.key(3, backend), problem.batch, problem.dtype)
    compiled = backend.jit(model.flow.forward)
    return _of_flow(problem, backend, lambda: compiled(params, x))


def inverse(problem: Problem, backend: Any) -> Job:
    """The flow's inverse and its log-determinant on draws of the prior."""
    model, params = problem.model, problem.params(backend)
    y = model.prior.sample(problem.key(3, backend), problem.batch, problem.dtype)
    compiled = backend.jit(model.flow.inverse)
    return _of_flow(problem, backend, lambda: compiled(params, y))


def train(problem: Problem, backend: Any) -> Job:
    """One step of Adam on the reverse KL: draw, flow, action, gradient, update."""
    training = Training(problem.model, problem.theory, Adam(RATE), batch=problem.batch)
    state = start(training, problem.key(4, backend), problem.params(backend))

    def answer(found: Any) -> Any:
        moved, info = found  # Adam's first moments are the gradient: no sign of a vanishing one enters
        return {name: info[name] for name in ("loss", "ess", "grad_norm")}, moved.optimiser

    return Job(lambda: train_step(training, state, problem.couplings), problem.batch, "samples", answer)


def metropolis(problem: Problem, backend: Any) -> Job:
    """A block of the exact sampler: draws of the flow, their log weights, and the accept steps of the resulting chain."""
    proposal, params = Weighted(problem.model, problem.theory), problem.params(backend)
    keys = problem.key(5, backend), problem.key(6, backend)

    def block(params: Any, draws: Any, coins: Any, couplings: Any) -> Any:
        log_w = proposal.draw(params, draws, problem.batch, couplings).log_w
        return log_w, independence_chain(log_w, random.uniform(coins, (problem.batch,), problem.dtype))

    compiled = backend.jit(block)
    return Job(lambda: compiled(params, *keys, problem.couplings), problem.batch, "proposals")


def accept(problem: Problem, backend: Any) -> Job:
    """Only the accept steps, of 1,024 proposals in each of `batch` chains with normal log weights."""
    shape = (PROPOSALS, problem.batch)
    log_w = random.normal(problem.key(5, backend), shape, problem.dtype)
    uniforms = random.uniform(problem.key(6, backend), shape, problem.dtype)
    compiled = backend.jit(independence_chain)
    return Job(lambda: compiled(log_w, uniforms), PROPOSALS * problem.batch, "proposals")


WORKS: dict[str, Callable[[Problem, Any], Job]] = {
    "action": action,
    "force": force,
    "plaquette": plaquette,
    "product": product,
    "hmc": hmc,
    "heatbath": heatbath,
    "local": local,
    "forward": forward,
    "inverse": inverse,
    "train": train,
    "metropolis": metropolis,
    "accept": accept,
}
DEFAULT = ("action", "force", "hmc", "heatbath", "forward", "inverse", "train", "metropolis")


def work(name: str) -> Callable[[Problem, Any], Job]:
    """Return a workload of the table, or a custom one by "package.module:function".

    Raises ValueError for an unknown name.

    >>> work("action").__name__
    'action'
    """
    if name in WORKS:
        return WORKS[name]
    module, colon, function = name.partition(":")
    if not colon:
        raise ValueError(f"a workload is one of {', '.join(WORKS)}, or your own package.module:function, got {name!r}")
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError) as missing:
        raise ValueError(f"there is no workload {name!r}: {missing}") from None


def _of_field(problem: Problem, backend: Any, function: Callable) -> Job:
    field, compiled, couplings = problem.field(backend), backend.jit(function), problem.couplings
    return Job(lambda: compiled(field, couplings), problem.batch, "fields")


def _of_kernel(problem: Problem, backend: Any, kernel: Any, unit: str) -> Job:
    state, key = kernel.init(problem.field(backend)), problem.key(7, backend)

    def answer(found: Any) -> Any:
        state, records = found
        return problem.seen(state.field, backend), records["info"]

    return Job(lambda: run(kernel, key, state, 1), problem.batch, unit, answer)


def _of_flow(problem: Problem, backend: Any, call: Callable) -> Job:
    prior_shape = (problem.batch, *field_shape(problem.theory))

    def answer(pair: Any) -> Any:
        if wrong := misshapen("the flow", pair, numpy.empty(prior_shape)):
            raise ValueError(wrong)
        return problem.seen(pair[0], backend), pair[1]

    return Job(call, problem.batch, "samples", answer)


def _gauge(problem: Problem) -> Any:
    if problem.subject == "phi4":
        raise DoesNotApply("phi^4 has no links")
    if described(problem.theory).conditional is None:
        raise DoesNotApply(f"{problem.subject} has no conditional weights of its links")
    return problem.theory


def _volume(problem: Problem) -> int:
    volume = 1
    for extent in problem.lattice:
        volume *= extent
    return volume
