"""The start of a coarse-to-fine U(1) flow at the closed form of its divisions, each fitted by itself.

The couplings of a division (flows/u1/closed_form.py) minimise -E_T E_{S|T} log q(S|T) on a grid of (T, S), by Adam: some
thousand points and no lattice. Their nets then see cos kT and sin kT alone, and the numbers go to these features in the nets of the
flow, at the centre of their kernels; what else these see (other loops, neighbours) starts with weight zero, to be learnt
by training. Only the numbers at which training starts are those of two dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends import Backend
from haarflow.backends.types import Array, Key, Params
from haarflow.core import random
from haarflow.flows.flow import Chain
from haarflow.flows.nets import ConvNet
from haarflow.flows.training.optimisers import Adam, AdamState, apply_updates
from haarflow.flows.training.schedules import Cosine
from haarflow.flows.u1.circle_maps import circle_map
from haarflow.flows.u1.closed_form import Grid, couplings_of, division_grid, divisions
from haarflow.flows.u1.coupling import GaugeCoupling, with_start

WHOLES, HALVES = 80, 64  # points in T and in S
RARE = 0.05  # the share of the fit that all T have alike, however rare


class Start(NamedTuple):
    """The parameters of a flow, and by area the mean KL divergence left of one division, E_T KL(p(.|T) | q(.|T))."""

    params: Params
    kl: dict[int, float]


@dataclass(frozen=True)
class DivisionNet:
    """The net of a coupling as a function of cos kT, sin kT, k = 1 .. `harmonics`, without sites, and its circle map."""

    harmonics: int
    hidden: tuple[int, ...]
    activation: str
    map: str
    pieces: int
    final_scale: float

    @property
    def net(self) -> ConvNet:
        """The net, from features `(T, 2 harmonics, 1)` to raw parameters `(T, channel, 1)`."""
        channels = (2 * self.harmonics, *self.hidden, circle_map(self.map).channels(self.pieces))
        return ConvNet(1, channels, 1, self.activation, final_scale=self.final_scale)

    def init(self, key: Key, dtype: str) -> Params:
        """Return fresh weights and biases, to which the circle map's initial values are added."""
        return with_start(self.net.init(key, dtype), self.map, self.pieces)


def closed_form_start(
    flow: Chain, key: Key, beta: float, steps: int = 4000, rate: float = 1e-2, dtype: str = "float64"
) -> Start:
    """Return parameters of a coarse-to-fine flow, every division fitted to its closed form at `beta`.

    Raises ValueError for flows that `divisions` refuses and for fewer than one step, NoAutodiff on backends without
    automatic differentiation.

    >>> from haarflow.backends import torch as backend
    >>> from haarflow.flows.u1.architectures import convolutional
    >>> flow = convolutional((2, 2), block=2, depth=1).flow
    >>> start = closed_form_start(flow, random.key(0, backend), beta=1.0, steps=100, dtype="float32")
    >>> sorted(start.kl), start.kl[2] < 0.01
    ([2, 4], True)
    """
    if steps < 1:
        raise ValueError(f"a fit takes at least one step, got {steps}")
    backend, params = backends.of(key), flow.init(key, dtype)
    fitted: dict[Any, tuple[list[Params], float]] = {}
    kl: dict[int, float] = {}
    couplings = couplings_of(flow)
    for number, (area, layers) in enumerate(divisions(flow)):
        nets = tuple(_alone(couplings[layer]) for layer in layers)
        if (area, nets) not in fitted:  # every plane begins alike
            keys = random.split(random.fold_in(key, number), len(nets))
            fresh = [net.init(keys[index, :], dtype) for index, net in enumerate(nets)]
            fitted[area, nets] = _fitted(backend, nets, fresh, beta, area, steps, rate, dtype)
        numbers, kl[area] = fitted[area, nets]
        for layer, own in zip(layers, numbers, strict=True):
            params[str(layer)] = {"net": _embedded(own, params[str(layer)]["net"], len(couplings[layer].context))}
    return Start(params, kl)


def _alone(layer: GaugeCoupling) -> DivisionNet:
    return DivisionNet(layer.harmonics, layer.hidden, layer.activation, layer.map, layer.pieces, layer.final_scale)


def _fitted(
    backend: Backend,
    nets: tuple[DivisionNet, ...],
    params: list[Params],
    beta: float,
    area: int,
    steps: int,
    rate: float,
    dtype: str,
) -> tuple[list[Params], float]:
    """Parameters after the fit, and the KL divergence left, on points between those of the fit."""
    step, optimiser = _step(backend, nets, steps, rate)
    grid, between = (division_grid(beta, area, WHOLES, HALVES, first) for first in (0.5, 0.0))
    points = _arrays(backend, grid, (1.0 - RARE) * grid.share + RARE / WHOLES, nets[0], dtype)
    state = optimiser.init(params)
    for _ in range(steps):
        params, state, _ = step(params, state, points)
    _, _, cross = step(params, state, _arrays(backend, between, between.share, nets[0], dtype))
    entropy = float(between.share @ numpy.mean(between.density * numpy.log(between.density), axis=1))
    return params, float(cross) + entropy


class Points(NamedTuple):
    """A grid on a backend: features `(T, 2 harmonics, 1)`, S and the weights of its points in the fit, `(T, S)`."""

    features: Array
    half: Array
    weight: Array


def _arrays(backend: Backend, grid: Grid, share: numpy.ndarray, net: DivisionNet, dtype: str) -> Points:
    waves = [wave(k * grid.whole) for k in range(1, net.harmonics + 1) for wave in (numpy.cos, numpy.sin)]
    half = numpy.broadcast_to(grid.half, grid.density.shape).copy()
    parts = (numpy.stack(waves, axis=1)[:, :, None], half, share[:, None] * grid.density / len(grid.half))
    return Points(*(backend.asarray(part, dtype=dtype) for part in parts))


Fitting = Callable[[list[Params], AdamState, Points], tuple[list[Params], AdamState, Array]]


@lru_cache(maxsize=16)
def _step(backend: Backend, nets: tuple[DivisionNet, ...], steps: int, rate: float) -> tuple[Fitting, Adam]:
    """A step of the fit, which returns the loss before it, and its optimiser."""
    optimiser = Adam(Cosine(rate, steps, 1e-3 * rate), b2=0.99, clip=10.0)

    def step(params: list[Params], state: AdamState, points: Points) -> tuple[list[Params], AdamState, Array]:
        def loss(params: list[Params]) -> Array:
            log_q = log_density(nets, params, points)
            return -array_namespace(log_q).sum(points.weight * log_q)

        value, grads = backend.value_and_grad(loss)(params)
        updates, state = optimiser.update(grads, state, params)
        return apply_updates(params, updates), state, value

    compiled: Fitting = backend.jit(step)
    return compiled, optimiser


def log_density(nets: tuple[DivisionNet, ...], params: list[Params], points: Points) -> Array:
    """Return log q(S|T) `(T, S)` with respect to dS/2pi: uniform S, mapped by one net's circle map after another."""
    x, total = points.half, 0.0 * points.half
    for net, own in zip(nets[::-1], params[::-1], strict=True):
        x, log_slope = circle_map(net.map).inverse(x, net.net.apply(own, points.features), -2)
        total = total + log_slope
    return total


def _embedded(own: Params, whole: Params, loops: int) -> Params:
    """The numbers of a `DivisionNet` in the net of a coupling with that many context loops."""
    return {name: _placed(own[name], like, name == "w0", loops) for name, like in whole.items()}


def _placed(own: Array, like: Array, first: bool, loops: int) -> Array:
    """Weights at the centre of a kernel; those of the first layer at the channels of the first loop."""
    if own.ndim == 1:
        return own
    backend = backends.of(own)
    numbers, placed = backend.to_numpy(own)[:, :, 0], numpy.zeros(like.shape)
    inputs = slice(None, None, loops) if first else slice(None)
    placed[(slice(None), inputs, *(extent // 2 for extent in like.shape[2:]))] = numbers
    return backend.asarray(placed, dtype=own.dtype)
