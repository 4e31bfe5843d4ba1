"""The law of compiled kernels: each agrees with the theory's array code to rounding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy

from haarflow.backends.types import Array, Couplings, Key
from haarflow.core.acceleration import Accelerated, accelerated
from haarflow.core.chains.heatbath_sun import SUNHeatBath
from haarflow.core.chains.hmc import HMC, molecular_dynamics
from haarflow.core.chains.integrators import OMELYAN
from haarflow.core.laws.fields import algebra_shape
from haarflow.core.laws.law import Given, Verdict, at_once, judge, precision_of, to_host
from haarflow.core.parts import LinkWeight, described
from haarflow.theories.laws.cases import ROUNDING, FullTheory, couplings_of, field_of, nearby, worst
from haarflow.theories.replaced import on_lattice

STEPS, SHARE = (
    2,
    0.1,
)  # steps of a trajectory; step size in units of the time in which the largest force moves a field by 1
TRIES = 2  # tries of a heat bath, few enough that some links are left over


def equals_plain(theory: FullTheory, field: Array, momentum: Array, key: Key, couplings: Couplings = None) -> Verdict:
    """Compiled action, force, observables, plaquettes, trajectory and heat bath equal those of array code.

    `momentum` has the shape of algebra elements, `(batch, *field_shape)` for numbers and angles. The heat bath is checked
    for matrices on extents of at least 2, with one reflection; both versions get the same random numbers.

    >>> import numpy as np
    >>> from haarflow import backends
    >>> from haarflow.core import random
    >>> from haarflow.theories import U1Gauge
    >>> field = np.ones((3, 2, 2, 2))
    >>> equals_plain(U1Gauge((2, 2)), field, 0.1 * field, random.key(0, backends.get("numpy"))).passed
    True
    """
    made: Any = accelerated(theory)
    largest_force = float(numpy.abs(to_host(made.plain.force(field, couplings))).max(initial=0.0))
    values = {"couplings": couplings, "step_size": SHARE / math.sqrt(1.0 + largest_force)}
    ratio, quantity = 0.0, ""
    for name, fast, slow in _workloads(made, momentum, key, values):
        call, twin = (partial(at_once, function) for function in (fast, slow))
        compiled, moved, expected = (_named(x) for x in (call(field), twin(nearby(field)), twin(field)))
        differences = {part: compiled[part] - expected[part] for part in expected}
        size, part = worst(made.plain, differences, expected, moved, precision_of(field), couplings)
        ratio, quantity = max((ratio, quantity), (size, f"{name} {part}"))
    reason = f"1 in units of {ROUNDING}"
    return judge(equals_plain, ratio, 1.0, reason, field=field, couplings=couplings, quantity=quantity)


def _workloads(
    made: Accelerated, momentum: Array, key: Key, values: dict[str, Any]
) -> Iterator[tuple[str, Callable[[Array], Any], Callable[[Array], Any]]]:
    """Name, kernel and reference of each quantity that has a kernel, functions of the field."""
    plain, couplings = made.plain, values["couplings"]
    yield "action", lambda x: made.action(x, couplings), lambda x: plain.action(x, couplings)
    yield "force", lambda x: made.force(x, couplings), lambda x: plain.force(x, couplings)
    yield "observables", lambda x: made.observables(x, couplings), lambda x: plain.observables(x, couplings)
    if hasattr(plain, "plaquettes"):
        yield "plaquettes", made.plaquettes, plain.plaquettes
    fast = HMC(made, OMELYAN, STEPS, values)
    slow = HMC(plain, OMELYAN, STEPS, values, evolve=molecular_dynamics)
    yield "trajectory", lambda x: fast.trajectory(x, momentum), lambda x: slow.trajectory(x, momentum)
    if isinstance(described(plain).conditional, LinkWeight) and min(plain.lattice) > 1:
        swept = SUNHeatBath(made, TRIES, 1, values)
        twin = SUNHeatBath(plain, TRIES, 1, values, sweep=SUNHeatBath.by_arrays)
        yield "heat bath", lambda x: _step(swept, key, x), lambda x: _step(twin, key, x)


def _step(kernel: SUNHeatBath, key: Key, field: Array) -> tuple[Array, Array]:
    state, info = kernel.step(key, kernel.init(field))
    return state.field, info["failed"]


def _named(result: Any) -> dict[str, numpy.ndarray]:
    """Real host arrays by name."""
    parts = result if isinstance(result, tuple) else (result,)
    named = result if isinstance(result, dict) else {str(i): part for i, part in enumerate(parts)}
    return {name: _real(to_host(part)) for name, part in named.items()}


def _real(x: numpy.ndarray) -> numpy.ndarray:
    return numpy.stack([x.real, x.imag]) if numpy.iscomplexobj(x) else x


def has_kernels(theory: FullTheory) -> str | None:
    """Return why the law does not apply, because the theory has no compiled kernels or numba is not installed, or None."""
    return None if isinstance(accelerated(theory), Accelerated) else "it has no compiled kernels"


def check(theory: FullTheory, given: Given) -> Verdict:
    """Return the verdict on the fields, momenta and numbers of a `Given`."""
    verdicts = [_checked(theory, given)]
    if len(theory.lattice) > 2:  # the first two extents exchanged: the same volume, and rows of the same length
        first, second, *others = theory.lattice
        other = on_lattice(theory, (second, first, *others))
        verdicts += [] if other is None or first == second else [_checked(other, given)]
    return max(verdicts, key=lambda verdict: verdict.ratio)


def _checked(theory: FullTheory, given: Given) -> Verdict:
    field = field_of(theory, given)
    momentum = given.normal(algebra_shape(theory.group, tuple(field.shape)), 12)
    return equals_plain(theory, field, momentum, given.key(13), couplings_of(theory, given))
