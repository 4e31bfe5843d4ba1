"""Fits of flows along Wilson loops to Luescher's equation, by linear least squares on samples.

The residual of the equation (flows/loops/equation.py), r_b = sum_i c_i (-Laplacian W_i + b d_a s d_a W_i) - s for psi_b = sum_i c_i(b)
W_i, is linear in c and constant for the exact flow; d log w/db = -r_b along the flow, so that Var log w <= (int db
sigma(r_b))^2. The flow is not integrated: all terms are values of loops and their derivatives along the action's gradient. To
keep only a few products they are chosen one by one, each such that with all its powers it reduces the residual most
(orthogonal matching pursuit by groups).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.flows.links import layout
from haarflow.flows.loops import algebra, fields, tangents
from haarflow.flows.loops.flow import LoopFlow, divergence

MEMORY = 3e7  # bytes
RIDGE = 1e-4  # relative to the columns' spread: keeps the fit finite where loops are linearly dependent (SU(2), SU(3))


class Fit(NamedTuple):
    """The flow, its coefficients `(degree + 1, products)` of (b/beta)^k, the couplings, and sigma^2(r_b) per site at each."""

    flow: LoopFlow
    coefficients: numpy.ndarray
    couplings: numpy.ndarray
    residuals: numpy.ndarray


def extent(flow: LoopFlow) -> int:
    """Return the smallest even extent of a lattice on which a flow can be fitted: no loop of d_a s d_a W_i winds around it.

    >>> from haarflow.flows.loops.flow import LoopFlow
    >>> [extent(LoopFlow(3, 2, order=order)) for order in (1, 2, 3)]
    [4, 4, 6]
    """
    action = tuple(algebra.wilson(flow.d, flow.rectangle))
    wide = algebra.span(flow.products) + algebra.span(action) + 1
    return wide + wide % 2


def least_squares(flow: LoopFlow, samples: Sequence[tuple[float, Array]], products: int = 0) -> Fit:
    """Return the coefficients of a `LoopFlow` that fit Luescher's equation best on samples of e^{-b s} at couplings b.

    `samples`: pairs of b and links `(m, d, N, N, *lattice)`; b = 0, Haar links, fixes the beginning of the series. The
    samples' lattice may be small, as the coefficients do not depend on the volume. With `products` > 0 the flow keeps only
    that number of its products, see `Fit.flow`. Raises ValueError for fewer couplings than powers.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.loops.flow import LoopFlow
    >>> from haarflow.flows.priors import HaarLinks
    >>> flow = LoopFlow(2, 2, order=1, degree=0)
    >>> fit = least_squares(flow, [(0.0, HaarLinks((4, 4), 2).sample(random.key(0, backend), 20))])
    >>> fit.coefficients.round(6).tolist(), 1 / (4 * 3 / 4)
    ([[-0.333333]], 0.3333333333333333)
    """
    if len({float(b) for b, _ in samples}) <= flow.degree:
        raise ValueError(f"{flow.degree + 1} powers of b need samples at as many couplings, got {len(samples)}")
    designs, targets = zip(*(_equations(flow, float(b), links) for b, links in samples), strict=True)
    couplings = numpy.asarray([float(b) for b, _ in samples])
    powers = [(b / flow.beta) ** numpy.arange(flow.degree + 1) for b in couplings]
    design = numpy.concatenate([power[:, None] * m[:, None, :] for power, m in zip(powers, designs, strict=True)])
    target = numpy.concatenate(targets)
    if 0 < products < len(flow.products):
        kept = _kept(design, target, products)
        flow = dataclasses.replace(flow, chosen=tuple(flow.places[k] for k in kept))
        design, designs = design[:, :, kept], [m[:, kept] for m in designs]
    coefficients = _solved(design, target)
    volumes = [float(numpy.prod(links.shape[-flow.d :])) for _, links in samples]
    residuals = [
        numpy.var(s - m @ (power @ coefficients)) / volume
        for power, m, s, volume in zip(powers, designs, targets, volumes, strict=True)
    ]
    return Fit(flow, coefficients, couplings, numpy.asarray(residuals))


def _solved(design: numpy.ndarray, target: numpy.ndarray) -> numpy.ndarray:
    """The coefficients `(powers, products)` of a design `(m, powers, products)`."""
    columns = design.reshape(len(design), -1)
    scale = _scale(columns)
    ridge = RIDGE * numpy.sqrt(len(columns)) * numpy.eye(len(scale))
    known = numpy.concatenate([target, numpy.zeros(len(scale))])
    fitted = numpy.linalg.lstsq(numpy.concatenate([columns / scale, ridge]), known, rcond=None)[0] / scale
    coefficients: numpy.ndarray = fitted.reshape(design.shape[1:])
    return coefficients


def _kept(design: numpy.ndarray, target: numpy.ndarray, count: int) -> list[int]:
    """The indices of `count` products, chosen one by one, each with all its powers."""
    columns = design.reshape(len(design), -1)
    columns = columns / _scale(columns)
    gram = columns.T @ columns + RIDGE**2 * len(columns) * numpy.eye(columns.shape[1])
    known, columns_of = columns.T @ target, numpy.arange(columns.shape[1]).reshape(design.shape[1:])

    def explained(kept: list[int]) -> float:
        some = columns_of[:, kept].reshape(-1)
        return float(known[some] @ numpy.linalg.solve(gram[numpy.ix_(some, some)], known[some]))

    chosen: list[int] = []
    for _ in range(count):
        rest = [index for index in range(design.shape[2]) if index not in chosen]
        chosen.append(max(rest, key=lambda index: explained([*chosen, index])))
    return sorted(chosen)


def _scale(columns: numpy.ndarray) -> numpy.ndarray:
    scale: numpy.ndarray = numpy.sqrt(numpy.mean(columns**2, axis=0)) + 1e-300
    return scale


def _equations(flow: LoopFlow, b: float, links: Array) -> tuple[numpy.ndarray, numpy.ndarray]:
    """-Laplacian W_i + b d_a s d_a W_i `(m, products)` and s `(m,)` on samples, with their means subtracted.

    All paths of a configuration are kept in memory, so that as many configurations are treated at a time as fit in MEMORY;
    on the host, since compilation would take longer than the computation.
    """
    host, lattice = numpy.asarray(backends.of(links).to_numpy(links)), tuple(links.shape[-flow.d :])
    laplacians, places = divergence(flow)
    plan = fields.plan(flow.tower(places), lattice, moving=0)
    terms = algebra.wilson(flow.d, flow.rectangle)
    action, weights = fields.plan(tuple(terms), lattice), numpy.asarray(list(terms.values()))[:, None]
    paths = 4 * flow.d + 2 * sum(len(left) for left, _ in plan.levels)
    chunk = max(1, int(MEMORY / (paths * host[0].nbytes / flow.d)))

    def measured(part: numpy.ndarray) -> numpy.ndarray:
        rows = layout.rows(part, flow.d)
        store, loops = fields.traces(action, rows, lattice)
        force = fields.gradient(action, store, loops, weights, lattice)
        values, slopes = tangents.along(plan, rows, force, lattice)
        design = b * slopes[: len(flow.places)] - laplacians[:, :-1] @ values
        return numpy.concatenate([design, weights.T @ fields.values(action, loops)]).astype("float64").T

    rows = numpy.concatenate([measured(host[k : k + chunk]) for k in range(0, len(host), chunk)])
    rows = rows - rows.mean(axis=0)
    return rows[:, :-1], rows[:, -1]
