"""Trajectories of molecular dynamics on gauge links as one compiled kernel, for arrays in host memory.

Links are laid out in rows along the last axis of the lattice: a row has its components one after another, each with all sites
of the row and at every site the chains of a block, so that neighbouring numbers (sites or chains) fill vector registers. A row
has an extra site, a copy of its first: "one site on" is then an offset, and what is added to the copy is added to the
original afterwards. A row is updated as soon as its staples are complete, while it is still in the cache.

The reference is `core.hmc.molecular_dynamics` by the plain theory's `force` and density; both agree to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.compiled import vector
from haarflow.backends.types import Array, Couplings, Theory
from haarflow.core.axes import batch_shape
from haarflow.core.chains.hmc import molecular_dynamics
from haarflow.core.chains.integrators import Scheme, coefficients
from haarflow.core.groups.matrices import precision
from haarflow.core.lattice import loops
from haarflow.theories.compiled import gauge_bodies
from haarflow.theories.compiled.gauge_bodies import NEAR, Bodies
from haarflow.theories.compiled.gauge_trajectory_loops import trajectory
from haarflow.theories.compiled.row_order import order_of
from haarflow.theories.theory import couplings_for

NUMBERS = 256  # in a row's links of one direction: enough to hide the cost of the loops, few enough for the cache


def compiled(
    theory: Theory,
    field: Array,
    momentum: Array,
    scheme: Scheme,
    step_size: float | Array,
    steps: int,
    couplings: Couplings = None,
) -> tuple[Array, Array, Array] | None:
    """Return `HMC.trajectory` with the theory's force and action, or None where there is no kernel for it."""
    if precision(field) != "float64":
        return None
    bodies = bodies_of(theory)
    batch, xp = batch_shape(theory, field), array_namespace(field)
    beta = couplings_for(theory, field, couplings, over=0)["beta"]
    ones = xp.ones(batch, dtype=momentum.dtype, device=backends.place(field))

    def plain(field: Array, momentum: Array, beta: Array, step_size: Array) -> tuple[Array, Array, Array]:
        return molecular_dynamics(theory, field, momentum, scheme, step_size, steps, {"beta": beta})

    kernel = partial(evolve, bodies, scheme, int(steps), theory.lattice)
    arguments = field, momentum, beta * ones, step_size * ones
    return backends.of(field).on_host(kernel, plain, (field, momentum, ones), *arguments)


def bodies_of(theory: Any) -> Bodies:
    """Return the bodies of Wilson's action for a theory's group, U(1), SU(2) or SU(3)."""
    return gauge_bodies.su(theory.n) if theory.group.matrix_axes else gauge_bodies.u1()


def evolve(
    bodies: Bodies,
    scheme: Scheme,
    steps: int,
    lattice: tuple[int, ...],
    into: Sequence[numpy.ndarray],
    field: numpy.ndarray,
    momentum: numpy.ndarray,
    beta: numpy.ndarray,
    step_size: numpy.ndarray,
) -> None:
    """Write field, momentum and change of the action after `steps` steps; beta and the step size have the batch's shape."""
    extent, d, chains = lattice[-1], len(lattice), beta.size
    if not chains:
        return
    *end, action = into
    change = numpy.zeros(chains)
    drifts, kicks = coefficients(scheme, steps)
    rows, block = math.prod(lattice[:-1]), block_of(extent, chains, bodies.components)
    start = numpy.ascontiguousarray(field), numpy.ascontiguousarray(momentum)
    trajectory(
        *(x.view("float64").reshape(chains, d, -1, rows, extent, x.itemsize // 8) for x in (*start, *end)),
        change,
        *(numpy.zeros((rows, d, k, (extent + 1) * block)) for k in (bodies.components, bodies.momenta)),
        numpy.outer(drifts, step_size),
        numpy.outer(kicks, bodies.strength * step_size * beta),
        numpy.asarray(loops.planes(d)),
        order_of(lattice),
        block,
        bodies.components,
        tuple(
            code.address
            for code in _compiled(bodies, field.itemsize // vector.BYTES, rows * extent, (extent + 1) * block)
        ),
        NEAR,
    )
    action[...] = beta * change.reshape(beta.shape)


def block_of(extent: int, chains: int, components: int) -> int:
    """Return how many chains make a block: whole registers, and rows of at most about NUMBERS numbers."""
    least = vector.WIDTH // math.gcd(extent, vector.WIDTH)
    return least * max(1, min(-(-chains // least), NUMBERS // (components * extent * least)))


@cache
def _compiled(bodies: Bodies, parts: int, volume: int, length: int) -> tuple[vector.Code, ...]:
    """The bodies as machine code for a volume and a length of rows, in the order in which the loops take them."""
    stride = length * vector.BYTES
    laid = layout(parts, bodies.components, volume), layout(1, bodies.momenta, volume)
    return (
        vector.compiled(bodies.plane, 9, stride, fixed=1),
        vector.compiled(bodies.kick, 5, stride, fixed=1),
        vector.compiled(bodies.near, 3, stride),
        vector.compiled(bodies.far, 3, stride),
        vector.compiled(bodies.restore, 1, stride),
        vector.compiled(bodies.density, 5, stride),
        *(make(*options, stride) for options in laid for make in (to_components, from_components)),
    )


def layout(parts: int, components: int, volume: int) -> tuple[int, int, int]:
    """Return the real numbers in an entry of links or momenta, the number of entries, and their distance in bytes.

    >>> layout(2, 18, 16)
    (2, 9, 256)
    """
    return parts, components // parts, parts * volume * vector.BYTES


@cache
def to_components(parts: int, entries: int, apart: int, stride: int) -> vector.Code:
    """Return the body that splits a row's entries, real or complex and `apart` bytes apart, into components."""

    def split(x: Array, components: Any) -> None:
        for entry in range(entries):
            line = x.further(entry * apart)
            for part, value in enumerate(line.pairs() if parts == 2 else (line[0],)):
                components[parts * entry + part] = value

    return vector.compiled(split, 2, stride, paired=parts - 1)


@cache
def from_components(parts: int, entries: int, apart: int, stride: int) -> vector.Code:
    """Return the body that undoes `to_components`."""

    def merge(x: Array, components: Any) -> None:
        for entry in range(entries):
            line = x.further(entry * apart)
            if parts == 2:
                line.put_pairs(components[2 * entry], components[2 * entry + 1])
            else:
                line[0] = components[entry]

    return vector.compiled(merge, 2, stride, paired=parts - 1)
