"""Variational autoregressive networks for spins, arXiv:1809.10606: q(s) = prod_j q(s_j | s_i, i < j), site by site.

A masked net (flows/spins/nets.py) gives each site its local field h_j of the spins before it, and

    q(s_j | s_i, i < j) = e^{h_j s_j}/(2 cosh h_j),    log q(s) = -sum_j ln(1 + e^{-2 h_j s_j}).

As a flow it maps independent angles, one a site, onto spins: s_j = +1 where theta_j/pi < tanh h_j. All angles of one
cell become the same spins, and in normalised measure the cell has the volume q(s): `log_det` is minus the logarithm of
that volume, so that log q = 0 - log_det as for any flow. `inverse` returns the middle of the cell.

Drawing keeps the features of all sites before: a row of the lattice takes one product with them, and within the row
each site adds what its neighbours to the left have become. V sites cost about one pass of the net instead of V.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core.groups.additive import wrap
from haarflow.core.groups.matrices import precision
from haarflow.core.groups.signs import Signs
from haarflow.core.lattice.geometry import volume
from haarflow.flows.flow import Model
from haarflow.flows.nets import ACTIVATIONS
from haarflow.flows.priors import UniformSites
from haarflow.flows.spins.nets import Masked, MaskedConvolution, MaskedDense

Net = MaskedDense | MaskedConvolution
LARGEST = {"float64": 1.0 - 2.0**-53, "float32": 1.0 - 2.0**-24}  # theta/pi, whose threshold is finite


@dataclass(frozen=True)
class AutoregressiveSpins:
    """The autoregressive flow of a masked net: angles `(*batch, *lattice)` to spins of the same shape.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> flow = AutoregressiveSpins(MaskedDense((2, 2)))
    >>> spins, log_det = flow.forward(flow.init(random.key(0, backend)), backend.asarray([[[-1.0, 1.0], [2.0, -3.0]]]))
    >>> spins.tolist(), (-log_det).round(6).tolist()
    ([[[1.0, -1.0], [-1.0, 1.0]]], [-2.772589])
    """

    masked_net: Net

    onto = Signs()

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return fresh parameters, with which all spins are independent and even."""
        return self.masked_net.init(key, dtype)

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return the spins drawn by angles, and -log q."""
        xp, lattice = array_namespace(x), self._lattice(x)
        most = LARGEST[precision(x)]
        threshold = xp.atanh(xp.clip(_by_site(wrap(x), lattice) / math.pi, -most, most))
        spins, h = drawn(self.masked_net.masked(params, lattice), self.masked_net.activation, threshold, lattice)
        return _by_batch(spins, x.shape), -xp.reshape(log_probability(spins, h), x.shape[: x.ndim - self.masked_net.d])

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return the angles in the middle of the cell of spins, and log q, in one pass of the net."""
        xp, lattice = array_namespace(y), self._lattice(y)
        spins = _by_site(y, lattice)
        h = local_fields(self.masked_net.masked(params, lattice), self.masked_net.activation, spins)
        up = array_namespace(h).exp(-_softplus(-2.0 * h))
        angles = _by_batch(math.pi * xp.where(spins > 0.0, up - 1.0, up), y.shape)
        return angles, xp.reshape(log_probability(spins, h), y.shape[: y.ndim - self.masked_net.d])

    def local_fields(self, params: Params, y: Array) -> Array:
        """Return h, shaped as the spins `(*batch, *lattice)`: that of a site depends on the spins before it."""
        lattice = self._lattice(y)
        h = local_fields(self.masked_net.masked(params, lattice), self.masked_net.activation, _by_site(y, lattice))
        return _by_batch(h, y.shape)

    def _lattice(self, x: Array) -> tuple[int, ...]:
        if x.ndim < self.masked_net.d:
            raise ValueError(
                f"spins (*batch, *lattice) on {self.masked_net.d} axes wanted, got the shape {tuple(x.shape)}"
            )
        return tuple(x.shape[x.ndim - self.masked_net.d :])


def dense(lattice: tuple[int, ...], hidden: tuple[int, ...] = (4,), activation: str = "tanh") -> Model:
    """Return the autoregressive model of a masked dense net.

    >>> dense((4, 4)).flow.masked_net.hidden
    (4,)
    """
    return Model(UniformSites(lattice), AutoregressiveSpins(MaskedDense(tuple(lattice), hidden, activation)))


def convolutional(
    lattice: tuple[int, ...], hidden: tuple[int, ...] = (8,), kernel: int = 5, activation: str = "tanh"
) -> Model:
    """Return the autoregressive model of a masked convolution, whose weights fit any lattice.

    >>> convolutional((4, 4)).flow.masked_net.kernel
    5
    """
    net = MaskedConvolution(len(lattice), hidden, kernel, activation)
    return Model(UniformSites(lattice), AutoregressiveSpins(net))


def log_probability(spins: Array, h: Array) -> Array:
    """Return log q of spins in their local fields, summed over axis 0.

    >>> import numpy as np
    >>> float(log_probability(np.asarray([1.0, -1.0]), np.asarray([0.0, 0.0])).round(6))
    -1.386294
    """
    return -array_namespace(h).sum(_softplus(-2.0 * spins * h), axis=0)


def local_fields(masked: Masked, activation: str, spins: Array) -> Array:
    """Return the local fields of spins, both `(site, n)`, in one pass of the net."""
    xp, features, last = array_namespace(spins), spins, len(masked.layers) - 1
    for number, (weight, bias) in enumerate(masked.layers):
        rows = weight.shape[0] * weight.shape[1]
        features = xp.matmul(xp.reshape(weight, (rows, -1)), features) + xp.reshape(bias, (rows, 1))
        features = features if number == last else ACTIVATIONS[activation](features)
    return features + xp.matmul(masked.direct[:, 0, :, 0], spins)


def drawn(masked: Masked, activation: str, threshold: Array, lattice: tuple[int, ...]) -> tuple[Array, Array]:
    """Return spins, +1 where the local field exceeds the threshold `(site, n)`, and these fields, row of the lattice by row.

    A row's products with the features of all rows before are taken at once; the features of rows to come are still
    zero.
    """
    xp, width, count = array_namespace(threshold), lattice[-1], threshold.shape[1]
    rows = volume(lattice) // width
    maps = masked.layers
    threshold = xp.reshape(threshold, (rows, width, count))
    everything = [_rows(weight, rows) for weight in (*(layer.weight for layer in maps), masked.direct)]
    biases = [xp.reshape(layer.bias, (rows, width, -1)) for layer in maps]
    numbers = xp.arange(rows, dtype=xp.int32, device=backends.place(threshold))
    blank = [
        xp.zeros((rows, width * layer.weight.shape[3], count), dtype=threshold.dtype, device=backends.place(threshold))
        for layer in maps
    ]

    def one_row(
        features: list[Array], row: tuple[Array, list[_Row], list[Array], Array]
    ) -> tuple[list[Array], tuple[Array, Array]]:
        number, weights, biases, threshold = row
        inputs = [*features, features[0]]
        known = [
            xp.reshape(xp.matmul(own.all, xp.reshape(x, (own.all.shape[1], count))), (width, -1, count))
            for own, x in zip(weights, inputs, strict=True)
        ]
        known = [one + bias[:, :, None] for one, bias in zip(known, [*biases, 0.0 * biases[-1]], strict=True)]
        made, h = _one_row(known, [own.within for own in weights], activation, threshold)
        here = xp.reshape(numbers == number, (rows, 1, 1))
        kept = [
            xp.where(here, xp.reshape(new, (1, *old.shape[1:])), old) for new, old in zip(made, features, strict=True)
        ]
        return kept, (made[0], h)

    _, (spins, h) = backends.of(threshold).scan(one_row, blank, (numbers, everything, biases, threshold))
    return xp.reshape(spins, (-1, count)), xp.reshape(h, (-1, count))


class _Row(NamedTuple):
    """A row's part of a masked matrix: against all features `(row, X out, V in)`, and within the row `(row, X, out, X, in)`."""

    all: Array
    within: Array


def _rows(weight: Array, rows: int) -> _Row:
    xp, (sites, outputs, _, inputs) = array_namespace(weight), weight.shape
    blocks = xp.reshape(weight, (rows, sites // rows, outputs, rows, sites // rows, inputs))
    within = xp.stack([blocks[row, :, :, row, :, :] for row in range(rows)], axis=0)
    return _Row(xp.reshape(weight, (rows, -1, sites * inputs)), within)


def _one_row(known: list[Array], within: list[Array], activation: str, threshold: Array) -> tuple[list[Array], Array]:
    """The features of the sites of a row, spins first, `(X channel, n)` each, and their fields `(X, n)`.

    `known` are, for every layer and the direct weights, what the rows before say, `(X, out, n)`.
    """
    xp, layers = array_namespace(threshold), len(known) - 1
    made: list[list[Array]] = [[] for _ in range(layers)]  # the features that each layer reads
    fields: list[Array] = []
    for site in range(threshold.shape[0]):
        for layer in range(layers):
            value = _seen(known[layer], within[layer], made[layer], site)
            if layer < layers - 1:
                made[layer + 1].append(ACTIVATIONS[activation](value))
        h = value + _seen(known[-1], within[-1], made[0], site)
        one = xp.ones_like(h)
        made[0].append(xp.where(threshold[site, None, :] < h, one, -one))
        fields.append(h)
    return [xp.concat(features, axis=0) for features in made], xp.concat(fields, axis=0)


def _seen(known: Array, within: Array, features: list[Array], site: int) -> Array:
    """What a layer makes of the sites before `site`, `(out, n)`."""
    value = known[site, ...]
    if not features:
        return value
    xp, count = array_namespace(value), len(features)
    weight = xp.reshape(within[site, :, :count, :], (within.shape[1], -1))
    return value + xp.matmul(weight, xp.concat(features, axis=0))


def _softplus(x: Array) -> Array:
    """ln(1 + e^x)."""
    xp = array_namespace(x)
    return xp.logaddexp(xp.zeros_like(x), x)


def _by_site(x: Array, lattice: tuple[int, ...]) -> Array:
    """(*batch, *lattice) -> (site, n)."""
    xp = array_namespace(x)
    return xp.permute_dims(xp.reshape(x, (-1, volume(lattice))), (1, 0))


def _by_batch(x: Array, shape: tuple[int, ...]) -> Array:
    """(site, n) -> (*batch, *lattice)."""
    xp = array_namespace(x)
    return xp.reshape(xp.permute_dims(x, (1, 0)), tuple(shape))
