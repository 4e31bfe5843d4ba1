"""Action, force and plaquettes of U(1), SU(2) and SU(3) as compiled kernels, for arrays in host memory.

They use the rows and bodies of a compiled trajectory (theories/compiled/gauge_trajectory.py); the force is what a kick adds
to vanishing momenta. The references are the array code of `action`, `force` and `plaquettes`, with which they agree to
rounding and which is used for derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.compiled import vector
from haarflow.backends.types import Array, Couplings, Theory
from haarflow.core.axes import batch_shape
from haarflow.core.groups.matrices import precision
from haarflow.core.lattice import loops
from haarflow.theories.compiled import gauge_action_loops
from haarflow.theories.compiled.gauge_bodies import Bodies
from haarflow.theories.compiled.gauge_trajectory import (
    NUMBERS,
    block_of,
    bodies_of,
    from_components,
    layout,
    to_components,
)
from haarflow.theories.compiled.row_order import order_of
from haarflow.theories.theory import check_field, couplings_for

Into = Sequence[numpy.ndarray]

PASSES = 4  # of array code over a field of links, at least


def action(theory: Theory, field: Array, couplings: Couplings) -> Array | None:
    """Return `theory.action(field, couplings)`, or None where there is no kernel for it."""
    beta = couplings_for(theory, field, couplings, over=0)["beta"]
    twin = lambda field, beta: (theory.action(field, {"beta": beta}),)  # noqa: E731
    return _called(summed, twin, theory, field, (), True, beta)


def force(theory: Any, field: Array, couplings: Couplings) -> Array | None:
    """Return `theory.force(field, couplings)`, or None where there is no kernel for it."""
    beta = couplings_for(theory, field, couplings, over=0)["beta"]
    twin = lambda field, beta: (theory.force(field, {"beta": beta}),)  # noqa: E731
    matrix = theory.group.matrix_axes
    own = (theory.d, *((theory.n**2 - 1,) if matrix else ()), *theory.lattice)
    return _called(differentiated, twin, theory, field, own, True, beta)


def plaquettes(theory: Any, field: Array) -> Array | None:
    """Return `theory.plaquettes(field)`, or None where there is no kernel: for one, angles in short rows, for which
    array code is faster."""
    check_field(theory, field)
    if not theory.group.matrix_axes and theory.lattice[-1] < NUMBERS:
        return None
    twin = lambda field: (theory.plaquettes(field),)  # noqa: E731
    own = (len(loops.planes(theory.d)), *theory.field_shape[1:])
    return _called(multiplied, twin, theory, field, own, False)


def _called(
    kernel: Callable[..., None],
    twin: Callable[..., tuple[Array]],
    theory: Theory,
    field: Array,
    own: tuple[int, ...],
    real: bool,
    *values: Any,
) -> Array | None:
    """Return what a kernel writes for a field and per-chain values: `(*batch, *own)`, real or of the field's type."""
    if precision(field) != "float64":
        return None
    bodies = bodies_of(theory)
    batch, xp, device = batch_shape(theory, field), array_namespace(field), backends.place(field)
    like = (xp.empty((*batch, *own), dtype=xp.float64 if real else field.dtype, device=device),)
    per_chain = [value * xp.ones(batch, dtype=xp.float64, device=device) for value in values]
    work = partial(kernel, bodies, theory.lattice)
    result = backends.of(field).on_host(work, twin, like, field, *per_chain, numbers=PASSES * math.prod(field.shape))
    return None if result is None else result[0]


def summed(bodies: Bodies, lattice: tuple[int, ...], into: Into, field: numpy.ndarray, beta: numpy.ndarray) -> None:
    """Write the action of every chain; beta has the batch's shape."""
    sums = numpy.zeros(beta.size)
    if beta.size:
        laid = _laid_out(bodies, lattice, field)
        codes = _trace(bodies, laid.parts, laid.volume, laid.stride)
        gauge_action_loops.traces(laid.links, sums, laid.rows, *_order(lattice), laid.block, _addresses(codes))
    into[0][...] = -beta * sums.reshape(beta.shape)


def differentiated(
    bodies: Bodies, lattice: tuple[int, ...], into: Into, field: numpy.ndarray, beta: numpy.ndarray
) -> None:
    """Write the force on every link; beta has the batch's shape."""
    if beta.size:
        laid = _laid_out(bodies, lattice, field)
        result, codes = _in_rows(into[0], len(lattice), laid), _kick(bodies, laid.parts, laid.volume, laid.stride)
        strengths = -bodies.strength * beta.reshape(-1)
        gauge_action_loops.forces(
            laid.links, result, strengths, laid.rows, *_order(lattice), laid.block, _addresses(codes)
        )


def multiplied(bodies: Bodies, lattice: tuple[int, ...], into: Into, field: numpy.ndarray) -> None:
    """Write the plaquettes of every chain."""
    if field.size:
        laid = _laid_out(bodies, lattice, field)
        planes, order = _order(lattice)
        result, codes = _in_rows(into[0], len(planes), laid), _loop(bodies, laid.parts, laid.volume, laid.stride)
        gauge_action_loops.plaquettes(laid.links, result, laid.rows, planes, order, laid.block, _addresses(codes))


class Laid(NamedTuple):
    """Links `(chains, d, entries, rows, extent, parts)`, a buffer for their rows, and the number of chains in a block."""

    links: numpy.ndarray
    rows: numpy.ndarray
    block: int

    @property
    def parts(self) -> int:
        """Real numbers in an entry: two if it is complex."""
        return int(self.links.shape[-1])

    @property
    def volume(self) -> int:
        """The number of sites."""
        return int(self.links.shape[3] * self.links.shape[4])

    @property
    def stride(self) -> int:
        """The distance between two components of a row, in bytes."""
        return int(self.rows.shape[-1]) * vector.BYTES


def _laid_out(bodies: Bodies, lattice: tuple[int, ...], field: numpy.ndarray) -> Laid:
    parts, extent, rows, d = field.itemsize // vector.BYTES, lattice[-1], math.prod(lattice[:-1]), len(lattice)
    links = numpy.ascontiguousarray(field).view("float64")
    links = links.reshape(-1, d, bodies.components // parts, rows, extent, parts)
    # a compiled body lays out matrices of one chain faster than several chains are laid out together
    single = parts == 2 and extent % vector.WIDTH == 0
    block = 1 if single else block_of(extent, len(links), bodies.components)
    homes = 1 + order_of(lattice).home.max()
    return Laid(links, numpy.zeros((homes, d, bodies.components, (extent + 1) * block)), block)


def _in_rows(x: numpy.ndarray, lead: int, laid: Laid) -> numpy.ndarray:
    """Forces or plaquettes in the layout of the links, for `lead` directions or planes."""
    chains, _, _, rows, extent, _ = laid.links.shape
    return x.view("float64").reshape(chains, lead, -1, rows, extent, x.itemsize // vector.BYTES)


@cache
def _order(lattice: tuple[int, ...]) -> tuple[numpy.ndarray, Any]:
    return numpy.asarray(loops.planes(len(lattice))), order_of(lattice)


@cache
def _trace(bodies: Bodies, parts: int, volume: int, stride: int) -> tuple[vector.Code, ...]:
    return to_components(*layout(parts, bodies.components, volume), stride), vector.compiled(bodies.trace, 5, stride)


@cache
def _kick(bodies: Bodies, parts: int, volume: int, stride: int) -> tuple[vector.Code, ...]:
    return (
        to_components(*layout(parts, bodies.components, volume), stride),
        from_components(*layout(1, bodies.momenta, volume), stride),
        vector.compiled(bodies.plane, 9, stride, fixed=1),
        vector.compiled(bodies.kick, 5, stride, fixed=1),
    )


@cache
def _loop(bodies: Bodies, parts: int, volume: int, stride: int) -> tuple[vector.Code, ...]:
    laid, loop = layout(parts, bodies.components, volume), vector.compiled(bodies.loop, 6, stride, fixed=1)
    return to_components(*laid, stride), from_components(*laid, stride), loop


def _addresses(codes: tuple[vector.Code, ...]) -> tuple[int, ...]:
    return tuple(code.address for code in codes)
