"""Spectral couplings of SU(2) and SU(3) links in any dimension: maps of a plaquette's eigenvalues, not its eigenvectors.

One coupling moves the active links of a mask (flows/masks.py), each by the change of its plaquette in the mask's plane,

    P = U_mu(x) V,    P -> P' = h(P),    U_mu(x) -> P' P^+ U_mu(x),    log_det = sum over active links of log |dP'/dP|,

with a class map h: P = W diag(e^{i theta}) W^+ -> W diag(e^{i theta'}) W^+. Both theta and theta' lie in the canonical cell,
so that h commutes with conjugations and with permutations of the eigenvalues. In the cell's coordinates (core/groups/weyl_cell.py)
it consists of r -> r' and v -> v' given r', monotone rational-quadratic splines with raw parameters from a periodic net on

    Re tr L^k / N,    k = 1 ... harmonics,    of frozen loops L,

which are real and gauge invariant, so that the layer commutes with gauge transformations and charge conjugation. If all raw
parameters vanish it is the identity. With `start` > 0 a class map from Haar measure to e^{kappa Re tr P / N} comes first
(flows/sun/class_maps.py), with a learnt kappa that starts at `start`.

For a mask ("stripes", mu, nu, p, offset), U_mu and P_mu,nu at x_nu = offset modulo p are active. Passive, that is changed as a
consequence, are P_mu,nu at x_nu = offset - 1 and all P_mu,rho, rho not nu, with x_nu = offset, which contain two active
links. All others are frozen: P_mu,nu elsewhere (p >= 3), P_mu,rho elsewhere, and planes without mu; only frozen loops may
be context.

Source: arXiv:2008.05456, sections III and IV. Shapes: links `(*batch, d, N, N, *lattice)`; log_det `(*batch,)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core.groups import eigenframes, weyl_cell
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import loops
from haarflow.flows import masks
from haarflow.flows.flow import constant
from haarflow.flows.nets import ConvNet
from haarflow.flows.sun import class_maps, spectral_maps


@dataclass(frozen=True)
class SpectralCoupling:
    """A gauge-equivariant coupling of SU(n) links, n = 2 or 3, by the eigen-angles of plaquettes.

    `mask` and `context`, the loops around each active link that enter the net, are the tuples of flows/masks.py; each
    spline has `bins` bins; `hidden`, `kernel` and `separated` belong to the net, which acts on the active sublattice;
    `condition` names couplings that enter it. Parameters: "net", and "tilt" if `start` > 0. Raises ValueError for other n, for a mask and
    loops that do not fit together, for extents not divisible by the mask's period, and for fields of another shape.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.masks import frozen_loops
    >>> mask = ("stripes", 0, 1, 4, 0)
    >>> flow = SpectralCoupling(3, 2, mask, frozen_loops(mask, 2, [(1, 1)]))
    >>> x = SU(3, 2).haar(random.key(0, backend), (5, 2, 3, 3, 4, 4))
    >>> y, log_det = flow.forward(flow.init(random.key(1, backend)), x)
    >>> y.shape, log_det.shape
    ((5, 2, 3, 3, 4, 4), (5,))
    """

    n: int
    d: int
    mask: masks.Mask
    context: tuple[masks.Loop, ...] = ()
    bins: int = 4
    hidden: tuple[int, ...] = (16,)
    kernel: int | tuple[int, ...] = 1
    harmonics: int = 2
    start: float = 0.0
    activation: str = "silu"
    final_scale: float = 1.0
    condition: tuple[str, ...] = ()
    separated: bool = False

    symmetries = ("translation", "gauge", "charge_conjugation")

    def __post_init__(self) -> None:
        weyl_cell.check_rank(self.n)
        mask = masks.check_mask(self.mask, self.d)
        for loop in self.context:
            if masks.contains_active(loop, mask, self.d):
                raise ValueError(f"context loops are frozen, but {loop} contains an active link of {tuple(mask)}")
        if self.bins < 1 or self.harmonics < 1 or not self.start >= 0.0:
            raise ValueError(
                f"bins >= 1, harmonics >= 1 and start >= 0 wanted, got {self.bins}, {self.harmonics}, {self.start}"
            )

    @property
    def group(self) -> SU:
        """The group of the links."""
        return SU(self.n, self.d)

    @property
    def periods(self) -> tuple[int, ...]:
        """The mask's period along each axis."""
        return masks.periods(masks.LinkMask(*self.mask), self.d)

    def moves(self, lattice: tuple[int, ...]) -> numpy.ndarray:
        """Return on the host which links `(d, *lattice)` move."""
        return masks.moving(masks.LinkMask(*self.mask), self.d, lattice)

    @property
    def net(self) -> ConvNet:
        """The context net, from traces of loops to the raw parameters of the splines."""
        channels = (
            max(self.harmonics * len(self.context), 1),
            *self.hidden,
            spectral_maps.channels(self.n, self.bins),
        )
        return ConvNet(
            self.d,
            channels,
            self.kernel,
            self.activation,
            condition=self.condition,
            final_scale=self.final_scale,
            separated=self.separated,
        )

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the net's parameters, and that of the class map which starts at `start`."""
        net = {"net": self.net.init(key, dtype)}
        if not self.start:
            return net
        return net | {
            "tilt": constant(key, self.start - 0.25 / self.start, (), dtype)
        }  # so that `positive` gives start

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the active links and return log_det of the whole field."""
        return self._move("forward", params, x, condition)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the active links back, in closed form."""
        return self._move("inverse", params, y, condition)

    def _move(self, direction: str, params: Params, links: Array, condition: Condition) -> tuple[Array, Array]:
        """Matrices of the active sites are `(N, N, sites)`, the batch among the sites: rows long enough to compute with."""
        self._check(links)
        xp, group, mask = array_namespace(links), SU(self.n, 1), masks.LinkMask(*self.mask)
        keep, batch = backends.of(links).materialise, tuple(links.shape[: -self.d - 3])
        link, loop = self._link_and_loop(links, mask, group)
        frame = eigenframes.frame_of(loop, 1)
        old = [keep(x) for x in weyl_cell.coordinates(frame.angles)]
        raw = keep(self._flat(self._raw(params, links, condition), 1))
        new, log_slope = self._mapped(direction, params, old, raw)
        before, after = (weyl_cell.angles_at([keep(x) for x in part]) for part in (old, new))
        moved = eigenframes.rebuilt(frame, before, after, 1)
        moved = group.compose(keep(group.compose(moved, group.inverse(loop))), link)
        steps = zip(links.shape[-self.d :], masks.periods(mask, self.d), strict=True)
        moved = xp.reshape(moved, (self.n, self.n, -1, *(extent // step for extent, step in steps)))
        moved = xp.reshape(
            xp.permute_dims(moved, (2, 0, 1, *range(3, 3 + self.d))), (*batch, *moved.shape[:2], *moved.shape[3:])
        )
        log_det = xp.sum(xp.reshape(log_slope, (math.prod(batch), -1)), axis=1)
        return self._replaced(links, moved, mask), xp.reshape(log_det, batch)

    def _link_and_loop(self, links: Array, mask: masks.LinkMask, group: SU) -> tuple[Array, Array]:
        """The active links and their plaquettes, flat."""
        keep, mu, nu = backends.of(links).materialise, mask.direction, mask.plane

        def at(direction: int, ahead: int | None = None) -> Array:
            corner = tuple(o + (axis == ahead) for axis, o in enumerate(masks.offsets(mask, self.d)))
            field = loops.direction(links, direction, self.d, self.group)
            return keep(self._flat(masks.extract(field, masks.periods(mask, self.d), corner), 2))

        link = at(mu)
        return link, keep(group.quotient(group.compose(link, at(nu, mu)), group.compose(at(nu), at(mu, nu))))

    def _flat(self, x: Array, internal: int) -> Array:
        """`(*batch, *internal, *coarse)` as `(*internal, batch and sites)`."""
        xp, axes = array_namespace(x), tuple(x.shape[x.ndim - self.d - internal : x.ndim - self.d])
        rows = xp.reshape(x, (-1, *axes, math.prod(x.shape[-self.d :])))
        return xp.reshape(xp.permute_dims(rows, (*range(1, internal + 1), 0, internal + 1)), (*axes, -1))

    def _mapped(
        self, direction: str, params: Params, coordinates: list[Array], raw: Array
    ) -> tuple[list[Array], Array]:
        """The class map followed by the splines; the inverse in reverse order."""

        def tilted(coordinates: list[Array]) -> tuple[list[Array], Array]:
            if not self.start:
                return coordinates, 0.0 * coordinates[0]
            return class_maps.tilt(direction, coordinates, spectral_maps.positive(params["tilt"]))

        def bent(coordinates: list[Array]) -> tuple[list[Array], Array]:
            return spectral_maps.bend(direction, coordinates, raw, self.bins, -2)

        first, second = (tilted, bent) if direction == "forward" else (bent, tilted)
        keep = backends.of(raw).materialise  # what is fused into every consumer compiles for minutes in a gradient
        coordinates, one = first(coordinates)
        coordinates, other = second([keep(x) for x in coordinates])
        return coordinates, one + other

    def _raw(self, params: Params, links: Array, condition: Condition) -> Array:
        """The net's raw parameters `(*batch, channel, *coarse)` from traces of the context's loops."""
        xp, d, mask, group = array_namespace(links), self.d, masks.LinkMask(*self.mask), self.group
        if not self.context:
            like = masks.active_sites(xp.real(links[(..., 0, 0, 0) + (slice(None),) * d]), mask, d)
            return self.net.apply(params["net"], xp.expand_dims(xp.ones_like(like), axis=-1 - d), condition)
        fields = {
            (plane, extents): self._traces(loops.rectangle(links, *plane, extents, d, group))
            for plane, extents in dict.fromkeys(loop[:2] for loop in self.context)
        }
        traces, period = [], masks.periods(mask, d)
        for plane, extents, displacement in self.context:
            corner = tuple(o + step for o, step in zip(masks.offsets(mask, d), displacement, strict=True))
            traces += [masks.extract(trace, period, corner) for trace in fields[plane, extents]]
        return self.net.apply(params["net"], xp.stack(traces, axis=-1 - d), condition)

    def _traces(self, loop: Array) -> list[Array]:
        """Re tr L^k / N for k = 1 ... harmonics."""
        xp, group, powers = array_namespace(loop), self.group, [loop]
        for _ in range(self.harmonics - 1):
            powers.append(group.compose(powers[-1], loop))
        return [xp.real(group.trace(power)) / float(self.n) for power in powers]

    def _replaced(self, links: Array, new: Array, mask: masks.LinkMask) -> Array:
        """The links with the active ones replaced."""
        xp, d = array_namespace(links), self.d
        full = masks.spread(new, masks.periods(mask, d), masks.offsets(mask, d))
        on = masks.spread(xp.ones_like(xp.real(new)), masks.periods(mask, d), masks.offsets(mask, d)) > 0.5
        fields = [loops.direction(links, mu, d, self.group) for mu in range(d)]
        fields[mask.direction] = xp.where(on, full, fields[mask.direction])
        return xp.stack(fields, axis=-3 - d)

    def _check(self, links: Array) -> None:
        wanted = (self.d, self.n, self.n)
        if links.ndim < self.d + 3 or tuple(links.shape[-self.d - 3 : -self.d]) != wanted:
            shape = f"(*batch, {self.d}, {self.n}, {self.n}, *lattice) with {self.d} lattice axes"
            raise ValueError(f"a spectral coupling wants links {shape}, got the shape {tuple(links.shape)}")
        masks.check_extents(masks.LinkMask(*self.mask), tuple(links.shape[-self.d :]))
