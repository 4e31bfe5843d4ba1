"""NumPy: the plain record on the host."""

from __future__ import annotations

from functools import cache
from typing import Any

import array_api_compat.numpy as xp
import numpy

from haarflow.backends import standard
from haarflow.backends.protocol import Backend, MissingBackend


@cache
def backend(device: str | None = None, dtype: str = "float64") -> Backend:
    """Return the NumPy record; the only device is the CPU."""
    if device not in (None, "cpu"):
        raise MissingBackend(f"numpy computes on 'cpu' alone, got device {device!r}: choose cupy, jax or torch")
    return standard.record("numpy", xp, "cpu", standard.check_precision(dtype), numpy.__version__)


def of_array(x: Any) -> Backend:
    """Return the record of an array."""
    return backend(None, "float32" if x.dtype == numpy.float32 else "float64")
