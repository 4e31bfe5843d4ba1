"""The plain record for any Array API namespace: NumPy and CuPy use it as it is, and every other library without an
adapter of its own. Loops run in Python, there is no autodiff.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow.backends import tree
from haarflow.backends.protocol import Backend, NoAutodiff
from haarflow.backends.types import Array

PRECISIONS = ("float64", "float32")
COMPLEX = {"float64": "complex128", "float32": "complex64"}


def record(name: str, xp: Any, device: Any, dtype: str, version: str, **own: Any) -> Backend:
    """Return the record of the namespace `xp`; `own` replaces the plain functions by the adapter's."""
    functions: dict[str, Any] = {
        "asarray": partial(asarray, xp, device, dtype),
        "to_numpy": numpy.array,
        "stop_gradient": identity,
        "checkpoint": identity,
        "with_slopes": with_slopes,
        "jit": identity,
        "vmap": vmap,
        "scan": scan,
        "while_loop": while_loop,
        "conv": conv,
        "matmul": matmul,
        "roll": roll,
        "unstack": unstack,
        "sincos": sincos,
        "axpy": axpy,
        "sin": xp.sin,
        "cos": xp.cos,
        "leaky_relu": leaky_relu,
        "threefry": declined,
        "threefry_fold": declined,
        "threefry_uniform": declined,
        "threefry_normal": declined,
        "materialise": identity,
        "on_host": declined,
        "autodiff": False,
    }
    for verb in ("value_and_grad", "vjp", "jvp", "jacobian"):
        functions[verb] = partial(no_autodiff, name, verb)
    functions = {**functions, **own}
    functions.setdefault("conv_net", partial(conv_net, functions["conv"]))
    return Backend(name=name, device=device, dtype=dtype, xp=xp, version=version, **functions)


def check_precision(dtype: str) -> str:
    """Return the name of a floating type, or raise ValueError."""
    if dtype not in PRECISIONS:
        raise ValueError(f"a backend's dtype is one of {', '.join(PRECISIONS)}, got {dtype!r}")
    return dtype


def array_dtype(xp: Any, default: str, x: Any, dtype: Any) -> Any:
    """Return the type an array gets at the border: floats and complex numbers of the default precision, whole numbers
    int32, unless told."""
    if dtype is not None:
        return getattr(xp, dtype) if isinstance(dtype, str) else dtype
    kind = numpy.asarray(x).dtype.kind
    kinds = {"f": default, "c": COMPLEX[default], "i": "int32", "u": "int32", "b": "bool"}
    return getattr(xp, kinds[kind]) if kind in kinds else None


def asarray(xp: Any, device: Any, default: str, x: Any, dtype: Any = None) -> Array:
    """Return host data as an array of the record's device and precision, in memory of its own."""
    if not hasattr(x, "__array_namespace__"):
        x = numpy.asarray(x)
    host = isinstance(x, numpy.ndarray | numpy.generic)
    wanted = array_dtype(xp, default, x, dtype) if host or dtype is not None else None
    return xp.asarray(x, dtype=wanted, device=device, copy=True if host else None)


def identity(x: Any) -> Any:
    """Return the argument: what compilation or a stopped gradient comes to without a compiler or autodiff."""
    return x


def with_slopes(f: Callable, slopes: Callable, d: int) -> Callable:
    """Return f: without autodiff nobody asks for slopes."""
    return f


def own_axes(x: Array, y: Array, d: int) -> tuple[int, ...]:
    """Return the axes of x `(*batch, *own, *lattice)` that y `(*batch, *lattice)` has not."""
    return tuple(range(y.ndim - d, x.ndim - d))


def no_autodiff(name: str, verb: str, *_: Any, **__: Any) -> Any:
    """Raise NoAutodiff, naming the remedy."""
    raise NoAutodiff(
        f"{verb} needs automatic differentiation, which the {name} backend has not: choose jax or torch "
        "(pip install 'haarflow[jax]'), for example haarflow.backends.get('jax')"
    )


def stack(xp: Any, trees: list) -> Any:
    """Return equal trees stacked leaf by leaf on a new axis 0."""
    return tree.tree_map(lambda *rows: xp.stack(rows, axis=0), *trees) if trees else None


def slice_tree(xs: Any, number: int) -> Any:
    """Return entry `number` of axis 0 of every leaf."""
    return tree.tree_map(lambda x: x[number, ...], xs)


def unstack(x: Array, axis: int = 0) -> tuple[Array, ...]:
    """Return the entries along an axis."""
    before = (slice(None),) * (axis % x.ndim)
    return tuple(x[(*before, number, ...)] for number in range(x.shape[axis]))


def scan(f, init, xs=None, length=None, unbind=unstack):
    """Run `carry, y = f(carry, x)` over axis 0 of `xs`; return the last carry and the stacked y.

    `unbind` is the engine's own `unstack`.
    """
    stacks, rebuild = tree.flatten(xs)
    entries = zip(*[unbind(x) for x in stacks], strict=True) if stacks else [()] * length
    carry, rows = init, []
    for entry in entries:
        carry, y = f(carry, rebuild(list(entry)))
        rows.append(y)
    found = tree.leaves(rows)
    return carry, stack(array_namespace(found[0]), rows) if found else None


def while_loop(cond, body, init):
    """Run `state = body(state)` while `cond(state)` holds."""
    state = init
    while bool(cond(state)):
        state = body(state)
    return state


def vmap(f):
    """Map `f` over axis 0 of all its arguments by a loop."""

    def mapped(*args):
        xp = array_namespace(*tree.leaves(args))
        count = tree.leaves(args)[0].shape[0]
        return stack(xp, [f(*slice_tree(args, number)) for number in range(count)])

    return mapped


def offsets(kernel: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the displacements k - (K-1)/2 of a kernel's taps in row-major order.

    Raises ValueError for an even extent, which has no middle.
    """
    if any(extent % 2 == 0 for extent in kernel):
        raise ValueError(f"a periodic kernel has odd extents, got {kernel}")
    return list(itertools.product(*[range(-(extent // 2), extent // 2 + 1) for extent in kernel]))


def check_conv(x: Array, w: Array) -> int:
    """Return the dimension of a convolution's lattice, or raise ValueError for shapes that do not fit."""
    d = w.ndim - 2
    if d < 1 or x.ndim < d + 1 or x.shape[-d - 1] != w.shape[1]:
        raise ValueError(
            f"conv wants x (*batch, C, *lattice) and w (O, C, *kernel), got x {tuple(x.shape)} and w {tuple(w.shape)}"
        )
    return d


def taps(x: Array, kernel: tuple[int, ...]) -> Array:
    """Return every tap's view of the features, `(*batch, C * taps, *lattice)`, channel slowest."""
    xp, d = array_namespace(x), len(kernel)
    axes = tuple(range(-d, 0))
    views = [xp.roll(x, tuple(-step for step in steps), axis=axes) for steps in offsets(kernel)]
    stacked = xp.stack(views, axis=-d - 1)
    return xp.reshape(stacked, x.shape[: -d - 1] + (x.shape[-d - 1] * len(views),) + x.shape[-d:])


def conv(x: Array, w: Array) -> Array:
    """Return the periodic cross-correlation y[o,x] = sum_{c,k} w[o,c,k] x[c, x + k - (K-1)/2].

    Shapes: x `(*batch, C, *lattice)`, w `(O, C, *kernel)` with odd extents that may exceed the lattice's;
    y `(*batch, O, *lattice)`.
    """
    xp, d = array_namespace(x), check_conv(x, w)
    rows = taps(x, w.shape[2:])
    flat = xp.reshape(rows, (*rows.shape[:-d], math.prod(x.shape[-d:])))
    y = xp.matmul(xp.reshape(w, (w.shape[0], -1)), flat)
    return xp.reshape(y, y.shape[:-1] + x.shape[-d:])


def check_net(x: Array, weights: Sequence[Array]) -> None:
    """Raise ValueError for a layer whose kernel is even or does not fit the features that reach it."""
    d, channels = check_conv(x, weights[0]), x.shape[-weights[0].ndim + 1]
    for number, w in enumerate(weights):
        if w.ndim != d + 2 or w.shape[1] != channels:
            raise ValueError(
                f"layer {number} of a net gets {channels} channels on {d} lattice axes: its w is (O, {channels}, *kernel), "
                f"got {tuple(w.shape)}"
            )
        offsets(tuple(w.shape[2:]))
        channels = w.shape[0]


def conv_net(
    conv: Callable, x: Array, weights: Sequence[Array], biases: Sequence[Array | None], activations: Sequence[Callable]
) -> Array:
    """Return the features behind several layers, each activation(conv(x, w) + b), one after another.

    Shapes: x `(*batch, C, *lattice)`, each w as `conv` has it, each b `(O,)` or None; activations act element by element.
    An adapter may keep a layout of its own between the layers.
    Raises ValueError for layers that do not fit.
    """
    check_net(x, weights)
    for w, b, activate in zip(weights, biases, activations, strict=True):
        x = conv(x, w)
        x = activate(x if b is None else x + b[(..., *(None,) * (w.ndim - 2))])
    return x


def matmul(a: Array, b: Array, d: int) -> Array:
    """Return products of small matrices `(..., N, M, *lattice)` and `(..., M, K, *lattice)`, summed term by term."""
    lattice = (slice(None),) * d
    terms = [
        a[(..., slice(None), k, None, *lattice)] * b[(..., None, k, slice(None), *lattice)]
        for k in range(b.shape[-d - 2])
    ]
    return sum(terms[1:], terms[0])


def roll(x: Array, steps: int, axis: int) -> Array:
    """Return x moved by some steps along an axis, periodic."""
    return array_namespace(x).roll(x, steps, axis=axis)


def axpy(a: Any, x: Array, y: Array) -> Array:
    """Return a x + y for a number or an array a that broadcasts."""
    return a * x + y


def leaky_relu(x: Array) -> Array:
    """Return x where positive, 0.01 x elsewhere."""
    return array_namespace(x).where(x > 0, x, 0.01 * x)


def written(function: Callable, like: Sequence[Any], *arrays: numpy.ndarray) -> tuple[numpy.ndarray, ...]:
    """Return what `function(into, *arrays)` writes into new NumPy arrays shaped and typed as `like`."""
    into = tuple(numpy.empty(x.shape, dtype=x.dtype) for x in like)
    function(into, *arrays)
    return into


def declined(*_: Any, **__: Any) -> None:
    """Return None: there is no kernel of the adapter's own."""


def sincos(x: Array) -> tuple[Array, Array]:
    """Return sine and cosine of an array in radians."""
    xp = array_namespace(x)
    return xp.sin(x), xp.cos(x)
