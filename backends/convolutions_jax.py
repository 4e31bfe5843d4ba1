"""Periodic convolutions on JAX, whose own ones are slow on the CPU in double precision.

On the CPU, for short rows, a convolution along the last lattice axis is a product with a circulant matrix. Halves of a
row, x0 and x1, mix first: the sum x0 + x1 sees a periodic row of half the length, the difference x0 - x1 an antiperiodic
one, and the two do not talk to each other, which halves the work. The other axes are rolled, and the batch stands last,
(C, site in the half, *other axes, n), from the first layer of a net to the last: products and rolls alike then run over
long rows of memory. It multiplies more than patches do and is still faster, since copies are what is slow.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy

from haarflow.backends import standard
from haarflow.backends.protocol import Array

LONGEST_ROW = 32


def conv(x: Array, w: Array) -> Array:
    """Return the periodic cross-correlation of `backends.standard.conv`."""
    d = standard.check_conv(x, w)
    standard.offsets(w.shape[2:])
    return _by_halves(x, [w], [None], [standard.identity]) if _fits(x, [w]) else _by_patches(x, w, d)


def conv_net(x: Array, weights: Sequence[Array], biases: Sequence[Any], activations: Sequence[Any]) -> Array:
    """Return the features that `backends.standard.conv_net` gives, without leaving the layout between the layers."""
    if not _fits(x, weights):
        return standard.conv_net(conv, x, weights, biases, activations)
    standard.check_net(x, weights)
    return _by_halves(x, weights, biases, activations)


def _fits(x: Array, weights: Sequence[Array]) -> bool:
    """Whether rows are short, or no kernel reaches along them, on the CPU."""
    return jax.default_backend() == "cpu" and (x.shape[-1] <= LONGEST_ROW or _along_others(weights))


def _along_others(weights: Sequence[Array]) -> bool:
    return all(w.shape[-1] == 1 for w in weights)


def _by_halves(x: Array, weights: Sequence[Array], biases: Sequence[Any], activations: Sequence[Any]) -> Array:
    """The net in the module's layout; where no kernel reaches along the rows, each site is a row of its own."""
    if _along_others(weights) and x.shape[-1] > 1:
        return _by_halves(x[..., None], [w[..., None] for w in weights], biases, activations)[..., 0]
    d = weights[0].ndim - 2
    batch, (channels, *others, length) = x.shape[: -d - 1], x.shape[-d - 1 :]
    halves = 1 if length % 2 else 2
    x = jnp.reshape(x, (math.prod(batch), channels, *others, halves, length // halves))
    x = jnp.transpose(x, (d + 1, 1, d + 2, *range(2, d + 1), 0))
    parts = [x[half] for half in range(halves)]
    for w, b, activate in zip(weights, biases, activations, strict=True):
        shift = 0 if b is None else b[(..., *(None,) * (d + 1))]
        parts = [activate(part + shift) for part in _layer(parts, w)]
    x = jnp.transpose(jnp.stack(parts), (d + 2, 1, *range(3, d + 2), 0, 2))
    return jnp.reshape(x, (*batch, x.shape[1], *others, length))


def _layer(parts: list[Array], w: Array) -> list[Array]:
    """One convolution: of each half of the rows, `(C, site, *others, n)` to `(O, site, *others, n)`.

    Halves stay two arrays, since stacking them costs more than the activations.
    """
    out, channels, *others, extent = w.shape
    steps = standard.offsets(tuple(others))
    kernel = jnp.reshape(w, (out, channels, len(steps), extent))
    table = jnp.asarray(_circulants(len(parts) * parts[0].shape[1], extent), w.dtype)
    matrices = jnp.tensordot(kernel, table, 1)  # (O, C, tap, half, site in, site out)
    return _mixed([_product(matrices[:, :, :, half], part, steps) for half, part in enumerate(_mixed(parts))])


def _mixed(parts: list[Array]) -> list[Array]:
    """Sum and difference of two halves; one alone as it is."""
    return parts if len(parts) == 1 else [parts[0] + parts[1], parts[0] - parts[1]]


def _product(matrix: Array, x: Array, steps: list[tuple[int, ...]]) -> Array:
    """The sum over taps of the other axes, `(C, site, *others, n)` to `(O, site, *others, n)`.

    Rolled before the product or after it, whichever moves less.
    """
    out, channels, taps, before, after = matrix.shape
    shape = (out, after, *x.shape[2:])
    if channels < out:
        matrix = jnp.reshape(jnp.transpose(matrix, (0, 4, 2, 1, 3)), (out * after, -1))
        rows = jnp.concatenate([_rolled(x, step) for step in steps], axis=0)
        return jnp.reshape(matrix @ jnp.reshape(rows, (taps * channels * before, -1)), shape)
    matrix = jnp.reshape(jnp.transpose(matrix, (2, 0, 4, 1, 3)), (-1, channels * before))
    parts = jnp.reshape(matrix @ jnp.reshape(x, (channels * before, -1)), (taps, *shape))
    return sum(_rolled(parts[tap], step) for tap, step in enumerate(steps))


def _rolled(x: Array, steps: tuple[int, ...]) -> Array:
    """x(n + steps) along the axes between the sites of a row and the batch."""
    moving = [(-step, axis + 2) for axis, step in enumerate(steps) if step]
    return jnp.roll(x, *zip(*moving, strict=True)) if moving else x


@cache
def _circulants(length: int, extent: int) -> numpy.ndarray:
    """`(tap, half, site in, site out)`: per tap the matrix of the row, or of the sum and the difference of its halves.

    With blocks A (within a half) and B (across) these are (A + B)/2 and (A - B)/2: the half serves the way back.
    """
    row, taps = numpy.arange(length), numpy.zeros((extent, length, length))
    for k in range(extent):
        numpy.add.at(taps[k], ((row + k - extent // 2) % length, row), 1.0)
    if length % 2:
        return taps[:, None]
    within, across = taps[:, : length // 2, : length // 2], taps[:, length // 2 :, : length // 2]
    return numpy.stack([within + across, within - across], axis=1) / 2


def _by_patches(x: Array, w: Array, d: int) -> Array:
    """Patches with the channel last and one matrix product."""
    lattice, batch = x.shape[-d:], x.shape[: -d - 1]
    still = [(0, 0)] * len(batch)
    reach = [(extent // 2, extent // 2) for extent in w.shape[2:]]
    padded = jnp.pad(jnp.moveaxis(x, -d - 1, -1), [*still, *reach, (0, 0)], mode="wrap")
    corners = itertools.product(*[range(extent) for extent in w.shape[2:]])
    windows = [tuple(slice(k, k + extent) for k, extent in zip(corner, lattice, strict=True)) for corner in corners]
    patches = jnp.concatenate([padded[(..., *window, slice(None))] for window in windows], axis=-1)
    kernel = jnp.reshape(jnp.moveaxis(w, 1, -1), (w.shape[0], -1))
    return jnp.moveaxis(patches @ kernel.T, -1, -d - 1)
