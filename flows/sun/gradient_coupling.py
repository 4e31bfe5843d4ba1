"""Gradient couplings of SU(N) links in any dimension: a step along the gradient of loops with its exact log-determinant.

One coupling moves the links along mu = `direction` of one transverse colour (flows/sun/masks.py):

    U' = e^{iw} U,   w = N grad F(x_1, x_2, ...),   x_k = Re tr(U V_k)/N,

where V_k are the paths that close the link to a rectangle, 1 link along mu and r = 1 ... `reach` < `period` across, on both
sides in every plane; none contains another active link. The step increases F. The Jacobian is one (N^2-1) x (N^2-1) matrix
for each link, in closed form (flows/links/jacobian.py): the log-determinant is that of the discrete map, not of a flow in
continuous time. With l opposite to k across the link,

    dF/dx_k = c_k + sum_j a_kj x_k^j + p x_l,     c_k <- c_k + sum_j (s_kj f_k^j + t_kj g_k^j) for plaquettes,

with f_k = Re tr(V_k V_l^+)/N a flat frozen rectangle around the link and g_k the mean of the bent ones. All coefficients
are smoothly bounded, b tanh(./b), so that R = sum_k |F_k| + sum_kl |F_kl| <= `bound` < 2, where the map is invertible; the
inverse solves U = e^{-iw(U)} U' by fixed-point steps (errors shrink by R/2) followed by Newton steps. The coupling commutes
with gauge transformations and charge conjugation.

Internally links are flat, `(N, N, d V, batch)`, and for quantities of the active links all sites and the batch form one last
axis: whole rows are gathered, and every matrix entry is contiguous in memory.

Sources: stout links, hep-lat/0311018; trivialising flow, arXiv:0907.5491; couplings by loops, arXiv:2008.05456. Shapes:
links `(*batch, d, N, N, *lattice)`, transverse extents divided by the period; log_det `(*batch,)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core.broadcasting import of_rank, scaled
from haarflow.core.groups.sun import SU
from haarflow.flows.flow import Direction, constant, is_number
from haarflow.flows.links import jacobian
from haarflow.flows.sun import masks

FIXED_POINT_STEPS = 3
NEWTON_STEPS = 5
KEPT = 2**15  # field entries up to which a gradient stores staples and Jacobians: beyond, recomputing them is faster


Lattice = tuple[int, ...]
Path = Array  # (N, N, links)
Sides = tuple[Path, Path]  # ahead and behind


class Staple(NamedTuple):
    """A path V_k `(N, N, links)` that closes the active links, and its bounded coefficients c_k, a_kj and p."""

    path: Array
    rho: Array
    own: tuple[Array, ...]
    pair: Array | None


Staples = list[list[tuple[Staple, Staple]]]  # for each plane and reach, on both sides
Move = Callable[[Array, Staples], tuple[Array, Array]]


@dataclass(frozen=True)
class LoopCoupling:
    """A coupling of SU(n) links along `direction` of one transverse `colour`, by the gradient of loops.

    Parameters, one for each plane and reach r, shared by the two sides: "rho" `(d-1, reach)`, `start` for plaquettes
    and zero for longer loops; with `own` = j > 0 "own" `(d-1, reach, j)`; with `pair` "pair" `(d-1, reach)`; with `context` =
    j > 0 "flat" and, for d > 2, "bent" `(d-1, j)`; all these start at zero. With condition = ("beta",) each parameter is a
    polynomial sum_i c_i beta^i, i = 1 ... `order`, its coefficients on an additional axis, and `start` is c_1. Raises
    ValueError for options that do not fit together, for extents not divisible by the period, and for fields of another
    shape.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> flow = LoopCoupling(3, 2, direction=0, colour=1, start=0.1)
    >>> x = SU(3, 2).haar(random.key(0, backend), (5, 2, 3, 3, 4, 4))
    >>> y, log_det = flow.forward(flow.init(random.key(1, backend)), x)
    >>> y.shape, log_det.shape
    ((5, 2, 3, 3, 4, 4), (5,))
    """

    n: int
    d: int
    direction: int
    colour: int
    start: float = 0.0
    bound: float = 1.0
    period: int = 2
    reach: int = 1
    own: int = 0
    pair: bool = False
    context: int = 0
    condition: tuple[str, ...] = ()
    order: int = 2

    symmetries = ("translation", "gauge", "charge_conjugation")

    def __post_init__(self) -> None:
        if self.d < 2 or not 0 <= self.direction < self.d or not 0 <= self.colour < self.period:
            raise ValueError(
                f"a coupling by loops has d >= 2, a direction of 0 ... d-1 and a colour of 0 ... period-1, got d = {self.d}, "
                f"direction = {self.direction}, colour = {self.colour}, period = {self.period}"
            )
        if not 1 <= self.reach < self.period:
            raise ValueError(
                f"a rectangle of {self.reach} links across contains two active links of period {self.period}: "
                "1 <= reach < period wanted"
            )
        if not 0.0 < self.bound < jacobian.LIMIT:
            raise ValueError(
                f"the bound on R lies between 0 and {jacobian.LIMIT}, where the map is invertible, got {self.bound}"
            )
        if min(self.context, self.own) < 0 or self.order < 1 or len(self.condition) > 1:
            raise ValueError(
                f"own and context count powers of loops, order those of one coupling: own >= 0, context >= 0, order >= 1 and "
                f"at most one name wanted, got {self.own}, {self.context}, {self.order}, {self.condition}"
            )
        SU(self.n, self.d)

    @property
    def group(self) -> SU:
        """The group of the active links, `(N, N, links)`."""
        return SU(self.n, 1)

    @property
    def periods(self) -> tuple[int, ...]:
        """The period of the colours along the transverse axes, 1 along the links."""
        return tuple(1 if axis == self.direction else self.period for axis in range(self.d))

    def moves(self, lattice: Lattice) -> numpy.ndarray:
        """Return on the host which links `(d, *lattice)` move."""
        sites = numpy.indices(tuple(lattice))
        colours = sum(sites[axis] for axis in range(self.d) if axis != self.direction) % self.period
        return numpy.stack([(colours == self.colour) & (mu == self.direction) for mu in range(self.d)])

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return `start` for plaquettes (times beta if that is the condition), zero for the rest."""
        planes, powers = self.d - 1, (self.order,) if self.condition else ()
        xp = array_namespace(key)
        first = constant(key, self.start, (planes, 1, *(1,) * len(powers)), dtype)
        if powers:
            first = xp.concat([first, constant(key, 0.0, (planes, 1, self.order - 1), dtype)], axis=2)
        rest = constant(key, 0.0, (planes, self.reach - 1, *powers), dtype)
        shapes: dict[str, tuple[int, ...]] = {}
        if self.own:
            shapes["own"] = (planes, self.reach, self.own)
        if self.pair:
            shapes["pair"] = (planes, self.reach)
        if self.context:
            shapes |= {name: (planes, self.context) for name in ("flat", "bent")[: min(planes, 2)]}
        zeros = {name: constant(key, 0.0, (*shape, *powers), dtype) for name, shape in shapes.items()}
        return {"rho": xp.concat([first, rest], axis=1)} | zeros

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the active links along the gradient of their loops."""
        apply: Direction = partial(self._apply, self._move)
        apply = backends.of(x).checkpoint(apply) if math.prod(x.shape) > KEPT else apply
        return apply(params, x, condition)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the active links back, to rounding."""
        return self._apply(self._move_back, params, y, condition)

    def _apply(self, move: Move, params: Params, links: Array, condition: Condition) -> tuple[Array, Array]:
        xp, d, lattice = array_namespace(links), self.d, self._lattice(links)
        batch, rows = tuple(links.shape[: -d - 3]), masks.flat(links, d)
        staples = self._bounded(params, self._paths(rows, lattice), self._spread(condition, batch, lattice))
        moved, log_det = move(self._at(rows, self.direction, (0,) * d, lattice), staples)
        table = masks.places(lattice, self.direction, self.period, self.colour)
        moved = masks.replaced(rows, moved, table)
        log_det = xp.sum(xp.reshape(log_det, (-1, rows.shape[-1])), axis=0)
        return masks.links_of(moved, tuple(links.shape), d), xp.reshape(log_det, batch)

    def _at(self, rows: Array, nu: int, displacement: tuple[int, ...], lattice: Lattice) -> Array:
        """The links along nu at the active sites plus a displacement, `(N, N, links)`."""
        return masks.gathered(rows, self._table(nu, displacement, lattice))

    def _paths(self, rows: Array, lattice: Lattice) -> list[list[Sides]]:
        """For each plane and reach the paths ahead and behind, 1 x r rectangles from x + mu back to x.

        They are far U_mu(x + r nu)^+ near^+ with straight lines far and near; the lines behind are adjoints of those that
        arrive at x + mu and x. All planes are done at once, in few but long products.
        """
        group, backend, by_reach = self.group, backends.of(rows), []
        lines: tuple[Array, ...] = ()
        for r in range(1, self.reach + 1):
            far, near, top, arriving, leaving, bottom = self._legs(rows, r, lattice)
            if lines:
                far, near = group.compose(lines[0], far), group.compose(lines[1], near)
                arriving, leaving = group.compose(arriving, lines[2]), group.compose(leaving, lines[3])
            lines = far, near, arriving, leaving
            ahead = group.compose(far, group.inverse(group.compose(near, top)))
            behind = group.compose(group.inverse(group.compose(bottom, arriving)), leaving)
            sides = (array_namespace(rows).reshape(side, (self.n, self.n, self.d - 1, -1)) for side in (ahead, behind))
            by_reach.append(list(zip(*(backend.unstack(side, axis=2) for side in sides), strict=True)))
        return [list(reaches) for reaches in zip(*by_reach, strict=True)]

    def _legs(self, rows: Array, r: int, lattice: Lattice) -> tuple[Array, ...]:
        """The links of rectangles of r links across, each in all planes, `(N, N, plane links)`.

        Ahead: the r-th links of the lines from x + mu and from x, and U_mu(x + r nu); behind: those of lines that end there.
        """
        mu, planes = self.direction, [nu for nu in range(self.d) if nu != self.direction]
        legs = [(None, r - 1, 1), (None, r - 1, 0), (mu, r, 0), (None, -r, 1), (None, -r, 0), (mu, -r, 0)]
        tables = [
            self._table(nu if axis is None else axis, self._step(nu, steps, ahead), lattice)
            for axis, steps, ahead in legs
            for nu in planes
        ]
        gathered = array_namespace(rows).reshape(
            masks.gathered(rows, numpy.concatenate(tables)), (self.n, self.n, len(legs), -1)
        )
        unstacked: tuple[Array, ...] = backends.of(rows).unstack(gathered, axis=2)
        return unstacked

    def _step(self, nu: int, steps: int, ahead: int) -> tuple[int, ...]:
        return tuple(steps if axis == nu else ahead if axis == self.direction else 0 for axis in range(self.d))

    def _table(self, nu: int, displacement: tuple[int, ...], lattice: Lattice) -> numpy.ndarray:
        return masks.links(lattice, self.direction, self.period, self.colour, nu, displacement)

    def _bounded(self, params: Params, paths: list[list[Sides]], condition: Condition) -> Staples:
        """The paths with their coefficients: the sum over them of |c| + sum_j (1+j)|a_j| + 2|p| is at most the bound.

        Each side of each plane has an equal share, half of it for the plaquette's c, the rest for all other coefficients.
        """
        share, further = self.bound / (2.0 * len(paths)), self.reach - 1 + self.reach * (self.own + self.pair)
        first, rest = (0.5 * share, 0.5 * share / further) if further else (share, 0.0)
        loops = self._frozen(paths) if self.context else None
        staples = []
        for plane, reaches in enumerate(paths):
            rows = []
            for r, sides in enumerate(reaches):
                own = tuple(
                    _cut(self._number(params["own"][plane, r, j, ...], condition), rest / (2.0 + j))
                    for j in range(self.own)
                )
                pair = _cut(self._number(params["pair"][plane, r, ...], condition), 0.5 * rest) if self.pair else None
                pairs = []
                for side, path in enumerate(sides):
                    raw = self._number(params["rho"][plane, r, ...], condition)
                    for name, loop in loops[plane][side].items() if loops and r == 0 else ():
                        raw = raw + self._polynomial(params[name][plane, ...], loop, condition)
                    pairs.append(Staple(path, _cut(raw, rest if r else first), own, pair))
                rows.append((pairs[0], pairs[1]))
            staples.append(rows)
        return staples

    def _number(self, coefficients: Array, condition: Condition) -> Array:
        """A parameter, or its polynomial in the coupling: 0-dimensional, or `(links,)`."""
        if not self.condition:
            return coefficients
        name = self.condition[0]
        if not condition or name not in condition:
            raise ValueError(f"this flow is conditioned on {name}: pass condition={{{name!r}: ...}}")
        total: Array = 0.0
        for power in range(self.order - 1, -1, -1):
            total = (total + coefficients[power, ...]) * condition[name]
        return total

    def _spread(self, condition: Condition, batch: tuple[int, ...], lattice: Lattice) -> Condition:
        """Batch-shaped couplings as one number per active link, `(links,)`."""
        count = math.prod(masks.packed(lattice, self.direction, self.period))

        def spread(x: Array) -> Array:
            if is_number(x) or x.ndim == 0:
                return x
            xp = array_namespace(x)
            flat = xp.reshape(xp.broadcast_to(x, batch), (-1,))
            return xp.reshape(xp.broadcast_to(flat, (count, flat.shape[0])), (-1,))

        return {name: spread(x) for name, x in (condition or {}).items() if name in self.condition}

    def _polynomial(self, coefficients: Array, loop: Array, condition: Condition) -> Array:
        """sum_j s_j f^j, j = 1 ... context, with one loop f for each active link."""
        total: Array = 0.0
        for power in range(self.context - 1, -1, -1):
            total = (total + self._number(coefficients[power, ...], condition)) * loop
        return total

    def _frozen(self, paths: list[list[Sides]]) -> list[list[dict[str, Array]]]:
        """For each plane and side {"flat": f_k, "bent": g_k} of the plaquettes' staples, `(links,)`."""
        shortest = [reaches[0] for reaches in paths]
        sums, loops = [ahead + behind for ahead, behind in shortest], []
        for plane, (ahead, behind) in enumerate(shortest):
            flat = {"flat": self._overlap(ahead, behind)}
            others = [total for other, total in enumerate(sums) if other != plane]
            around = sum(others[1:], others[0]) / (2.0 * len(others)) if others else None
            loops.append(
                [flat if around is None else flat | {"bent": self._overlap(k, around)} for k in (ahead, behind)]
            )
        return loops

    def _overlap(self, a: Array, b: Array) -> Array:
        """Re tr(a b^+) / N."""
        xp = array_namespace(a)
        terms = xp.real(a) * xp.real(b) + xp.imag(a) * xp.imag(b)
        return xp.sum(terms, axis=(0, 1)) / float(self.n)

    def _loop(self, link: Array, staples: Staples) -> tuple[Array, Array | None]:
        """W = sum_k F_k P_k and G = N sum_kl F_kl dx_k dx_l^T, which is None if F is linear."""
        flat = [staple for rows in staples for sides in rows for staple in sides]
        if not self.own and not self.pair:
            terms = [scaled(staple.rho, staple.path) for staple in flat]
            return self.group.compose(link, sum(terms[1:], terms[0])), None
        loops, totals = [self.group.compose(link, staple.path) for staple in flat], []
        xp = array_namespace(link)
        traces = [xp.real(self.group.trace(loop)) / float(self.n) for loop in loops]
        slopes = [jacobian.step_of(self.group, loop) / float(self.n) for loop in loops]
        curvature: Array = 0.0
        for k, staple in enumerate(flat):
            opposite = k + 1 if k % 2 == 0 else k - 1
            force, bend = staple.rho, 0.0
            for j, a in enumerate(staple.own, start=1):
                force, bend = force + a * traces[k] ** j, bend + float(j) * a * traces[k] ** (j - 1)
            row: Any = of_rank(bend, 2) * slopes[k] if self.own else 0.0
            if staple.pair is not None:
                force, row = (
                    force + staple.pair * traces[opposite],
                    row + staple.pair * slopes[opposite],
                )
            totals.append(scaled(force, loops[k]))
            curvature = curvature + slopes[k][:, None, :] * row[None, :, :]
        return sum(totals[1:], totals[0]), float(self.n) * curvature

    def _move(self, link: Array, staples: Staples) -> tuple[Array, Array]:
        loop, own = self._loop(link, staples)
        w = jacobian.step_of(self.group, loop)
        return self.group.update(link, w), jacobian.log_det(self.group, w, loop, own)

    def _move_back(self, moved: Array, staples: Staples) -> tuple[Array, Array]:
        """Solve F(U) = U'; the last Newton step starts from a constant and carries all first derivatives."""
        group, backend = self.group, backends.of(moved)
        target, frozen = backend.stop_gradient((moved, staples))

        def fixed_point(link: Array, _: None) -> tuple[Array, None]:
            return group.update(target, -jacobian.step_of(group, self._loop(link, frozen)[0])), None

        def newton(link: Array, _: None) -> tuple[Array, None]:
            return self._newton(link, target, frozen), None

        link, _ = backend.scan(fixed_point, target, None, length=FIXED_POINT_STEPS)
        link, _ = backend.scan(newton, link, None, length=NEWTON_STEPS)
        link = self._newton(backend.stop_gradient(link), moved, staples)
        loop, own = self._loop(link, staples)
        return link, -jacobian.log_det(group, jacobian.step_of(group, loop), loop, own)

    def _newton(self, link: Array, moved: Array, staples: Staples) -> Array:
        """A Newton step: with F(U) U'^+ = e^{ir}, U <- e^{-i J^-1 r} U."""
        group, stop = self.group, backends.of(link).stop_gradient
        loop, own = self._loop(link, staples)
        w = jacobian.step_of(group, loop)
        off = group.coordinates(-1j * group.compose(group.update(link, w), group.inverse(moved)))
        curvature = None if own is None else stop(own)
        return group.update(link, -jacobian.newton(group, stop(w), stop(loop), off, curvature))

    def _lattice(self, links: Array) -> tuple[int, ...]:
        shape: Lattice = tuple(links.shape)
        if links.ndim < self.d + 3 or shape[-self.d - 3 : -self.d] != (self.d, self.n, self.n):
            wanted = f"(*batch, {self.d}, {self.n}, {self.n}, *lattice) with {self.d} lattice axes"
            raise ValueError(f"a coupling by loops wants links {wanted}, got the shape {shape}")
        masks.check_extents(shape[-self.d :], self.direction, self.period)
        return shape[-self.d :]


def _cut(x: Array, bound: float) -> Array:
    """b tanh(x / b)."""
    return bound * array_namespace(x).tanh(x / bound)
