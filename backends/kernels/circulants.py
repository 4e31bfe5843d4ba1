"""Periodic convolutions of short rows as products with circulant matrices, fast on the CPU in double precision.

A convolution along the last lattice axis is a product with a circulant matrix. The two halves of a row, x0 and x1, are
combined first: the sum x0 + x1 is a periodic row of half the length, the difference x0 - x1 an antiperiodic one, and the
two decouple, which halves the work. The other axes are rolled, and the batch is the last axis, (C, site in the half,
*other axes, n), from the first layer of a net to the last: products and rolls then run over long rows of memory, and
nothing is padded. This takes more multiplications than patches do and is still faster, since copies are what is slow. It
uses the Array API only: NumPy, JAX and Torch share it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy
from array_api_compat import array_namespace, device

from haarflow import backends
from haarflow.backends import standard
from haarflow.backends.host_table import host_table
from haarflow.backends.types import Array

LONGEST_ROW = 32


def fits(x: Array, weights: Sequence[Array], longest: int = LONGEST_ROW) -> bool:
    """Return whether rows are no longer than `longest`, or no kernel extends along them."""
    return x.shape[-1] <= longest or _along_others(weights)


def _along_others(weights: Sequence[Array]) -> bool:
    return all(w.shape[-1] == 1 for w in weights)


def net(x: Array, weights: Sequence[Array], biases: Sequence[Any], activations: Sequence[Any]) -> Array:
    """Return the features of `standard.conv_net`, with the layers in this module's layout.

    Where no kernel extends along the rows, each site is a row by itself.
    """
    if _along_others(weights) and x.shape[-1] > 1:
        return net(x[..., None], [w[..., None] for w in weights], biases, activations)[..., 0]
    xp, d = array_namespace(x), weights[0].ndim - 2
    batch, (channels, *others, length) = x.shape[: -d - 1], x.shape[-d - 1 :]
    halves = 1 if length % 2 else 2
    x = xp.reshape(x, (math.prod(batch), channels, *others, halves, length // halves))
    x = xp.permute_dims(x, (d + 1, 1, d + 2, *range(2, d + 1), 0))
    parts = list(backends.of(x).unstack(x))  # its gradient is one stack; that of a slice is a field of zeros
    for w, b, activate in zip(weights, biases, activations, strict=True):
        shift = 0 if b is None else b[(..., *(None,) * (d + 1))]
        parts = [activate(part + shift) for part in _layer(parts, w)]
    x = xp.permute_dims(xp.stack(parts), (d + 2, 1, *range(3, d + 2), 0, 2))
    return xp.reshape(x, (*batch, x.shape[1], *others, length))


def _layer(parts: list[Array], w: Array) -> list[Array]:
    """One convolution of each half of the rows, `(C, site, *others, n)` to `(O, site, *others, n)`.

    The halves stay two arrays, since stacking them costs more than the activations.
    """
    xp = array_namespace(w)
    out, channels, *others, extent = w.shape
    steps = standard.offsets(tuple(others))
    kernel = xp.reshape(w, (out, channels, len(steps), extent))
    table = _circulants(len(parts) * parts[0].shape[1], extent)
    matrices = xp.tensordot(kernel, xp.asarray(table, dtype=w.dtype, device=device(w)), axes=1)
    # (O, C, tap, half, site in, site out)
    pairs = zip(backends.of(matrices).unstack(matrices, 3), _mixed(parts), strict=True)
    return _mixed([_product(matrix, part, steps) for matrix, part in pairs])


def _mixed(parts: list[Array]) -> list[Array]:
    """Sum and difference of two halves; a single part is returned as it is."""
    return parts if len(parts) == 1 else [parts[0] + parts[1], parts[0] - parts[1]]


def _product(matrix: Array, x: Array, steps: list[tuple[int, ...]]) -> Array:
    """The sum over taps of the other axes, `(C, site, *others, n)` to `(O, site, *others, n)`.

    The roll comes before or after the product, whichever moves less memory.
    """
    xp = array_namespace(x)
    out, channels, taps, before, after = matrix.shape
    shape = (out, after, *x.shape[2:])
    if channels < out:
        matrix = xp.reshape(xp.permute_dims(matrix, (0, 4, 2, 1, 3)), (out * after, -1))
        rows = xp.concat([_rolled(x, step) for step in steps], axis=0)
        return xp.reshape(matrix @ xp.reshape(rows, (taps * channels * before, -1)), shape)
    matrix = xp.reshape(xp.permute_dims(matrix, (2, 0, 4, 1, 3)), (-1, channels * before))
    parts = xp.reshape(matrix @ xp.reshape(x, (channels * before, -1)), (taps, *shape))
    first, *rest = [_rolled(part, step) for part, step in zip(backends.of(x).unstack(parts), steps, strict=True)]
    return sum(rest, first)


def _rolled(x: Array, steps: tuple[int, ...]) -> Array:
    """x(n + steps) along the axes between the sites of a row and the batch."""
    moving = [(-step, axis + 2) for axis, step in enumerate(steps) if step]
    if not moving:
        return x
    amounts, axes = zip(*moving, strict=True)
    return array_namespace(x).roll(x, amounts, axis=axes)


@host_table
def _circulants(length: int, extent: int) -> numpy.ndarray:
    """`(tap, half, site in, site out)`: for each tap the matrix of the row, or of the sum and the difference of its halves.

    With blocks A (within a half) and B (across) these are (A + B)/2 and (A - B)/2: the factor 1/2 undoes the mixing.
    """
    row, taps = numpy.arange(length), numpy.zeros((extent, length, length))
    for k in range(extent):
        numpy.add.at(taps[k], ((row + k - extent // 2) % length, row), 1.0)
    if length % 2:
        return taps[:, None]
    within, across = taps[:, : length // 2, : length // 2], taps[:, length // 2 :, : length // 2]
    return numpy.stack([within + across, within - across], axis=1) / 2
