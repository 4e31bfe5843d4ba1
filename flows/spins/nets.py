"""Masked nets for spins in an order: the local field of a site depends on the spins that come before it, and on no others.

Sites are in row-major order. A layer maps features `(site, channel)` to features; those of a site depend on the
features of sites up to itself, in the first layer, which reads the spins, of sites before it. A masked layer is a
matrix over sites and channels with zeros above the diagonal; in a convolution its entries are tied by the displacement
between two sites on the torus. Sources: arXiv:1502.03509 (masked dense nets), 1601.06759 (masked convolutions),
1809.10606 (both for spins).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Key, Params
from haarflow.core import random
from haarflow.core.lattice.geometry import check_lattice, volume
from haarflow.flows.flow import constant
from haarflow.flows.nets import ACTIVATIONS


class Layer(NamedTuple):
    """A masked layer: weights `(site, channel, site, channel)`, rows of the output first, and biases `(site, channel)`."""

    weight: Array
    bias: Array


class Masked(NamedTuple):
    """The layers of a net from the spins to one channel, and `direct`, the weights by which that channel reads the spins itself,
    `(site, 1, site, 1)`.
    """

    layers: tuple[Layer, ...]
    direct: Array


@dataclass(frozen=True)
class MaskedDense:
    """A masked dense net on a lattice, with `hidden` units a site in each of its hidden layers.

    Half of the weights are masked. Raises ValueError for no hidden layer, for units that are not whole numbers >= 1 and
    for an unknown activation.

    >>> from haarflow.backends import numpy as backend
    >>> net = MaskedDense((2, 2), (3,))
    >>> masked = net.masked(net.init(random.key(0, backend)), (2, 2))
    >>> [layer.weight.shape for layer in masked.layers], float(masked.direct[0, 0, 1, 0])
    ([(4, 3, 4, 1), (4, 1, 4, 3)], 0.0)
    """

    lattice: tuple[int, ...]
    hidden: tuple[int, ...] = (4,)
    activation: str = "tanh"

    def __post_init__(self) -> None:
        object.__setattr__(self, "lattice", check_lattice(self.lattice))
        _check(self.hidden, self.activation)

    @property
    def d(self) -> int:
        """The lattice's dimension."""
        return len(self.lattice)

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return weights uniform within +-1/sqrt(visible units); the last layer, direct weights and biases start at zero."""
        sites, params = volume(self.lattice), dict[str, Array]()
        for number, (inputs, outputs) in enumerate(_channels(self.hidden)):
            shape, last = (sites, outputs, sites, inputs), number == len(self.hidden)
            params[f"w{number}"] = _uniform(key, number, shape, last, inputs * sites, dtype)
            params[f"b{number}"] = constant(key, 0.0, (sites, outputs), dtype)
        return {**params, "direct": constant(key, 0.0, (sites, sites), dtype)}

    def masked(self, params: Params, lattice: tuple[int, ...]) -> Masked:
        """Return the masked layers; raises ValueError on another lattice."""
        if tuple(lattice) != self.lattice:
            raise ValueError(
                f"a masked dense net is made for one lattice, {self.lattice}, got {tuple(lattice)}: a convolution fits any"
            )
        like, sites = params["direct"], volume(self.lattice)
        strict, loose = (before(sites, itself, like)[:, None, :, None] for itself in (False, True))
        layers = [
            Layer(params[f"w{number}"] * (loose if number else strict), params[f"b{number}"])
            for number in range(len(self.hidden) + 1)
        ]
        return Masked(tuple(layers), like[:, None, :, None] * strict)


@dataclass(frozen=True)
class MaskedConvolution:
    """A masked convolution in `d` dimensions, with `hidden` channels in each of its hidden layers and kernels of odd extent `kernel`.

    A site sees those of its neighbours on the torus that come before it, also across the boundary. Weights do not
    depend on the lattice; `direct` weights have the same kernel. Raises ValueError as `MaskedDense` does, and for an
    even kernel.

    >>> from haarflow.backends import numpy as backend
    >>> net = MaskedConvolution(2, (3,), 3)
    >>> params = net.init(random.key(0, backend))
    >>> [net.masked(params, lattice).direct.shape for lattice in ((2, 2), (4, 3))]
    [(4, 1, 4, 1), (12, 1, 12, 1)]
    """

    d: int
    hidden: tuple[int, ...] = (8,)
    kernel: int = 5
    activation: str = "tanh"

    def __post_init__(self) -> None:
        _check(self.hidden, self.activation)
        if self.d < 1 or self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(
                f"wanted at least one dimension and kernels of an odd extent, got {self.d} and {self.kernel}"
            )

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return weights uniform within +-1/sqrt(channels x taps); the last layer, direct weights and biases start at zero."""
        taps, params = self.kernel**self.d, dict[str, Array]()
        for number, (inputs, outputs) in enumerate(_channels(self.hidden)):
            last = number == len(self.hidden)
            params[f"w{number}"] = _uniform(key, number, (outputs, inputs, taps), last, inputs * taps, dtype)
            params[f"b{number}"] = constant(key, 0.0, (outputs,), dtype)
        return {**params, "direct": constant(key, 0.0, (1, 1, taps), dtype)}

    def masked(self, params: Params, lattice: tuple[int, ...]) -> Masked:
        """Return the masked layers on a lattice."""
        layers = []
        for number in range(len(self.hidden) + 1):
            bias, weight = params[f"b{number}"], self._matrix(params[f"w{number}"], lattice, number > 0)
            layers.append(Layer(weight, array_namespace(bias).broadcast_to(bias, weight.shape[:2])))
        return Masked(tuple(layers), self._matrix(params["direct"], lattice, False))

    def _matrix(self, weight: Array, lattice: tuple[int, ...], itself: bool) -> Array:
        """Kernels `(out, in, tap)` as a matrix `(site, out, site, in)`."""
        xp, sites = array_namespace(weight), volume(lattice)
        index, near = taps(tuple(lattice), self.kernel)
        mask = before(sites, itself, weight) * backends.of(weight).asarray(near, dtype=weight.dtype)
        index = backends.of(weight).asarray(index.ravel(), dtype=xp.int32)
        tied = xp.reshape(xp.take(weight, index, axis=2), (*weight.shape[:2], sites, sites))
        return xp.permute_dims(tied * mask, (2, 0, 3, 1))


def before(sites: int, itself: bool, like: Array) -> Array:
    """Return 1 where the site of the column comes before that of the row, or is that site where `itself` says so, else 0.

    >>> before(2, False, numpy.zeros(1)).tolist(), before(2, True, numpy.zeros(1)).tolist()
    ([[0.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 1.0]])
    """
    return backends.of(like).asarray(numpy.tri(sites, k=0 if itself else -1), dtype=like.dtype)


@lru_cache(maxsize=16)
def taps(lattice: tuple[int, ...], kernel: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the tap of a kernel by which a site (row) sees another (column), and whether the kernel reaches it, `(site, site)`.

    Displacements are the shortest on the torus, from -L/2 on.

    >>> taps((4,), 3)[0].tolist()[0], taps((4,), 3)[1].tolist()[0]
    ([1, 2, 0, 0], [1.0, 1.0, 0.0, 1.0])
    """
    sites = numpy.stack(numpy.unravel_index(numpy.arange(volume(lattice)), lattice), axis=-1)
    extents, radius = numpy.asarray(lattice), kernel // 2
    apart = (sites[None, :, :] - sites[:, None, :] + extents // 2) % extents - extents // 2
    near = (numpy.abs(apart) <= radius).all(axis=-1)
    index = numpy.zeros(near.shape, dtype=numpy.int32)
    for axis in range(len(lattice)):
        index = index * kernel + numpy.clip(apart[:, :, axis] + radius, 0, kernel - 1).astype(numpy.int32)
    return numpy.where(near, index, 0), near.astype(float)


def _channels(hidden: tuple[int, ...]) -> list[tuple[int, int]]:
    """Channels in and out of every layer, from the spins to the field."""
    return list(zip((1, *hidden), (*hidden, 1), strict=True))


def _uniform(key: Key, number: int, shape: tuple[int, ...], last: bool, inputs: int, dtype: str) -> Array:
    if last:
        return constant(key, 0.0, shape, dtype)
    return (2.0 * random.uniform(random.fold_in(key, number), shape, dtype) - 1.0) / math.sqrt(inputs)


def _check(hidden: tuple[int, ...], activation: str) -> None:
    if not hidden or min(hidden) < 1:
        raise ValueError(f"a masked net has hidden layers of one unit a site or more, got {tuple(hidden)}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"an activation is one of {', '.join(ACTIVATIONS)}, got {activation!r:.40}")
