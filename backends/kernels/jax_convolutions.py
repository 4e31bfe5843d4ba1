"""Periodic convolutions on JAX, whose own are slow on the CPU in double precision.

Short rows use circulants (backends/kernels/circulants.py), others patches.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from haarflow.backends import standard
from haarflow.backends.kernels import circulants
from haarflow.backends.types import Array


def conv(x: Array, w: Array) -> Array:
    """Return the periodic cross-correlation of `backends.standard.conv`."""
    d = standard.check_conv(x, w)
    standard.offsets(w.shape[2:])
    return circulants.net(x, [w], [None], [standard.identity]) if _fits(x, [w]) else _by_patches(x, w, d)


def conv_net(x: Array, weights: Sequence[Array], biases: Sequence[Any], activations: Sequence[Any]) -> Array:
    """Return the features of `backends.standard.conv_net`, keeping one memory layout between the layers."""
    if not _fits(x, weights):
        return standard.conv_net(conv, x, weights, biases, activations)
    standard.check_net(x, weights)
    return circulants.net(x, weights, biases, activations)


def _fits(x: Array, weights: Sequence[Array]) -> bool:
    return jax.default_backend() == "cpu" and circulants.fits(x, weights)


def _by_patches(x: Array, w: Array, d: int) -> Array:
    """The convolution as one matrix product with patches, channel last."""
    lattice, batch = x.shape[-d:], x.shape[: -d - 1]
    still = [(0, 0)] * len(batch)
    reach = [(extent // 2, extent // 2) for extent in w.shape[2:]]
    padded = jnp.pad(jnp.moveaxis(x, -d - 1, -1), [*still, *reach, (0, 0)], mode="wrap")
    corners = itertools.product(*[range(extent) for extent in w.shape[2:]])
    windows = [tuple(slice(k, k + extent) for k, extent in zip(corner, lattice, strict=True)) for corner in corners]
    patches = jnp.concatenate([padded[(..., *window, slice(None))] for window in windows], axis=-1)
    kernel = jnp.reshape(jnp.moveaxis(w, 1, -1), (w.shape[0], -1))
    return jnp.moveaxis(patches @ kernel.T, -1, -d - 1)
