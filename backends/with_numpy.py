"""NumPy: the plain record on the host, with nets by circulants for short rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import array_api_compat.numpy as xp
import numpy

from haarflow.backends import standard
from haarflow.backends.compiled import normals
from haarflow.backends.kernels import circulants, threefry
from haarflow.backends.protocol import Backend, MissingBackend
from haarflow.backends.types import Array


@cache
def backend(device: str | None = None, dtype: str = "float64") -> Backend:
    """Return the NumPy record; the only device is the CPU."""
    if device not in (None, "cpu"):
        raise MissingBackend(f"numpy computes on 'cpu' only, got device {device!r}: choose cupy, jax or torch")
    return standard.record("numpy", xp, "cpu", standard.check_precision(dtype), numpy.__version__, **OWN)


def conv_net(x: Array, weights: Sequence[Array], biases: Sequence[Any], activations: Sequence[Any]) -> Array:
    """Return the features of `backends.standard.conv_net`, three times as fast for many rows of 8 sites."""
    if not circulants.fits(x, weights):
        return standard.conv_net(standard.conv, x, weights, biases, activations)
    standard.check_net(x, weights)
    return circulants.net(x, weights, biases, activations)


def of_array(x: Any) -> Backend:
    """Return the record of an array."""
    return backend(None, "float32" if x.dtype == numpy.float32 else "float64")


def on_host(function: Any, plain: Any, like: Any, *arrays: Array, numbers: float = math.inf) -> Any:
    """Return what the function writes: the arrays are in host memory already."""
    return standard.written(function, like, *arrays)


OWN = {
    "conv_net": conv_net,
    "on_host": on_host,
    "threefry": threefry.threefry,
    "threefry_fold": threefry.fold,
    "threefry_uniform": threefry.uniform,
    "threefry_normal": normals.normal,
}
