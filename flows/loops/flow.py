"""Trivialising flows: SU(N) links along the gradient of a sum of Wilson loops, in any dimension.

From b = 0, Haar links, to b = beta the links follow

    dU/db = -i T_a d_a psi_b(U) U,      psi_b = sum_i c_i(b) W_i,     c_i(b) = sum_k C_ki (b/beta_0)^k,

where W_i are the products of traced loops in Luescher's series up to an `order` (flows/loops/algebra.py). In continuous time
the density of the links is e^{-b s - log Z_b}, s = S/beta, if

    -Laplacian psi_b + b d_a s d_a psi_b = s - <s>_b;

flows/loops/equation.py solves this as a series in b, which gives the initial coefficients, flows/loops/fit.py by least squares
on samples. The flow takes finite steps, in one of two schemes:

    masked       links that do not influence one another move together (flows/loops/masked.py): a map of its own, with exact
                 log-determinant and exact inverse, whatever the coefficients and the steps are;
    continuous   Runge-Kutta (flows/loops/continuous.py): log_det is that of continuous time, wrong by O(step^3), which
                 `integrated = True` states and flows/loops/integration.py measures.

Sources: arXiv:0907.5491 (series); learnt loops, arXiv:2212.08469, 2410.13161.
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
from haarflow.core.groups.sun import SU
from haarflow.flows.flow import Model
from haarflow.flows.links import layout
from haarflow.flows.loops import algebra, continuous, equation, masked
from haarflow.flows.nets import coupling
from haarflow.flows.priors import HaarLinks

SCHEMES = ("masked", "continuous")
SYMMETRIES = ("translation", "reflection", "hypercubic", "gauge", "charge_conjugation")


@dataclass(frozen=True)
class LoopFlow:
    """The flow of SU(n) links in d dimensions from b = 0 to `beta` along loops up to an `order` of Luescher's series.

    Parameters {"coefficients": (degree + 1, products)} of the powers of b / beta, initially those of the series up to
    `degree`. A third axis gives each configuration of the batch separate coefficients (flows/loops/newton.py). `steps` is the
    number of steps, `rectangle` the action's c1. With condition = ("beta",) the flow ends at that coupling, which may be any
    up to about `beta`, with the same coefficients as functions of b. `chosen` lists the indices of the products in the tower
    that the flow keeps, all if it is empty. `scheme` is "masked" or "continuous"; masks order the sites, so that only the
    continuous form has the symmetries of the lattice. `lines` are couplings a_mu of straight lines around each axis,
    -sum_mu a_mu sum_L Re tr L in the action at `beta`, in the masked form: the gradient follows them with coefficients
    {"lines": (d,)}, at first a_mu, times those of leading order. Raises ValueError for options out of range, and in the continuous form
    at first use for lattices around which a product winds.

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
    steps: int = 2
    degree: int = 4
    rectangle: float = 0.0
    condition: tuple[str, ...] = ()
    chosen: tuple[int, ...] = ()
    scheme: str = "masked"
    lines: tuple[float, ...] = ()

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
        object.__setattr__(self, "lines", tuple(map(float, self.lines)))
        if self.lines and (len(self.lines) != self.d or self.integrated or not all(map(math.isfinite, self.lines))):
            raise ValueError(
                f"the couplings of lines are one finite number for each of the {self.d} axes, in the masked scheme, got "
                f"{self.lines} in the {self.scheme} one"
            )
        if self.scheme not in SCHEMES:
            raise ValueError(f"the scheme of a flow along loops is one of {', '.join(SCHEMES)}, got {self.scheme!r}")
        SU(self.n, self.d)

    @property
    def integrated(self) -> bool:
        """Whether log_det is that of continuous time, up to an error of integration."""
        return self.scheme == "continuous"

    @property
    def symmetries(self) -> tuple[str, ...]:
        """The symmetries of the map: of the lattice only in continuous time."""
        return SYMMETRIES if self.integrated else ("gauge", "charge_conjugation")

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
        lines = {"lines": backends.of(key).asarray(self.lines, dtype=dtype)} if self.lines else {}
        return {"coefficients": backends.of(key).asarray(start, dtype=dtype)} | lines

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Flow from 0 to beta."""
        return self._run(params, x, condition, True)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Flow from beta back to 0: the inverse of `forward`, in the continuous form to the order of the scheme."""
        return self._run(params, y, condition, False)

    def _run(self, params: Params, links: Array, condition: Condition, forward: bool) -> tuple[Array, Array]:
        """All steps of the scheme, on links as rows."""
        xp, lattice, end = array_namespace(links), tuple(links.shape[-self.d :]), self._end(condition, links)
        numbers = params["coefficients"]
        numbers = numbers if numbers.ndim == 3 else numbers[:, :, None]

        def coefficients(time: Array) -> Array:
            return self._with_lines(self._coefficients(numbers, time, end), params, lattice)

        rows, rest = layout.rows(links, self.d), (coefficients, end, self.steps, forward)
        if self.integrated:
            moved, log_det = continuous.flow(self.n, self._slopes(), rows, lattice, *rest)
        else:
            moved, log_det = masked.flow(self.n, masked.masks(self.products, lattice, self._axes), rows, *rest)
        return layout.links_of(moved, tuple(links.shape), self.d), xp.reshape(log_det, links.shape[: -self.d - 3])

    def _coefficients(self, numbers: Array, time: Array, end: Array) -> Array:
        """c `(products, batch or 1)` at a fraction `time` of the way to `end`."""
        return polynomial(numbers, time * (end / self.beta))

    @property
    def _axes(self) -> tuple[int, ...]:
        """The axes around which lines are followed."""
        return tuple(axis for axis, strength in enumerate(self.lines) if strength)

    def _with_lines(self, c: Array, params: Params, lattice: tuple[int, ...]) -> Array:
        """c followed by the coefficients of sum_L Re tr L/N for each axis, -a N/(beta L C_F) for lines of L links."""
        if not self.lines:
            return c
        casimir = (self.n**2 - 1) / (2.0 * self.n)
        scales = [-self.n / (self.beta * extent * casimir) for extent in lattice]
        own = params["lines"] * backends.of(c).asarray(scales, dtype=c.dtype)
        return array_namespace(c).concat([c, own[:, None] + 0.0 * c[:1, :]], axis=0)

    def _slopes(self) -> continuous.Slopes:
        """The products whose gradient the flow follows, and those that occur in their Laplacians."""
        table, places = divergence(self)
        return continuous.Slopes(self.tower(places), len(self.places), table)

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
    steps: int = 2,
    degree: int = 6,
    rectangle: float = 0.0,
    condition: tuple[str, ...] = (),
    scheme: str = "masked",
) -> Model:
    """Return Haar links mapped by a `LoopFlow` to Wilson's action at `beta`.

    >>> loops((4, 4), n=2, beta=2.2).flow.steps
    2
    """
    flow = LoopFlow(n, len(lattice), order, beta, steps, degree, rectangle, tuple(condition), scheme=scheme)
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


def polynomial(numbers: Array, b: Array) -> Array:
    """Return sum_k C_k b^k, `(products, batch or 1)`, of C `(degree + 1, products, batch or 1)` at b `(batch or 1,)`.

    >>> polynomial(numpy.ones((3, 2, 1)), numpy.asarray([2.0])).tolist()
    [[7.0], [7.0]]
    """
    b = b[None, :]
    c: Array = 0.0 * b
    for power in range(numbers.shape[0] - 1, -1, -1):
        c = c * b + numbers[power, ...]
    return c
