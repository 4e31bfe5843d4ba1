"""JAX: jit, scan and autodiff by XLA, and kernels that replace slow ones of XLA on the CPU (convolutions in convolutions_jax.py).

The library never touches the x64 flag; float64 asked for without it is refused with the remedy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy

from haarflow.backends import standard
from haarflow.backends.compiled import xla_calls
from haarflow.backends.kernels import jax_convolutions
from haarflow.backends.protocol import Backend, MissingBackend
from haarflow.backends.types import Array

X64 = (
    "float64 was asked of JAX while its 64-bit mode is off: call jax.config.update('jax_enable_x64', True) "
    "before the first array, or choose haarflow.backends.get('jax', dtype='float32')"
)
SINGLE = (jnp.float32, jnp.complex64)
_read_setting: Callable[[str], Any] = jax.config.read
_barrier: Callable[..., Array] = jax.lax.optimization_barrier  # without annotations in JAX
HALF_PI = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21)
HALF_PI_SINGLE = (1.5703125, 4.837512969970703e-04, 7.549789948768648e-08)


@cache
def backend(device: str | None = None, dtype: str | None = "float64") -> Backend:
    """Return the JAX record of a device such as "cpu", "cuda" or "cuda:1" (None: JAX's own choice).

    Raises MissingBackend when JAX has no such device.
    """
    target = _device(device)
    dtype = standard.check_precision(dtype or "float64")
    return standard.record(
        "jax",
        jnp,
        device,
        dtype,
        jax.__version__,
        asarray=partial(_asarray, target, dtype),
        to_numpy=lambda x: numpy.array(x),
        value_and_grad=jax.value_and_grad,
        vjp=_vjp,
        jvp=lambda f, x, dx: jax.jvp(f, (x,), (dx,)),
        jacobian=jax.jacobian,
        stop_gradient=jax.lax.stop_gradient,
        checkpoint=checkpoint,
        with_slopes=with_slopes,
        jit=jax.jit,
        vmap=jax.vmap,
        scan=jax.lax.scan,
        while_loop=jax.lax.while_loop,
        cond=jax.lax.cond,
        conv=jax_convolutions.conv,
        conv_net=jax_convolutions.conv_net,
        matmul=matmul,
        unstack=unstack,
        sincos=sincos,
        sin=lambda x: sincos(x)[0],
        cos=lambda x: sincos(x)[1],
        by_matrix=by_matrix,
        materialise=materialise,
        on_host=on_host,
        autodiff=True,
    )


def by_matrix(function: Callable[[Array], Any], matrices: Array) -> Any:
    """Return the function of matrices `(*batch, n, n)`, on the CPU one after the other.

    XLA divides a batch of factorisations there among its threads, and a program with two batches may wait for ever: seen with
    2,000 complex matrices of 32 and of 64 rows on two cores, jax 0.10.2.
    """
    if jax.default_backend() != "cpu" or matrices.ndim == 2:
        return function(matrices)
    batch = matrices.shape[:-2]
    flat = jnp.reshape(matrices, (-1, *matrices.shape[-2:]))
    _, found = jax.lax.scan(lambda none, matrix: (none, function(matrix)), None, flat)
    return jax.tree.map(lambda part: jnp.reshape(part, (*batch, *part.shape[1:])), found)


def materialise(x: Array) -> Array:
    """Return x, computed once: XLA on the CPU would otherwise compute a product of matrices again for each use.

    A branch that is never taken stops the fusion; the barrier by itself does not, but hides the condition from XLA.
    """
    if not isinstance(x, jax.core.Tracer) or jax.default_backend() != "cpu" or x.size == 0:
        return x
    return jax.lax.cond(_never(), jnp.negative, lambda x: x, x)


def _never() -> Array:
    """A condition that never holds, which XLA cannot see."""
    return _barrier(jnp.zeros(())) > 1.0


def checkpoint(f: Any) -> Any:
    """Return f with its intermediate values recomputed in the backward pass.

    XLA on the CPU would notice there that they are already known, and keep them all. It does not look into branches: where
    f is differentiated, it becomes one.
    """

    def recomputed(*args: Any) -> Any:
        if jax.default_backend() != "cpu" or not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(args)):
            return jax.checkpoint(f)(*args)
        closed, outer = jax.closure_convert(f, *args)
        known = jax.custom_jvp(lambda args, outer: closed(*args, *outer))
        known.defjvp(lambda primals, tangents: jax.jvp(partial(_in_branch, closed), primals, tangents))
        return known(args, outer)

    return recomputed


def _in_branch(f: Callable[..., Any], args: tuple[Any, ...], outer: list[Any]) -> Any:
    """f(*args, *outer), as a branch that is always taken and keeps only its arguments."""
    shapes = jax.eval_shape(f, *args, *outer)
    empty = partial(jax.tree.map, lambda y: jnp.zeros(y.shape, y.dtype), shapes)
    return jax.lax.cond(_never(), lambda *_: empty(), jax.checkpoint(f), *args, *outer)


CALLED = 2**12  # numbers: a call takes 10 to 40 microseconds, a pass of XLA's code 5 to 10 ns per number


def on_host(function: Any, plain: Any, like: Any, *arrays: Array, numbers: float = math.inf) -> Any:
    """Return what the function writes, also when called from compiled programs, with the derivative of `plain`; None on
    accelerators, on several devices, and where the work is too small for such a call."""
    if jax.default_backend() != "cpu" or jax.device_count() > 1 or numbers < CALLED:
        return None

    @jax.custom_jvp
    def called(*arrays: Array) -> tuple[Array, ...]:
        if any(isinstance(x, jax.core.Tracer) for x in arrays):
            return xla_calls.call(function, like, *arrays)
        return tuple(map(jnp.asarray, standard.written(function, like, *map(numpy.asarray, arrays))))

    called.defjvp(lambda primals, tangents: jax.jvp(plain, primals, tangents))
    return called(*arrays)


def matmul(a: Array, b: Array, d: int) -> Array:
    """Return the products of `backends.standard.matmul`, kept in memory."""
    return materialise(standard.matmul(a, b, d))


def unstack(x: Array, axis: int = 0) -> tuple[Array, ...]:
    """Return the entries along an axis; their gradients are concatenated, not added up in arrays of zeros."""
    return tuple(jnp.squeeze(part, axis) for part in jax.lax.split(x, (1,) * x.shape[axis], axis % x.ndim))


def refuse(dtype: str) -> None:
    """Raise ValueError when float64 is requested while JAX would silently turn it into float32."""
    if dtype in ("float64", "complex128") and not _read_setting("jax_enable_x64"):
        raise ValueError(X64)


def of_array(x: Any) -> Backend:
    """Return the record of an array or a tracer."""
    return backend(_device_name(x), "float32" if x.dtype in SINGLE else "float64")


def _device_name(x: Any) -> str | None:
    if isinstance(x, jax.core.Tracer):
        return None
    device = next(iter(x.devices()))
    return None if device == jax.devices()[0] else f"{device.platform}:{device.id}"


def _device(name: str | None) -> Any:
    if name is None:
        return None
    platform, _, index = name.partition(":")
    try:
        return jax.devices(platform)[int(index or 0)]
    except (RuntimeError, IndexError, ValueError):
        present = ", ".join(f"{device.platform}:{device.id}" for device in jax.devices())
        raise MissingBackend(f"jax has no device {name!r}; it sees {present}") from None


def _asarray(device: Any, default: str, x: Any, dtype: Any = None) -> Array:
    if not isinstance(x, jax.Array):
        x = numpy.asarray(x)
        dtype = standard.array_dtype(jnp, default, x, dtype)
        x = x.copy()  # XLA on the CPU may read the host's memory for as long as the array lives
    if dtype is not None:
        refuse(numpy.dtype(dtype).name)
    array = jnp.asarray(x, dtype=dtype)
    return array if device is None or isinstance(array, jax.core.Tracer) else jax.device_put(array, device)


def _vjp(f: Any, x: Any) -> Any:
    y, pullback = jax.vjp(f, x)
    return y, lambda dy: pullback(dy)[0]


def with_slopes(f: Any, slopes: Any, d: int, has_aux: bool = False) -> Any:
    """Return f with its derivative given by its slopes; second derivatives differentiate the slopes."""
    known = jax.custom_jvp(f)

    def along(args: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Any, Any]:
        value, factors = slopes(*args)
        y, aux = value if has_aux else (value, None)
        terms = [jnp.sum(s * dx, axis=standard.own_axes(s, y, d)) for s, dx in zip(factors, tangents, strict=True)]
        dy = sum(terms[1:], terms[0])
        return (value, (dy, jax.tree.map(jnp.zeros_like, aux))) if has_aux else (y, dy)

    known.defjvp(along)
    return known


@jax.custom_jvp
def _sincos(x: Array) -> tuple[Array, Array]:
    """Sine and cosine by reduction to [-pi/2, pi/2] and Taylor polynomials, which vectorise; XLA's own do not."""
    turns = jnp.round(x * (1.0 / math.pi))
    shifted = jnp.round(x * (1.0 / math.pi) - 0.5)
    return _sine_of_rest(x, 2.0 * turns, turns), _sine_of_rest(x, 2.0 * shifted + 1.0, shifted + 1.0)


def _sine_of_rest(x: Array, quarters: Array, turns: Array) -> Array:
    """(-1)^turns sin(x - quarters pi/2); sine and cosine each reduce x themselves, as most callers need only one of them.

    The division by one, which XLA cannot see is one, keeps it from fusing the polynomial into every consumer that shifts
    the result, where it would be evaluated again: the U(1) force takes a quarter of the time.
    """
    single = x.dtype == jnp.float32
    rest = x
    for part in HALF_PI_SINGLE if single else HALF_PI:
        rest = rest - quarters * part
    square = rest * rest
    bend = _series(square, [1.0 / math.factorial(n) for n in range(3, 14 if single else 22, 2)])
    sine = rest - rest * square * bend
    odd = turns - 2.0 * jnp.floor(0.5 * turns)
    return sine * (1.0 - 2.0 * odd) / (x * 0.0 + 1.0)


@_sincos.defjvp
def _sincos_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    sine, cosine = _sincos(*primals)
    (dx,) = tangents
    return (sine, cosine), (cosine * dx, -sine * dx)


def sincos(x: Array) -> tuple[Array, Array]:
    """Return sine and cosine in radians, accurate to a bit or two for |x| below 1e5.

    The reduction splits pi/2 into three parts (Cody and Waite); for larger |x| the error is a few units in the last place
    of x itself.
    """
    return _sincos(x)


def _series(square: Array, coefficients: list[float]) -> Array:
    """Sum (-1)^k c_k square^k by Horner's rule."""
    signed = [c if k % 2 == 0 else -c for k, c in enumerate(coefficients)]
    total = jnp.full_like(square, signed[-1])
    for c in reversed(signed[:-1]):
        total = total * square + c
    return total
