"""The sweep flow of two-dimensional U(1): each of V - 1 links is updated once, and every step is a map of one angle.

With P(t,x) = theta_0(t,x) + theta_1(t+1,x) - theta_0(t,x+1) - theta_1(t,x) a link moves flux from one plaquette to the
next, and uniform links have uniform fluxes, independent except for sum P = 0. The torus is filled in two stages:

    columns:    C(x) = sum_t P(t,x),  for x = 0 .. X-2:  theta_0(T-1, x+1) moves flux from column x to column x+1,
                C(x) -> h(C(x) | r),  r = sum_{x' >= x} C(x');
    plaquettes: in all columns at once, for t = 0 .. T-2:  theta_1(t+1, x) moves flux from P(t,x) to P(t+1,x),
                P(t,x) -> h(P(t,x) | r),  r = sum_{t' >= t} P(t',x).

Each step leaves r, the flux of the area still to be filled, unchanged: the Jacobian is triangular, log_det = sum log h',
and the inverse retraces the steps. A step divides the flux r between the area a that it fills and the remaining area b; the
share p of a has approximately the density

    e^{F_a(p) + F_b(r - p)} / int dp',      F_n(p) = sum_j g_j(n) phi_j(p),

where g_j(n) are the coefficients of the effective log-weight of an area n, learnt at some areas and interpolated between
them, or given by a small net of (n, beta), and phi_j are trigonometric polynomials of p, orthogonalised so that training is
well-conditioned; beside these or in their place F_n may be the convolution of a learnt F_1 (flows/u1/convolution.py). The only assumption is that the weights of two areas multiply; with the exact weights (those of n
plaquettes of total flux p) the flow is exact. h is the circular rational-quadratic spline with that density at its knots
(arXiv:2002.02428), inverted in closed form. All steps share the weights, so that the same flow acts on any volume. It is
gauge equivariant, since it is built from fluxes and adds gauge-invariant angles.

Links `(*batch, 2, T, X)`. Two dimensions only: in more, plaquettes are constrained by the Bianchi identity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.host_table import host_table
from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core.broadcasting import of_rank
from haarflow.core.groups.additive import wrap
from haarflow.core.lattice import loops
from haarflow.core.lattice.geometry import check_lattice
from haarflow.flows.flow import Model, constant, is_number
from haarflow.flows.nets import ConvNet, coupling
from haarflow.flows.priors import UniformLinks
from haarflow.flows.splines import Table, inverse_spline, spline
from haarflow.flows.u1.convolution import convolved

SPLINES = {"forward": spline, "inverse": inverse_spline}
# Areas at which log-weights are learnt. Later rows contain deviations from the interpolation between earlier ones: for areas
# absent from training the interpolation remains, so that a flow trained on a small lattice makes sense on a large one.
NODES = (tuple(2**k for k in range(10)), tuple(3 * 2**k for k in range(8)))
EVEN_OUT = 0.01  # the fraction of the uniform density in the reference density of the basis: it limits the tails
CROWD = 0.5  # the spacing of knots at the centre of a step, relative to equidistant ones
FLOOR = 1e-5  # added to every step's density, whose peak is one: it bounds slopes and weights
PLAQUETTE = "plaquette"  # the name of its numbers among the parameters
TINY = 1e-24  # keeps the slope of the mean direction finite where two arrows cancel


Carry = tuple[Array, Array, Array]


@dataclass(frozen=True)
class Sweep:
    """A gauge-equivariant flow of U(1) links in two dimensions that updates V - 1 links once each.

    Splines have `bins` bins, more for larger beta (16 at beta = 2, 32 at 7), log-weights `harmonics` harmonics; `hidden`
    are the layers of the net, none for a table; with `condition=("beta",)` one flow covers a range of couplings;
    `charge_symmetric` makes the flow commute with theta -> -theta whatever its parameters, otherwise log-weights have sines
    too; `stiffness` is the beta at which the basis of log-weights is orthogonal (any value works, one near the target's
    trains faster); `start` is the beta of the pure gauge theory of which a fresh flow is the sampler, which takes
    `plaquette` >= 1, and 0 the identity. With `plaquette` harmonics of a learnt log-weight of one plaquette, its convolutions over all areas are
    added to the log-weights: few numbers that know all areas from the start, and without `table` the only ones. Raises
    ValueError for a condition other than beta, fewer than 2 bins or 1 harmonic, a negative stiffness or `plaquette`, neither of both, a start without `plaquette` or with a condition, and for fields that are not
    `(*batch, 2, T, X)`.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> flow = Sweep()
    >>> y, log_det = flow.forward(flow.init(random.key(0, backend)), backend.xp.ones((5, 2, 4, 4)))
    >>> y.shape, log_det.shape
    ((5, 2, 4, 4), (5,))
    """

    bins: int = 16
    harmonics: int = 8
    hidden: tuple[int, ...] = ()
    condition: tuple[str, ...] = ()
    charge_symmetric: bool = True
    stiffness: float = 4.0
    plaquette: int = 0
    table: bool = True
    start: float = 0.0

    @property
    def symmetries(self) -> tuple[str, ...]:
        """Gauge transformations, and theta -> -theta if the log-weights have no sines."""
        return ("gauge", "charge_conjugation") if self.charge_symmetric else ("gauge",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        object.__setattr__(self, "condition", tuple(self.condition))
        if self.bins < 2 or self.harmonics < 1:
            raise ValueError(f"a sweep flow wants bins >= 2 and harmonics >= 1, got {self.bins} and {self.harmonics}")
        if not (math.isfinite(self.stiffness) and self.stiffness >= 0):
            raise ValueError(f"the stiffness is a finite number >= 0, got {self.stiffness}")
        if self.plaquette < 0 or not (self.plaquette or self.table):
            raise ValueError(
                f"a plaquette's log-weight has 0 harmonics (none) or more, 1 or more without a table, got {self.plaquette}"
            )
        if self.start and (not math.isfinite(self.start) or self.plaquette < 1 or self.condition):
            raise ValueError(
                "a sweep flow starts at a finite coupling with plaquette >= 1 and without a condition, "
                f"got start = {self.start}, plaquette = {self.plaquette}, condition = {self.condition}"
            )
        if self.condition not in ((), ("beta",)):
            raise ValueError(f"a sweep flow is conditioned on nothing, (), or on ('beta',), got {self.condition}")

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the parameters of the net, and those of a plaquette; the flow starts as the identity, or as `start` says."""
        net = self._net().init(key, dtype) if self.table else {}
        rows = 3 if self.condition else 1
        if not self.plaquette:
            return net
        fresh = constant(key, 0.0, (self.plaquette, rows), dtype)
        return net | {PLAQUETTE: fresh + self._at_start(fresh) if self.start else fresh}

    def _at_start(self, like: Array) -> Array:
        """The numbers of the log-weight beta cos p of a plaquette."""
        cosine = numpy.zeros(self.plaquette)
        cosine[0] = self.start
        found = numpy.linalg.solve(basis((1,), self.plaquette, self.stiffness)[0, 0], cosine)
        return backends.of(like).asarray(found[:, None], dtype=like.dtype)

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (y, log |det dy/dx|)."""
        return self._run("forward", params, x, condition)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (x, log |det dx/dy|), in closed form and in as many steps as `forward`."""
        return self._run("inverse", params, y, condition)

    def _run(self, direction: str, params: Params, links: Array, condition: Condition) -> tuple[Array, Array]:
        """Fill the columns, then the plaquettes of each; in both directions r is a sum of fluxes of the flow's output."""
        batch = check_links(links)
        xp, (times, spaces) = array_namespace(links), links.shape[-2:]
        flat = xp.reshape(links, (math.prod(batch), 2, times, spaces))
        beta = self._stiffness(condition, links, batch)
        flux = xp.permute_dims(loops.plaquette(flat, 0, 1, 2), (1, 2, 0))  # sites first: steps run along axis 0
        columns = xp.sum(flux, axis=0)
        totals, turns, first = self._fill(direction, params, columns, 0 * columns[0, :], times, beta)
        rows = xp.reshape(flux, (times, -1))
        _, shifts, second = self._fill(direction, params, rows, xp.reshape(totals, (-1,)), 1, beta)
        log_det = first + xp.sum(xp.reshape(second, (spaces, -1)), axis=0)
        moved = move_links(flat, turns, xp.reshape(shifts, flux.shape))
        return xp.reshape(moved, links.shape), xp.reshape(log_det, batch)

    def _fill(
        self, direction: str, params: Params, flux: Array, total: Array, area: int, beta: Array
    ) -> tuple[Array, Array, Array]:
        """Map the fluxes `(n, batch)` of equal areas one after another, given their total `(batch,)` in the flow's output.

        Returns the output's fluxes, the flux moved across the front edge of each, and log_det.
        """
        xp, steps = array_namespace(flux), flux.shape[0] - 1
        if steps == 0:
            return total[None, :], 0 * flux, 0 * total
        sizes = [area * n for n in range(steps, 0, -1)]
        weights = self._weights(params, [area, *sizes], beta)
        if beta.shape[0] > 1:
            weights = xp.concat([weights] * (flux.shape[1] // beta.shape[0]), axis=2)

        def step(carry: Carry, row: Carry) -> tuple[Carry, tuple[Array, Array]]:
            left, moved, log_det = carry
            old, size, weight_left = row
            new, log_slope = self._step(direction, old, left, (area, size), (weights[0, ...], weight_left))
            output, moved = (new if direction == "forward" else old), moved + (new - old)
            return (wrap(left - output), moved, log_det + log_slope), (output, moved)

        sizes = backends.of(flux).asarray([float(size) for size in sizes], dtype=flux.dtype)
        start = (wrap(total), 0 * total, 0 * total)
        steps = (flux[:steps, :], sizes, weights[1:, ...])
        (last, _, log_det), (outputs, moved) = backends.of(flux).scan(step, start, steps)
        moved = xp.concat([0 * moved[:1, :], moved], axis=0)
        return xp.concat([outputs, last[None, :]], axis=0), moved, log_det

    def _step(
        self, direction: str, flux: Array, total: Array, areas: tuple[Array, Array], weights: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        """Map the flux of the first of two areas given their total flux and log-weights."""
        xp, (sine, cosine) = array_namespace(flux), backends.of(flux).sincos(total)
        east, north = areas[1] + areas[0] * cosine, areas[0] * sine  # arrows at 0 and at r, lengths b and a
        length = xp.sqrt(north * north + east * east + TINY)
        centre, sine_centre, cosine_centre = xp.atan2(north, east), north / length, east / length
        filled = waves(sine_centre, cosine_centre, self.harmonics)
        left = waves(
            sine * cosine_centre - cosine * sine_centre, cosine * cosine_centre + sine * sine_centre, self.harmonics
        )
        new, log_slope = SPLINES[direction](
            wrap(flux - centre), circle_knots(*shared(weights, filled, left), self.bins), axis=0
        )
        return wrap(new + centre), log_slope

    def _weights(self, params: Params, areas: list[int], beta: Array) -> Array:
        """Return the Fourier coefficients of each area's log-weight, `(area, harmonic, batch or 1)`, sines last."""
        beta = of_rank(beta, 3)
        strength = (beta - self.stiffness) / (beta + self.stiffness + 1)  # of a bounded interval for all beta >= 0
        parts = [self._tabulated(params, areas, strength)] if self.table else []
        parts += [self._convolved(params[PLAQUETTE], areas, strength)] if self.plaquette else []
        return sum(parts[1:], parts[0])

    def _tabulated(self, params: Params, areas: list[int], strength: Array) -> Array:
        """Return the log-weights learnt at some areas, quadratic in the strength of the coupling."""
        xp, backend = array_namespace(strength), backends.of(strength)
        known = backend.asarray(hats(tuple(areas)), dtype=strength.dtype)[:, :, None] + 0 * strength
        if self.condition:
            known = xp.concat([known, known * strength, known * strength * strength], axis=0)
        net = self._net().apply(params, xp.reshape(known, (known.shape[0], -1)))
        net = xp.permute_dims(xp.reshape(net, (-1, *known.shape[1:])), (1, 0, 2))
        change = backend.asarray(basis(tuple(areas), self.harmonics, self.stiffness), dtype=strength.dtype)
        blocks = range(1 if self.charge_symmetric else 2)
        parts = [net[:, n * self.harmonics : (n + 1) * self.harmonics, :] for n in blocks]
        return xp.concat([xp.matmul(change[n, ...], part) for n, part in enumerate(parts)], axis=1)

    def _convolved(self, plaquette: Array, areas: list[int], strength: Array) -> Array:
        """Return the log-weights of areas of independent plaquettes, quadratic in the strength as the table is."""
        xp, powers = array_namespace(strength), [strength[0, ...] ** n for n in range(plaquette.shape[1])]
        change = backends.of(strength).asarray(basis((1,), self.plaquette, self.stiffness)[0, 0], dtype=strength.dtype)
        single = xp.matmul(change, xp.matmul(plaquette, xp.concat(powers, axis=0)))
        cosines = convolved(single, tuple(areas), self.harmonics)
        return cosines if self.charge_symmetric else xp.concat([cosines, 0.0 * cosines], axis=1)

    def _net(self) -> ConvNet:
        inputs = sum(map(len, NODES)) * (3 if self.condition else 1)
        outputs = self.harmonics * (1 if self.charge_symmetric else 2)
        channels = (inputs, *self.hidden, outputs)
        return ConvNet(1, channels, kernel=1, activation="silu", biased=bool(self.hidden), final_scale=0.0)

    def _stiffness(self, condition: Condition, links: Array, batch: tuple[int, ...]) -> Array:
        """beta as one number per configuration `(batch,)`, or `(1,)` if the flow is not conditioned."""
        xp = array_namespace(links)
        if not self.condition:
            return xp.reshape(xp.zeros_like(links[(0,) * links.ndim]) + self.stiffness, (1,))
        beta = coupling(condition, "beta", links, 0)
        if is_number(beta) or beta.ndim == 0:  # one table for the whole batch
            return xp.reshape(xp.zeros_like(links[(0,) * links.ndim]) + beta, (1,))
        return xp.reshape(xp.zeros_like(links[..., 0, 0, 0]) + beta, (math.prod(batch),))


def sweep(
    lattice: tuple[int, ...],
    bins: int = 16,
    harmonics: int = 8,
    hidden: tuple[int, ...] = (),
    condition: tuple[str, ...] = (),
    charge_symmetric: bool = True,
    stiffness: float = 4.0,
    plaquette: int = 0,
    table: bool = True,
    start: float = 0.0,
) -> Model:
    """Return the sweep flow on uniform links. Raises ValueError unless the lattice has two axes.

    >>> sweep((8, 8)).prior.lattice
    (8, 8)
    """
    if len(check_lattice(lattice)) != 2:
        raise ValueError(f"a sweep flow needs two dimensions, got the lattice {tuple(lattice)}")
    return Model(
        UniformLinks(tuple(lattice)),
        Sweep(bins, harmonics, hidden, condition, charge_symmetric, stiffness, plaquette, table, start),
    )


def check_links(links: Array) -> tuple[int, ...]:
    """Return the batch axes of two-dimensional links. Raises ValueError for another shape."""
    if links.ndim < 3 or links.shape[-3] != 2:
        raise ValueError(f"a sweep flow wants U(1) links (*batch, 2, T, X), got shape {tuple(links.shape)}")
    return tuple(links.shape[:-3])


@host_table
def hats(areas: tuple[int, ...]) -> numpy.ndarray:
    """Return the hierarchical hat functions of an area, `(node, area)`, linear in ln n, constant beyond the last node.

    The hat of a node is one there and falls to zero at its neighbours among the nodes of the same and of earlier rows.

    >>> hats((1, 3, 5))[[0, 1, 2, 10, 11]].round(3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.415, 0.0], [0.0, 0.585, 0.678], [0.0, 1.0, 0.0], [0.0, 0.0, 0.55]]
    """
    nodes: list[int] = []
    functions: list[numpy.ndarray] = []
    for row in NODES:
        nodes = sorted([*nodes, *row])
        units = numpy.eye(len(nodes))
        functions += [numpy.interp(numpy.log(areas), numpy.log(nodes), units[nodes.index(node)]) for node in row]
    return numpy.asarray(functions)


@host_table
def basis(areas: tuple[int, ...], harmonics: int, stiffness: float) -> numpy.ndarray:
    """Return the coefficients of orthonormal polynomials in cosines, and in sines, `(2, area, harmonic, polynomial)`.

    They are orthonormal under the density proportional to e^{(stiffness / n) cos p} with a small uniform part. It is close
    to that of the fluxes, so that the coefficients of a log-weight are learnt at similar rates.

    >>> basis((1,), 1, 0.0).round(6).tolist()
    [[[[1.414214]]], [[[1.414214]]]]
    """
    p = 2 * numpy.pi * numpy.arange(16 * harmonics) / (16 * harmonics)
    angles = numpy.outer(numpy.arange(1, harmonics + 1), p)
    tables = [[_orthonormal(wave(angles), p, stiffness / n) for n in areas] for wave in (numpy.cos, numpy.sin)]
    return numpy.asarray(tables)


def _orthonormal(rows: numpy.ndarray, p: numpy.ndarray, stiffness: float) -> numpy.ndarray:
    density = numpy.exp(stiffness * (numpy.cos(p) - 1))
    density = (1 - EVEN_OUT) * density / density.sum() + EVEN_OUT / len(p)
    free = rows - (rows @ density)[:, None]
    return numpy.linalg.inv(numpy.linalg.cholesky((free * density) @ free.T)).T


def waves(sine: Array, cosine: Array, harmonics: int) -> tuple[Array, Array]:
    """Return sin(k p) and cos(k p) for k = 1 .. harmonics on a new first axis, from sin p and cos p.

    >>> import numpy as np
    >>> [part.round(9).tolist() for part in waves(np.asarray(1.0), np.asarray(0.0), 2)]
    [[1.0, 0.0], [0.0, -1.0]]
    """
    xp = array_namespace(sine)
    sines, cosines = [sine], [cosine]
    for _ in range(harmonics - 1):
        s, c = sines[-1], cosines[-1]
        sines, cosines = [*sines, s * cosine + c * sine], [*cosines, c * cosine - s * sine]
    return xp.stack(sines, axis=0), xp.stack(cosines, axis=0)


def shared(weights: tuple[Array, Array], filled: tuple[Array, Array], left: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return the cosine and sine coefficients in y of F_a(c + y) + F_b(r - c - y).

    `weights` are the coefficients of F_a and F_b, `filled` the waves of c, `left` those of r - c.
    """
    (first, other), (s, c), (t, d) = weights, filled, left
    harmonics = s.shape[0]
    even = first[:harmonics, :] * c + other[:harmonics, :] * d
    odd = other[:harmonics, :] * t - first[:harmonics, :] * s
    if first.shape[0] > harmonics:
        even = even + first[harmonics:, :] * s + other[harmonics:, :] * t
        odd = odd + first[harmonics:, :] * c - other[harmonics:, :] * d
    return even, odd


def circle_knots(even: Array, odd: Array, bins: int) -> Table:
    """Return the knots of the spline that maps uniform angles approximately to the density e^u / int e^u on the circle,

        u(y) = sum_k even_k cos(k y) + odd_k sin(k y),   k = 1 .. harmonics.

    Coefficients `(harmonics, batch)`, knots `(bins, batch)`. The knots in y are fixed, `(bins, 1)`; each bin has its share
    of the probability by Simpson's rule, each knot the slope of its density, to which a small uniform one is added.
    """
    xp = array_namespace(even)
    constants = [backends.of(even).asarray(part, dtype=even.dtype) for part in circle_grid(bins, even.shape[0])]
    waves, masses, bottom, height = constants
    u = xp.matmul(waves, xp.concat([even, odd], axis=0))
    density = xp.exp(u - xp.max(u, axis=0, keepdims=True)) + FLOOR
    mass = xp.matmul(masses, density)
    total = mass[2 * bins :, ...] / (2 * math.pi)
    mass = mass[: 2 * bins, ...] / total
    slope = total / density[::2, ...]
    return Table(mass[:bins, ...] - math.pi, mass[bins:, ...], bottom, height, slope[:-1, ...], slope[1:, ...])


@host_table
def circle_grid(bins: int, harmonics: int) -> tuple[numpy.ndarray, ...]:
    """Return the constants of `circle_knots`: waves at knots and centres, mass before and in each bin, knots, sizes.

    The knots are y = 2 atan(CROWD tan(x/2)) with x equidistant: denser around y = 0, where the peaks are. Simpson's rule
    in x is scaled to be exact for the uniform density, so that the flow starts as the identity.
    """
    half = numpy.pi * (numpy.arange(2 * bins + 1) / (2 * bins) - 0.5)
    y = 2 * numpy.arctan2(CROWD * numpy.sin(half), numpy.cos(half))
    jacobian = CROWD / (numpy.cos(half) ** 2 + CROWD**2 * numpy.sin(half) ** 2)
    simpson = numpy.zeros((bins, 2 * bins + 1))
    for k in range(bins):
        simpson[k, 2 * k : 2 * k + 3] = (1, 4, 1)
    height = y[2::2, None] - y[:-1:2, None]
    simpson = simpson * jacobian
    simpson = simpson * (height / simpson.sum(1, keepdims=True))
    masses = numpy.concatenate([numpy.tri(bins, k=-1) @ simpson, simpson, simpson.sum(0, keepdims=True)])
    angles = numpy.outer(y, numpy.arange(1, harmonics + 1))
    waves = numpy.concatenate([numpy.cos(angles), numpy.sin(angles)], axis=1)
    return waves, masses, y[:-1:2, None], height


def move_links(links: Array, turns: Array, shifts: Array) -> Array:
    """Return links changed by the moved flux: `turns` `(X, batch)` between columns, `shifts` `(T, X, batch)` within them.

    theta_0(T-1, x) enters P(T-1, x) with a plus sign, theta_1(t, x) enters P(t, x) with a minus sign.
    Links `(batch, 2, T, X)`, wrapped to [-pi, pi).
    """
    xp = array_namespace(links)
    last = -xp.permute_dims(turns, (1, 0))[:, None, :]
    still = xp.zeros_like(links[:, 0, 1:, :])
    change = [xp.concat([still, last], axis=1), xp.permute_dims(shifts, (2, 0, 1))]
    return wrap(links + xp.stack(change, axis=1))
