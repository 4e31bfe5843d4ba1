"""The couplings of a training step: plans which give, for each step, numbers or one value per sample.

A plan is a NamedTuple of numbers and thus a tree: its values are arguments of the compiled step, and another beta needs no
compilation. `draw(key, step, n)` returns a dict of 0-dimensional or `(n,)` arrays. `groups(n)` is the number of couplings
interleaved in a batch (sample i belongs to group i mod groups), for quantities that are reported per coupling.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends import Backend
from haarflow.backends.tree import leaves, tree_map
from haarflow.backends.types import Array, Key, Tree
from haarflow.core import random

EACH = 16  # samples of each coupling in a batch, or more
PRIMES = (2, 3, 5, 7, 11, 13)  # their roots are the steps of a Richtmyer sequence


class Plan(Protocol):
    """What training needs from a plan, a NamedTuple."""

    def draw(self, key: Key, step: Array, n: int) -> dict[str, Array]:
        """Return the couplings of a step, 0-dimensional or `(n,)` arrays by name."""
        ...

    def groups(self, n: int) -> int:
        """Return the number of couplings interleaved in a batch of n."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Fixed(NamedTuple):
    """The same couplings in every step: `Fixed({"beta": 2.0})`; a plain dict stands for this."""

    values: dict[str, Any]

    def draw(self, key: Key, step: Array, n: int) -> dict[str, Array]:
        """Return the couplings of a step."""
        return dict(self.values)

    def groups(self, n: int) -> int:
        """Return 1: the batch is treated as one."""
        return 1


class Drawn(NamedTuple):
    """Couplings drawn between `low` and `high` in each step: `Drawn({"beta": 1.0}, {"beta": 4.0})`.

    A batch of n interleaves as many couplings as leave 16 samples to each, a Richtmyer sequence from a random offset: each is
    uniformly distributed, and a step's ESS is the mean over its couplings.
    """

    low: dict[str, Any]
    high: dict[str, Any]

    def draw(self, key: Key, step: Array, n: int) -> dict[str, Array]:
        """Return the couplings of a step."""
        names = sorted(self.low)
        xp, offset = array_namespace(key), random.uniform(key, (len(names), 1), _dtype(self))
        numbers = xp.arange(self.groups(n), dtype=offset.dtype, device=backends.place(offset))
        found = {}
        for row, name in enumerate(names):
            u = offset[row, :] + numbers * math.sqrt(PRIMES[row % len(PRIMES)])
            found[name] = _repeat(self.low[name] + (self.high[name] - self.low[name]) * (u - xp.floor(u)), n)
        return found

    def groups(self, n: int) -> int:
        """Return the number of couplings in a batch of n, a divisor of n."""
        return next(k for k in range(max(n // EACH, 1), 0, -1) if n % k == 0)


class Cycled(NamedTuple):
    """Sample i of every batch uses entry i mod k of each list: `Cycled({"beta": (1.0, 2.0, 4.0)})`."""

    values: dict[str, tuple[Any, ...]]

    def draw(self, key: Key, step: Array, n: int) -> dict[str, Array]:
        """Return the couplings of a step."""
        return {
            name: _repeat(array_namespace(values[0]).stack(list(values)), n) for name, values in self.values.items()
        }

    def groups(self, n: int) -> int:
        """Return the length of the lists. Raises ValueError if it does not divide n."""
        k = len(next(iter(self.values.values())))
        if n % k:
            raise ValueError(f"a batch that cycles through {k} couplings needs a multiple of {k} samples, got {n}")
        return k


class Annealed(NamedTuple):
    """Couplings that move linearly from `start` to `end` in `steps` steps: `Annealed({"beta": 0.5}, {"beta": 2.0}, 1000)`."""

    start: dict[str, Any]
    end: dict[str, Any]
    steps: Any

    def draw(self, key: Key, step: Array, n: int) -> dict[str, Array]:
        """Return the couplings of a step."""
        xp = array_namespace(step)
        progress = xp.clip(xp.astype(step, _dtype(self)) / self.steps, 0.0, 1.0)
        return {name: start + (self.end[name] - start) * progress for name, start in self.start.items()}

    def groups(self, n: int) -> int:
        """Return 1: the batch is treated as one."""
        return 1


def as_plan(couplings: Plan | dict[str, Any] | None, backend: Backend, dtype: str) -> Plan:
    """Return a plan of 0-dimensional arrays of `dtype`; a dict of numbers is `Fixed`, None stands for no couplings.

    Raises ValueError for names that differ within a plan and for values that are not finite.
    """
    plan = Fixed(couplings or {}) if couplings is None or isinstance(couplings, dict) else couplings
    names = [set(part) for part in plan if isinstance(part, dict)]
    if any(other != names[0] for other in names):
        raise ValueError(f"all parts of a plan name the same couplings, got {[sorted(part) for part in names]}")
    if isinstance(plan, Cycled) and len({len(values) for values in plan.values.values()}) > 1:
        raise ValueError(f"the lists of a cycle have the same length, got {plan.values}")
    for value in leaves(plan):
        if not math.isfinite(value):
            raise ValueError(f"couplings are finite numbers, got {value} in {plan}")
    arrays: Plan = tree_map(lambda value: backend.asarray(float(value), dtype=dtype), plan)
    return arrays


def _dtype(plan: Tree) -> Any:
    return leaves(plan)[0].dtype


def _repeat(row: Array, n: int) -> Array:
    times = -(-n // row.shape[0])
    return array_namespace(row).concat([row] * times)[:n]
