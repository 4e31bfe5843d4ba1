"""Single calls of the action and of the force of SU(2) and SU(3) as compiled kernels, for arrays in the host's memory.

Made of the pieces of a compiled trajectory (theories/trajectories.py): the same rows, the same bodies at a site; the
force is what a kick gives to momenta at rest. The plain twins are `Wilson.plain_action` and `Wilson.plain_force`; they
agree to rounding, and derivatives are theirs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends import simd
from haarflow.core import loops
from haarflow.core.batch import batch_shape
from haarflow.core.matrices import precision
from haarflow.theories.action_loops import forces, traces
from haarflow.theories.row_order import order_of
from haarflow.theories.theory import Couplings, check_field, couplings_for
from haarflow.theories.trajectories import block_of, bodies_of
from haarflow.theories.trajectory_bodies import Bodies

Array = Any
Into = Sequence[numpy.ndarray]

PASSES = 4  # of array code over a field of links, at least


def action(theory: Any, field: Array, couplings: Couplings) -> Array | None:
    """Return `theory.plain_action(field, couplings)`, or None where there is no kernel for it."""
    like = lambda xp, batch, place: xp.ones(batch, dtype=xp.float64, device=place)  # noqa: E731
    return _called(summed, theory.plain_action, like, theory, field, couplings)


def force(theory: Any, field: Array, couplings: Couplings) -> Array | None:
    """Return `theory.plain_force(field, couplings)`, or None where there is no kernel for it."""
    shape = (theory.d, theory.n**2 - 1, *theory.lattice)
    like = lambda xp, batch, place: xp.empty((*batch, *shape), dtype=xp.float64, device=place)  # noqa: E731
    return _called(differentiated, theory.plain_force, like, theory, field, couplings)


def _called(
    kernel: Callable, plain: Callable, like: Callable, theory: Any, field: Array, couplings: Couplings
) -> Array | None:
    check_field(theory, field)
    bodies = bodies_of(theory)
    if bodies is None or precision(field) != "float64":
        return None
    batch, xp, place = batch_shape(theory, field), array_namespace(field), backends.place(field)
    beta = couplings_for(theory, field, couplings, over=0)["beta"]
    twin = lambda field, beta: (plain(field, {"beta": beta}),)  # noqa: E731
    given = field, beta * xp.ones(batch, dtype=xp.float64, device=place)
    host, shaped = backends.of(field).on_host, (like(xp, batch, place),)
    found = host(partial(kernel, bodies, theory.lattice), twin, shaped, *given, numbers=PASSES * math.prod(field.shape))
    return None if found is None else found[0]


def summed(bodies: Bodies, lattice: tuple[int, ...], into: Into, field: numpy.ndarray, beta: numpy.ndarray) -> None:
    """Write the action of every chain; beta has the batch's shape."""
    sums = numpy.zeros(beta.size)
    if beta.size:
        links, rows, block = _laid_out(bodies, lattice, field, beta.size)
        traces(links, sums, rows, *_order(lattice), block, _places(_trace(bodies, rows.shape[-1])))
    into[0][...] = -beta * sums.reshape(beta.shape)


def differentiated(
    bodies: Bodies, lattice: tuple[int, ...], into: Into, field: numpy.ndarray, beta: numpy.ndarray
) -> None:
    """Write the force on every link; beta has the batch's shape."""
    if beta.size:
        links, rows, block = _laid_out(bodies, lattice, field, beta.size)
        forces(
            links,
            into[0].reshape(beta.size, len(lattice), bodies.momenta, *links.shape[3:5], 1),
            -bodies.strength * beta.reshape(-1),
            rows,
            numpy.zeros((*rows.shape[:2], bodies.momenta, rows.shape[-1])),
            *_order(lattice),
            block,
            bodies.components,
            _places(_kick(bodies, rows.shape[-1])),
        )


def _laid_out(bodies: Bodies, lattice: tuple[int, ...], field: numpy.ndarray, chains: int) -> Any:
    """The links as `(chains, d, entries, rows, extent, parts)`, room for the rows of a block, and its chains."""
    extent, d, number = lattice[-1], len(lattice), math.prod(lattice[:-1])
    block = 1 if extent % simd.WIDTH == 0 else block_of(extent, chains, bodies.components)
    links = numpy.ascontiguousarray(field).view("float64").reshape(chains, d, -1, number, extent, 2)
    return links, numpy.zeros((number, d, bodies.components, (extent + 1) * block)), block


@cache
def _order(lattice: tuple[int, ...]) -> tuple[numpy.ndarray, Any]:
    return numpy.asarray(loops.planes(len(lattice))), order_of(lattice)


@cache
def _trace(bodies: Bodies, length: int) -> tuple[simd.Code, ...]:
    stride = length * simd.BYTES
    return simd.compiled(_split, 2, stride, paired=1), simd.compiled(bodies.trace, 5, stride)


@cache
def _kick(bodies: Bodies, length: int) -> tuple[simd.Code, ...]:
    stride = length * simd.BYTES
    return (
        simd.compiled(_split, 2, stride, paired=1),
        simd.compiled(_copy, 2, stride),
        simd.compiled(bodies.plane, 9, stride, fixed=1),
        simd.compiled(bodies.kick, 5, stride, fixed=1),
    )


def _split(complex_numbers: Any, into: Any) -> None:
    into[0], into[1] = complex_numbers.pairs()


def _copy(x: Any, into: Any) -> None:
    into[0] = x[0]


def _places(codes: tuple[simd.Code, ...]) -> tuple[int, ...]:
    return tuple(code.address for code in codes)
