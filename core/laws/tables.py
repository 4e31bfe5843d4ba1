"""The laws of this layer by kind: backends, random numbers, groups, solvers, Markov kernels.

A row of a table is a `Law`. To check a further object against all laws of its kind, add one line where objects are listed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy

from haarflow.backends.standard import identity
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Kernel, Tree
from haarflow.core import random
from haarflow.core.axes import field_shape
from haarflow.core.chains.involution import Involutive
from haarflow.core.chains.kernel import Cycle, Repeat, run
from haarflow.core.laws import random as random_laws
from haarflow.core.laws.backend import BACKEND_LAWS
from haarflow.core.laws.group import GROUP_LAWS
from haarflow.core.laws.kernels import tables as kernels
from haarflow.core.laws.kernels.stationary import Chained, ExactScalars, exact_draws
from haarflow.core.laws.law import Given, Law, Verdict, void
from haarflow.core.laws.memory import LATTICES, remembers_nothing
from haarflow.core.laws.sizes import LENGTHS, ROWS, any_length, chains_apart
from haarflow.core.laws.solvers import SOLVER_LAWS

__all__ = ["BACKEND_LAWS", "GROUP_LAWS", "KERNEL_LAWS", "RANDOM_LAWS", "SOLVER_LAWS", "Chained", "ExactScalars"]

COMPILED_LENGTHS = (3, 129, 4097)  # of draws, where each is a program


def _lengths(module: Any, given: Given) -> Verdict:
    lengths = LENGTHS if given.backend.jit is identity else COMPILED_LENGTHS
    return any_length(module, given.key(), given.dtype, lengths)


def _draws(module: Any, given: Given) -> Verdict:
    """Draws that differ in shape, precision or purpose."""
    draws = [
        partial(module.uniform, given.key(), (2, 6), given.dtype),
        partial(module.uniform, given.key(), (12,), given.dtype),
        partial(module.uniform, given.key(), (6, 2), "float32"),
        partial(module.normal, given.key(), (12,), given.dtype),
        partial(module.words, given.key(), (12,)),
        partial(module.split, given.key(), 12),
    ]
    return remembers_nothing(draws, (module.uniform, module.normal, module.words, module.split))


def _apart(obj: Any, given: Given) -> Verdict:
    kernel, theory = kernels.kernel_of(obj), kernels.theory_of(obj)
    given = dataclasses.replace(given, style="haar", batch=ROWS[-1])
    fields, keys = given.field(theory.group, field_shape(theory)), random.split(given.key(1), given.batch)
    try:
        return chains_apart(kernel, fields, keys)
    except ValueError as refusal:
        return void(chains_apart, f"it takes no keys of single chains: {refusal}")


def _on(kernel: Any, lattice: tuple[int, ...]) -> Any:
    """The kernel of the same theory on another lattice; raises what that theory or kernel raises where there is none."""
    if isinstance(kernel, Cycle):
        return Cycle(tuple(_on(one, lattice) for one in kernel.kernels))
    if isinstance(kernel, Repeat):
        return dataclasses.replace(kernel, kernel=_on(kernel.kernel, lattice))
    moved = dataclasses.replace(kernel, theory=dataclasses.replace(kernel.theory, lattice=lattice))
    if isinstance(kernel, Involutive):
        moved = dataclasses.replace(moved, involution=_on(kernel.involution, lattice))
    return moved


def _stronger(values: Tree) -> Tree:
    """A kernel's values with its couplings half as large again."""
    if isinstance(values, tuple):
        return tuple(map(_stronger, values))
    if not values or "couplings" not in values:
        return values
    return {**values, "couplings": tree_map(lambda value: 1.5 * value, values["couplings"])}


def _steps(kernel: Kernel, given: Given) -> Iterator[Callable[[], Tree]]:
    """Steps on lattices of one volume, then in single precision and at other couplings."""

    def step(lattice: tuple[int, ...], dtype: str, change: Callable[[Tree], Tree]) -> Tree:
        moved = _on(kernel, lattice)
        moved = moved.with_values(change(moved.values))
        theory = kernels.theory_of(moved)
        x = dataclasses.replace(given, style="haar", dtype=dtype).field(theory.group, field_shape(theory))
        state, records = run(moved, given.key(1), moved.init(x), 1)
        return [state.field, records["info"]]

    lattices = next((known for known in (LATTICES[3], LATTICES[2]) if all(_fits(kernel, one) for one in known)), ())
    yield from (partial(step, lattice, given.dtype, lambda values: values) for lattice in lattices)
    for lattice in lattices[:1]:
        yield partial(step, lattice, "float32" if given.dtype == "float64" else "float64", lambda values: values)
        yield partial(step, lattice, given.dtype, _stronger)


def _fits(kernel: Any, lattice: tuple[int, ...]) -> bool:
    try:
        _on(kernel, lattice)
    except (ValueError, TypeError):
        return False
    return True


def _memory(obj: Any, given: Given) -> Verdict:
    kernel = kernels.kernel_of(obj)
    steps = list(_steps(kernel, given))
    if not steps:
        return void(remembers_nothing, "it cannot be made on another lattice")
    return remembers_nothing(steps, (kernel,))


def _of_one_lattice(obj: Any) -> str | None:
    """Whether a kernel, or one in it, makes proposals of its own."""
    kernel = kernels.kernel_of(obj)
    if isinstance(kernel, (Cycle, Repeat)):
        inner = kernel.kernels if isinstance(kernel, Cycle) else (kernel.kernel,)
        return next((reason for one in inner if (reason := _of_one_lattice(one)) is not None), None)
    if hasattr(kernel, "proposal"):  # a model, which has its own lattice
        return "its proposals are those of one lattice, for all chains at once"
    return None if dataclasses.is_dataclass(getattr(kernel, "theory", None)) else "it has no theory to put on a lattice"


def _with_means(obj: Any) -> str | None:
    return None if getattr(obj, "means", ()) else "no means of its exact draws are known by another route"


def _exact_draws(obj: Chained, given: Given) -> Verdict:
    return exact_draws(obj, numpy.asarray(kernels.exact_fields(obj, given)))


RANDOM_LAWS: tuple[Law, ...] = (
    *random_laws.RANDOM_LAWS,
    Law(any_length, _lengths, programs=True),
    Law(remembers_nothing, _draws, programs=True),
)
KERNEL_LAWS: tuple[Law, ...] = (
    *kernels.KERNEL_LAWS,
    Law(chains_apart, _apart, _of_one_lattice, programs=True),
    Law(remembers_nothing, _memory, _of_one_lattice, programs=True),
    Law(exact_draws, _exact_draws, _with_means, sampled=True, shared_draws=True),
)
