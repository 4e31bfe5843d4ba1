"""What a backend is: a frozen record of functions, beside the Array API itself.

Standard functions come from `array_api_compat.array_namespace(x)`; the record holds what the standard lacks. A record
pickles as (name, device, dtype), so that workers rebuild it in their own process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from haarflow.backends.types import Array, Tree


class MissingBackend(ImportError):
    """The package of a backend, or the device asked for, is missing."""


class NoAutodiff(NotImplementedError):
    """This backend has no automatic differentiation."""


class MixedBackends(TypeError):
    """Arrays of several backends meet in one call, or there is no array at all."""


@dataclass(frozen=True)
class Backend:
    """One array library on one device with one default precision.

    The functions come in groups: the border to host memory, derivatives, transformations of functions, kernels, random
    words, and the host's own code. `backends/standard.py` has plain versions of all of them, with their docstrings.

    >>> from haarflow.backends import numpy as backend
    >>> backend.name, backend.dtype, backend.to_numpy(backend.asarray([1, 2.5])).tolist()
    ('numpy', 'float64', [1.0, 2.5])
    """

    name: str
    device: Any  # None: the library's own choice
    dtype: str
    xp: Any = field(compare=False, repr=False)  # the Array API namespace
    version: str = field(compare=False, repr=False)

    # The border to host memory; both copy. asarray(x, dtype=None)
    asarray: Callable[..., Array] = field(compare=False, repr=False)
    to_numpy: Callable[[Array], Any] = field(compare=False, repr=False)

    # Derivatives, of functions of trees of arrays. with_slopes(f, slopes, d) is f of arrays `(*batch, *axes, *lattice)` of
    # one d-dimensional lattice, each with further axes of its own, to numbers `(*batch, *lattice)`; it is differentiated not
    # through f but by slopes(*args) = (f(*args), (s_1, s_2, ...)), df = sum of s_i dargs_i over those axes. With has_aux=True
    # f returns (numbers, an array beside them that has no derivative), such as a sign.
    autodiff: bool = field(compare=False, repr=False)
    value_and_grad: Callable[..., Callable[..., Any]] = field(compare=False, repr=False)
    vjp: Callable[..., tuple[Tree, Callable[[Tree], Tree]]] = field(compare=False, repr=False)
    jvp: Callable[..., tuple[Tree, Tree]] = field(compare=False, repr=False)
    jacobian: Callable[..., Callable[..., Any]] = field(compare=False, repr=False)
    stop_gradient: Callable[[Tree], Any] = field(compare=False, repr=False)
    checkpoint: Callable[..., Any] = field(compare=False, repr=False)
    with_slopes: Callable[..., Callable[..., Array]] = field(compare=False, repr=False)

    # Transformations of functions, loops and branches. scan(f, init, xs, length): carry, y = f(carry, x) over axis 0 of xs;
    # cond(predicate, f, g) is f() or g(), of one structure, and computes nothing of the other
    jit: Callable[..., Callable[..., Any]] = field(compare=False, repr=False)
    vmap: Callable[..., Callable[..., Any]] = field(compare=False, repr=False)
    scan: Callable[..., tuple[Any, Any]] = field(compare=False, repr=False)
    while_loop: Callable[..., Any] = field(compare=False, repr=False)
    cond: Callable[..., Any] = field(compare=False, repr=False)

    # Kernels. roll(x, steps, axis); unstack(x, axis=0), one operation backwards where indexing is many; axpy(a, x, y) is
    # a x + y; materialise(x) is x, which a compiler that fuses computes once and keeps, not again for everyone who reads it;
    # by_matrix(f, x) is f(x) for matrices (*batch, n, n), a factorisation, of an engine that cannot be trusted with a batch.
    conv: Callable[..., Array] = field(compare=False, repr=False)
    conv_net: Callable[..., Array] = field(compare=False, repr=False)
    matmul: Callable[..., Array] = field(compare=False, repr=False)
    roll: Callable[..., Array] = field(compare=False, repr=False)
    unstack: Callable[..., Any] = field(compare=False, repr=False)
    sincos: Callable[[Array], tuple[Array, Array]] = field(compare=False, repr=False)
    sin: Callable[[Array], Array] = field(compare=False, repr=False)
    cos: Callable[[Array], Array] = field(compare=False, repr=False)
    axpy: Callable[[Any, Array, Array], Array] = field(compare=False, repr=False)
    leaky_relu: Callable[[Array], Array] = field(compare=False, repr=False)
    by_matrix: Callable[[Callable[[Array], Any], Array], Any] = field(compare=False, repr=False)
    materialise: Callable[[Array], Array] = field(compare=False, repr=False)

    # The adapter's own random words, derived keys, float64 uniforms and normal numbers; any of them may decline by None,
    # and core/random.py then takes its plain version. threefry(key0, key1, x0, x1), the others (key, number, purpose)
    threefry: Callable[..., tuple[Array, Array] | None] = field(compare=False, repr=False)
    threefry_fold: Callable[..., Array | None] = field(compare=False, repr=False)
    threefry_uniform: Callable[..., Array | None] = field(compare=False, repr=False)
    threefry_normal: Callable[..., Array | None] = field(compare=False, repr=False)

    # on_host(function, plain, like, *arrays, numbers=inf): what `function(into, *arrays)` writes into NumPy arrays, a tuple
    # shaped and typed as those of `like`, of arrays in the host's memory. None where they live elsewhere, or where the call
    # costs more than the work: array code would pass over `numbers` numbers. plain(*arrays) is the same by the backend's own
    # operations, for derivatives.
    on_host: Callable[..., tuple[Array, ...] | None] = field(compare=False, repr=False)
