"""Laws of running a kernel: compositions, caches and blocks agree with plain loops, and new values compile nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.standard import identity
from haarflow.backends.tree import leaves
from haarflow.backends.types import Array, Kernel, Key
from haarflow.core import random
from haarflow.core.chains.kernel import Cycle, run
from haarflow.core.laws.kernels.stationary import DRAWS, block_of_steps, counting, started
from haarflow.core.laws.law import EPSILON, Verdict, in_double, judge, largest, precision_of, to_host


def independence_loop(chain: Callable[..., Any], log_w: Array, uniforms: Array, start: Array | None = None) -> Verdict:
    """The associative scan equals the loop: proposal t is accepted if log u_t < w_t - w.

    `log_w`, `uniforms` `(T, n)`, `start (n,)` or None. The residual is the number of wrong indices and acceptances.

    >>> from haarflow.core.chains.metropolis import independence_chain
    >>> log_w, uniforms = numpy.asarray([[0.0], [-9.0], [1.0]]), numpy.full((3, 1), 0.5)
    >>> independence_loop(independence_chain, log_w, uniforms).passed
    True
    """
    indices, accepted = (to_host(part) for part in backends.of(log_w).jit(chain)(log_w, uniforms, start))
    weights, coins = to_host(log_w), to_host(uniforms)
    wrong = 0
    for column in range(weights.shape[1]):
        first = None if start is None else float(to_host(start)[column])
        path = _slow_chain(weights[:, column], coins[:, column], first)
        wrong += int((indices[:, column] != path).sum())
        wrong += int((accepted[:, column] != (numpy.arange(len(path)) == path)).sum())
    return judge(independence_loop, wrong, 0.0, "indices are exact", log_w=log_w, uniforms=uniforms, start=start)


def _slow_chain(log_w: numpy.ndarray, uniforms: numpy.ndarray, start: float | None) -> numpy.ndarray:
    """One chain by the textbook loop."""
    index, weight, path = -1, start, []
    for step, (proposed, u) in enumerate(zip(log_w, uniforms, strict=True)):
        # in the precision of the weights, which decides ties as it does in the scan
        if weight is None or weight < proposed - numpy.log(u):
            index, weight = step, proposed
        path.append(index)
    return numpy.asarray(path)


def fresh_cache(kernel: Kernel, fields: Array, key: Array) -> Verdict:
    """After a step the cache is that of the field: state.cache = init(state.field).cache.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.laws.kernels.finite_states import LevelProposal, Levels
    >>> from haarflow.core.chains.metropolis import IndependenceMetropolis
    >>> levels = Levels((0.0, 1.0, 0.3))
    >>> kernel = IndependenceMetropolis(LevelProposal((0.5, 0.3, 0.2)), levels, values={"params": {}})
    >>> fresh_cache(kernel, numpy.zeros((4, 1)), random.key(0, backend)).passed
    True
    """
    state, _ = block_of_steps(kernel, fields, key)
    carried, fresh = (leaves(cache) for cache in (state.cache, started(kernel, state.field).cache))
    if len(carried) != len(fresh):
        return judge(
            fresh_cache, math.inf, 0.0, "the cache has the same structure as a fresh one", fields=fields, key=key
        )
    pairs = [
        (to_host(one).astype("float64"), to_host(two).astype("float64"))
        for one, two in zip(carried, fresh, strict=True)
    ]
    residual = max((largest(one - two) for one, two in pairs), default=0.0)
    terms = math.prod(fields.shape[1:])
    size = max((largest(two) for _, two in pairs), default=0.0)
    tolerance = 32 * (terms + 8) * EPSILON[precision_of(fields)] * max(1.0, size)
    return judge(fresh_cache, residual, tolerance, f"sums over {terms} terms in another order", fields=fields, key=key)


def reflections_keep_action(kernel: Any, fields: Array, key: Array) -> Verdict:
    """Over-relaxation does not change the action: S after two sweeps of it = S after none, from the same heat bath.

    This holds if links that are updated simultaneously share no loop and each is reflected about its own staple.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.chains.heatbath_u1 import U1HeatBath
    >>> from haarflow.theories import U1Gauge
    >>> kernel = U1HeatBath(U1Gauge((2, 2)), values={"couplings": {"beta": 2.0}})
    >>> reflections_keep_action(kernel, numpy.ones((4, 2, 2, 2)), random.key(0, backend)).passed
    True
    """
    backend, couplings = backends.of(fields), kernel.values.get("couplings")

    def action(sweeps: int) -> numpy.ndarray:
        swept = replace(kernel, overrelaxation=sweeps)
        return to_host(
            backend.jit(lambda key, x: kernel.theory.action(swept.step(key, swept.init(x))[0].field, couplings))(
                key, fields
            )
        )

    before, after = action(0), action(2)
    terms = math.prod(fields.shape[1:])
    tolerance = 32 * (terms + 8) * EPSILON[precision_of(fields)] * max(1.0, largest(before))
    reason = f"rounding of {terms} terms in two sweeps"
    return judge(reflections_keep_action, after - before, tolerance, reason, fields=fields, key=key)


def in_turn(kernel: Any, fields: Array, key: Array) -> Verdict:
    """A cycle takes one step of each kernel in turn, from `init` of the previous field, with the keys fold_in(key, i).

    `Repeat(kernel, n)` is n steps of its kernel with the state passed on.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.laws.kernels.finite_states import LevelProposal, Levels
    >>> from haarflow.core.chains.metropolis import IndependenceMetropolis
    >>> levels = Levels((0.0, 1.0, 0.3))
    >>> kernel = IndependenceMetropolis(LevelProposal((0.5, 0.3, 0.2)), levels, values={"params": {}})
    >>> in_turn(Cycle((kernel, kernel)), numpy.zeros((4, 1)), random.key(0, backend)).passed
    True
    """
    backend = backends.of(fields)
    composed = backend.jit(lambda key, fields: kernel.step(key, kernel.init(fields))[0].field)(key, fields)

    def twin(key: Key, fields: Array) -> Array:
        if isinstance(kernel, Cycle):
            for index, one in enumerate(kernel.kernels):
                fields = one.step(random.fold_in(key, index), one.init(fields))[0].field
            return fields
        state = kernel.kernel.init(fields)
        for index in range(kernel.n):
            state = kernel.kernel.step(random.fold_in(key, index), state)[0]
        return state.field

    expected = backend.jit(twin)(key, fields)
    residual = in_double(composed) - to_host(expected)
    return judge(in_turn, residual, _loose(fields), "the same steps, compiled differently", fields=fields, key=key)


def blocks(kernel: Kernel, fields: Array, key: Array) -> Verdict:
    """Results do not depend on how a run is divided: a run of 4 draws = two runs of 2, the second with start=2.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.laws.kernels.finite_states import LevelProposal, Levels
    >>> from haarflow.core.chains.metropolis import IndependenceMetropolis
    >>> levels = Levels((0.0, 1.0, 0.3))
    >>> kernel = IndependenceMetropolis(LevelProposal((0.5, 0.3, 0.2)), levels, values={"params": {}})
    >>> blocks(kernel, numpy.zeros((4, 1)), random.key(0, backend)).passed
    True
    """
    whole, records = run(kernel, key, kernel.init(fields), 2 * DRAWS)
    counted = counting(kernel, fields)
    half, first = run(counted, key, kernel.init(fields), DRAWS)
    cut, second = run(counted, key, half, DRAWS, start=DRAWS)
    faults = [_apart(to_host(whole.field), to_host(cut.field))]
    rows = zip(*(leaves(one["info"]) for one in (records, first, second)), strict=True)
    for everything, early, late in rows:
        faults.append(_apart(to_host(everything), numpy.concatenate([to_host(early), to_host(late)])))
    residual = max(faults)
    return judge(blocks, residual, _loose(fields), "the same steps, compiled differently", fields=fields, key=key)


def _apart(one: numpy.ndarray, two: numpy.ndarray) -> float:
    """The largest difference relative to max(1, |x|); values that overflow in both are equal."""
    one, two = in_double(one), in_double(two)
    same = (one == two) | ~(numpy.isfinite(one) | numpy.isfinite(two))
    with numpy.errstate(invalid="ignore"):
        return largest(numpy.where(same, 0.0, (one - two) / numpy.maximum(1.0, numpy.abs(two))))


def _loose(fields: Array) -> float:
    """Rounding as amplified by a few steps; a wrong key or index changes fields by their own magnitude."""
    return 4096 * EPSILON[precision_of(fields)] * max(1.0, largest(fields))


def values_compile_nothing(kernel: Kernel, fields: Array, key: Array) -> Verdict:
    """A run from another start uses the same program: a step is traced once per shape.

    Kernels that differ only in their values are equal, and on a compiling backend a second run does not call the
    Python code of `step`. The residual is the number of such calls.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.laws.kernels.finite_states import LevelProposal, Levels
    >>> from haarflow.core.chains.metropolis import IndependenceMetropolis
    >>> levels = Levels((0.0, 1.0, 0.3))
    >>> kernel = IndependenceMetropolis(LevelProposal((0.5, 0.3, 0.2)), levels, values={"params": {}})
    >>> values_compile_nothing(kernel, numpy.zeros((4, 1)), random.key(0, backend)).reason
    'jit is the identity on numpy: only the equality of kernels is checked'
    """
    backend = backends.of(fields)
    other, empty = kernel.with_values(kernel.values), kernel.with_values(None)
    unequal = float(other != empty or hash(other) != hash(empty))
    if backend.jit is identity:
        reason = f"jit is the identity on {backend.name}: only the equality of kernels is checked"
        return judge(values_compile_nothing, unequal, 0.0, reason, fields=fields)
    counted, calls = counting(kernel, fields), []
    for start in (0, 2 * DRAWS):
        run(counted, key, started(kernel, fields), DRAWS, start=start)
        calls.append(len(counted.calls))  # calls of other laws are counted too
    traces = calls[1] - calls[0]
    return judge(values_compile_nothing, unequal + traces, 0.0, "one trace per shape", fields=fields)
