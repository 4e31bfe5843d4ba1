"""Luescher's equation for trivialising flows, -Laplacian psi_b + b d_a s d_a psi_b = s - <s>_b, in the algebra of Wilson loops.

`series` solves it in powers of b, psi_b = psi_1 + b psi_2 + ..., order by order and exactly:

    -Laplacian psi_1 = s,      -Laplacian psi_(k+1) = -d_a s d_a psi_k      (up to constants).

Source: arXiv:0907.5491, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from haarflow.backends.host_table import host_table
from haarflow.flows import loop_algebra
from haarflow.flows.loop_algebra import Product, Sum


@host_table
def series(n: int, d: int, order: int, rectangle: float = 0.0) -> numpy.ndarray:
    """Return the coefficients `(order, products)` of b^0, b^1, ... in psi_b.

    Leading order is psi_1 = s / 4 C_F, next to leading are rectangles, bent ones, double plaquettes and their products.

    >>> series(3, 4, 1).round(6).tolist(), 6 / (4 * 4 / 3)
    ([[-1.125]], 1.125)
    """
    products, action = loop_algebra.tower(n, d, order, rectangle), loop_algebra.wilson(d, rectangle)
    table, source = laplacians(n, d, order, rectangle)[:, :-1], action
    equations = numpy.concatenate([-table.T, _harmonic(table).T], axis=1)
    found: list[numpy.ndarray] = []
    for _ in range(order):
        if found:
            drift = _drift(tuple(products), found[-1], n, action)
            source = {loops: -weight for loops, weight in drift.items() if loops in products}
        wanted = _row(source, products)
        found.append(numpy.linalg.lstsq(equations, wanted, rcond=1e-10)[0][: len(products)])
    return numpy.stack(found)


@host_table
def laplacians(n: int, d: int, order: int, rectangle: float = 0.0) -> numpy.ndarray:
    """Return L with Laplacian W_i = sum_j L_ij W_j + L_i V, for the products of `loop_algebra.tower`, L_i the last column.

    >>> laplacians(2, 3, 1).tolist()
    [[-3.0, 0.0]]
    """
    names = (*loop_algebra.tower(n, d, order, rectangle), ())
    return numpy.stack([_row(loop_algebra.laplacian(loops, n), names) for loops in names[:-1]])


def _harmonic(table: numpy.ndarray) -> numpy.ndarray:
    """Rows of numbers whose Laplacian vanishes: constants in disguise, such as (tr P)^2 - tr P^2 = 2 of SU(2)."""
    left, sizes, _ = numpy.linalg.svd(table)
    return left[:, sizes < 1e-10 * sizes[0]].T


def _drift(products: tuple[Product, ...], numbers: numpy.ndarray, n: int, action: Sum) -> Sum:
    """d_a s d_a psi, rounding apart."""
    numbers = numpy.where(abs(numbers) > 1e-12 * abs(numbers).max(), numbers, 0.0)
    parts = zip(numbers, products, strict=True)
    return loop_algebra.combined((c, loop_algebra.gradients(loops, action, n)) for c, loops in parts if c)


def _row(terms: Sum, names: Sequence[Product]) -> numpy.ndarray:
    """A sum as numbers of the named products; a constant that has no name is left out."""
    places = {loops: place for place, loops in enumerate(names)}
    found = numpy.zeros(len(names))
    for loops, weight in terms.items():
        if loops or loops in places:
            found[places[loops]] += weight
    return found
