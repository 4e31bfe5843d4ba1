"""Luescher's equation for trivialising flows, -Laplacian psi_b + b d_a s d_a psi_b = s - <s>_b, in the algebra of Wilson loops.

`series` solves it in powers of b, psi_b = psi_1 + b psi_2 + ..., order by order and exactly:

    -Laplacian psi_1 = s,      -Laplacian psi_(k+1) = -d_a s d_a psi_k      (up to constants).

`least_squares` takes psi_b = sum_i c_i(b) W_i from samples of e^{-b s}: what is left, r_b = sum_i c_i (-Laplacian W_i +
b d_a s d_a W_i) - s, is linear in c and vanishes, up to a constant, for the exact flow; d log w/db = -r_b along the flow, so
that Var log w <= (int db sigma(r_b))^2. No gradients, no flow is run: all terms are values of loops.

Sources: arXiv:0907.5491, sections 3 and 4.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy

from haarflow import backends
from haarflow.backends.host_table import host_table
from haarflow.flows import loop_algebra, loop_fields
from haarflow.flows.loop_algebra import Product, Sum

Array = Any

MEMORY = 1.5e8  # bytes
RIDGE = 1e-4  # of the columns' spread: keeps the fit finite where loops depend on each other (SU(2), SU(3))


class Fit(NamedTuple):
    """Coefficients `(degree + 1, products)` of (b/beta)^k, the couplings, and sigma^2(r_b) per site at each of them."""

    coefficients: numpy.ndarray
    couplings: numpy.ndarray
    residuals: numpy.ndarray


@host_table
def series(n: int, d: int, order: int, rectangle: float = 0.0) -> numpy.ndarray:
    """Return the coefficients `(order, products)` of b^0, b^1, ... in psi_b.

    Leading order is psi_1 = s / 4 C_F, next to leading are rectangles, bent ones, double plaquettes and their products.

    >>> series(3, 4, 1).round(6).tolist(), 6 / (4 * 4 / 3)
    ([[-1.125]], 1.125)
    """
    products, action = loop_algebra.tower(n, d, order, rectangle), loop_algebra.wilson(d, rectangle)
    table, source, found = laplacians(n, d, order, rectangle)[:, :-1], action, []
    equations = numpy.concatenate([-table.T, _harmonic(table).T], axis=1)
    for _ in range(order):
        wanted = _row(source, products)
        found.append(numpy.linalg.lstsq(equations, wanted, rcond=1e-10)[0][: len(products)])
        source = _drift(tuple(products), found[-1], n, action)
        source = {loops: -weight for loops, weight in source.items() if loops in products}
    return numpy.stack(found)


@host_table
def laplacians(n: int, d: int, order: int, rectangle: float = 0.0) -> numpy.ndarray:
    """Return L with Laplacian W_i = sum_j L_ij W_j + L_i V, for the products of `loop_algebra.tower`, L_i the last column.

    >>> laplacians(2, 3, 1).tolist()
    [[-3.0, 0.0]]
    """
    names = (*loop_algebra.tower(n, d, order, rectangle), ())
    return numpy.stack([_row(loop_algebra.laplacian(loops, n), names) for loops in names[:-1]])


def extent(flow: Any) -> int:
    """Return the smallest even extent of a lattice on which a flow can be fitted: what holds all loops of the equation.

    >>> from haarflow.flows.loop_flow import LoopFlow
    >>> [extent(LoopFlow(3, 2, order=order)) for order in (1, 2, 3)]
    [4, 4, 6]
    """
    wide = loop_algebra.span(_terms(flow.n, flow.d, flow.order, flow.rectangle)[1]) + 1
    return wide + wide % 2


def least_squares(flow: Any, samples: Sequence[tuple[float, Array]]) -> Fit:
    """Return the coefficients of a `LoopFlow` that fit Luescher's equation best on samples of e^{-b s} at couplings b.

    `samples`: pairs of b and links `(m, d, N, N, *lattice)`; b = 0, Haar links, anchors the series. The samples' lattice
    may be small, coefficients belong to all volumes. Raises ValueError for fewer couplings than powers.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.loop_flow import LoopFlow
    >>> from haarflow.flows.priors import HaarLinks
    >>> flow = LoopFlow(2, 2, order=1, degree=0)
    >>> fit = least_squares(flow, [(0.0, HaarLinks((4, 4), 2).sample(random.key(0, backend), 20))])
    >>> fit.coefficients.round(6).tolist(), 1 / (4 * 3 / 4)
    ([[-0.333333]], 0.3333333333333333)
    """
    if len({float(b) for b, _ in samples}) <= flow.degree:
        raise ValueError(f"{flow.degree + 1} powers of b want samples at as many couplings, got {len(samples)}")
    designs, targets = zip(*(_equations(flow, float(b), links) for b, links in samples), strict=True)
    couplings = numpy.asarray([float(b) for b, _ in samples])
    powers = [(b / flow.beta) ** numpy.arange(flow.degree + 1) for b in couplings]
    design = numpy.concatenate(
        [(power[:, None] * m[:, None, :]).reshape(len(m), -1) for power, m in zip(powers, designs, strict=True)]
    )
    scale = numpy.sqrt(numpy.mean(design**2, axis=0)) + 1e-300
    ridge = RIDGE * numpy.sqrt(len(design)) * numpy.eye(len(scale))
    known = numpy.concatenate([*targets, numpy.zeros(len(scale))])
    fitted = numpy.linalg.lstsq(numpy.concatenate([design / scale, ridge]), known, rcond=None)[0] / scale
    numbers = fitted.reshape(flow.degree + 1, -1)
    volumes = [float(numpy.prod(links.shape[-flow.d :])) for _, links in samples]
    left = [
        numpy.var(s - m @ (power @ numbers)) / volume
        for power, m, s, volume in zip(powers, designs, targets, volumes, strict=True)
    ]
    return Fit(numbers, couplings, numpy.asarray(left))


def _equations(flow: Any, b: float, links: Array) -> tuple[numpy.ndarray, numpy.ndarray]:
    """-Laplacian W_i + b d_a s d_a W_i `(m, products)` and s `(m,)` on samples, both less their means."""
    terms, names = _terms(flow.n, flow.d, flow.order, flow.rectangle)
    measured = _measured(names, links, flow.d)
    laplacians, drifts, action = terms
    design, target = measured @ (b * drifts - laplacians).T, measured @ action
    return design - design.mean(axis=0), target - target.mean()


def _harmonic(table: numpy.ndarray) -> numpy.ndarray:
    """Rows of numbers whose Laplacian vanishes: constants in disguise, such as (tr P)^2 - tr P^2 = 2 of SU(2)."""
    left, sizes, _ = numpy.linalg.svd(table)
    return left[:, sizes < 1e-10 * sizes[0]].T


def _measured(names: tuple[Product, ...], links: Array, d: int) -> numpy.ndarray:
    """The products' values `(m, products)`, on the host (to compile the program takes longer than to run it).

    All paths of a configuration stand in memory: as many configurations at a time as fit in MEMORY.
    """
    host, lattice = numpy.asarray(backends.of(links).to_numpy(links)), tuple(links.shape[-d:])
    plan = loop_fields.plan(names, lattice, slopes=False)
    paths = 2 * d + sum(len(left) for left, _ in plan.levels)
    chunk = max(1, int(MEMORY / (paths * host[0].nbytes / d)))

    def values(part: numpy.ndarray) -> numpy.ndarray:
        return loop_fields.values(plan, loop_fields.traces(plan, loop_fields.rows(part, d), lattice)[1])

    return numpy.concatenate([values(host[k : k + chunk]).astype("float64").T for k in range(0, len(host), chunk)])


@lru_cache(maxsize=16)
def _terms(n: int, d: int, order: int, rectangle: float) -> tuple[tuple[numpy.ndarray, ...], tuple[Product, ...]]:
    """The Laplacians, the drifts d_a s d_a W_i and s as rows of numbers of all the products that appear in them."""
    products, action = loop_algebra.tower(n, d, order, rectangle), loop_algebra.wilson(d, rectangle)
    bends = [loop_algebra.laplacian(loops, n) for loops in products]
    drifts = [loop_algebra.gradients(loops, action, n) for loops in products]
    names = tuple(loops for loops in dict.fromkeys(itertools.chain(action, *bends, *drifts)) if loops)
    tables = (numpy.stack([_row(part, names) for part in parts]) for parts in (bends, drifts))
    return (*tables, _row(action, names)), names


def _drift(products: tuple[Product, ...], numbers: numpy.ndarray, n: int, action: Sum) -> Sum:
    """d_a s d_a psi."""
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
