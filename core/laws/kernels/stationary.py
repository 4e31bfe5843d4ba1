"""A kernel with its distribution: exact draws from it, and the observables to compare.

With exact draws stationarity can be tested: start from them, take steps, and no mean may change.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.protocol import Backend
from haarflow.backends.types import Array, Couplings, Kernel, Key, Theory, Tree
from haarflow.core import random
from haarflow.core.axes import field_shape
from haarflow.core.chains.kernel import State, as_floats, run
from haarflow.core.laws.deviations import LIMIT, LUCK, named_columns
from haarflow.core.laws.law import Verdict, at_once, judge, precision_of

CONSTANT = 1e-9  # a standard error below which an observable does not fluctuate
DRAWS = 2  # steps of one compiled block, a program that all laws share


@dataclass(frozen=True)
class Chained:
    """A kernel with its distribution: `exact(key, n)` draws fields from it, `observables(fields)` is a dict of numbers.

    Both get NumPy arrays, whichever backend the kernel runs on: `key` is a key of `haarflow.core.random`, the fields are
    `(n, *field_shape)`, the numbers `(n,)` or `(n, k)`. After `burn_in` steps even the slowest observable is in
    equilibrium. `means` are values of observables over the distribution that are known by another route than the draws, by
    name, `C[0]` for a component: the draws themselves are held against them. `reversible` says whether one step satisfies detailed balance (a sweep in fixed order does not). A
    `Chained` is itself a kernel, with the methods of the kernel that it holds.

    >>> from haarflow.core.chains.metropolis import LocalMetropolis
    >>> from haarflow.theories import Phi4
    >>> theory = Phi4((2, 2))
    >>> values = {"couplings": {"m2": 2.0, "lam": 0.5}, "width": 0.7}
    >>> exact = ExactScalars(theory, {"m2": 2.0, "lam": 0.5}, mass=2.0)
    >>> stationary_law = Chained(LocalMetropolis(theory, values), exact, theory.observables)
    """

    kernel: Kernel
    exact: Callable[..., Any]
    observables: Callable[..., Any]
    burn_in: int = 20
    reversible: bool = False
    means: tuple[tuple[str, float], ...] = ()

    @property
    def values(self) -> Tree:
        """The kernel's values."""
        return self.kernel.values

    def with_values(self, values: Tree) -> Chained:
        """Return a copy with other values of the kernel."""
        return replace(self, kernel=self.kernel.with_values(values))

    def init(self, field: Array) -> State:
        """Return the kernel's state for a field."""
        result: State = self.kernel.init(field)
        return result

    def step(self, key: Array, state: State) -> tuple[State, dict[str, Any]]:
        """Take the kernel's step."""
        result: tuple[State, dict[str, Any]] = self.kernel.step(key, state)
        return result


@dataclass(frozen=True)
class ExactScalars:
    """Exact draws of a real field with S >= mass sum phi^2, by rejection from the Gaussian exp(-mass sum phi^2).

    phi^4 of the form "m2" has this bound for mass <= m2, as its hopping term is a sum of squares. `(key, n)` returns
    fields `(n, *lattice)` on the key's backend, NumPy. Raises ValueError if S falls below the bound.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.theories import Phi4
    >>> ExactScalars(Phi4((2, 2)), {"m2": 2.0, "lam": 0.5}, mass=2.0)(random.key(0, backend), 5).shape
    (5, 2, 2)
    """

    theory: Theory
    couplings: Couplings = field(compare=False)
    mass: float = 1.0

    def __call__(self, key: Array, n: int) -> Array:
        """Return `n` independent fields."""
        accepted: list[numpy.ndarray] = []
        while sum(map(len, accepted)) < n:
            draws, coins, key = random.split(key, 3)
            fields = random.normal(draws, (8 * n, *field_shape(self.theory))) / math.sqrt(2.0 * self.mass)
            squares = (fields**2).reshape(8 * n, -1).sum(axis=-1)
            excess = self.theory.action(fields, self.couplings) - self.mass * squares
            if excess.min() < -1e-9:
                raise ValueError(
                    f"the rejection needs S >= {self.mass} sum phi^2, got {excess.min():.3g} less: choose a smaller mass"
                )
            accepted.append(fields[random.uniform(coins, (8 * n,)) < numpy.exp(-excess)])
        return numpy.concatenate(accepted)[:n]


def exact_draws(chained: Chained, fields: Any) -> Verdict:
    """<f> over the exact draws from which stationarity starts = its exact value, for every f of `chained.means`.

    `fields (n, *field_shape)` are such draws on the host. To the error of whole numbers 1/n is added, for values too rare
    to be drawn.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.chains.metropolis import LocalMetropolis
    >>> from haarflow.theories import Phi4
    >>> theory, couplings = Phi4((2, 2)), {"m2": 2.0, "lam": 0.5}
    >>> exact, means = ExactScalars(theory, couplings, mass=2.0), (("phi2", theory.exact(couplings)["phi2"]),)
    >>> kernel = Chained(LocalMetropolis(theory), exact, theory.observables, means=means)
    >>> exact_draws(kernel, exact(random.key(0, backend), 500)).passed
    True
    """
    columns, pulls = dict(named_columns(chained.observables(fields))), {}
    for name, expected in chained.means:
        rows = columns[name]
        error = float(rows.std(ddof=1)) / math.sqrt(len(rows))
        if bool((rows == numpy.round(rows)).all()):
            error = math.hypot(error, 1.0 / len(rows))
        off = abs(float(rows.mean()) - expected)
        pulls[name] = off / error if error > CONSTANT else (math.inf if off > CONSTANT else 0.0)
    worst = max(pulls, key=lambda name: pulls[name])
    return judge(exact_draws, pulls[worst], LIMIT, f"{LUCK}; worst: {worst}")


def block_of_steps(kernel: Kernel, fields: Array, key: Array) -> tuple[State, dict[str, Any]]:
    """Return the state and the information `(DRAWS, n)` after a block of steps from given fields.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.chains.metropolis import LocalMetropolis
    >>> from haarflow.theories import Phi4
    >>> block_of_steps(LocalMetropolis(Phi4((2, 2))), numpy.zeros((3, 2, 2)), random.key(0, backend))[0].field.shape
    (3, 2, 2)
    """
    state, records = run(counting(kernel, fields), key, started(kernel, fields), DRAWS)
    return state, records["info"]


def started(kernel: Any, fields: Array) -> State:
    """Return `kernel.init(fields)`, as one program shared by equal kernels."""
    definition = kernel.with_values(None)
    result: State = at_once(_begins(definition), fields, as_floats(kernel.values))
    return result


@lru_cache(maxsize=64)
def _begins(definition: Kernel) -> Callable[..., Any]:
    return lambda fields, values: definition.with_values(values).init(fields)


def counting(kernel: Any, fields: Array) -> _Counted:
    """Return a kernel that counts its steps in `calls`, cached by its program: laws share what is compiled."""
    made = _fresh(kernel.with_values(None), backends.of(fields), tuple(fields.shape), precision_of(fields))
    result: _Counted = made.with_values(kernel.values)
    return result


@lru_cache(maxsize=64)
def _fresh(definition: Kernel, backend: Backend, shape: tuple[int, ...], dtype: str) -> _Counted:
    return _Counted(definition)


@dataclass(frozen=True)
class _Counted:
    """A kernel that counts how often Python runs its step; equal only to itself, with any values."""

    kernel: Kernel
    token: Any = field(default_factory=object)
    calls: list[Any] = field(default_factory=list[Any], compare=False)

    @property
    def values(self) -> Tree:
        return self.kernel.values

    def with_values(self, values: Tree) -> _Counted:
        return replace(self, kernel=self.kernel.with_values(values))

    def init(self, field: Array) -> State:
        return self.kernel.init(field)

    def step(self, key: Key, state: State) -> tuple[State, dict[str, Any]]:
        self.calls.append(1)
        return self.kernel.step(key, state)
