"""The sweep flow of two-dimensional U(1): one visit for each of V - 1 links, and every step is a map of one angle.

With P(t,x) = theta_0(t,x) + theta_1(t+1,x) - theta_0(t,x+1) - theta_1(t,x) a link moves flux from one plaquette to the
next, and uniform links have uniform, independent fluxes but for sum P = 0. Two stages fill the torus:

    columns:    C(x) = sum_t P(t,x),  for x = 0 .. X-2:  theta_0(T-1, x+1) moves flux from column x to column x+1,
                C(x) -> h(C(x) | r),  r = sum_{x' >= x} C(x');
    plaquettes: in all columns at once, for t = 0 .. T-2:  theta_1(t+1, x) moves flux from P(t,x) to P(t+1,x),
                P(t,x) -> h(P(t,x) | r),  r = sum_{t' >= t} P(t',x).

Each step leaves r, the flux of what it has still to fill, as it is: the Jacobian is triangular, log_det = sum log h',
and the inverse retraces the steps. In the target a step's flux p has, given r, the density f_a(p) f_b(r - p), a being the
area that p fills, b the area left behind it, f_n the n-fold convolution of e^{beta cos p}: a flow of this form can be
exact. Nothing of those densities is built in. A small net reads (r, a, b) and gives a few Fourier coefficients of a
log-density around the mean direction of two arrows at 0 and r of lengths b and a; h is the circular rational-quadratic
spline with that density at its knots (arXiv:2002.02428), invertible in closed form. Each stage has one net, its
weights tied over all steps: another volume is the same flow. It is gauge equivariant, since steps read fluxes and add
gauge-invariant angles.

Links `(*batch, 2, T, X)`. Two dimensions only: above, plaquettes are bound by the Bianchi identity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.core import loops, random
from haarflow.core.groups import wrap
from haarflow.core.lattice import check_lattice
from haarflow.flows.flow import Condition, Model, Params
from haarflow.flows.nets import ConvNet, coupling
from haarflow.flows.priors import UniformLinks
from haarflow.flows.splines import Table, inverse_spline, spline

Array = Any

SPLINES = {"forward": spline, "inverse": inverse_spline}
STAGES = ("columns", "plaquettes")
SCALES = (1.0, 4.0, 16.0)  # areas at which the features of an area turn from one to zero
STIFFNESS = 4.0  # the coupling at which an area counts as itself; what an unconditioned flow takes for beta
CROWD = 0.5  # how much denser than far away knots stand around the centre of a step
FLOOR = 1e-5  # the part of the uniform density in every step: it bounds slopes and weights
TINY = 1e-24  # keeps the slope of the focus finite where it vanishes


@dataclass(frozen=True)
class Sweep:
    """A gauge-equivariant flow of U(1) links in two dimensions that visits V - 1 links once each.

    `bins` of each spline, more for larger beta (16 at beta = 2, 24 at 7); `harmonics` of its log-density; `hidden`
    layers of the two nets; `condition=("beta",)` lets one flow serve a range of couplings; `charge_symmetric` makes the
    flow commute with theta -> -theta whatever its parameters.
    Raises ValueError for another condition than beta, fewer than 2 bins or 1 harmonic, and for fields that are not
    `(*batch, 2, T, X)`.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> flow = Sweep()
    >>> y, log_det = flow.forward(flow.init(random.key(0, backend)), backend.xp.ones((5, 2, 4, 4)))
    >>> y.shape, log_det.shape
    ((5, 2, 4, 4), (5,))
    """

    bins: int = 16
    harmonics: int = 4
    hidden: tuple[int, ...] = (16, 16)
    condition: tuple[str, ...] = ()
    charge_symmetric: bool = True

    def __post_init__(self):
        object.__setattr__(self, "hidden", tuple(self.hidden))
        object.__setattr__(self, "condition", tuple(self.condition))
        if self.bins < 2 or self.harmonics < 1:
            raise ValueError(f"a sweep flow wants bins >= 2 and harmonics >= 1, got {self.bins} and {self.harmonics}")
        if self.condition not in ((), ("beta",)):
            raise ValueError(f"a sweep flow is conditioned on nothing, (), or on ('beta',), got {self.condition}")

    def init(self, key: Array, dtype: str = "float64") -> Params:
        """Return the parameters of the two nets; the flow starts as the identity."""
        keys = random.split(key, len(STAGES))
        return {stage: self._net().init(keys[number, :], dtype) for number, stage in enumerate(STAGES)}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (y, log |det dy/dx|)."""
        return self._run("forward", params, x, condition)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (x, log |det dx/dy|), in closed form and as many steps as `forward`."""
        return self._run("inverse", params, y, condition)

    def _run(self, way: str, params: Params, links: Array, condition: Condition) -> tuple[Array, Array]:
        """Fill the columns, then each column; either way r is made of the fluxes of the flow's output."""
        batch = check_links(links)
        xp, (times, spaces) = array_namespace(links), links.shape[-2:]
        flat = xp.reshape(links, (math.prod(batch), 2, times, spaces))
        beta = self._stiffness(condition, links, batch)
        flux = xp.permute_dims(loops.plaquette(flat, 0, 1, 2), (1, 2, 0))  # sites first: steps go along axis 0
        columns = xp.sum(flux, axis=0)
        totals, turns, first = self._fill(way, params["columns"], columns, 0 * columns[0, :], times, beta)
        beta = xp.concat([beta] * spaces) if self.condition else beta
        rows = xp.reshape(flux, (times, -1))
        _, shifts, second = self._fill(way, params["plaquettes"], rows, xp.reshape(totals, (-1,)), 1, beta)
        log_det = first + xp.sum(xp.reshape(second, (spaces, -1)), axis=0)
        moved = move_links(flat, turns, xp.reshape(shifts, flux.shape))
        return xp.reshape(moved, links.shape), xp.reshape(log_det, batch)

    def _fill(
        self, way: str, params: Params, flux: Array, total: Array, area: int, beta: Any
    ) -> tuple[Array, Array, Array]:
        """Map fluxes `(n, batch)` of one area one after another, given their total `(batch,)` on the output side.

        Returns the output side's fluxes, by how much flux has moved across the front edge of each, and log_det.
        """
        xp, steps = array_namespace(flux), flux.shape[0] - 1
        if steps == 0:
            return total[None, :], 0 * flux, 0 * total

        def step(carry, here):
            left, moved, log_det = carry
            old, area_left = here
            new, log_slope = self._step(way, params, old, left, area, area_left, beta)
            output, moved = (new if way == "forward" else old), moved + (new - old)
            return (wrap(left - output), moved, log_det + log_slope), (output, moved)

        areas = backends.of(flux).asarray([float(area * n) for n in range(steps, 0, -1)], dtype=flux.dtype)
        start = (wrap(total), 0 * total, 0 * total)
        (last, _, log_det), (outputs, moved) = backends.of(flux).scan(step, start, (flux[:steps, :], areas))
        moved = xp.concat([0 * moved[:1, :], moved], axis=0)
        return xp.concat([outputs, last[None, :]], axis=0), moved, log_det

    def _step(
        self, way: str, params: Params, flux: Array, total: Array, area: int, area_left: Array, beta: Any
    ) -> tuple[Array, Array]:
        """Map the flux through `area` given the total through it and `area_left`; all `(batch,)` but the areas."""
        xp = array_namespace(flux)
        sine, cosine = backends.of(flux).sincos(total)
        east, north = area_left + area * cosine, area * sine
        centre = xp.atan2(north, east)
        focus = xp.sqrt(north * north + east * east + TINY) / (area_left + area)
        sharpness = beta * focus * (1 / area + 1 / area_left)
        known = self._features(focus, cosine, sharpness, area, area_left, beta)
        net = self._net().apply(params, xp.stack(known if self.charge_symmetric else [*known, sine], axis=0))
        odd = sharpness * sine if self.charge_symmetric else sharpness
        even, odd = sharpness * net[: self.harmonics, :], odd * net[self.harmonics :, :]
        new, log_slope = SPLINES[way](wrap(flux - centre), circle_knots(even, odd, self.bins), axis=0)
        return wrap(new + centre), log_slope

    def _features(
        self, focus: Array, cosine: Array, sharpness: Array, area: int, area_left: Array, beta: Any
    ) -> list[Array]:
        """What the net reads, all even under charge conjugation; areas count in units of beta."""
        like, unit = 0 * focus, beta / STIFFNESS
        sizes = [like + 1 / (1 + part / (scale * unit)) for part in (area, area_left) for scale in SCALES]
        known = [focus, cosine, sharpness / (STIFFNESS + sharpness), *sizes]
        return [*known, beta / (STIFFNESS + beta)] if self.condition else known

    def _net(self) -> ConvNet:
        inputs = 3 + 2 * len(SCALES) + len(self.condition) + (not self.charge_symmetric)
        channels = (inputs, *self.hidden, 2 * self.harmonics)
        return ConvNet(1, channels, kernel=1, activation="silu", final_scale=0.0)

    def _stiffness(self, condition: Condition, links: Array, batch: tuple[int, ...]) -> Any:
        """beta as one number per configuration, or the constant of a flow that is not conditioned."""
        if not self.condition:
            return STIFFNESS
        xp = array_namespace(links)
        beta = coupling(condition, "beta", links, 0)
        return xp.reshape(xp.zeros_like(links[..., 0, 0, 0]) + beta, (math.prod(batch),))


def sweep(
    lattice: tuple[int, ...],
    bins: int = 16,
    harmonics: int = 4,
    hidden: tuple[int, ...] = (16, 16),
    condition: tuple[str, ...] = (),
    charge_symmetric: bool = True,
) -> Model:
    """Return the sweep flow on uniform links; raises ValueError unless the lattice has two axes.

    >>> sweep((8, 8)).prior.lattice
    (8, 8)
    """
    if len(check_lattice(lattice)) != 2:
        raise ValueError(f"a sweep flow lives in two dimensions, got the lattice {tuple(lattice)}")
    return Model(UniformLinks(tuple(lattice)), Sweep(bins, harmonics, hidden, condition, charge_symmetric))


def check_links(links: Array) -> tuple[int, ...]:
    """Return the batch axes of two-dimensional links, or raise ValueError."""
    if links.ndim < 3 or links.shape[-3] != 2:
        raise ValueError(f"a sweep flow wants U(1) links (*batch, 2, T, X), got shape {tuple(links.shape)}")
    return tuple(links.shape[:-3])


def circle_knots(even: Array, odd: Array, bins: int) -> Table:
    """Return the knots of the spline that takes uniform angles to about the density e^u / int e^u on the circle,

        u(y) = sum_k even_k cos(k y) + odd_k sin(k y),   k = 1 .. harmonics.

    Coefficients `(harmonics, batch)`, knots `(bins, batch)`. The knots in y stand still; each bin gets its share of the
    mass by Simpson's rule, each knot its density as the slope, both with a little of the uniform density mixed in.
    """
    xp = array_namespace(even)
    constants = [backends.of(even).asarray(part, dtype=even.dtype) for part in circle_grid(bins, even.shape[0])]
    waves, masses, bottom, height = constants
    u = xp.matmul(waves, xp.concat([even, odd], axis=0))
    density = xp.exp(u - xp.max(u, axis=0, keepdims=True))
    mass = xp.matmul(masses, density)
    floor = FLOOR / (1 + FLOOR)
    density = density[::2, ...] * ((1 - floor) / mass[2 * bins :, ...]) + floor / (2 * math.pi)
    mass = 2 * math.pi * (1 - floor) * mass[: 2 * bins, ...] / mass[2 * bins :, ...]
    left, width = mass[:bins, ...] + floor * (bottom + math.pi) - math.pi, mass[bins:, ...] + floor * height
    slope = 0.5 / (math.pi * density)
    return Table(left, width, bottom + 0 * left, height + 0 * left, slope[:-1, ...], slope[1:, ...])


@lru_cache(maxsize=16)
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
    """Add the flux moved across links, `turns` `(X, batch)` into columns and `shifts` `(T, X, batch)` into plaquettes.

    theta_0(T-1, x) has P(T-1, x) behind it with the sign plus, theta_1(t, x) has P(t, x) with the sign minus.
    Links `(batch, 2, T, X)`, wrapped to [-pi, pi).
    """
    xp = array_namespace(links)
    last = -xp.permute_dims(turns, (1, 0))[:, None, :]
    still = xp.zeros_like(links[:, 0, 1:, :])
    change = [xp.concat([still, last], axis=1), xp.permute_dims(shifts, (2, 0, 1))]
    return wrap(links + xp.stack(change, axis=1))
