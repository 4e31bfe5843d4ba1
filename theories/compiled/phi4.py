"""Action, force and trajectories of phi^4 as compiled loops, for arrays in host memory.

Array code passes over memory for every shift, product and sum; these loops read a row of sites with its neighbours and write
it once. The references are `Phi4.action`, `Phi4.force` and `core.chains.hmc.molecular_dynamics`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Couplings, Theory
from haarflow.core.chains.hmc import molecular_dynamics
from haarflow.core.chains.integrators import Scheme, coefficients
from haarflow.core.groups.matrices import precision
from haarflow.theories.compiled import phi4_loops
from haarflow.theories.theory import couplings_for

Into = Sequence[numpy.ndarray]


def action(theory: Theory, field: Array, couplings: Couplings) -> Array | None:
    """Return `theory.action(field, couplings)`, or None where there is no kernel for it."""
    return _single(actions, theory.action, theory, field, couplings, whole=False)


def force(theory: Any, field: Array, couplings: Couplings) -> Array | None:
    """Return `theory.force(field, couplings)`, or None where there is no kernel for it."""
    return _single(forces, theory.force, theory, field, couplings, whole=True)


def trajectory(
    theory: Theory,
    field: Array,
    momentum: Array,
    scheme: Scheme,
    step_size: float | Array,
    steps: int,
    couplings: Couplings = None,
) -> tuple[Array, Array, Array] | None:
    """Return `HMC.trajectory`, or None where there is no kernel."""
    ones, names, values = _per_chain(theory, field, couplings)
    if precision(field) != "float64":
        return None

    def plain(field: Array, momentum: Array, step_size: Array, *values: Array) -> tuple[Array, Array, Array]:
        return molecular_dynamics(
            theory, field, momentum, scheme, step_size, steps, dict(zip(names, values, strict=True))
        )

    kernel = partial(trajectories, theory, names, scheme, int(steps))
    return backends.of(field).on_host(
        kernel, plain, (field, momentum, ones), field, momentum, step_size * ones, *values
    )


def actions(theory: Theory, names: tuple[str, ...], into: Into, field: numpy.ndarray, *values: numpy.ndarray) -> None:
    """Write the actions of host fields, `(*batch,)` like the values of the couplings."""
    phi4_loops.actions(_rows(theory, field), into[0].reshape(-1), *_coefficients(theory, names, values))


def forces(theory: Theory, names: tuple[str, ...], into: Into, field: numpy.ndarray, *values: numpy.ndarray) -> None:
    """Write the forces of host fields."""
    phi4_loops.forces(_rows(theory, field), _rows(theory, into[0]), *_coefficients(theory, names, values))


def trajectories(
    theory: Theory,
    names: tuple[str, ...],
    scheme: Scheme,
    steps: int,
    into: Into,
    field: numpy.ndarray,
    momentum: numpy.ndarray,
    step_size: numpy.ndarray,
    *values: numpy.ndarray,
) -> None:
    """Write fields, momenta and the action's change after the steps."""
    new, final, change = into
    new[...], final[...] = field, momentum
    phi4_loops.trajectories(
        *(_rows(theory, x) for x in (new, final, field)),
        change.reshape(-1),
        *(numpy.outer(factors, step_size) for factors in coefficients(scheme, steps)),
        *_coefficients(theory, names, values),
    )


@cache
def neighbours(lattice: tuple[int, ...]) -> numpy.ndarray:
    """Return the rows one site on and one back along every axis but the last, `(2, d - 1, rows)`.

    >>> neighbours((3, 2)).tolist()
    [[[1, 2, 0]], [[2, 0, 1]]]
    """
    rows = numpy.arange(math.prod(lattice[:-1])).reshape(lattice[:-1])
    tables = [[numpy.roll(rows, step, axis).reshape(-1) for axis in range(rows.ndim)] for step in (-1, 1)]
    return numpy.asarray(tables, dtype=numpy.int64).reshape(2, rows.ndim, rows.size)


def _single(
    kernel: Callable[..., None],
    plain: Callable[..., Array],
    theory: Theory,
    field: Array,
    couplings: Couplings,
    whole: bool,
) -> Array | None:
    """Return what `kernel` writes for a field: a field if `whole`, else an array of the batch's shape."""
    ones, names, values = _per_chain(theory, field, couplings)
    if precision(field) != "float64":
        return None

    def twin(field: Array, *values: Array) -> tuple[Array]:
        return (plain(field, dict(zip(names, values, strict=True))),)

    like, size = (field if whole else ones,), math.prod(field.shape)
    written = backends.of(field).on_host(partial(kernel, theory, names), twin, like, field, *values, numbers=size)
    return None if written is None else written[0]


def _per_chain(theory: Theory, field: Array, couplings: Couplings) -> tuple[Array, tuple[str, ...], list[Array]]:
    """Ones of the batch's shape, the couplings' names, and their values in that shape."""
    values, xp = couplings_for(theory, field, couplings, over=0), array_namespace(field)
    batch = tuple(field.shape[: field.ndim - len(theory.lattice)])
    ones = xp.ones(batch, dtype=field.dtype, device=backends.place(field))
    return ones, tuple(values), [value * ones for value in values.values()]


def _rows(theory: Theory, x: numpy.ndarray) -> numpy.ndarray:
    """Host fields as `(chains, rows, extent)`."""
    return numpy.ascontiguousarray(x).reshape(-1, math.prod(theory.lattice[:-1]), theory.lattice[-1])


def _coefficients(theory: Any, names: tuple[str, ...], values: tuple[numpy.ndarray, ...]) -> list[numpy.ndarray]:
    """(k, a, lam) of every chain, and the neighbours of the rows."""
    per_chain = theory.coefficients({name: numpy.ravel(value) for name, value in zip(names, values, strict=True)})
    return [*(part + numpy.zeros(values[0].size) for part in per_chain), neighbours(theory.lattice)]
