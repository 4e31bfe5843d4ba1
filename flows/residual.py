"""Residual couplings of SU(N) links in any dimension: a step along the gradient of loops, with its exact log-determinant.

One coupling moves the links along mu = `direction` on the sites of one colour, (-1)^(sum of coordinates) = `parity`:

    U' = e^{iw} U,   w_a = -Im tr(T_a W),   W = U sum_k rho_k V_k,

V_k the 2(d-1) staples of the link, none of which holds another active link: w = -grad of -sum_k rho_k Re tr(U V_k), so
that plaquettes grow where rho > 0. The Jacobian is one (N^2-1) x (N^2-1) matrix for each link, in closed form
(flows/link_jacobian.py), the log-determinant that of this very map, not of a flow in continuous time.

The coefficients rho are smoothly bounded, |rho_k| <= bound / 2(d-1), so that R = |sum_k rho_k V_k| <= bound < 2, where the
map is invertible; the inverse, U = e^{-iw(U V)} U', starts by fixed-point steps (errors shrink by R/2) and ends by
Newton's. They may depend on the frozen loops around the link, two staples in a row:

    rho_k = b tanh([c_k + sum_j (x_kj f_k^j + y_kj g_k^j)] / b),   b = bound / 2(d-1),

f_k = Re tr(V_k V_l^+)/N with l opposite to k (a flat 1 x 2 rectangle), g_k the mean over the others (bent ones). Gauge
transformations and charge conjugation pass through the coupling.

Sources: stout links, hep-lat/0311018; trivialising flow, arXiv:0907.5491; couplings by loops, arXiv:2008.05456. Shapes:
links `(*batch, d, N, N, *lattice)`, even extents; log_det `(*batch,)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.core import evenodd
from haarflow.core.batch import spread
from haarflow.core.lattice import check_divisible
from haarflow.core.sun import SU
from haarflow.flows import link_jacobian
from haarflow.flows.flow import constant

Array = Any
Params = Any
Condition = dict[str, Any] | None

FIXED_POINT_STEPS = 3
NEWTON_STEPS = 5


@dataclass(frozen=True)
class LoopCoupling:
    """A coupling of SU(n) links along `direction` on the sites of colour `parity`, by the gradient of plaquettes.

    Parameters: "rho" `(d-1,)`, one number c for each plane, shared by the two staples in it, all `start` at first; with
    `context` = j > 0 also "flat" and, for d > 2, "bent", `(d-1, j)`, zero at first. With condition = ("beta",) each number is
    a polynomial sum_i c_i beta^i, i = 1 ... `order`, its coefficients one more axis, and `start` is c_1.
    Raises ValueError for numbers that do not fit together, for odd extents and other shapes than links'.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> flow, links = LoopCoupling(3, 2, direction=0, parity=1, start=0.1), SU(3, 2).haar
    >>> x = links(random.key(0, backend), (5, 2, 3, 3, 4, 4))
    >>> y, log_det = flow.forward(flow.init(random.key(1, backend)), x)
    >>> y.shape, log_det.shape
    ((5, 2, 3, 3, 4, 4), (5,))
    """

    n: int
    d: int
    direction: int
    parity: int
    start: float = 0.0
    bound: float = 1.0
    context: int = 0
    condition: tuple[str, ...] = ()
    order: int = 2

    symmetries = ("translation", "gauge", "charge_conjugation")

    def __post_init__(self) -> None:
        if self.d < 2 or not 0 <= self.direction < self.d or self.parity not in (0, 1):
            raise ValueError(
                f"a coupling by loops has d >= 2, a direction of 0 ... d-1 and parity 0 or 1, got d = {self.d}, direction "
                f"= {self.direction}, parity = {self.parity}"
            )
        if not 0.0 < self.bound < link_jacobian.LIMIT:
            raise ValueError(
                f"the bound on |sum rho V| lies between 0 and {link_jacobian.LIMIT}, where the map is invertible, "
                f"got {self.bound}"
            )
        if self.context < 0 or self.order < 1 or len(self.condition) > 1:
            raise ValueError(
                f"context counts powers of loops, order powers of one coupling: context >= 0, order >= 1 and at most one "
                f"name wanted, got {self.context}, {self.order}, {self.condition}"
            )
        SU(self.n, self.d)

    @property
    def group(self) -> SU:
        """The group of the links."""
        return SU(self.n, self.d)

    @property
    def periods(self) -> tuple[int, ...]:
        """The checkerboard's period along every axis."""
        return (2,) * self.d

    def moves(self, lattice: tuple[int, ...]) -> numpy.ndarray:
        """Return on the host which links `(d, *lattice)` move."""
        colour = sum(numpy.indices(tuple(lattice))) % 2 == self.parity
        return numpy.stack([colour & (mu == self.direction) for mu in range(self.d)])

    def init(self, key: Array, dtype: str = "float64") -> Params:
        """Return the start: rho = `start` (times beta where that is the condition) whatever surrounds the link."""
        powers = (self.order,) if self.condition else ()
        planes = self.d - 1
        rho = constant(key, self.start, (planes, *powers), dtype)
        if self.condition:
            xp = array_namespace(rho)
            rho = xp.concat([rho[:, :1], xp.zeros_like(rho[:, 1:])], axis=1)
        words = () if not self.context else ("flat",) if planes == 1 else ("flat", "bent")
        shape = (planes, self.context, *powers)
        return {"rho": rho} | {word: constant(key, 0.0, shape, dtype) for word in words}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the active links along the gradient of their plaquettes."""
        return self._apply(self._move, params, x, condition)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the active links back, to rounding."""
        return self._apply(self._move_back, params, y, condition)

    def _apply(self, move: Any, params: Params, links: Array, condition: Condition) -> tuple[Array, Array]:
        xp, d, mu = array_namespace(links), self.d, self.direction
        lattice, parts = self._lattice(links), (slice(None),) * (2 + d)
        colours = [[half[(..., nu, *parts)] for nu in range(d)] for half in evenodd.split(links, lattice)]
        here, there = colours[self.parity], colours[1 - self.parity]
        left = evenodd.masks(links, lattice)[self.parity, ...]
        staples = self._staples(here, there, left)
        around = self._combined(params, staples, condition, links)
        moved, log_det = move(here[mu], around)
        here[mu] = moved
        even, odd = (xp.stack(half, axis=-d - 3) for half in colours)
        return evenodd.merge(even, odd, lattice), xp.sum(log_det, axis=tuple(range(-d, 0)))

    def _staples(self, here: list[Array], there: list[Array], left: Array) -> list[tuple[Array, Array]]:
        """For each plane the staples ahead and behind, `(*batch, N, N, *lattice')` on the active sites."""
        found, mu, group = [], self.direction, self.group
        for nu in range(self.d):
            if nu == mu:
                continue
            far, top = evenodd.hop(there[nu], mu, self.d, 1, left), evenodd.hop(there[mu], nu, self.d, 1, left)
            ahead = group.compose(far, group.inverse(group.compose(here[nu], top)))
            below = group.compose(there[mu], evenodd.hop(here[nu], mu, self.d, 1, ~left))
            behind = evenodd.hop(group.compose(group.inverse(below), there[nu]), nu, self.d, -1, left)
            found.append((ahead, behind))
        return found

    def _combined(self, params: Params, staples: list, condition: Condition, links: Array) -> Array:
        """V = sum_k rho_k V_k."""
        rest, total = (slice(None),) * self.d, []
        share = self.bound / (2.0 * len(staples))
        xp = array_namespace(links)
        bases, loops = self._numbers(params["rho"], condition), self._loops(staples) if self.context else None
        for plane, pair in enumerate(staples):
            for side, staple in enumerate(pair):
                raw = bases[plane]
                for word, powers in loops[plane][side].items() if loops else ():
                    raw = raw + self._polynomial(params[word][plane, ...], powers, condition)
                rho = share * xp.tanh(raw / share)
                total.append(staple * (rho[(..., None, None, *rest)] if rho.ndim >= self.d else rho))
        return sum(total[1:], total[0])

    def _numbers(self, coefficients: Array, condition: Condition) -> list[Array]:
        """One number of each row, without axes or `(*batch, 1, ..., 1)` with lattice axes."""
        rows = [coefficients[row, ...] for row in range(coefficients.shape[0])]
        if not self.condition:
            return rows
        if not condition or self.condition[0] not in condition:
            name = self.condition[0]
            raise ValueError(f"this flow is conditioned on {name}: pass condition={{{name!r}: ...}}")
        coupling = spread(condition[self.condition[0]], self.d)
        totals = []
        for row in rows:
            total: Any = 0.0
            for power in range(self.order - 1, -1, -1):
                total = (total + row[power, ...]) * coupling
            totals.append(total)
        return totals

    def _polynomial(self, coefficients: Array, loop: Array, condition: Condition) -> Array:
        """sum_j x_j f^j, f one loop for each active link."""
        total: Any = 0.0
        for number in reversed(self._numbers(coefficients, condition)):
            total = (total + number) * loop
        return total

    def _loops(self, staples: list[tuple[Array, Array]]) -> list[list[dict[str, Array]]]:
        """For each plane and side the real traces of frozen loops: {"flat": f_k, "bent": g_k}, `(*batch, *lattice')`."""
        sums, found = [ahead + behind for ahead, behind in staples], []
        for plane, (ahead, behind) in enumerate(staples):
            flat = {"flat": self._overlap(ahead, behind)}
            others = [total for other, total in enumerate(sums) if other != plane]
            around = sum(others[1:], others[0]) / (2.0 * len(others)) if others else None
            found.append(
                [flat if around is None else flat | {"bent": self._overlap(k, around)} for k in (ahead, behind)]
            )
        return found

    def _overlap(self, a: Array, b: Array) -> Array:
        """Re tr(a b^+) / N."""
        xp = array_namespace(a)
        terms = xp.real(a) * xp.real(b) + xp.imag(a) * xp.imag(b)
        return xp.sum(terms, axis=(-self.d - 2, -self.d - 1)) / float(self.n)

    def _move(self, link: Array, around: Array) -> tuple[Array, Array]:
        loop = self.group.compose(link, around)
        w = link_jacobian.step_of(self.group, loop)
        return self.group.update(link, w), link_jacobian.log_det(self.group, w, loop)

    def _move_back(self, moved: Array, around: Array) -> tuple[Array, Array]:
        """Solve F(U) = U'; the last of Newton's steps starts from a constant and carries all first derivatives."""
        group, backend = self.group, backends.of(moved)
        target, frozen = backend.stop_gradient((moved, around))

        def fixed_point(link: Array, _: Any) -> tuple[Array, None]:
            return group.update(target, -link_jacobian.step_of(group, group.compose(link, frozen))), None

        def newton(link: Array, _: Any) -> tuple[Array, None]:
            return self._newton(link, target, frozen), None

        link, _ = backend.scan(fixed_point, target, None, length=FIXED_POINT_STEPS)
        link, _ = backend.scan(newton, link, None, length=NEWTON_STEPS)
        link = self._newton(backend.stop_gradient(link), moved, around)
        loop = group.compose(link, around)
        return link, -link_jacobian.log_det(group, link_jacobian.step_of(group, loop), loop)

    def _newton(self, link: Array, moved: Array, around: Array) -> Array:
        """One step of Newton's: with F(U) U'^+ = e^{ir}, U <- e^{-i J^-1 r} U."""
        group = self.group
        loop = group.compose(link, around)
        w = link_jacobian.step_of(group, loop)
        off = group.coordinates(-1j * group.compose(group.update(link, w), group.inverse(moved)))
        still_w, still_loop = backends.of(link).stop_gradient((w, loop))
        return group.update(link, -link_jacobian.newton(group, still_w, still_loop, off))

    def _lattice(self, links: Array) -> tuple[int, ...]:
        shape = tuple(links.shape)
        if links.ndim < self.d + 3 or shape[-self.d - 3 : -self.d] != (self.d, self.n, self.n):
            wanted = f"(*batch, {self.d}, {self.n}, {self.n}, *lattice) with {self.d} lattice axes"
            raise ValueError(f"a coupling by loops wants links {wanted}, got the shape {shape}")
        for axis in range(self.d):
            check_divisible(shape[-self.d :], axis, 2)
        return shape[-self.d :]
