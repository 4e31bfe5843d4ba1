"""The loops of compiled phi^4 over chains, rows and sites; rows are lines of sites along the last axis.

Each loop over a row is plain arithmetic on neighbouring numbers, which the compiler turns into vector code. `rows` are the
rows' neighbours, `(2, d - 1, rows)`: one site on and one back along every axis but the last. k, a and lam are the
coefficients of the common form of theories/scalar/phi4.py, one for each chain.
"""

from __future__ import annotations

import numpy

from haarflow.backends.compiled.loops import loop
from haarflow.backends.types import Array


@loop
def actions(x: Array, result: Array, k: Array, a: Array, lam: Array, rows: Array) -> None:
    """Write the actions of fields `(chains, rows, extent)`."""
    terms, ahead = numpy.empty(x.shape[2]), numpy.empty(x.shape[2])
    for chain in range(len(x)):
        terms[:] = 0.0
        for row in range(x.shape[1]):
            add_density(x[chain], row, 1.0, k[chain], a[chain], lam[chain], rows, ahead, terms)
        result[chain] = numpy.sum(terms)


@loop
def forces(x: Array, result: Array, k: Array, a: Array, lam: Array, rows: Array) -> None:
    """Write the forces of fields `(chains, rows, extent)`."""
    around = numpy.empty(x.shape[2])
    for chain in range(len(x)):
        for row in range(x.shape[1]):
            result[chain, row] = 0.0
            add_force(x[chain], row, 1.0, k[chain], a[chain], lam[chain], rows, around, result[chain, row])


@loop
def trajectories(
    x: Array,
    w: Array,
    old: Array,
    change: Array,
    moves: Array,
    kicks: Array,
    k: Array,
    a: Array,
    lam: Array,
    rows: Array,
) -> None:
    """Move fields and momenta `(chains, rows, extent)` by the drifts and kicks of every chain; `change` becomes S(x) - S(old)."""
    around, terms = numpy.empty(x.shape[2]), numpy.empty(x.shape[2])
    for chain in range(len(x)):
        phi, momentum, before = x[chain], w[chain], old[chain]
        for index in range(len(moves)):
            if index > 0:
                strength = -kicks[index - 1, chain]
                for row in range(x.shape[1]):
                    add_force(phi, row, strength, k[chain], a[chain], lam[chain], rows, around, momentum[row])
            step = moves[index, chain]
            for row in range(x.shape[1]):
                line, speed = phi[row], momentum[row]
                for site in range(len(line)):
                    line[site] += step * speed[site]
        terms[:] = 0.0
        for row in range(x.shape[1]):
            add_density(phi, row, 1.0, k[chain], a[chain], lam[chain], rows, around, terms)
            add_density(before, row, -1.0, k[chain], a[chain], lam[chain], rows, around, terms)
        change[chain] = numpy.sum(terms)


@loop
def add_force(
    x: Array, row: int, factor: float, k: float, a: float, lam: float, rows: Array, around: Array, total: Array
) -> None:
    """Add factor x F of a row's sites to `total`; `around` is a buffer for the sums over neighbours."""
    line, last = x[row], x.shape[1] - 1
    around[0] = line[last]
    for site in range(1, last + 1):
        around[site] = line[site - 1]
    for site in range(last):
        around[site] += line[site + 1]
    around[last] += line[0]
    for side in range(2):
        for axis in range(rows.shape[1]):
            other = x[rows[side, axis, row]]
            for site in range(last + 1):
                around[site] += other[site]
    for site in range(last + 1):
        phi = line[site]
        total[site] += factor * (phi * (2.0 * a + (4.0 * lam) * (phi * phi)) - (2.0 * k) * around[site])


@loop
def add_density(
    x: Array, row: int, factor: float, k: float, a: float, lam: float, rows: Array, ahead: Array, total: Array
) -> None:
    """Add factor x the action's terms at a row's sites to `total`; `ahead` is a buffer for the sums over next sites."""
    line, last = x[row], x.shape[1] - 1
    for site in range(last):
        ahead[site] = line[site + 1]
    ahead[last] = line[0]
    for axis in range(rows.shape[1]):
        other = x[rows[0, axis, row]]
        for site in range(last + 1):
            ahead[site] += other[site]
    for site in range(last + 1):
        phi = line[site]
        total[site] += factor * (phi * (phi * (a + lam * (phi * phi)) - (2.0 * k) * ahead[site]))
