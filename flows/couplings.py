"""Which couplings a training step uses: plans that give, for each step, numbers or one value per sample.

A plan is a NamedTuple of numbers, that is a tree: its values are arguments of the compiled step, so another beta
compiles nothing. `draw(key, step, n)` gives a dict of 0-dimensional or `(n,)` arrays. `groups(n)` tells how many
couplings a batch interleaves (sample i belongs to group i mod groups), for figures that are wanted per coupling.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from array_api_compat import array_namespace

from haarflow.backends.tree import leaves, tree_map
from haarflow.backends.types import Array
from haarflow.core import random


class Plan(Protocol):
    """What training asks of a plan."""

    def draw(self, key: Array, step: Array, n: int) -> dict[str, Array]: ...

    def groups(self, n: int) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


class Fixed(NamedTuple):
    """The same couplings in every step: `Fixed({"beta": 2.0})`; a plain dict means this too."""

    values: dict[str, Any]

    def draw(self, key: Array, step: Array, n: int) -> dict[str, Array]:
        return dict(self.values)

    def groups(self, n: int) -> int:
        return 1


class Drawn(NamedTuple):
    """Each sample's couplings uniform between `low` and `high`: `Drawn({"beta": 1.0}, {"beta": 4.0})`.

    The ESS of such a batch mixes couplings and is too low by the spread of ln Z.
    """

    low: dict[str, Any]
    high: dict[str, Any]

    def draw(self, key: Array, step: Array, n: int) -> dict[str, Array]:
        names = sorted(self.low)
        u = random.uniform(key, (len(names), n), _dtype(self))
        return {name: self.low[name] + (self.high[name] - self.low[name]) * u[row, :] for row, name in enumerate(names)}

    def groups(self, n: int) -> int:
        return 1


class Cycled(NamedTuple):
    """Sample i of every batch uses entry i mod k of each list: `Cycled({"beta": (1.0, 2.0, 4.0)})`."""

    values: dict[str, tuple]

    def draw(self, key: Array, step: Array, n: int) -> dict[str, Array]:
        return {name: _repeat(values, n) for name, values in self.values.items()}

    def groups(self, n: int) -> int:
        k = len(next(iter(self.values.values())))
        if n % k:
            raise ValueError(f"a batch that cycles through {k} couplings wants a multiple of {k} samples, got {n}")
        return k


class Annealed(NamedTuple):
    """From `start` to `end` on a straight line in `steps` steps: `Annealed({"beta": 0.5}, {"beta": 2.0}, 1000)`."""

    start: dict[str, Any]
    end: dict[str, Any]
    steps: Any

    def draw(self, key: Array, step: Array, n: int) -> dict[str, Array]:
        xp = array_namespace(step)
        done = xp.clip(xp.astype(step, _dtype(self)) / self.steps, 0.0, 1.0)
        return {name: start + (self.end[name] - start) * done for name, start in self.start.items()}

    def groups(self, n: int) -> int:
        return 1


def as_plan(couplings: Plan | dict | None, backend: Any, dtype: Any) -> Plan:
    """A plan of 0-dimensional arrays of `dtype`; a dict of numbers is `Fixed`, None is no couplings at all.

    Raises ValueError for names that differ within a plan and for values that are not finite.
    """
    plan: Any = Fixed(couplings or {}) if couplings is None or isinstance(couplings, dict) else couplings
    names = [set(part) for part in plan if isinstance(part, dict)]
    if any(other != names[0] for other in names):
        raise ValueError(f"a plan gives every coupling in each of its parts, got {[sorted(part) for part in names]}")
    if isinstance(plan, Cycled) and len({len(values) for values in plan.values.values()}) > 1:
        raise ValueError(f"a cycle wants lists of one length, got {plan.values}")
    for value in leaves(plan):
        if not math.isfinite(value):
            raise ValueError(f"couplings are finite numbers, got {value} in {plan}")
    return tree_map(lambda value: backend.asarray(float(value), dtype=dtype), plan)


def _dtype(plan: Any) -> Any:
    return leaves(plan)[0].dtype


def _repeat(values: tuple, n: int) -> Array:
    xp = array_namespace(values[0])
    row = xp.stack(list(values))
    times = -(-n // row.shape[0])
    return xp.concat([row] * times)[:n]
