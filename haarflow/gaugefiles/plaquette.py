"""Plaquette, link trace and unitarity of a gauge field that is read slab by slab.

A state contains sums and two slabs, the first and the last: temporal planes need the next slab, and the one after the last
is the first. Plaquette = <1/N Re tr U_mu(x) U_nu(x+mu) U_mu(x+nu)^+ U_nu(x)^+>, link trace = <1/N Re tr U>.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy

from haarflow.gaugefiles.unitarity import defects, entry

Array = numpy.ndarray


class Passing(NamedTuple):
    """The state between slabs `(mu, N, N, X, Y, Z)`."""

    first: Any = None
    last: Any = None
    plaquettes: float = 0.0
    traces: float = 0.0
    unitarity: float = 0.0
    determinant: float = 0.0
    slabs: int = 0


class Measured(NamedTuple):
    """Means of 1/N Re tr of plaquettes and links, max |U^+ U - 1| and max |det U - 1| of a whole field."""

    plaquette: float
    link_trace: float
    unitarity_defect: float
    determinant_defect: float


def passed(state: Passing, slab: Array) -> Passing:
    """Return the state after one more slab."""
    with numpy.errstate(all="ignore"):
        sums = space_planes(slab)
        if state.last is not None:
            sums += time_planes(state.last, slab)
        traces = sum(float(slab[:, a, a].real.sum()) for a in range(slab.shape[1]))
    unitarity, determinant = defects(slab)
    return Passing(
        slab if state.first is None else state.first,
        slab,
        state.plaquettes + sums,
        state.traces + traces,
        _worst(state.unitarity, unitarity),
        _worst(state.determinant, determinant),
        state.slabs + 1,
    )


def measured(state: Passing) -> Measured:
    """Return the means after the last slab, with the temporal planes between the last and the first.

    >>> cold = numpy.broadcast_to(numpy.eye(3).reshape(1, 3, 3, 1, 1, 1), (4, 3, 3, 2, 2, 2))
    >>> measured(passed(passed(Passing(), cold), cold))
    Measured(plaquette=1.0, link_trace=1.0, unitarity_defect=0.0, determinant_defect=0.0)
    """
    with numpy.errstate(all="ignore"):
        plaquettes = state.plaquettes + time_planes(state.last, state.first)
    mu, n = state.last.shape[:2]
    sites = state.slabs * math.prod(state.last.shape[3:])
    return Measured(
        plaquettes / (n * sites * mu * (mu - 1) // 2),
        state.traces / (n * sites * mu),
        state.unitarity,
        state.determinant,
    )


def space_planes(slab: Array) -> float:
    """Return the sum of Re tr P over the planes within a slab."""
    pairs = [(mu, nu) for mu in range(1, len(slab)) for nu in range(mu + 1, len(slab))]
    return sum(_sum(slab[mu], _next(slab[nu], mu), slab[nu], _next(slab[mu], nu)) for mu, nu in pairs)


def time_planes(slab: Array, following: Array) -> float:
    """Return the sum of Re tr P over the planes between a slab and the one that follows in time."""
    return sum(_sum(slab[0], following[nu], slab[nu], _next(slab[0], nu)) for nu in range(1, len(slab)))


def _next(u: Array, mu: int) -> Array:
    """U(x + mu) within a slab: direction mu is lattice axis mu - 1 of (N, N, X, Y, Z)."""
    return numpy.roll(u, -1, axis=1 + mu)


def _sum(a: Array, b: Array, c: Array, d: Array) -> float:
    """Sum over sites of Re tr a b (c d)^+, one entry at a time to save memory."""
    total, n = 0.0, a.shape[0]
    for i in range(n):
        for j in range(n):
            total += numpy.vdot(entry(c, d, i, j), entry(a, b, i, j)).real
    return float(total)


def _worst(one: float, other: float) -> float:
    """The larger of two numbers, NaN if either is NaN."""
    return float(numpy.maximum(one, other))
