"""Samplers made of a trained flow: direct draws with weights, blocks of them for a farm, and one chain out of many.

A draw y ~ q carries log_w = -S(y) - log q(y): reweighting takes the mean of w O over the mean of w, independence
Metropolis accepts it over the present state with probability min(1, w'/w). As a kernel between HMC or heat bath steps
a flow is `core.metropolis.IndependenceMetropolis(model, theory)` in a `core.kernels.Cycle`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Tree
from haarflow.core import random
from haarflow.core.kernels import as_floats
from haarflow.core.metropolis import independence_chain
from haarflow.flows.farm import farm


class Draws(NamedTuple):
    """Fields `(n, *field_shape)`, their log-densities log q `(n,)` and log weights log_w = -S - log q `(n,)`."""

    field: Array
    log_q: Array
    log_w: Array
    observables: Any = None


def draw(
    model: Any,
    params: Tree,
    theory: Any,
    key: Array,
    n: int,
    couplings: Mapping[str, Any] | None = None,
    condition: Mapping[str, Any] | None = None,
    measure: Callable[[Array], Tree] | None = None,
) -> Draws:
    """Return `n` independent draws of the model with their weights under the theory.

    Compiled once for each model, theory, n and `measure` (pass the same function object again); `measure(field)` fills
    `observables`. Raises ValueError for n < 1.

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
    compiled = _compiled(model, theory, int(n), measure, backends.of(key))
    return Draws(*compiled(params, key, as_floats(couplings), as_floats(condition)))


@lru_cache(maxsize=32)
def _compiled(model: Hashable, theory: Hashable, n: int, measure: Any, backend: backends.Backend) -> Callable[..., Any]:
    def block(params: Tree, key: Array, couplings: Any, condition: Any) -> tuple:
        y, log_q = model.sample(params, key, n, condition)  # type: ignore[attr-defined]
        log_w = -theory.action(y, couplings) - log_q  # type: ignore[attr-defined]
        return y, log_q, log_w, None if measure is None else measure(y)

    return backend.jit(block)


@dataclass(frozen=True)
class DrawBlock:
    """The task of a farm: block `number` is `n` draws of the model from the key `fold_in(key, number)`.

    It travels to a worker by pickle: parameters and the key's two words as NumPy arrays, the backend as its name.
    A call returns host arrays `field`, `log_w` and `observables` with `cpu_s`, the process seconds it took there.
    `measures(theory, couplings)` makes the function that measures a field; it must be importable by name.
    """

    model: Any
    theory: Any
    n: int
    backend: backends.Backend
    params: Tree = field(compare=False)
    key: tuple[int, int] = (0, 0)
    couplings: Mapping[str, float] = field(default_factory=dict, compare=False)
    condition: Mapping[str, float] | None = field(default=None, compare=False)
    measures: Callable[..., Callable[[Array], Tree]] | None = None
    keep_fields: bool = True

    def __call__(self, number: int) -> dict[str, Any]:
        """Return one block."""
        begun = time.process_time()
        measure = None if self.measures is None else self.measures(self.theory, tuple(self.couplings.items()))
        key = random.fold_in(self.backend.asarray(list(self.key), dtype="int32"), number)
        params = tree_map(self.backend.asarray, self.params)
        draws = draw(self.model, params, self.theory, key, self.n, self.couplings, self.condition, measure)
        host = self.backend.to_numpy
        return {
            "field": host(draws.field) if self.keep_fields else None,
            "log_w": host(draws.log_w),
            "observables": tree_map(host, draws.observables),
            "cpu_s": time.process_time() - begun,
        }


class FarmedChain(NamedTuple):
    """One Markov chain composed of independent blocks: fields `(T, *field_shape)`, accepted `(T,)`, log_w `(T,)`."""

    field: numpy.ndarray
    accepted: numpy.ndarray
    log_w: numpy.ndarray


def farmed_chain(task: DrawBlock, blocks: Iterable[int], executor: Executor | None = None) -> FarmedChain:
    """Draw blocks by the executor's workers (None: here) and compose them into one Markov chain.

    The answer depends on the task and the block numbers, not on the number of workers; `log_w` is the proposals'.
    """
    done = [block for _, block in farm(task, blocks, executor)]
    log_w = numpy.concatenate([block["log_w"] for block in done])
    indices, accepted = metropolis(log_w, task.key)
    fields = numpy.concatenate([block["field"] for block in done])
    return FarmedChain(fields[indices], accepted, log_w)


def metropolis(log_w: numpy.ndarray, key: tuple[int, int]) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return `(indices, accepted)` of the Metropolis chains through proposals of log weight `(T, *chains)`.

    The coins come from a key of their own under `key`, on the host, so that they are the same wherever the proposals
    were drawn.

    >>> metropolis(numpy.zeros(3), (0, 0))[0].tolist()
    [0, 1, 2]
    """
    host = backends.get("numpy")
    coins = random.fold_in(host.asarray(list(key), dtype="int32"), -1)
    weights = numpy.asarray(log_w, dtype=numpy.float64)
    return independence_chain(weights, random.uniform(coins, weights.shape))
