"""Sampling with a trained flow or another proposal: weighted draws, blocks of them for a farm, and Markov chains.

Reweighting takes the mean of w O over the mean of w; independence Metropolis accepts a draw over the present state with
probability min(1, w'/w). As a kernel between HMC or heat bath steps a flow is
`core.metropolis.IndependenceMetropolis(model, theory)` in a `core.kernels.Cycle`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Condition, Couplings, Key, Params, Theory, Tree
from haarflow.core import random
from haarflow.core.chains.kernel import as_floats
from haarflow.core.chains.metropolis import independence_chain
from haarflow.flows.proposals import Density, Draws, Proposal, Weighted
from haarflow.flows.sampling.farm import farm
from haarflow.flows.sampling.integrated import Extrapolated, proposal_of, weigher_of

Measure = Callable[[Tree], Tree]


def draw(
    model: Density | Proposal,
    params: Params,
    theory: Theory,
    key: Key,
    n: int,
    couplings: Mapping[str, Any] | None = None,
    condition: Mapping[str, Any] | None = None,
    measure: Measure | None = None,
) -> Draws:
    """Return `n` independent draws of a model, or of another proposal, with their weights under the theory.

    Those of a flow in continuous time are extrapolated to short steps (flows/sampling/integrated.py).

    Compiled once for each model, theory, n and `measure` (pass the same function object again); `measure(field)` gives
    `observables`, real or complex. Raises ValueError for n < 1.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.flow import Model, Translate
    >>> from haarflow.flows.priors import UniformLinks
    >>> from haarflow.theories import U1Gauge
    >>> model = Model(UniformLinks((4, 4)), Translate((0, 0), internal=1))
    >>> draw(model, {}, U1Gauge((4, 4)), random.key(0, backend), 5, {"beta": 1.0}).log_w.shape
    (5,)
    """
    if n < 1:
        raise ValueError(f"at least one draw wanted, got n = {n}")
    compiled = _compiled(proposal_of(model, theory), int(n), measure, backends.of(key))
    return compiled(params, key, as_floats(couplings), as_floats(condition))


def weigh(
    model: Density,
    params: Params,
    theory: Theory,
    field: Array,
    couplings: Mapping[str, Any] | None = None,
    condition: Mapping[str, Any] | None = None,
) -> Array:
    """Return log w = -S(y) - log q(y) `(n,)` of given configurations `(n, *field_shape)`, such as those of a Markov chain.

    Those by a flow in continuous time are extrapolated to short steps, too.

    Compiled once for each model, theory and n.

    >>> import numpy as np
    >>> from haarflow.flows.flow import Model, Translate
    >>> from haarflow.flows.priors import UniformLinks
    >>> from haarflow.theories import U1Gauge
    >>> model = Model(UniformLinks((4, 4)), Translate((0, 0), internal=1))
    >>> weigh(model, {}, U1Gauge((4, 4)), np.zeros((2, 2, 4, 4)), {"beta": 1.0}).tolist()
    [16.0, 16.0]
    """
    compiled = _weighing(weigher_of(model, theory), backends.of(field))
    return compiled(params, field, as_floats(couplings), as_floats(condition))


@lru_cache(maxsize=32)
def _weighing(proposal: Extrapolated | Weighted, backend: backends.Backend) -> Callable[..., Array]:
    compiled: Callable[..., Array] = backend.jit(proposal.weigh)
    return compiled


Block = Callable[[Params, Key, Couplings, Condition], Draws]


@lru_cache(maxsize=32)
def _compiled(proposal: Proposal, n: int, measure: Measure | None, backend: backends.Backend) -> Block:

    def block(params: Params, key: Key, couplings: Couplings, condition: Condition) -> Draws:
        draws = proposal.draw(params, key, n, couplings, condition)
        return draws if measure is None else draws._replace(observables=measure(draws.field))

    compiled: Block = backend.jit(block)
    return compiled


@dataclass(frozen=True)
class DrawBlock:
    """The task of a farm: block i consists of `n` draws of the model with the key `fold_in(key, i)`.

    It is pickled on its way to a worker: parameters and the two integers of the key as NumPy arrays, the backend as its
    name. A call returns host arrays `field`, `log_w`, `phase` and `observables` together with `cpu_s`, its process time in
    seconds; `phase` is None for real weights.
    `measures(theory, couplings)` returns the function that measures a field; it must be importable by name.
    """

    model: Density | Proposal
    theory: Theory
    n: int
    backend: backends.Backend
    params: Params = field(compare=False)
    key: tuple[int, int] = (0, 0)
    couplings: Mapping[str, float] = field(default_factory=dict, compare=False)
    condition: Mapping[str, float] | None = field(default=None, compare=False)
    measures: Callable[..., Measure] | None = None
    keep_fields: bool = True

    def __call__(self, index: int) -> dict[str, Any]:
        """Return one block."""
        start = time.process_time()
        measure = None if self.measures is None else self.measures(self.theory, tuple(self.couplings.items()))
        key = random.fold_in(self.backend.asarray(list(self.key), dtype="int32"), index)
        params = tree_map(self.backend.asarray, self.params)
        draws = draw(self.model, params, self.theory, key, self.n, self.couplings, self.condition, measure)
        host = self.backend.to_numpy
        return {
            "field": tree_map(host, draws.field) if self.keep_fields else None,
            "log_w": host(draws.log_w),
            "phase": tree_map(host, draws.phase),
            "observables": tree_map(host, draws.observables),
            "cpu_s": time.process_time() - start,
        }


class FarmedChain(NamedTuple):
    """One Markov chain made of independent blocks: fields `(T, *field_shape)`, accepted `(T,)`, log_w `(T,)`."""

    field: Tree
    accepted: numpy.ndarray
    log_w: numpy.ndarray


def farmed_chain(task: DrawBlock, blocks: Iterable[int], executor: Executor | None = None) -> FarmedChain:
    """Draw blocks with the executor's workers (None: in this process) and combine them into one Markov chain.

    The result depends on the task and the block indices, not on the number of workers; `log_w` is that of the proposals.
    Raises ValueError for weights with a phase.
    """
    done = [block for _, block in farm(task, blocks, executor)]
    if done[0]["phase"] is not None:
        raise ValueError(
            "a Markov chain needs real weights, but the action is complex: reweight the draws with their phase"
        )
    log_w = numpy.concatenate([block["log_w"] for block in done])
    indices, accepted = metropolis(log_w, task.key)
    field = tree_map(lambda *parts: numpy.concatenate(parts)[indices], *(block["field"] for block in done))
    return FarmedChain(field, accepted, log_w)


def metropolis(log_w: numpy.ndarray, key: tuple[int, int]) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return `(indices, accepted)` of the Metropolis chains through proposals of log weight `(T, *chains)`.

    The random numbers of the accept steps are drawn on the host with a key derived from `key`, so that they are the same
    wherever the proposals were drawn.

    >>> metropolis(numpy.zeros(3), (0, 0))[0].tolist()
    [0, 1, 2]
    """
    host = backends.get("numpy")
    coins = random.fold_in(host.asarray(list(key), dtype="int32"), -1)
    weights = numpy.asarray(log_w, dtype=numpy.float64)
    return independence_chain(weights, random.uniform(coins, weights.shape))
