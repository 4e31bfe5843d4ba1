"""Trivialising flows in continuous time: SU(N) links along the gradient of a sum of Wilson loops, in any dimension.

From b = 0, Haar links, to b = beta the links follow

    dU/db = -i T_a d_a psi_b(U) U,      psi_b = sum_i c_i(b) W_i,     c_i(b) = sum_k C_ki (b/beta_0)^k,

where W_i are the products of traced loops in Luescher's series up to an `order` (`flows.loops.algebra`). The density of the
links is e^{-b s - log Z_b}, s = S/beta, if

    -Laplacian psi_b + b d_a s d_a psi_b = s - <s>_b;

`flows.luescher` solves this as a series in b, which gives the initial coefficients, `flows.loop_fit` by least squares on
samples. The divergence -Laplacian psi is again a sum of the W_i, in closed form. The flow is integrated by Luescher's
Runge-Kutta scheme of third order, with b at (0, 1/4, 2/3) of a step, and log_det by its quadrature (1/4, 0, 3/4): it is the
log-determinant of the flow in continuous time to O(step^3), *not* that of the discrete map. `integrated = True` states this;
a check measures the order of the error and compares its size with the spread of log w. The inverse integrates back through
the same times, to the same order.

Sources: arXiv:0907.5491 (series, scheme of 1006.4518 appendix C); learnt loops, arXiv:2212.08469, 2410.13161.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.host_table import host_table
from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core.broadcasting import of_rank
from haarflow.core.groups.sun import SU
from haarflow.flows import link_rows
from haarflow.flows.flow import Model
from haarflow.flows.loops import algebra, equation, fields
from haarflow.flows.nets import coupling
from haarflow.flows.priors import HaarLinks

# low-storage form of the scheme: K <- A K + B Z, U <- exp(K) U, its nodes within a step, and the quadrature's weights
CARRY, GAIN, NODES, QUADRATURE = (0.0, -17 / 9, -1.0), (1 / 4, 8 / 9, 3 / 4), (0.0, 1 / 4, 2 / 3), (1 / 4, 0.0, 3 / 4)


@dataclass(frozen=True)
class LoopFlow:
    """The flow of SU(n) links in d dimensions from b = 0 to `beta` along loops up to an `order` of Luescher's series.

    Parameters {"coefficients": (degree + 1, products)} of the powers of b / beta, initially those of the series up to
    `degree`. A third axis gives each configuration of the batch separate coefficients (`flows.loop_newton`). `steps` is the
    number of steps, `rectangle` the action's c1. With condition = ("beta",) the flow ends at that coupling, which may be any
    up to about `beta`, with the same coefficients as functions of b. `chosen` lists the indices of the products in the tower
    that the flow keeps, all if it is empty. Raises ValueError for options out of range, and at first use for lattices
    around which a product winds.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> flow = LoopFlow(3, 2, order=1, beta=1.0, steps=2)
    >>> x = SU(3, 2).haar(random.key(0, backend), (5, 2, 3, 3, 2, 2))
    >>> y, log_det = flow.forward(flow.init(random.key(1, backend)), x)
    >>> y.shape, log_det.shape
    ((5, 2, 3, 3, 2, 2), (5,))
    """

    n: int
    d: int
    order: int = 2
    beta: float = 1.0
    steps: int = 8
    degree: int = 4
    rectangle: float = 0.0
    condition: tuple[str, ...] = ()
    chosen: tuple[int, ...] = ()

    symmetries = ("translation", "reflection", "hypercubic", "gauge", "charge_conjugation")
    integrated = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "condition", tuple(self.condition))
        if self.d < 2 or self.order < 1 or self.steps < 1 or self.degree < 0 or not (0 < self.beta < math.inf):
            raise ValueError(
                "a flow along loops has d >= 2, order >= 1, steps >= 1, degree >= 0 and a finite beta > 0, got "
                f"d = {self.d}, order = {self.order}, steps = {self.steps}, degree = {self.degree}, beta = {self.beta}"
            )
        if self.condition not in ((), ("beta",)):
            raise ValueError(f"a flow along loops is conditioned on nothing, (), or on ('beta',), got {self.condition}")
        object.__setattr__(self, "chosen", tuple(sorted(self.chosen)))
        if len(set(self.chosen)) < len(self.chosen) or min(self.chosen, default=0) < 0:
            raise ValueError(f"chosen products are distinct indices >= 0, got {self.chosen}")
        SU(self.n, self.d)

    @property
    def group(self) -> SU:
        """The group of the links."""
        return SU(self.n, self.d)

    @property
    def products(self) -> tuple[algebra.Product, ...]:
        """The products of loops, in the order of the coefficients."""
        return self.tower(self.places)

    @property
    def places(self) -> tuple[int, ...]:
        """The indices of the products in the tower."""
        return self.chosen or tuple(range(len(algebra.tower(self.n, self.d, self.order, self.rectangle))))

    def tower(self, places: tuple[int, ...]) -> tuple[algebra.Product, ...]:
        """Return the products of Luescher's series with some indices. Raises ValueError for an index that it lacks."""
        products = algebra.tower(self.n, self.d, self.order, self.rectangle)
        if max(places) >= len(products):
            raise ValueError(f"order {self.order} has {len(products)} products, got indices up to {max(places)}")
        return tuple(products[index] for index in places)

    def refined(self, factor: int) -> LoopFlow:
        """Return the same flow in `factor` times as many steps."""
        return dataclasses.replace(self, steps=factor * self.steps)

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the coefficients of Luescher's series up to the order."""
        series = equation.series(self.n, self.d, self.order, self.rectangle)[:, list(self.places)]
        start: numpy.ndarray = numpy.zeros((self.degree + 1, len(self.products)))
        for power in range(min(self.order, self.degree + 1)):
            start[power] = series[power] * self.beta**power
        return {"coefficients": backends.of(key).asarray(start, dtype=dtype)}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Flow from 0 to beta."""
        return self._run(params, x, condition, 1.0)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Flow from beta back to 0, to the order of the scheme."""
        return self._run(params, y, condition, -1.0)

    def _run(self, params: Params, links: Array, condition: Condition, sign: float) -> tuple[Array, Array]:
        """All stages of all steps as one scan over their times."""
        xp, backend, lattice = array_namespace(links), backends.of(links), tuple(links.shape[-self.d :])
        end, start = self._end(condition, links), link_rows.rows(links, self.d)
        coefficients, real = params["coefficients"], end.dtype
        coefficients = coefficients if coefficients.ndim == 3 else coefficients[:, :, None]
        stages = backend.asarray(stage_table(self.steps, sign > 0), dtype=real)
        size = (sign / self.steps) * end

        def stage(carry: tuple[Array, Array, Array], row: Array) -> tuple[tuple[Array, Array, Array], None]:
            rows, kick, log_det = carry
            time = row[2] * (end / self.beta)
            slope, laplacian = self._slope(coefficients, rows, time, lattice)
            kick = row[0] * kick - of_rank(row[1] * size, 3) * slope
            return (SU(self.n, 1).update(rows, kick), kick, log_det - row[3] * size * laplacian), None

        zero = xp.zeros((start.shape[0], self.n**2 - 1, start.shape[-1]), dtype=real, device=backends.place(links))
        first = (start, zero, xp.zeros_like(zero[0, 0, :]) + 0.0 * end)
        (moved, _, log_det), _ = backend.scan(backend.checkpoint(stage), first, stages)
        return link_rows.links_of(moved, tuple(links.shape), self.d), xp.reshape(log_det, links.shape[: -self.d - 3])

    def _slope(self, coefficients: Array, rows: Array, time: Array, lattice: tuple[int, ...]) -> tuple[Array, Array]:
        """d_a psi and Laplacian psi at b/beta_0 = `time`, `(batch or 1,)`."""
        xp = array_namespace(rows)
        table, places = divergence(self)
        plan = fields.plan(self.tower(places), lattice, len(self.places))
        time = time[None, :]
        c: Array = 0.0 * time
        for power in range(self.degree, -1, -1):
            c = c * time + coefficients[power, ...]
        store, loops = fields.traces(plan, rows, lattice)
        shares = xp.matmul(xp.permute_dims(backends.of(rows).asarray(table, dtype=c.dtype), (1, 0)), c)
        laplacian = xp.sum(shares[:-1, :] * fields.values(plan, loops), axis=0) + math.prod(lattice) * shares[-1, :]
        return fields.gradient(plan, store, loops, c, lattice), laplacian

    def _end(self, condition: Condition, links: Array) -> Array:
        """The coupling at the end of the flow, `(batch,)` or `(1,)`."""
        xp = array_namespace(links)
        one = xp.real(links[(..., *(0,) * (self.d + 3))])
        if not self.condition:
            return xp.reshape(0.0 * xp.reshape(one, (-1,))[0] + self.beta, (1,))
        return xp.reshape(0.0 * one + coupling(condition, "beta", one, 0), (-1,))


def loops(
    lattice: tuple[int, ...],
    n: int = 3,
    beta: float = 1.0,
    order: int = 2,
    steps: int = 8,
    degree: int = 6,
    rectangle: float = 0.0,
    condition: tuple[str, ...] = (),
) -> Model:
    """Return Haar links mapped by a `LoopFlow` to Wilson's action at `beta`.

    >>> loops((4, 4), n=2, beta=2.2).flow.steps
    8
    """
    flow = LoopFlow(n, len(lattice), order, beta, steps, degree, rectangle, tuple(condition))
    return Model(HaarLinks(tuple(lattice), n), flow)


@host_table
def divergence(flow: LoopFlow) -> tuple[numpy.ndarray, tuple[int, ...]]:
    """Return the Laplacians of a flow's products as coefficients of products and, last, of V; and these products' indices.

    The flow's products come first, then those that occur only in their Laplacians.

    >>> divergence(LoopFlow(3, 2, order=2, chosen=(1,)))[1]
    (1, 2)
    """
    table = equation.laplacians(flow.n, flow.d, flow.order, flow.rectangle)[list(flow.places)]
    kept = numpy.isin(numpy.arange(table.shape[1]), flow.places)
    further = numpy.nonzero(table[:, :-1].any(axis=0) & ~kept[:-1])[0]
    places = (*flow.places, *map(int, further))
    return table[:, [*places, -1]], places


@host_table
def stage_table(steps: int, forward: bool) -> numpy.ndarray:
    """Return for each stage (A, B, b/end, weight of the divergence).

    >>> stage_table(1, True)[:, 2].round(3).tolist(), stage_table(1, False)[:, 2].round(3).tolist()
    ([0.0, 0.25, 0.667], [1.0, 0.75, 0.333])
    """
    times = (numpy.arange(steps)[:, None] + numpy.asarray(NODES)).reshape(-1) / steps
    rest = (numpy.tile(part, steps) for part in (CARRY, GAIN))
    return numpy.stack([*rest, times if forward else 1.0 - times, numpy.tile(QUADRATURE, steps)], axis=1)
