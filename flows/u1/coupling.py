"""Gauge-equivariant couplings of U(1) links in any dimension.

One layer moves the active links of a mask (flows/masks.py), one in each active loop W, by the change of that loop:

    W -> h(W | frozen loops),   theta_mu(x) -> theta_mu(x) + [h(W) - W],   log_det = sum over active links of log h'(W),

with a circle map h (flows/u1/circle_maps.py) whose raw parameters are the output of a periodic convolutional net on cosines
and sines of frozen loops. W and its context are gauge invariant, so that the layer is gauge equivariant. The loop is a
plaquette P_mu,nu or a larger rectangle that contains one active link; other loops with active links are passive.

Sources: arXiv:2003.06413, eqs. 8 to 12; arXiv:2101.08176, section 4. Shapes: links `(*batch, d, *lattice)`, angles;
log_det `(*batch,)`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy
from array_api_compat import array_namespace, device

from haarflow import backends
from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core.groups.additive import wrap
from haarflow.core.lattice import loops
from haarflow.flows import masks
from haarflow.flows.nets import ConvNet, check_net_precision
from haarflow.flows.u1 import far_context
from haarflow.flows.u1.circle_maps import Map, circle_map


@dataclass(frozen=True)
class GaugeCoupling:
    """A gauge-equivariant coupling layer.

    `mask` and the loops are the tuples of flows/masks.py; `context` lists the frozen loops around each active link that
    enter the net; `active` is the loop that is mapped, by default the plaquette P_mu,nu at the link. The net acts on the
    active sublattice with kernels of odd extents `kernel`; its input is cos and sin of 1 to `harmonics` times each angle.
    `on_lattice=True` runs it on the whole lattice instead, on frozen plaquettes with zero angles elsewhere (the published
    architecture). `dilations`, one for each layer, make kernels sums along the axes whose taps are that far apart
    (flows/nets.py); with `winding=True` the net sees besides the winding lines and the charge of the frozen loops
    (flows/u1/far_context.py), in two dimensions and for stripes. `tied=True` makes the kernels even along every axis except the mask's plane: these are the reflections
    that the mask allows (combined with charge conjugation). `condition` names couplings that enter the net;
    `net_precision="float32"` computes the net in single precision, everything else in the field's precision. Raises
    ValueError for a mask and loops that do not fit together.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.masks import frozen_loops
    >>> mask = ("stripes", 0, 1, 4, 0)
    >>> flow = GaugeCoupling(2, mask, frozen_loops(mask, 2, [(1, 1)]))
    >>> params = flow.init(random.key(0, backend))
    >>> y, log_det = flow.forward(params, backend.xp.zeros((5, 2, 8, 8)))
    >>> y.shape, log_det.shape
    ((5, 2, 8, 8), (5,))
    """

    d: int
    mask: masks.Mask
    context: tuple[masks.Loop, ...] = ()
    map: str = "spline"
    pieces: int = 8
    hidden: tuple[int, ...] = (16,)
    kernel: int | tuple[int, ...] = 1
    active: masks.Loop | tuple[()] = ()
    harmonics: int = 1
    activation: str = "silu"
    final_scale: float = 1.0
    on_lattice: bool = False
    tied: bool = False
    condition: tuple[str, ...] = ()
    net_precision: str = "field"
    dilations: tuple[int, ...] = ()
    winding: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "dilations", tuple(self.dilations))
        mask = masks.check_mask(self.mask, self.d)
        circle_map(self.map)
        check_net_precision(self.net_precision)
        if masks.active_count(self.loop, mask, self.d) != 1:
            raise ValueError(f"an active loop contains exactly one active link of {tuple(mask)}, got {self.loop}")
        for loop in self.context:
            if masks.contains_active(loop, mask, self.d):
                raise ValueError(f"context loops are frozen, but {loop} contains an active link of {tuple(mask)}")
        if self.tied and not all(_even(loop, mask, self.d) for loop in self.context):
            raise ValueError("tied kernels need context loops in the mask's plane, symmetric about the active link")
        if self.winding and (self.d != 2 or mask.kind != "stripes" or self.on_lattice):
            raise ValueError(
                "winding lines and charge enter nets on the active sublattice of stripes in two dimensions, "
                f"got {mask.kind} in {self.d} dimensions" + ", nets on the whole lattice" * self.on_lattice
            )
        _ = self.net

    @property
    def symmetries(self) -> tuple[str, ...]:
        """Gauge transformations and the translations of the mask."""
        return ("translation", "gauge")

    @property
    def periods(self) -> tuple[int, ...]:
        """The mask's period along each axis."""
        return masks.periods(masks.LinkMask(*self.mask), self.d)

    def moves(self, lattice: tuple[int, ...]) -> numpy.ndarray:
        """Return on the host which links `(d, *lattice)` move."""
        return masks.moving(masks.LinkMask(*self.mask), self.d, lattice)

    @property
    def loop(self) -> masks.Loop:
        """The loop that is mapped."""
        mask = masks.LinkMask(*self.mask)
        return self.active or ((mask.direction, mask.plane), (1, 1), (0,) * self.d)

    @property
    def net(self) -> ConvNet:
        """The context net, from features to the raw parameters of the circle map."""
        angles = 1 if self.on_lattice else len(self.context)
        inputs = max(2 * self.harmonics * angles, 1) + far_context.FEATURES * self.winding
        return ConvNet(
            self.d,
            (inputs, *self.hidden, circle_map(self.map).channels(self.pieces)),
            self.kernel,
            self.activation,
            condition=self.condition,
            final_scale=self.final_scale,
            net_precision=self.net_precision,
            separated=bool(self.dilations),
            dilations=self.dilations,
        )

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the net's parameters, with the circle map's initial values added to the last biases."""
        return {"net": with_start(self.net.init(key, dtype), self.map, self.pieces)}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the active links and return log_det of the whole field.

        Raises ValueError for a field that is not `(*batch, d, *lattice)` and for extents not divisible by the mask's periods.
        """
        return self._move(circle_map(self.map).forward, params, x, condition)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the active links back."""
        return self._move(circle_map(self.map).inverse, params, y, condition)

    def _move(self, h: Map, params: Params, links: Array, condition: Condition) -> tuple[Array, Array]:
        self._check(links)
        mask, d = masks.LinkMask(*self.mask), self.d
        flux = _flux(links, self.loop, mask, d)
        raw = self._raw(params, links, condition)
        moved, log_slope = h(flux, raw, -d - 1)
        link = masks.active_sites(loops.direction(links, mask.direction, d), mask, d)
        change = wrap(link + wrap(moved - flux)) - link
        links = masks.move_links(links, change, mask, d)
        return links, array_namespace(links).sum(log_slope, axis=tuple(range(-d, 0)))

    def _raw(self, params: Params, links: Array, condition: Condition) -> Array:
        weights = params["net"]
        if self.tied:
            weights = {name: self._even_kernel(name, w) for name, w in weights.items()}
        mask, features = masks.LinkMask(*self.mask), self._features(links)
        if self.winding:
            features = array_namespace(links).concat([features, far_context.features(links, mask)], axis=-1 - self.d)
        raw = self.net.apply(weights, features, condition)
        return masks.active_sites(raw, mask, self.d) if self.on_lattice else raw

    def _features(self, links: Array) -> Array:
        """Cosines and sines of the context's angles, `(*batch, channel, *coarse)`; a constant where there is none."""
        xp, d, mask = array_namespace(links), self.d, masks.LinkMask(*self.mask)
        if self.on_lattice:
            return _harmonics(xp.expand_dims(self._frozen_plaquettes(links), axis=-1 - d), self.harmonics, d)
        if not self.context:
            flux = _flux(links, self.loop, mask, d)
            return xp.expand_dims(xp.ones_like(flux), axis=-1 - d)
        angles = xp.stack([_flux(links, loop, mask, d) for loop in self.context], axis=-1 - d)
        return _harmonics(angles, self.harmonics, d)

    def _frozen_plaquettes(self, links: Array) -> Array:
        """The context's plaquettes on the whole lattice, zero elsewhere."""
        d, mask = self.d, masks.LinkMask(*self.mask)
        period, offset = masks.periods(mask, d), masks.offsets(mask, d)
        corners = [tuple(o + s for o, s in zip(offset, loop[2], strict=True)) for loop in self.context]
        parts = [
            masks.spread(_flux(links, loop, mask, d), period, at)
            for loop, at in zip(self.context, corners, strict=True)
        ]
        return sum(parts[1:], parts[0])

    def _even_kernel(self, name: str, w: Array) -> Array:
        """A kernel averaged over the reflections along every axis except the mask's plane; biases are left unchanged."""
        if name.startswith("w"):
            for axis in range(self.d):
                if axis != self.mask[2]:
                    w = 0.5 * (w + array_namespace(w).flip(w, axis=axis - self.d))
        return w

    def _check(self, links: Array) -> None:
        if links.ndim < self.d + 1 or links.shape[-self.d - 1] != self.d:
            wanted = f"(*batch, {self.d}, *lattice) with {self.d} lattice axes"
            raise ValueError(f"a gauge coupling wants links {wanted}, got the shape {tuple(links.shape)}")
        masks.check_extents(masks.LinkMask(*self.mask), tuple(links.shape[-self.d :]))


def with_start(net: Params, map: str, pieces: int) -> Params:
    """Return a net's parameters with the initial values of its circle map added to the last biases.

    >>> import numpy as np
    >>> with_start({"b0": np.zeros(5)}, "moebius_pairs", 1)["b0"].tolist()
    [0.5, -0.5, 0.0, 0.0, 0.0]
    """
    start, last = circle_map(map).start(pieces), f"b{sum(name.startswith('b') for name in net) - 1}"
    if not start:
        return net
    bias = net[last]
    return net | {last: bias + array_namespace(bias).asarray(start, dtype=bias.dtype, device=device(bias))}


def _flux(links: Array, loop: masks.Loop, mask: masks.LinkMask, d: int) -> Array:
    """The angle of a loop seen from each active site, `(*batch, *coarse)`."""
    (rho, sigma), extents, displacement = loop
    corner = tuple(offset + step for offset, step in zip(masks.offsets(mask, d), displacement, strict=True))
    return masks.extract(loops.rectangle(links, rho, sigma, extents, d), masks.periods(mask, d), corner)


def _harmonics(angles: Array, harmonics: int, d: int) -> Array:
    """cos and sin of 1 to `harmonics` times the angles, channels concatenated; multiples by the addition theorem."""
    xp = array_namespace(angles)
    sine, cosine = backends.of(angles).sincos(angles)
    rows, s, c = [cosine, sine], sine, cosine
    for _ in range(harmonics - 1):
        s, c = s * cosine + c * sine, c * cosine - s * sine
        rows += [c, s]
    return xp.concat(rows, axis=-1 - d)


def _even(loop: masks.Loop, mask: masks.LinkMask, d: int) -> bool:
    """Whether a loop is invariant under the reflections about the active link along all axes except the mask's plane."""
    plane, extents, displacement = loop
    centred = 2 * displacement[mask.direction] + extents[0] - 1 == 0
    others = all(displacement[axis] == 0 for axis in range(d) if axis not in (mask.direction, mask.plane))
    return mask.kind == "stripes" and tuple(plane) == (mask.direction, mask.plane) and centred and others
