"""Warm-up of HMC: its step size by dual averaging to a target acceptance, then frozen.

With a_t the acceptance of step t, averaged over all chains, and delta its target (Nesterov's dual averaging as in Hoffman
and Gelman, arXiv:1111.4246, eq. 6 and section 3.2),

    H_t = (1 - 1/(t + t_0)) H_{t-1} + (delta - a_t)/(t + t_0),      log eps_{t+1} = log(10 eps_1) - H_t sqrt(t)/gamma,

and the result is exp of the average of log eps_t with weights t^{-kappa}. It leaves no distribution invariant while the step
size changes with the chains' past: steps of the warm-up are no draws, and afterwards the step size stays as it is.

A quarter of the steps each goes to three rounds of this, the first of which also leaves a hot start behind, and to steps
with the frozen step size, which measure the acceptance. A trajectory's length is kept by changing the number of steps
between rounds, if a length is given; else the number of steps is kept.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy

from haarflow import backends
from haarflow.backends.types import Array, Kernel, State, Tree
from haarflow.core.chains.involution import Involutive
from haarflow.core.chains.kernel import Cycle, Repeat, run

FIRST, GAMMA, KAPPA = (
    10,
    0.1,
    0.75,
)  # t_0, gamma (0.05 for a single chain there: averages over chains are less noisy), kappa
ROUNDS = 3
LEAST = 40  # draws
MOST = 1000  # integrator steps of a trajectory


class Tuning(NamedTuple):
    """The step size and number of steps at which HMC was frozen, the acceptance measured there, and its target."""

    step_size: float
    steps: int
    acceptance: float
    target: float


class Tuned(NamedTuple):
    """A kernel with its frozen step size, the chains' state after the warm-up, and the record of it."""

    kernel: Kernel
    state: State
    record: Tuning


class NotTuned(ValueError):
    """No step size was found at which the chains move."""


def tuned(
    kernel: Kernel, key: Array, state: State, draws: int, target: float = 0.8, length: float | None = None
) -> Tuned:
    """Return HMC with one step size for all chains, tuned to a target acceptance in `draws` steps, and the state after them.

    `kernel` is HMC, or a cycle or repetition with HMC in it, whose step size is the first guess. With a `length` in the
    units of the molecular dynamics the number of steps is ceil(length/eps) and the step size length/steps, so that the
    acceptance is the target or more; the number of steps is kept without. Step t gets the key fold_in(key, t), as in `run`.
    Raises ValueError for fewer than 40 draws, a target outside (0, 1), a kernel without a step size, and where no step size
    is accepted.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import U1Gauge
    >>> hmc = HMC(U1Gauge((2, 2)), steps=3, values={"couplings": {"beta": 1.0}, "step_size": 0.01})
    >>> start = hmc.init(backend.xp.zeros((50, 2, 2, 2)))
    >>> hmc, state, record = tuned(hmc, random.key(0, backend), start, draws=100)
    >>> bool(abs(record.acceptance - 0.8) < 0.1), hmc.values["step_size"] == record.step_size
    (True, True)
    """
    _check(kernel, draws, target, length)
    share, step_size = draws // (ROUNDS + 1), first_step_size(kernel.values)
    for number in range(ROUNDS):
        kernel = _of_length(kernel, step_size, length)
        step_size, state = _averaged(kernel, key, kernel.init(state.field), number * share, share, target)
    kernel = _of_length(kernel, step_size, length)
    begun = ROUNDS * share
    state, records = run(kernel, key, kernel.init(state.field), draws - begun, start=begun)
    acceptance, step_size = _acceptance(kernel.values, records["info"]), first_step_size(kernel.values)
    if acceptance == 0.0:
        raise NotTuned(
            f"none of the last {draws - begun} warm-up steps was accepted, at a step size of {step_size:.3g}: check that the "
            "force is the derivative of the action and both are finite (haarflow verify), or warm up longer"
        )
    return Tuned(kernel, state, Tuning(step_size, first_steps(kernel), acceptance, target))


def at(kernel: Kernel, step_size: float, steps: int) -> Kernel:
    """Return a kernel with a step size and a number of steps in place of those of every HMC in it.

    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import U1Gauge
    >>> frozen = at(Repeat(HMC(U1Gauge((4, 4))), 2), 0.25, 4)
    >>> frozen.kernel.steps, frozen.values["step_size"]
    (4, 0.25)
    """
    moved: Kernel = _in_steps(kernel, steps)
    moved = moved.with_values(with_step_size(moved.values, lambda old: step_size))
    return moved


def has_step_size(values: Tree) -> bool:
    """Return whether a kernel, or one of a cycle's kernels, has a step size.

    >>> has_step_size(({"width": 1.0}, {"step_size": 0.1}))
    True
    """
    return any(map(has_step_size, values)) if isinstance(values, tuple) else "step_size" in (values or {})


def with_step_size(values: Tree, change: Any) -> Any:
    """Return a kernel's values with `change` applied to every step size.

    >>> with_step_size(({"width": 1.0}, {"step_size": 0.5}), lambda h: 0.5 * h)
    ({'width': 1.0}, {'step_size': 0.25})
    """
    if isinstance(values, tuple):
        return tuple(with_step_size(part, change) for part in values)
    return {**values, "step_size": change(values["step_size"])} if has_step_size(values) else values


def first_step_size(values: Tree) -> float:
    """Return the step size of a kernel, or of a cycle's first kernel that has one; the mean of an array.

    >>> first_step_size(({"width": 1.0}, {"step_size": 0.5}))
    0.5
    """
    if isinstance(values, tuple):
        return first_step_size(next(filter(has_step_size, values)))
    step_size = values["step_size"]
    return float(numpy.mean(backends.of(step_size).to_numpy(step_size) if hasattr(step_size, "dtype") else step_size))


def first_steps(kernel: Any) -> int:
    """Return the number of integrator steps of a kernel, or of the first in it that has a step size."""
    if isinstance(kernel, Cycle):
        return first_steps(next(one for one in kernel.kernels if has_step_size(one.values)))
    inner = getattr(kernel, "kernel", getattr(kernel, "involution", None))
    return first_steps(inner) if isinstance(kernel, (Repeat, Involutive)) else int(kernel.steps)


def _averaged(kernel: Kernel, key: Array, state: State, first: int, draws: int, target: float) -> tuple[float, State]:
    """The step size of one round of dual averaging, never above 10 times the one it starts from, and the state."""
    start = math.log(10.0 * first_step_size(kernel.values))
    log_step, averaged, error = start - math.log(10.0), 0.0, 0.0
    for t in range(1, draws + 1):
        kernel = at(kernel, math.exp(log_step), first_steps(kernel))
        state, records = run(kernel, key, state, 1, start=first + t - 1)
        error += (target - _acceptance(kernel.values, records["info"]) - error) / (t + FIRST)
        log_step = start - max(0.0, error * math.sqrt(t) / GAMMA)
        averaged += t**-KAPPA * (log_step - averaged)
    return math.exp(averaged), state


def _acceptance(values: Tree, info: Any) -> float:
    """The mean acceptance of all kernels that have a step size; NaN is never accepted."""
    rates = [numpy.mean(backends.of(x).to_numpy(x).astype(float)) for x in _accepted(values, info)]
    return float(numpy.mean(rates))


def _accepted(values: Tree, info: Any) -> list[Array]:
    if isinstance(values, tuple):
        return [x for number, part in enumerate(values) for x in _accepted(part, info[str(number)])]
    return [info["accepted"]] if has_step_size(values) else []


def _of_length(kernel: Kernel, step_size: float, length: float | None) -> Kernel:
    """The kernel at a step size, in so many steps that they make up the length, which they divide equally."""
    if length is None:
        return at(kernel, step_size, first_steps(kernel))
    steps = max(1, math.ceil(length / step_size - 1e-9))
    if steps > MOST:
        raise NotTuned(
            f"a trajectory of length {length:g} would take {steps} steps of {step_size:.3g}: check that the force is the "
            "derivative of the action (haarflow verify), warm up longer, or take a shorter length"
        )
    return at(kernel, length / steps, steps)


def _in_steps(kernel: Any, steps: int) -> Any:
    if isinstance(kernel, Cycle):
        return Cycle(tuple(_in_steps(one, steps) for one in kernel.kernels))
    if isinstance(kernel, Repeat):
        return replace(kernel, kernel=_in_steps(kernel.kernel, steps))
    if isinstance(kernel, Involutive):
        return replace(kernel, involution=_in_steps(kernel.involution, steps))
    return replace(kernel, steps=steps) if has_step_size(kernel.values) else kernel


def _check(kernel: Kernel, draws: int, target: float, length: float | None) -> None:
    if not has_step_size(kernel.values):
        raise ValueError("tuning wants HMC, or a cycle with HMC in it: this kernel has no step size")
    if int(draws) != draws or draws < LEAST:
        raise ValueError(f"tuning the step size takes {LEAST} draws or more, got {draws!r}")
    if not 0.0 < target < 1.0:
        raise ValueError(f"the target acceptance lies between 0 and 1, such as 0.8, got {target!r}")
    if length is not None and not (math.isfinite(length) and length > 0):
        raise ValueError(f"a trajectory's length must be positive and finite, got {length!r}")
