"""Laws of balance: the accept step, detailed balance, stationarity and convergence to the exact distribution."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.types import Array, Kernel
from haarflow.core.chains.kernel import run
from haarflow.core.laws.deviations import LIMIT, LUCK, largest_pull, named_columns
from haarflow.core.laws.kernels.finite_states import Levels
from haarflow.core.laws.kernels.stationary import DRAWS, block_of_steps, counting, started
from haarflow.core.laws.law import EPSILON, Verdict, in_double, judge, largest, precision_of, to_host


def exp_minus_dh(kernel: Kernel, fields: Array, key: Array) -> Verdict:
    """<exp(-dH)> = 1 in equilibrium (Creutz 1988), over chains started from exact draws.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.core.laws.kernels.stationary import ExactScalars
    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import Phi4
    >>> theory, couplings = Phi4((2, 2)), {"m2": 2.0, "lam": 0.5}
    >>> hmc = HMC(theory, steps=3, values={"couplings": couplings, "step_size": 0.3})
    >>> fields = ExactScalars(theory, couplings, mass=2.0)(random.key(0, backend), 500)
    >>> exp_minus_dh(hmc, fields, random.key(1, backend)).passed
    True
    """
    _, info = block_of_steps(kernel, fields, key)
    rows = numpy.exp(-to_host(info["dH"]).astype("float64"))[0]
    return judge(exp_minus_dh, largest_pull(rows, 1.0), LIMIT, LUCK, key=key)


def accept_rule(kernel: Kernel, fields: Array, key: Array) -> Verdict:
    """<accepted> = <min(1, exp(-dH))> from any start, and a rejected proposal leaves the field unchanged.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.core.laws.kernels.stationary import ExactScalars
    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import Phi4
    >>> hmc = HMC(Phi4((2, 2)), steps=3, values={"couplings": {"m2": 2.0, "lam": 0.5}, "step_size": 0.5})
    >>> accept_rule(hmc, random.normal(random.key(0, backend), (500, 2, 2)), random.key(1, backend)).passed
    True
    """
    state, info = block_of_steps(kernel, fields, key)
    accepted, d_h = (to_host(info[name]).astype("float64") for name in ("accepted", "dH"))
    rows = (accepted - numpy.minimum(1.0, numpy.exp(-d_h)))[0]
    still = ~accepted.astype(bool).any(axis=0)
    stayed = numpy.array_equal(to_host(state.field)[still], to_host(fields)[still])
    return judge(accept_rule, largest_pull(rows) if stayed else math.inf, LIMIT, LUCK, key=key)


def stationary(kernel: Kernel, fields: Array, key: Array, observables: Callable[..., Any]) -> Verdict:
    """Steps from exact draws leave every mean unchanged: <f(U')> = <f(U)>, paired by chain.

    `fields (n, *field_shape)` are independent draws from the kernel's distribution; `observables` takes them on the host.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.core.chains.metropolis import LocalMetropolis
    >>> from haarflow.core.laws.kernels.stationary import ExactScalars
    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import Phi4
    >>> theory, couplings = Phi4((2, 2)), {"m2": 2.0, "lam": 0.5}
    >>> fields = ExactScalars(theory, couplings, mass=2.0)(random.key(0, backend), 500)
    >>> kernel = LocalMetropolis(theory, {"couplings": couplings, "width": 0.5})
    >>> stationary(kernel, fields, random.key(1, backend), theory.observables).passed
    True
    """
    state, _ = block_of_steps(kernel, fields, key)
    name, residual = _worst(_host_fields(fields), _host_fields(state.field), observables, precision_of(fields))
    return judge(stationary, residual, LIMIT, f"{LUCK}; worst: {name}", key=key)


def _worst(
    before: numpy.ndarray, after: numpy.ndarray, observables: Callable[..., Any], dtype: str
) -> tuple[str, float]:
    """The observable with the largest paired pull."""
    rows = zip(named_columns(observables(before)), named_columns(observables(after)), strict=True)
    pulls = {
        name: largest_pull(new - old, scale=8 * EPSILON[dtype] * max(1.0, largest(old)))
        for (name, old), (_, new) in rows
    }
    worst = max(pulls, key=lambda name: pulls[name])
    return worst, pulls[worst]


def time_reversal(kernel: Kernel, fields: Array, key: Array, observables: Callable[..., Any]) -> Verdict:
    """Detailed balance in equilibrium: <f(U) g(U')> = <g(U) f(U')> for all pairs of observables.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.core.laws.kernels.stationary import ExactScalars
    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import Phi4
    >>> theory, couplings = Phi4((2, 2)), {"m2": 2.0, "lam": 0.5}
    >>> hmc = HMC(theory, steps=3, values={"couplings": couplings, "step_size": 0.3})
    >>> fields = ExactScalars(theory, couplings, mass=2.0)(random.key(0, backend), 500)
    >>> time_reversal(hmc, fields, random.key(1, backend), theory.observables).passed
    True
    """
    state, _ = block_of_steps(kernel, fields, key)
    before, after = (
        numpy.stack([column for _, column in named_columns(observables(_host_fields(x)))])
        for x in (fields, state.field)
    )
    centre, width = before.mean(axis=1, keepdims=True), before.std(axis=1, keepdims=True)
    first, second = ((x - centre) / numpy.where(width > 1e-9, width, 1.0) for x in (before, after))
    currents = numpy.stack(
        [f * second[j] - g * second[i] for i, f in enumerate(first) for j, g in enumerate(first) if i < j]
    )
    residual = largest_pull(currents.T, scale=1e-6)
    return judge(time_reversal, residual, LIMIT, LUCK, key=key)


def equilibrium(
    kernel: Kernel, start: Array, fields: Array, key: Array, observables: Callable[..., Any], steps: int
) -> Verdict:
    """From a start out of equilibrium the means converge to those of exact draws.

    `start` and `fields` have the same shape `(n, *field_shape)`; `steps` must suffice for equilibrium.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.core.laws.kernels.stationary import ExactScalars
    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import Phi4
    >>> theory, couplings = Phi4((2, 2)), {"m2": 2.0, "lam": 0.5}
    >>> hmc = HMC(theory, steps=5, values={"couplings": couplings, "step_size": 0.2})
    >>> fields = ExactScalars(theory, couplings, mass=2.0)(random.key(0, backend), 500)
    >>> equilibrium(hmc, 0.0 * fields, fields, random.key(1, backend), theory.observables, steps=20).passed
    True
    """
    state = started(kernel, start)
    for block in range(-(-steps // DRAWS)):
        state, _ = run(counting(kernel, fields), key, state, DRAWS, start=block * DRAWS)
    # the two samples are independent, so any pairing is as good as another
    name, residual = _worst(_host_fields(fields), _host_fields(state.field), observables, precision_of(fields))
    return judge(equilibrium, residual, LIMIT, f"{LUCK}; worst: {name}", key=key)


def detailed_balance(kernel: Kernel, levels: Levels, key: Array, dtype: str = "float64", n: int = 20_000) -> Verdict:
    """p_i P(i -> j) = p_j P(j -> i) for all pairs of states of a finite state space, p_i = e^{-E_i} / Z.

    `n` chains take one step from each state; the currents of every pair are compared in units of their binomial errors.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.core.chains.metropolis import IndependenceMetropolis
    >>> from haarflow.core.laws.kernels.finite_states import LevelProposal
    >>> levels = Levels((0.0, 1.0, 0.3))
    >>> kernel = IndependenceMetropolis(LevelProposal((0.5, 0.3, 0.2)), levels, values={"params": {}})
    >>> detailed_balance(kernel, levels, random.key(0, backend), n=1000).passed
    True
    """
    count = len(levels.energies)
    start = numpy.repeat(numpy.arange(count), n)[:, None]
    fields = backends.of(key).asarray(start.astype("float64"), dtype=dtype)
    state, _ = run(kernel, key, started(kernel, fields), 1)
    ends = numpy.rint(to_host(state.field).reshape(count, n)).astype(int)
    chances = numpy.stack([(ends == j).mean(axis=1) for j in range(count)], axis=1)
    p = numpy.exp(-numpy.asarray(levels.energies))
    flow, noise = p[:, None] * chances, p[:, None] ** 2 * numpy.maximum(chances * (1 - chances), 1 / n) / n
    pulls = numpy.abs(flow - flow.T) / numpy.sqrt(noise + noise.T)
    off = pulls[~numpy.eye(count, dtype=bool)]
    lost = not numpy.isclose(chances.sum(axis=1), 1).all()
    return judge(detailed_balance, math.inf if lost else off, LIMIT, LUCK, levels=levels, key=key)


def _host_fields(fields: Array) -> numpy.ndarray:
    return in_double(fields)
