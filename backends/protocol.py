"""What a backend is: a frozen record of functions, beside the Array API itself.

Standard functions come from `array_api_compat.array_namespace(x)`; the record holds what the standard lacks. A record
pickles as (name, device, dtype), so that workers rebuild it in their own process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class MissingBackend(ImportError):
    """The package of a backend, or the device asked for, is not there."""


class NoAutodiff(NotImplementedError):
    """This backend has no automatic differentiation."""


class MixedBackends(TypeError):
    """Arrays of several backends meet in one call, or there is no array at all."""


@dataclass(frozen=True)
class Backend:
    """One array engine on one device with one default precision.

    `asarray(x, dtype=None)` and `to_numpy(x)` cross the border to host memory and copy; `value_and_grad vjp jvp jacobian
    stop_gradient checkpoint` differentiate trees of arrays; `with_slopes(f, slopes, d)` is f of arrays `(*batch, *own, *lattice)`
    of one d-dimensional lattice, each with axes of its own, to numbers `(*batch, *lattice)`, differentiated not through f but by
    slopes(*args) = (f(*args), (s_1, s_2, ...)), df = sum of s_i dargs_i over the axes of their own; `jit vmap scan while_loop` transform; `conv conv_net
    matmul roll unstack sincos sin cos axpy leaky_relu` are kernels (`roll(x, steps, axis)`; `unstack(x, axis=0)`, one
    operation backwards where indices are many; `axpy(a, x, y)` is a x + y). `threefry(key0, key1, x0, x1)`,
    `threefry_fold(key, number, purpose)`, `threefry_uniform(key, count, purpose)` and `threefry_normal(key, count, purpose)` are
    the adapter's own makers of random words, derived keys, float64 uniforms and normal numbers, which may decline with None
    (core/random.py has plain ones). `materialise(x)` is x: what a compiler that fuses is to compute once and keep, not again
    for everyone who reads it. `on_host(function, plain, like, *arrays, numbers=inf)`
    is what `function(into, *arrays)` writes into NumPy arrays, a tuple shaped and typed as those of `like`, of arrays in the
    host's memory, or None where they are elsewhere or where the way there costs more than the work, as many `numbers` as array
    code would pass over; `plain(*arrays)` is the same by the engine's own operations, for derivatives.

    >>> from haarflow.backends import numpy as backend
    >>> backend.name, backend.dtype, backend.to_numpy(backend.asarray([1, 2.5])).tolist()
    ('numpy', 'float64', [1.0, 2.5])
    """

    name: str
    device: Any
    dtype: str
    xp: Any = field(compare=False, repr=False)
    asarray: Callable = field(compare=False, repr=False)
    to_numpy: Callable = field(compare=False, repr=False)
    value_and_grad: Callable = field(compare=False, repr=False)
    vjp: Callable = field(compare=False, repr=False)
    jvp: Callable = field(compare=False, repr=False)
    jacobian: Callable = field(compare=False, repr=False)
    stop_gradient: Callable = field(compare=False, repr=False)
    checkpoint: Callable = field(compare=False, repr=False)
    with_slopes: Callable = field(compare=False, repr=False)
    jit: Callable = field(compare=False, repr=False)
    vmap: Callable = field(compare=False, repr=False)
    scan: Callable = field(compare=False, repr=False)
    while_loop: Callable = field(compare=False, repr=False)
    conv: Callable = field(compare=False, repr=False)
    conv_net: Callable = field(compare=False, repr=False)
    matmul: Callable = field(compare=False, repr=False)
    roll: Callable = field(compare=False, repr=False)
    unstack: Callable = field(compare=False, repr=False)
    sincos: Callable = field(compare=False, repr=False)
    sin: Callable = field(compare=False, repr=False)
    cos: Callable = field(compare=False, repr=False)
    axpy: Callable = field(compare=False, repr=False)
    leaky_relu: Callable = field(compare=False, repr=False)
    threefry: Callable = field(compare=False, repr=False)
    threefry_fold: Callable = field(compare=False, repr=False)
    threefry_uniform: Callable = field(compare=False, repr=False)
    threefry_normal: Callable = field(compare=False, repr=False)
    materialise: Callable = field(compare=False, repr=False)
    on_host: Callable = field(compare=False, repr=False)
    autodiff: bool = field(compare=False, repr=False)
    version: str = field(compare=False, repr=False)

    def __reduce__(self):
        from haarflow.backends import get

        return get, (self.name, self.device, self.dtype)
