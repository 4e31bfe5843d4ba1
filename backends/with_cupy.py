"""CuPy: the plain record on a CUDA device."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import array_api_compat.cupy as xp
import cupy

from haarflow.backends import standard
from haarflow.backends.protocol import Backend, MissingBackend


@cache
def backend(device: str | None = None, dtype: str = "float64") -> Backend:
    """Return the CuPy record of "cuda" or "cuda:N".

    Raises MissingBackend when there is no such GPU.
    """
    index = _index(device)
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise MissingBackend(f"cupy is installed but finds no GPU ({error}): choose numpy, jax or torch") from None
    if index >= count:
        raise MissingBackend(f"cupy finds {count} GPU(s), device cuda:{index} was requested")
    gpu = cupy.cuda.Device(index)
    own = {"asarray": partial(_asarray, gpu, dtype), "to_numpy": cupy.asnumpy}
    return standard.record("cupy", xp, f"cuda:{index}", standard.check_precision(dtype), cupy.__version__, **own)


def of_array(x: Any) -> Backend:
    """Return the record of an array."""
    return backend(f"cuda:{x.device.id}", "float32" if x.dtype in (cupy.float32, cupy.complex64) else "float64")


def _asarray(gpu: Any, default: str, x: Any, dtype: Any = None) -> Any:
    with gpu:
        return standard.asarray(xp, gpu, default, x, dtype)


def _index(device: str | None) -> int:
    name, _, index = (device or "cuda:0").partition(":")
    if name not in ("cuda", "gpu") or not (index or "0").isdigit():
        raise MissingBackend(f"cupy computes on 'cuda' or 'cuda:N', got device {device!r}")
    return int(index or 0)
