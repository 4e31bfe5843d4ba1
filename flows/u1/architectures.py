"""Named flows of U(1) gauge fields: each constructor takes a lattice and returns `Model(UniformLinks(lattice), flow)`.

- `tutorial`: as published in arXiv:2101.08176, stripes of period 4 and mixtures of non-compact projections.
- `stripes`: the published masks in another order, with larger loops as context.
- `convolutional`: from coarse to fine. Each coupling divides the flux of a rectangle between its two halves, conditioned
  on the Wilson loop of the rectangle, which contains no active link; the halves are divided next, everywhere at once.
- `sweep_couplings`: the couplings of `stripes` with nets that see far, on top of the sampler of pure gauge theory.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from haarflow.core.lattice.loops import planes
from haarflow.flows.flow import Chain, Model, Repeat, Translate
from haarflow.flows.images import Images
from haarflow.flows.masks import frozen_loops
from haarflow.flows.priors import UniformLinks
from haarflow.flows.u1.coupling import GaugeCoupling
from haarflow.flows.u1.sweep import sweep


def tutorial(
    lattice: tuple[int, ...],
    layers: int = 16,
    components: int = 2,
    hidden: tuple[int, ...] = (8, 8),
    net_precision: str = "field",
) -> Model:
    """Return the model of arXiv:2101.08176, section 4: on L = 8, beta = 2 its acceptance is 0.2 to 0.3.

    Stripes of period 4 in both directions in turn, nets of two hidden layers on cos and sin of frozen plaquettes,
    kernels 3 x 3, leaky ReLU. Two layers, one in each direction, are followed by a translation of the field by one site,
    which replaces the masks' offsets 0, 1, 2, 3: all layers share one compiled program. In total the field is translated by
    layers/2 sites. Raises ValueError for an odd number of layers, and at first use for extents not divisible by 4.

    >>> tutorial((8, 8)).flow.n
    8
    """
    if layers % 2 or layers < 2:
        raise ValueError(f"layers come in pairs, one for each direction: an even number >= 2 wanted, got {layers}")
    layer = partial(_tutorial_layer, components=components, hidden=hidden, net_precision=net_precision)
    pair = (layer(0), layer(1), Translate((-1, -1), 1))
    return Model(UniformLinks(tuple(lattice)), Repeat(Chain(pair), layers // 2))


def _tutorial_layer(mu: int, components: int, hidden: tuple[int, ...], net_precision: str) -> GaugeCoupling:
    mask = ("stripes", mu, 1 - mu, 4, 0)
    return GaugeCoupling(
        2,
        mask,
        frozen_loops(mask, 2, [(1, 1)]),
        map="noncompact",
        pieces=components,
        hidden=hidden,
        kernel=3,
        activation="leaky_relu",
        on_lattice=True,
        net_precision=net_precision,
    )


def stripes(
    lattice: tuple[int, ...],
    rounds: int = 2,
    period: int = 4,
    extents: tuple[tuple[int, int], ...] = ((1, 1), (1, 2), (1, 3)),
    **options: Any,
) -> Model:
    """Return a variant of the published model in two dimensions.

    Each round updates every link once, first those along one direction, then the others. Within a direction the stripes
    follow each other such that a coupling moves flux into the plaquettes that are mapped next. The context consists of all
    frozen loops of the `extents`, among them the rectangle around the active link. `options` are those of `GaugeCoupling`.

    >>> len(stripes((8, 8)).flow.flows)
    4
    """
    options = {"map": "moebius", "pieces": 4, "hidden": (16,), "kernel": (3, 1), "final_scale": 0.1, **options}
    return Model(UniformLinks(tuple(lattice)), Chain(_passes(rounds, period, extents, options)))


def _passes(
    rounds: int, period: int, extents: tuple[tuple[int, int], ...], options: dict[str, Any]
) -> tuple[Repeat, ...]:
    """Couplings of all links, one direction after the other, `rounds` times."""
    passes = []
    for mu in (0, 1) * rounds:
        mask = ("stripes", mu, 1 - mu, period, 0)
        coupling = GaugeCoupling(2, mask, frozen_loops(mask, 2, extents), **options)
        passes.append(Repeat(Chain((coupling, Translate((mu, 1 - mu), 1))), period))
    return tuple(passes)


def sweep_couplings(
    lattice: tuple[int, ...],
    beta: float,
    rounds: int = 2,
    period: int = 4,
    extents: tuple[tuple[int, int], ...] = ((1, 1), (1, 2)),
    bins: int = 16,
    harmonics: int = 8,
    images: tuple[int, ...] = (),
    reflected: tuple[int, ...] = (),
    **options: Any,
) -> Model:
    """Return couplings on top of the sweep flow, which starts as the sampler of pure gauge theory at `beta`.

    The couplings are those of `stripes`; their nets see far, by kernels with taps 1, 2, 3 sites apart, winding lines and the
    charge, and start at zero, so that the whole flow starts as pure gauge theory. `bins` and `harmonics` are those of the
    sweep, `options` those of `GaugeCoupling`; the density is averaged over `images` and the reflections of the axes
    `reflected` (flows/images.py). Raises ValueError unless the lattice has two axes.

    >>> sweep_couplings((8, 8), beta=2.0, rounds=1).flow.flows[0].start
    2.0
    """
    hidden = options.pop("hidden", (16, 16))
    far = {"kernel": 3, "dilations": tuple(range(1, len(hidden) + 2)), "winding": True, "final_scale": 0.0}
    options = {"map": "spline", "pieces": 8, "hidden": hidden, **far, **options}
    prior = sweep(lattice, bins, harmonics, plaquette=1, start=beta)
    flow = Chain((prior.flow, *_passes(rounds, period, extents, options)))
    return Model(prior.prior, flow, Images(images or (0, 0), reflected) if images or reflected else None)


def convolutional(
    lattice: tuple[int, ...], block: int = 4, depth: int = 2, conditioned: bool = True, **options: Any
) -> Model:
    """Return the coarse-to-fine model: depth x log2(block^2) couplings for each plane, in any dimension.

    `block` is a power of two that divides the extents; `options` are those of `GaugeCoupling` (map, pieces, hidden,
    harmonics, kernel, condition); `depth` is the number of consecutive couplings for each division; with
    `conditioned=False` the rectangle's loop does not enter the net. In two dimensions only the flux of a whole block keeps
    its prior, and its exact density is uniform up to (I_1/I_0)^(block^2): 0.003 for beta = 2 and block 4, 0.007 for
    beta = 7 and block 8. Raises ValueError for another block.

    >>> [flow.mask[0] for flow in convolutional((8, 8), depth=1).flow.flows]
    ['cells', 'cells', 'cells', 'stripes']
    """
    if block < 2 or block & (block - 1):
        raise ValueError(f"a block is a power of two >= 2, got {block}")
    options = {"map": "moebius_pairs", "pieces": 2, "hidden": (16,), "harmonics": 3, "final_scale": 0.1, **options}
    d = len(lattice)
    flows = [split for plane in planes(d) for split in _splits(d, plane, block, options) for _ in range(depth)]
    if not conditioned:
        flows = [replace(flow, context=()) for flow in flows]
    return Model(UniformLinks(tuple(lattice)), Chain(tuple(flows)))


def _splits(d: int, plane: tuple[int, int], block: int, options: dict[str, Any]) -> list[GaugeCoupling]:
    """Couplings that halve a block x block rectangle of the plane repeatedly, down to plaquettes."""
    extent, flows, across = {plane[0]: block, plane[1]: block}, [], plane[1]
    while max(extent.values()) > 1:
        along = plane[0] if across == plane[1] else plane[1]
        flows.append(_split(d, along, across, extent[along], extent[across], options))
        extent[across] //= 2
        across = along
    return flows


def _split(d: int, mu: int, nu: int, length: int, width: int, options: dict[str, Any]) -> GaugeCoupling:
    """Divide the flux of length x width rectangles (along mu, nu) by one of the links on their centre line."""
    half = width // 2
    if length == 1:
        mask: tuple[Any, ...] = ("stripes", mu, nu, width, half)
    else:
        mask = ("cells", mu, nu, (length, width), (0, half))
    back = tuple(-half if axis == nu else 0 for axis in range(d))
    whole, upper = ((mu, nu), (length, width), back), ((mu, nu), (length, half), (0,) * d)
    return GaugeCoupling(d, mask, (whole,), active=upper, **options)
