"""Schedules: learning rates and couplings as functions f(t) of the training step.

A schedule is a frozen dataclass called with the step t = 0, 1, ... (a 0-dimensional array, possibly traced, or an int).
It returns an array of t's dtype if t is floating, of the default real dtype if t is an integer. Sources: cosine annealing arXiv:1608.03983 without restarts, linear warm-up arXiv:1706.02677.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy
from array_api_compat import array_namespace

from haarflow.backends.types import Array


class Schedule(Protocol):
    """A function of the training step: `schedule(step)` is the value at that step."""

    def __call__(self, step: Array) -> Array: ...


@dataclass(frozen=True)
class Constant:
    """The same value at every step, f(t) = value.

    >>> float(Constant(0.5)(7))
    0.5
    """

    value: float

    def __call__(self, step: Array) -> Array:
        return 0.0 * _real(step) + self.value


@dataclass(frozen=True)
class Linear:
    """A straight line from `start` to `end` in `steps` steps, constant afterwards.

    >>> float(Linear(1.0, 3.0, 10)(5))
    2.0
    """

    start: float
    end: float
    steps: int

    def __call__(self, step: Array) -> Array:
        return self.start + (self.end - self.start) * _completed(step, self.steps)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from `start` to `end` in `steps` steps, f(t) = end + (start - end) (1 + cos(pi t/steps))/2.

    >>> float(Cosine(2.0, 100)(50))
    1.0
    """

    start: float
    steps: int
    end: float = 0.0

    def __call__(self, step: Array) -> Array:
        progress = _completed(step, self.steps)
        xp = array_namespace(progress)
        return self.end + (self.start - self.end) * 0.5 * (1.0 + xp.cos(math.pi * progress))


@dataclass(frozen=True)
class WarmUp:
    """A linear rise followed by another schedule: f(t) = then(0) (t + 1)/steps for t < steps, then(t - steps) afterwards.

    >>> [float(WarmUp(Constant(1.0), 4)(t)) for t in (0, 3, 9)]
    [0.25, 1.0, 1.0]
    """

    then: Schedule
    steps: int

    def __call__(self, step: Array) -> Array:
        step = _real(step)
        xp = array_namespace(step)
        rising = self.then(0.0 * step) * (step + 1.0) / max(self.steps, 1)
        return xp.where(step < self.steps, rising, self.then(xp.clip(step - self.steps, 0.0)))


@dataclass(frozen=True)
class Step:
    """A value that is multiplied by `factor` at each of the steps `at`.

    >>> [float(Step(1.0, (10, 20), 0.5)(t)) for t in (9, 10, 25)]
    [1.0, 0.5, 0.25]
    """

    start: float
    at: tuple[int, ...]
    factor: float = 0.1

    def __call__(self, step: Array) -> Array:
        step = _real(step)
        xp = array_namespace(step)
        value = 0.0 * step + self.start
        for edge in self.at:
            value = xp.where(step >= edge, self.factor * value, value)
        return value


def _completed(step: Array, steps: int) -> Array:
    """The completed fraction of the steps, between 0 and 1."""
    step = _real(step)
    return array_namespace(step).clip(step / max(steps, 1), 0.0, 1.0)


def _real(step: Array) -> Array:
    if isinstance(step, int | float):
        return numpy.asarray(float(step))
    xp = array_namespace(step)
    if xp.isdtype(step.dtype, "real floating"):
        return step
    default = xp.__array_namespace_info__().default_dtypes()["real floating"]
    return xp.astype(step, default)
