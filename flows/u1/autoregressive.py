"""The autoregressive flow of two-dimensional U(1): the exact pure-gauge sampler, each step conditioned on all before it.

It fills the torus in the order of flows/u1/sweep.py, which names the links that are moved and the fluxes between them:

    columns:       C(x), one after another;
    time lines:    the mean direction of W(x) = sum_t theta_0(t, x) (flows/u1/winding.py);
    plaquettes:    rows P(t, .), t = 0 .. T-2, each in `parts` parts x = k (mod parts), one after another;
    space lines:   the mean direction of sum_x theta_1(t, x).

A step divides the flux r of the area still to be filled between the area a that it fills and the remaining area b, with the
density of the flux p

    e^{F_a(p) + F_b(r - p) + sum_{k <= waves} c_k cos k(p - m) + s_k sin k(p - m)},

m the mean direction of the step. F_n is the exact log-weight of n plaquettes at the coupling `beta`, so that with c = s = 0
the flow is the exact sampler of pure gauge theory, of which it keeps the topology. c and s come from a net
(flows/u1/memory.py) that sees all that was drawn before: the rows by its memory, the parts of the row, the flux r left in
each column and the flux A filled so far, which is not periodic (with r it makes the topological charge), and the time lines.
The Jacobian is triangular in this order, so log_det is a sum over steps; the inverse retraces them. All of these are
gauge-invariant, and the flow commutes with theta -> -theta: the net is run on the field and on its mirror image, c is the
even and s the odd part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.host_table import host_table
from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core import random
from haarflow.core.groups.additive import wrap
from haarflow.core.lattice import loops
from haarflow.core.lattice.geometry import check_lattice
from haarflow.flows.flow import Model
from haarflow.flows.images import Images
from haarflow.flows.priors import UniformLinks
from haarflow.flows.u1.memory import Memory
from haarflow.flows.u1.sweep import SPLINES, TINY, check_links, circle_knots, move_links, shared, waves
from haarflow.flows.u1.winding import WindingShift

GRID = 1024  # points of the circle on which log-weights are computed
RAREST = 1e-12  # of the largest weight of a flux: log-weights are bounded there, where rounding would spoil them
EVEN, ODD = 4, 3  # features of a site that a mirror image leaves, and that change sign


class Filled(NamedTuple):
    """What a stage returns: the output's fluxes, the flux moved across the front edge of each, log_det, and the memory."""

    flux: Array
    moved: Array
    log_det: Array
    memory: Array


class Carry(NamedTuple):
    """What a step hands to the next, each `(site, batch)` but the memory: flux left, flux filled, flux moved, log_det."""

    left: Array
    filled: Array
    moved: Array
    log_det: Array
    memory: Array


@dataclass(frozen=True)
class Autoregressive:
    """The autoregressive flow of U(1) links in two dimensions, which starts as the sampler of pure gauge theory at `beta`.

    `bins` are those of each spline, `harmonics` those of the exact log-weights, `waves` those that the nets add; the memory
    has `channels`, the nets have `hidden` channels and kernels of extent `kernel` along a row; a row is drawn in `parts`
    parts (their greatest common divisor with its extent; 1: all sites at once). Raises ValueError for fewer than 2 bins or
    1 harmonic, more waves than harmonics, an even kernel, and for fields that are not `(*batch, 2, T, X)`.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> flow = Autoregressive(beta=2.0, channels=4, hidden=4)
    >>> y, log_det = flow.forward(flow.init(random.key(0, backend)), backend.xp.ones((5, 2, 4, 4)))
    >>> y.shape, log_det.shape
    ((5, 2, 4, 4), (5,))
    """

    beta: float
    bins: int = 16
    harmonics: int = 8
    waves: int = 3
    channels: int = 16
    hidden: int = 32
    kernel: int = 5
    parts: int = 2

    symmetries = ("gauge", "charge_conjugation")

    def __post_init__(self) -> None:
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise ValueError(f"the coupling of the pure gauge sampler is a finite number >= 0, got {self.beta}")
        if self.bins < 2 or not 1 <= self.waves <= self.harmonics:
            raise ValueError(
                f"wanted bins >= 2 and 1 <= waves <= harmonics, got {self.bins}, {self.waves} and {self.harmonics}"
            )
        if min(self.channels, self.hidden, self.parts) < 1 or self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(
                "wanted channels, hidden and parts >= 1 and an odd kernel, "
                f"got {self.channels}, {self.hidden}, {self.parts} and {self.kernel}"
            )

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the parameters of all nets; the flow starts as the sampler of pure gauge theory."""
        columns, rows, lines = self._net(1, 0).init, self._net(self.kernel, 2).init, self._lines.init
        made = {"columns": columns, "rows": rows, "time": lines, "space": lines}
        return {name: fresh(random.fold_in(key, n), dtype) for n, (name, fresh) in enumerate(made.items())}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (y, log |det dy/dx|)."""
        return self._run("forward", params, x)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (x, log |det dx/dy|), in as many steps as `forward`."""
        return self._run("inverse", params, y)

    def _run(self, direction: str, params: Params, links: Array) -> tuple[Array, Array]:
        """Fill the columns, then the plaquettes; what conditions a step is in both directions of the flow's output."""
        batch = check_links(links)
        xp, (times, spaces) = array_namespace(links), links.shape[-2:]
        flat = xp.permute_dims(
            xp.reshape(links, (-1, 2, times, spaces)), (1, 2, 3, 0)
        )  # steps run along the first axes
        flux = loops.plaquette(xp.permute_dims(flat, (3, 0, 1, 2)), 0, 1, 2)
        flux = xp.permute_dims(flux, (1, 2, 0))
        columns = xp.sum(flux, axis=0)[:, None, :]
        first = self._fill(direction, params["columns"], columns, 0 * columns[0, ...], times)
        turns, forwards = first.moved[:, 0, :], direction == "forward"
        lines = xp.sum(flat[0, ...], axis=0) - (turns if forwards else 0 * turns)
        turn, by_time = self._shift(direction, params["time"], lines, first.memory)
        lines = lines + turn[None, :] if forwards else lines
        second = self._fill(direction, params["rows"], flux, wrap(first.flux[:, 0, :]), 1, lines)
        across = xp.sum(flat[1, ...] + (second.moved if forwards else 0 * second.moved), axis=1)
        sideways, by_space = self._shift(direction, params["space"], across, second.memory)
        log_det = xp.sum(first.log_det, axis=0) + by_time + xp.sum(second.log_det, axis=0) + by_space
        moved = move_links(xp.reshape(links, (-1, 2, times, spaces)), turns - turn[None, :], second.moved)
        moved = _with_last_column(moved, sideways)
        return xp.reshape(moved, links.shape), xp.reshape(log_det, batch)

    def _shift(self, direction: str, params: Params, lines: Array, memory: Array) -> tuple[Array, Array]:
        seen = array_namespace(lines).mean(memory, axis=1)
        half = lines.shape[1]
        return self._lines.apply(direction, params, lines, seen[:, :half], seen[:, half:])

    def _fill(
        self, direction: str, params: Params, flux: Array, total: Array, area: int, lines: Array | None = None
    ) -> Filled:
        """Map the fluxes `(step, site, batch)` of equal areas one after another, given their totals `(site, batch)`."""
        xp, count = array_namespace(flux), flux.shape[0]
        net = self._net(1, 0) if lines is None else self._net(self.kernel, 2)
        still = 0 * total
        start = Carry(wrap(total), still, still, still, net.blank(mirrored(still, still)))
        if count == 1:
            return Filled(total[None, ...], 0 * flux, still, start.memory)
        weights = backends.of(flux).asarray(log_weights(area, count, self.harmonics, self.beta), dtype=flux.dtype)
        sizes = backends.of(flux).asarray([float(n) for n in range(count - 1, 0, -1)], dtype=flux.dtype)

        def step(carry: Carry, row: tuple[Array, Array, Array]) -> tuple[Carry, tuple[Array, Array]]:
            old, size, weight_left = row
            one = self._step(net, direction, size, count, (weights[0, :], weight_left))
            new, log_slope, memory = one.row(params, carry, old, lines)
            output, moved = (new if direction == "forward" else old), carry.moved + (new - old)
            left, filled = wrap(carry.left - output), carry.filled + wrap(output)
            return Carry(left, filled, moved, carry.log_det + log_slope, memory), (output, moved)

        last, (outputs, moved) = backends.of(flux).scan(step, start, (flux[:-1, ...], sizes, weights[1:, :]))
        moved = xp.concat([xp.zeros_like(moved[:1, ...]), moved], axis=0)
        return Filled(xp.concat([outputs, last.left[None, ...]], axis=0), moved, last.log_det, last.memory)

    def _step(self, net: Memory, direction: str, size: Array, count: int, weights: tuple[Array, Array]) -> Step:
        return Step(self, net, direction, size, count, weights)

    def _net(self, kernel: int, lines: int) -> Memory:
        """The net of a stage; `lines` counts the features of the time lines: their cosine and sine, or none."""
        site = EVEN + ODD + lines
        return Memory(site, 3, site + 2, 2 * self.waves, self.channels, self.hidden, kernel)

    @property
    def _lines(self) -> WindingShift:
        return WindingShift(self.bins, self.waves, self.hidden, self.channels)


@dataclass(frozen=True)
class Step:
    """One step of a stage: a row of areas, of which `size` of `count` are left behind it."""

    flow: Autoregressive
    net: Memory
    direction: str
    size: Array
    count: int
    weights: tuple[Array, Array]

    def row(self, params: Params, carry: Carry, old: Array, lines: Array | None) -> tuple[Array, Array, Array]:
        """Return the new fluxes of a row `(site, batch)`, the logarithms of their slopes, and the memory after it."""
        xp, parts = array_namespace(old), math.gcd(self.flow.parts, old.shape[0])
        seen = self._seen(carry, lines)
        plan = self.net.plan(params, carry.memory, seen)
        news: list[Array] = []
        slopes: list[Array] = []
        outputs: list[Array] = []
        for part in range(parts):
            drawn = together([*outputs, *[None] * (parts - part)], old)
            coefficients = self.net.draw(params, plan, drawn)[:, part::parts, :]
            before = old[part::parts, :]
            new, slope = self._map(before, carry.left[part::parts, :], coefficients)
            news, slopes = [*news, new], [*slopes, slope]
            outputs = [*outputs, new if self.direction == "forward" else before]
        row = together(outputs, old)[:2, ...]
        memory = self.net.remember(params, carry.memory, xp.concat([row, seen], axis=0))
        return interleaved(news), interleaved(slopes), memory

    def _seen(self, carry: Carry, lines: Array | None) -> Array:
        """Features of every site before the step: r, A, its mean over the row, the line, and the area left."""
        xp, (sine, cosine) = array_namespace(carry.left), backends.of(carry.left).sincos(carry.left)
        filled = carry.filled / math.pi
        mean = filled * 0 + xp.mean(filled, axis=0, keepdims=True)
        flat = xp.ones_like(cosine)
        even, odd = [cosine, flat / self.size, flat * (self.size / self.count), mean * mean], [sine, filled, mean]
        if lines is not None:
            sine, cosine = backends.of(lines).sincos(lines)
            even, odd = [*even, cosine], [*odd, sine]
        same, signed = xp.stack(even, axis=0), xp.stack(odd, axis=0)
        return xp.concat([mirrored(same, same), mirrored(signed, -signed)], axis=0)

    def _map(self, flux: Array, total: Array, coefficients: Array) -> tuple[Array, Array]:
        """Map the fluxes `(site, batch)` of the areas that are filled, given the totals and the net's coefficients."""
        xp, shape, harmonics = array_namespace(flux), flux.shape, self.flow.harmonics
        flux, total = xp.reshape(flux, (-1,)), xp.reshape(total, (-1,))
        sine, cosine = backends.of(flux).sincos(total)
        east, north = self.size + cosine, sine  # arrows at 0 and at r, their lengths the areas b and a, in units of a
        length = xp.sqrt(north * north + east * east + TINY)
        centre, sine_centre, cosine_centre = xp.atan2(north, east), north / length, east / length
        filled = waves(sine_centre, cosine_centre, harmonics)
        left = waves(
            sine * cosine_centre - cosine * sine_centre, cosine * cosine_centre + sine * sine_centre, harmonics
        )
        first, other = (weight[:, None] + 0 * flux[None, :] for weight in self.weights)
        known = shared((first, other), filled, left)
        even, odd = (_added(part, change) for part, change in zip(known, self._learnt(coefficients), strict=True))
        new, slope = SPLINES[self.direction](wrap(flux - centre), circle_knots(even, odd, self.flow.bins), axis=0)
        return xp.reshape(wrap(new + centre), shape), xp.reshape(slope, shape)

    def _learnt(self, coefficients: Array) -> tuple[Array, Array]:
        """Coefficients of cosines and of sines `(wave, site * batch)`, even and odd under theta -> -theta."""
        xp, half, count = array_namespace(coefficients), coefficients.shape[2] // 2, self.flow.waves
        one, other = coefficients[..., :half], coefficients[..., half:]
        even, odd = 0.5 * (one + other)[:count, ...], 0.5 * (one - other)[count:, ...]
        return xp.reshape(even, (count, -1)), xp.reshape(odd, (count, -1))


def autoregressive(
    lattice: tuple[int, ...],
    beta: float,
    bins: int = 16,
    harmonics: int = 8,
    waves: int = 3,
    channels: int = 16,
    hidden: int = 32,
    kernel: int = 5,
    parts: int = 2,
    images: tuple[int, ...] = (),
    reflected: tuple[int, ...] = (),
) -> Model:
    """Return the autoregressive flow on uniform links. Raises ValueError unless the lattice has two axes.

    With `images`, the steps of translations along both axes, its density is averaged over these translations and over the
    reflections of the axes `reflected` (flows/images.py): for the order in which a lattice is filled has neither symmetry.

    >>> autoregressive((8, 8), beta=2.0).prior.lattice
    (8, 8)
    """
    if len(check_lattice(lattice)) != 2:
        raise ValueError(f"an autoregressive flow needs two dimensions, got the lattice {tuple(lattice)}")
    flow = Autoregressive(beta, bins, harmonics, waves, channels, hidden, kernel, parts)
    group = Images(images or (0, 0), reflected) if images or reflected else None
    return Model(UniformLinks(tuple(lattice)), flow, group)


@host_table
def log_weights(area: int, count: int, harmonics: int, beta: float) -> numpy.ndarray:
    """Return the Fourier coefficients of the log-weight of n plaquettes, in rows n = area, then area times count - 1 .. 1.

    e^{F_n} is the n-fold convolution of e^{beta cos p}, the distribution of the total flux p; coefficients of cos(k p),
    k = 1 .. harmonics.

    >>> abs(log_weights(1, 2, 2, 1.5).round(9)).tolist()
    [[1.5, 0.0], [1.5, 0.0]]
    """
    angles = 2 * numpy.pi * numpy.arange(GRID) / GRID
    single = numpy.fft.fft(numpy.exp(beta * (numpy.cos(angles) - 1))).real
    rows = []
    for n in (1, *range(count - 1, 0, -1)):
        weight = numpy.fft.ifft((single / single[0]) ** (area * n)).real
        logs = numpy.log(numpy.maximum(weight / weight.max(), RAREST))
        rows.append(2 / GRID * numpy.fft.fft(logs).real[1 : harmonics + 1])
    return numpy.asarray(rows)


def mirrored(field: Array, image: Array) -> Array:
    """Return features of the field and of its mirror image theta -> -theta, one behind the other along the batch."""
    return array_namespace(field).concat([field, image], axis=-1)


def together(parts: list[Array | None], like: Array) -> Array:
    """Return cos, sin and presence of the fluxes of a row `(3, site, 2 batch)`, zero in the parts that are None."""
    xp = array_namespace(like)
    blank = xp.zeros_like(like[:: len(parts), :])
    rows = []
    for part in parts:
        sine, cosine = (blank, blank) if part is None else backends.of(part).sincos(part)
        rows.append((cosine, sine, blank if part is None else xp.ones_like(blank)))
    cosine, sine, present = (interleaved(list(row)) for row in zip(*rows, strict=True))
    return xp.stack([mirrored(cosine, cosine), mirrored(sine, -sine), mirrored(present, present)], axis=0)


def interleaved(parts: list[Array]) -> Array:
    """Return `(site, batch)` from its parts, sites k, k + parts, k + 2 parts ... of each.

    >>> import numpy as np
    >>> interleaved([np.asarray([[0], [2]]), np.asarray([[1], [3]])]).tolist()
    [[0], [1], [2], [3]]
    """
    xp = array_namespace(parts[0])
    return xp.reshape(xp.stack(parts, axis=1), (-1, parts[0].shape[1]))


def _added(coefficients: Array, change: Array) -> Array:
    """The coefficients with a change of the first of them."""
    xp, count = array_namespace(change), change.shape[0]
    return xp.concat([coefficients[:count, :] + change, coefficients[count:, :]], axis=0)


def _with_last_column(links: Array, shift: Array) -> Array:
    """Links `(batch, 2, T, X)` with `shift` `(batch,)` added to theta_1(t, X-1) for all t."""
    xp = array_namespace(links)
    change = xp.zeros_like(links[:, 1, :, 1:])
    column = xp.zeros_like(links[:, 1, :, :1]) + shift[:, None, None]
    added = xp.concat([change, column], axis=2)
    return wrap(links + xp.stack([xp.zeros_like(added), added], axis=1))
