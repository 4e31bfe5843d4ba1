"""Markov kernels and the one loop that runs them.

A kernel moves a batch of chains: `step(key, state) -> (state, info)` with `state = (field, cache)`, the cache being
what the next step needs beside the field, `info` what a person may look at. It is a frozen dataclass whose fields are
static (they choose the compiled program) but for `values`, a nested dict of numbers and arrays (couplings, step
sizes, flow parameters), which is an argument of that program: another beta compiles nothing. Kernels therefore compare
and hash by their static fields alone.

`run` gives step t the key `fold_in(key, t)`, so its results depend neither on how a run is cut into blocks nor on who
computes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Key, Tree
from haarflow.backends.types import Kernel as Kernel
from haarflow.backends.types import State as State
from haarflow.core import random
from haarflow.core.axes import batch_shape
from haarflow.core.chains.checks import check_scales, check_start
from haarflow.core.solvers.retry import check_held, check_solved


class Cacheless:
    """What kernels share that carry the field alone from step to step: a base of frozen dataclasses with a theory."""

    theory: Any
    values: Tree

    def with_values(self, values: Tree) -> Self:
        """Return this kernel with other values."""
        kernel: Any = self
        changed: Self = replace(kernel, values=values)
        return changed

    def init(self, field: Tree) -> State:
        """Return the state of a field: nothing is cached, so new values need no new state."""
        batch_shape(self.theory, field)
        return State(field)


@dataclass(frozen=True)
class Cycle:
    """One step of each kernel in turn; the field alone is handed on and every cache is rebuilt by `init(field)`.

    Kernel number i gets the key `fold_in(key, i)`; its info stands under str(i). No cache can be stale, at the price of
    one `init` per kernel and cycle. Raises ValueError without kernels.

    >>> from haarflow.core.chains.kernel import Cycle, Repeat
    >>> Cycle(())
    Traceback (most recent call last):
    ValueError: a cycle needs at least one kernel, got none
    """

    kernels: tuple[Kernel, ...]

    def __post_init__(self) -> None:
        if not self.kernels:
            raise ValueError("a cycle needs at least one kernel, got none")
        object.__setattr__(self, "kernels", tuple(self.kernels))

    @property
    def values(self) -> Tree:
        """The kernels' values, in order."""
        return tuple(kernel.values for kernel in self.kernels)

    def with_values(self, values: Tree) -> Cycle:
        """Return this cycle with other values, one tree per kernel (None: None for all)."""
        values = (None,) * len(self.kernels) if values is None else values
        pairs = zip(self.kernels, values, strict=True)
        return Cycle(tuple(kernel.with_values(own) for kernel, own in pairs))

    def init(self, field: Tree) -> State:
        """Return the state of a field: a cycle has no cache."""
        return State(field)

    def step(self, key: Array, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after one step of each kernel, and their infos by number."""
        field, info = state.field, {}
        for number, kernel in enumerate(self.kernels):
            moved, info[str(number)] = kernel.step(random.fold_in(key, number), kernel.init(field))
            field = moved.field
        return State(field), info


@dataclass(frozen=True)
class Repeat:
    """`n` steps of one kernel as one step, its info averaged over them; step i gets the key `fold_in(key, i)`.

    Raises ValueError for n < 1.
    """

    kernel: Kernel
    n: int

    def __post_init__(self) -> None:
        _check_count("the number of repeats", self.n)

    @property
    def values(self) -> Tree:
        """The kernel's values."""
        return self.kernel.values

    def with_values(self, values: Tree) -> Repeat:
        """Return this kernel with other values."""
        return replace(self, kernel=self.kernel.with_values(values))

    def init(self, field: Tree) -> State:
        """Return the kernel's state of a field."""
        return self.kernel.init(field)

    def step(self, key: Array, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after n steps and the mean of their infos."""
        return _several(self.kernel, key, state, 0, self.n)


def run(
    kernel: Kernel,
    key: Array,
    state: State,
    draws: int,
    start: int = 0,
    measure: Callable[[Tree], Tree] | None = None,
    thin: int = 1,
) -> tuple[State, dict[str, Any]]:
    """Make `draws` draws of `thin` steps each and return the last state and the records.

    Records are `{"info": tree, "observables": measure(field)}` with leaves `(draw, *batch)` (transposed for the
    statistics, which take `(chain, draw)`); for thin > 1 the info is the mean over a draw's steps. `start` is the number of draws made before: step t, counted from the chain's
    beginning, gets `fold_in(key, t)`, so two runs of 50 draws with start 0 and 50 equal one of 100. The loop is
    compiled once for each kernel (without its values), `measure`, draws, thin and shape: pass the same function object
    again, not a new lambda. A state holds the cache of the values it was made with: after new values begin from
    `kernel.init(state.field)`. Raises ValueError for draws or thin < 1 or start < 0, and for chains that could not move: a
    field that is not finite, a step size or width that is not positive and finite; Unconverged where a solve in a step did not
    converge, OutsideInterval where a spectrum left the interval of a rational approximation: the state from before the block is
    the last good one.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.core.chains.kernel import run
    >>> from haarflow.theories import U1Gauge
    >>> hmc = HMC(U1Gauge((4, 4)), steps=5, values={"couplings": {"beta": 1.0}, "step_size": 0.2})
    >>> state, records = run(hmc, random.key(0, backend), hmc.init(backend.xp.zeros((3, 2, 4, 4))), draws=6)
    >>> state.field.shape, records["info"]["dH"].shape
    ((3, 2, 4, 4), (6, 3))
    """
    _check_count("draws", draws)
    _check_count("thin", thin)
    if start < 0:
        raise ValueError(f"start counts the draws made before, so it is >= 0, got {start}")
    check_start(state.field)
    check_scales(kernel.values)
    backend = backends.of(state.field, key)
    moves: Any = kernel  # hashed and compared without its values
    block = _compiled(moves, backend, measure, int(draws), int(thin))
    done: tuple[State, dict[str, Any]] = block(as_floats(kernel.values), key, state, start)
    _check_solves(kernel.values, done[1]["info"], start)
    return done


def _check_solves(values: Tree, info: Any, start: int) -> None:
    """Raise Unconverged for an unconverged solve of a kernel, or of a cycle's, and OutsideInterval."""
    if isinstance(values, tuple):
        for number, own in enumerate(values):
            _check_solves(own, info[str(number)], start)
    elif isinstance(info, dict) and "converged" in info:
        couplings = values.get("couplings") or {}
        numbers = [f"{name} = {x:g}" for name, x in couplings.items() if isinstance(x, (int, float))]
        at = ", ".join(numbers) or "these couplings"
        check_solved(info, at, start)
        if "held" in info:
            check_held(info, at, start)


@lru_cache(maxsize=64)
def _compiled(
    kernel: Any, backend: backends.Backend, measure: Callable[[Tree], Tree] | None, draws: int, thin: int
) -> Callable[..., Any]:
    """The jitted block of `draws` draws, one for kernels that differ in their values alone: these are its argument."""
    definition = kernel.with_values(None)

    def block(values: Tree, key: Key, state: State, start: int | Array) -> tuple[State, dict[str, Any]]:
        kernel = definition.with_values(values)

        def draw(state: State, number: Array) -> tuple[State, dict[str, Any]]:
            state, info = _several(kernel, key, state, number * thin, thin)
            return state, {"info": info, "observables": None if measure is None else measure(state.field)}

        return backend.scan(draw, state, random.indices(key, draws) + start)

    return backend.jit(block)


def _several(kernel: Kernel, key: Array, state: State, first: int | Array, n: int) -> tuple[State, dict[str, Any]]:
    """Take steps number first, ..., first + n - 1; the info of one step stays as it is, of several it is averaged."""
    if n == 1:
        return kernel.step(random.fold_in(key, first), state)

    def one(state: State, number: Array) -> tuple[State, dict[str, Any]]:
        return kernel.step(random.fold_in(key, number), state)

    state, infos = backends.of(key).scan(one, state, random.indices(key, n) + first)
    return state, tree_map(_mean, infos)


def _mean(rows: Array) -> Array:
    xp = array_namespace(rows)
    counted = rows if xp.isdtype(rows.dtype, "real floating") else xp.astype(rows, xp.float32)
    return xp.mean(counted, axis=0)


def as_floats(values: Tree) -> Tree:
    """Return a tree with Python numbers as floats, so that beta = 2 and beta = 2.0 are one compiled program.

    >>> as_floats({"beta": 2, "none": None})
    {'beta': 2.0, 'none': None}
    """
    return tree_map(lambda value: float(value) if isinstance(value, (int, float)) else value, values)


def _check_count(what: str, n: int) -> None:
    if int(n) != n or n < 1:
        raise ValueError(f"{what} must be a whole number >= 1, got {n!r}")
