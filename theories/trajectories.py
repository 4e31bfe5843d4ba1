"""Trajectories of molecular dynamics on gauge links as one compiled kernel, for arrays in the host's memory.

Links are laid out in rows along the last axis of the lattice: component by component, in each the sites of the row and at
every site the chains of a block, so that neighbouring numbers are neighbouring sites or chains and fill vector registers
whatever their mix. A row has one site more, a copy of its first: "one site on" is then an offset, and what is added there
goes back to the first. A slice of axis 0 moves on as soon as its staples are complete, while it is still in the cache.

The plain twin is `core.integrators.integrate` with the theory's `force`; both agree to rounding.
"""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends import simd
from haarflow.core import loops
from haarflow.core.batch import batch_shape, spread
from haarflow.core.integrators import Scheme, integrate
from haarflow.core.matrices import precision
from haarflow.theories import trajectory_bodies
from haarflow.theories.theory import Couplings, couplings_for
from haarflow.theories.trajectory_bodies import NEAR, Bodies
from haarflow.theories.trajectory_loops import trajectory
from haarflow.theories.u1 import U1Gauge
from haarflow.theories.wilson import Wilson

Array = Any

NUMBERS = 256  # of a row's links in one direction: enough to hide the loops around them, few enough for the cache


def compiled(
    theory: Any,
    field: Array,
    momentum: Array,
    scheme: Scheme,
    step_size: Any,
    steps: int,
    couplings: Couplings = None,
) -> tuple[Array, Array] | None:
    """Return what `integrate` does with the theory's force, or None where there is no kernel for it."""
    bodies = _bodies(theory)
    if bodies is None or precision(field) != "float64":
        return None
    batch, xp = batch_shape(theory, field), array_namespace(field)
    beta = couplings_for(theory, field, couplings, over=0)["beta"]
    ones = xp.ones(batch, dtype=momentum.dtype, device=backends.place(field))

    def plain(field: Array, momentum: Array, beta: Array, step_size: Array) -> tuple[Array, Array]:
        force, scale = partial(theory.force, couplings={"beta": beta}), spread(step_size, momentum.ndim - len(batch))
        return integrate(force, field, momentum, scheme, scale, steps, theory.group)

    kernel = partial(evolve, bodies, scheme, int(steps), theory.lattice)
    return backends.of(field).on_host(kernel, plain, (field, momentum), field, momentum, beta * ones, step_size * ones)


def _bodies(theory: Any) -> Bodies | None:
    if type(theory) is U1Gauge:
        return trajectory_bodies.u1()
    if type(theory) is Wilson and theory.plaquettes_alone and theory.n in (2, 3):
        return trajectory_bodies.su(theory.n)
    return None


def evolve(
    bodies: Bodies,
    scheme: Scheme,
    steps: int,
    lattice: tuple[int, ...],
    field: numpy.ndarray,
    momentum: numpy.ndarray,
    beta: numpy.ndarray,
    step_size: numpy.ndarray,
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return field and momentum after `steps` steps of the scheme; beta and the step size are of the batch's shape."""
    extent, d, chains = lattice[-1], len(lattice), beta.size
    found = numpy.empty(field.shape, field.dtype), numpy.empty(momentum.shape, momentum.dtype)
    if not chains:
        return found
    joined = scheme.drifts[-1] + scheme.drifts[0]
    drifts = [scheme.drifts[0], *([*scheme.drifts[1:-1], joined] * steps)[:-1], scheme.drifts[-1]]
    rows, block = math.prod(lattice[:-1]), _block(extent, chains, bodies.components)
    given = numpy.ascontiguousarray(field), numpy.ascontiguousarray(momentum)
    trajectory(
        *(x.view("float64").reshape(chains, d, -1, rows, extent, x.itemsize // 8) for x in (*given, *found)),
        numpy.outer(drifts, step_size),
        numpy.outer(scheme.kicks * steps, bodies.strength * step_size * beta),
        _neighbours(lattice),
        numpy.asarray(loops.planes(d)),
        rows // lattice[0],
        block,
        bodies.components,
        tuple(code.address for code in _compiled(bodies, (extent + 1) * block)),
        NEAR,
    )
    return found


def _block(extent: int, chains: int, components: int) -> int:
    """Chains of a block: no more than fill a row with NUMBERS numbers, in whole registers."""
    least = simd.WIDTH // math.gcd(extent, simd.WIDTH)
    return least * max(1, min(-(-chains // least), NUMBERS // (components * extent * least)))


@cache
def _neighbours(lattice: tuple[int, ...]) -> numpy.ndarray:
    """The row one site on along every axis, `(d, rows)`; along the last it is the row itself."""
    rows = numpy.arange(math.prod(lattice[:-1])).reshape(lattice[:-1])
    ahead = [numpy.roll(rows, -1, axis) for axis in range(rows.ndim)]
    return numpy.stack([*ahead, rows]).reshape(len(lattice), -1)


@cache
def _compiled(bodies: Bodies, length: int) -> tuple[simd.Code, ...]:
    """The bodies as machine code for rows of a length: plane, kick, near, far."""
    stride = length * simd.BYTES
    return (
        simd.compiled(bodies.plane, 9, stride, fixed=1),
        simd.compiled(bodies.kick, 5, stride, fixed=1),
        simd.compiled(bodies.near, 3, stride),
        simd.compiled(bodies.far, 3, stride),
    )
