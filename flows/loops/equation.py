"""Luescher's equation for trivialising flows, -Laplacian psi_b + b d_a s d_a psi_b = s - <s>_b, in the algebra of Wilson loops.

`series` solves it in powers of b, psi_b = psi_1 + b psi_2 + ..., order by order and exactly:

    -Laplacian psi_1 = s,      -Laplacian psi_(k+1) = -d_a s d_a psi_k      (up to constants).

Source: arXiv:0907.5491, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from haarflow.backends.host_table import host_table
from haarflow.flows.loops import algebra
from haarflow.flows.loops.algebra import Product, Sum


@host_table
def series(n: int, d: int, order: int, rectangle: float = 0.0) -> numpy.ndarray:
    """Return the coefficients `(order, products)` of b^0, b^1, ... in psi_b.

    The leading order is psi_1 = s / 4 C_F; next come rectangles, bent rectangles, double plaquettes and their products.

    >>> series(3, 4, 1).round(6).tolist(), 6 / (4 * 4 / 3)
    ([[-1.125]], 1.125)
    """
    products, action = algebra.tower(n, d, order, rectangle), algebra.wilson(d, rectangle)
    table, source = laplacians(n, d, order, rectangle)[:, :-1], action
    equations = numpy.concatenate([-table.T, _harmonic(table).T], axis=1)
    psi: list[numpy.ndarray] = []
    for _ in range(order):
        if psi:
            drift = _drift(tuple(products), psi[-1], n, action)
            source = {loops: -weight for loops, weight in drift.items() if loops in products}
        right = _row(source, products)
        psi.append(numpy.linalg.lstsq(equations, right, rcond=1e-10)[0][: len(products)])
    return numpy.stack(psi)


@host_table
def laplacians(n: int, d: int, order: int, rectangle: float = 0.0) -> numpy.ndarray:
    """Return L with Laplacian W_i = sum_j L_ij W_j + L_i V, for the products of `loop_algebra.tower`, L_i the last column.

    >>> laplacians(2, 3, 1).tolist()
    [[-3.0, 0.0]]
    """
    names = (*algebra.tower(n, d, order, rectangle), ())
    return numpy.stack([_row(algebra.laplacian(loops, n), names) for loops in names[:-1]])


def _harmonic(table: numpy.ndarray) -> numpy.ndarray:
    """Combinations with vanishing Laplacian: they are constant, such as (tr P)^2 - tr P^2 = 2 for SU(2)."""
    left, sizes, _ = numpy.linalg.svd(table)
    return left[:, sizes < 1e-10 * sizes[0]].T


def _drift(products: tuple[Product, ...], coefficients: numpy.ndarray, n: int, action: Sum) -> Sum:
    """d_a s d_a psi, without terms that vanish up to rounding."""
    coefficients = numpy.where(abs(coefficients) > 1e-12 * abs(coefficients).max(), coefficients, 0.0)
    parts = zip(coefficients, products, strict=True)
    return algebra.combined((c, algebra.gradients(loops, action, n)) for c, loops in parts if c)


def _row(terms: Sum, names: Sequence[Product]) -> numpy.ndarray:
    """The coefficients of a sum in a list of products; a constant is dropped unless () is in the list."""
    index = {loops: k for k, loops in enumerate(names)}
    row: numpy.ndarray = numpy.zeros(len(names))
    for loops, weight in terms.items():
        if loops or loops in index:
            row[index[loops]] += weight
    return row
