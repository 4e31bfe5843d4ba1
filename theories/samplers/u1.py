"""Exact, independent configurations of U(1) on the two-dimensional torus, without a Markov chain and without a flow.

In normalised Haar measure the weight e^{beta sum cos P} makes the V plaquettes independent von Mises angles under the
single constraint sum P = 0 (mod 2 pi). So: draw V - 1 of them, let the last one satisfy the constraint, and accept with
probability e^{beta (cos P_V - 1)}, on average e^{-beta} I_0(beta), about (2 pi beta)^{-1/2}. Then construct links with
these plaquettes, two uniform holonomies, and a uniform gauge transformation.

A von Mises angle is drawn by rejection from a staircase of strips of equal area above e^{beta cos x}, x in [0, pi]: a
uniform point of a strip is accepted if it lies under the curve. The number of tries is fixed. A candidate with a failed
angle is rejected as a whole, and accepted ones are taken in the order of drawing, so they are exact; a configuration for
which no candidate is left is NaN and marked, never a rejected candidate (probability below 1e-8 per group of draws).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Couplings, Theory
from haarflow.core import random
from haarflow.core.groups.additive import U1, wrap
from haarflow.core.lattice import loops
from haarflow.core.lattice.geometry import volume
from haarflow.theories.exact import bessel
from haarflow.theories.gauge.links import single_beta
from haarflow.theories.gauge.u1 import U1Gauge
from haarflow.theories.replaced import weight_of

STRIPS = 256
BLOCK = 2**20  # angles in memory at a time


class ExactDraw(NamedTuple):
    """Links `(n, 2, T, X)` and `(n,)` which of them were accepted; the others are NaN."""

    field: Array
    accepted: Array


class Plan(NamedTuple):
    """Draws of a group, its candidates and their tries, and the mean acceptance of a candidate."""

    group: int
    candidates: int
    tries: int
    acceptance: float


def exact_sample(theory: Theory, key: Array, n: int, couplings: Couplings = None, dtype: str = "float64") -> ExactDraw:
    """Return `n` independent configurations of two-dimensional U(1), distributed as e^{-S}/Z exactly.

    `theory` is a `U1Gauge` with two axes, beta a number (not an array). Raises ValueError for another dimension, n < 1,
    and couplings that the theory refuses; TypeError for a beta that is an array.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.theories import U1Gauge
    >>> draw = exact_sample(U1Gauge((4, 4)), random.key(0, backend), 3, {"beta": 2.0})
    >>> draw.field.shape, draw.accepted.tolist()
    ((3, 2, 4, 4), [True, True, True])
    """
    beta = single_beta(theory, couplings)
    lattice = tuple(theory.lattice)
    if not isinstance(weight_of(theory), U1Gauge):
        raise ValueError(f"exact sampling of U(1) needs Wilson's action, the theory U1Gauge, got {theory}")
    if len(lattice) != 2 or n < 1:
        raise ValueError(f"exact sampling of U(1) needs two dimensions and n >= 1, got lattice {lattice}, n = {n}")
    plan = plan_for(beta, volume(lattice), n)
    groups = -(-n // plan.group)

    def draw(carry: Array, key: Array) -> tuple[Array, tuple[Array, Array]]:
        keys = random.split(key, 2)
        plaquettes, accepted = closed_plaquettes(keys[0, :], beta, volume(lattice), plan, dtype)
        flux = array_namespace(plaquettes).reshape(plaquettes, (plan.group, *lattice))
        return carry, (random_links(keys[1, :], flux), accepted)

    _, (field, accepted) = backends.of(key).scan(draw, key, random.split(key, groups))
    xp = array_namespace(field)
    field = xp.reshape(field, (-1, 2, *lattice))[:n, ...]
    accepted = xp.reshape(accepted, (-1,))[:n]
    return ExactDraw(xp.where(accepted[:, None, None, None], field, math.nan * xp.ones_like(field)), accepted)


def closed_plaquettes(key: Array, beta: float, sites: int, plan: Plan, dtype: str) -> tuple[Array, Array]:
    """Return plaquettes `(plan.group, sites)` that sum to 0 (mod 2 pi), and which rows were accepted."""
    keys = random.split(key, 2)
    free, good = von_mises(keys[0, :], beta, (plan.candidates, sites - 1), plan.tries, dtype)
    xp = array_namespace(free)
    last = wrap(-xp.sum(free, axis=-1))
    coin = xp.log(random.uniform(keys[1, :], (plan.candidates,), dtype))
    good = xp.all(good, axis=-1) & (coin < beta * (xp.cos(last) - 1))
    first = xp.argsort(xp.astype(~good, xp.int32))[: plan.group]  # stable: accepted candidates in the order of drawing
    return xp.take(xp.concat([free, last[:, None]], axis=-1), first, axis=0), xp.take(good, first)


def von_mises(key: Array, beta: float, shape: tuple[int, ...], tries: int, dtype: str) -> tuple[Array, Array]:
    """Return angles `shape` with the density e^{beta cos x} / 2 pi I_0(beta), and whether one of the tries was accepted."""
    u = random.uniform(key, (2, tries, *shape), dtype)
    backend, xp = backends.of(u), array_namespace(u)
    position, coin = 2 * STRIPS * u[0, ...], u[1, ...]
    strip = xp.floor(position)
    edges = backend.asarray(numpy.asarray(strips(beta)[0]), dtype=position.dtype)
    index = xp.reshape(xp.astype(strip, xp.int32) % STRIPS, (-1,))
    left, right = (xp.reshape(xp.take(edge, index), position.shape) for edge in (edges[:-1], edges[1:]))
    x = left + (position - strip) * (right - left)
    under = (x < math.pi) & (xp.log(coin) < beta * (xp.cos(x) - xp.cos(left)))
    x = xp.where(strip < STRIPS, x, -x)
    angle = x[0, ...]
    for attempt in range(1, tries):
        angle = xp.where(xp.any(under[:attempt, ...], axis=0), angle, x[attempt, ...])
    return angle, xp.any(under, axis=0)


@lru_cache(maxsize=32)
def strips(beta: float) -> tuple[tuple[float, ...], float]:
    """Return the edges of STRIPS strips of equal area over e^{beta (cos x - 1)} on [0, pi], and the share of their area under the curve.

    >>> edges, share = strips(7.0)
    >>> len(edges), edges[-1] >= math.pi, share > 0.97
    (257, True, True)
    """

    def edges_of(area: float) -> list[float]:
        edges = [0.0]
        for _ in range(STRIPS):
            fall = beta * (math.cos(edges[-1]) - 1) if edges[-1] < math.pi else 0.0
            edges.append(edges[-1] + area * math.exp(min(-fall, 700.0)))
        return edges

    low, high = 0.0, math.pi / STRIPS * (1 + 1e-9)  # enough at beta = 0 despite rounding
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if edges_of(middle)[-1] >= math.pi else (middle, high)
    under = math.pi * math.exp(bessel.log_i0(beta) - beta)
    return tuple(edges_of(high)), under / (STRIPS * high)


def plan_for(beta: float, sites: int, n: int) -> Plan:
    """Return group size and candidates such that a group has too few accepted ones with a probability below 1e-8.

    The number of accepted candidates is binomial; its mean is set to group + 6 sqrt(group) + 19.

    >>> round(plan_for(0.0, 16, 4).acceptance, 9)
    1.0
    """
    share = strips(beta)[1]
    tries = 1
    while sites * (1 - share) ** tries > 0.02:
        tries += 1
    acceptance = math.exp(bessel.log_i0(beta) - beta) * (1 - (1 - share) ** tries) ** (sites - 1)
    largest = max(1, int(acceptance * BLOCK / (2 * tries * sites)))
    groups = -(-n // min(n, largest))
    group = -(-n // groups)
    candidates = math.ceil((group + 6 * math.sqrt(group) + 19) / acceptance)
    return Plan(group, candidates, tries, acceptance)


def random_links(key: Array, plaquettes: Array) -> Array:
    """Return links `(n, 2, T, X)` that have the plaquettes `(n, T, X)`, whose sum is 0 (mod 2 pi), and are otherwise uniform.

    Maximal gauge first: theta_1 from the sums of P in time, theta_0 in the last row from those of whole columns.
    """
    xp = array_namespace(plaquettes)
    n, times, spaces = plaquettes.shape
    row = -_sums_before(xp.sum(plaquettes, axis=-2), axis=-1)
    still = xp.zeros_like(plaquettes[:, 1:, :])
    links = xp.stack([xp.concat([still, row[:, None, :]], axis=1), _sums_before(plaquettes, axis=-2)], axis=1)
    angles = U1().haar(key, (n, 2 + times * spaces), plaquettes.dtype)
    turn, sites = angles[:, :2], xp.reshape(angles[:, 2:], (n, times, spaces))
    seam = numpy.zeros((2, times, spaces))
    seam[0, -1, :] = seam[1, :, -1] = 1
    links = links + turn[:, :, None, None] * backends.of(plaquettes).asarray(seam, dtype=plaquettes.dtype)
    return wrap(loops.gauge_transform(links, sites, 2))


def _sums_before(x: Array, axis: int) -> Array:
    """Exclusive cumulative sums."""
    return array_namespace(x).cumulative_sum(x, axis=axis) - x
