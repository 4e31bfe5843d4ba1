"""The plain record for any Array API namespace: NumPy and CuPy use it as it is, as does any library without an adapter.

Loops run in Python, and there is no automatic differentiation.
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
from haarflow.backends.alone import alone
from haarflow.backends.protocol import Backend, NoAutodiff
from haarflow.backends.types import Array, Tree

PRECISIONS = ("float64", "float32")
COMPLEX = {"float64": "complex128", "float32": "complex64"}


def record(name: str, xp: Any, device: Any, dtype: str, version: str, **own: Any) -> Backend:
    """Return the record of the namespace `xp`, in which `own` replaces plain functions by those of the adapter."""
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
        "cond": cond,
        "conv": conv,
        "matmul": matmul,
        "roll": roll,
        "unstack": unstack,
        "sincos": sincos,
        "axpy": axpy,
        "sin": xp.sin,
        "cos": xp.cos,
        "leaky_relu": leaky_relu,
        "by_matrix": by_matrix,
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


def by_matrix(function: Callable[[Array], Any], matrices: Array) -> Any:
    """Return the function of matrices `(*batch, n, n)`."""
    return function(matrices)


def check_precision(dtype: str) -> str:
    """Return the name of a floating type, or raise ValueError."""
    if dtype not in PRECISIONS:
        raise ValueError(f"a backend's dtype is one of {', '.join(PRECISIONS)}, got {dtype!r}")
    return dtype


def array_dtype(xp: Any, default: str, x: Any, dtype: Any) -> Any:
    """Return the type of an array made of host data: floats and complex numbers get the default precision, integers int32,
    unless `dtype` says otherwise."""
    if dtype is not None:
        return getattr(xp, dtype) if isinstance(dtype, str) else dtype
    kind = numpy.asarray(x).dtype.kind
    kinds = {"f": default, "c": COMPLEX[default], "i": "int32", "u": "int32", "b": "bool"}
    return getattr(xp, kinds[kind]) if kind in kinds else None


def asarray(xp: Any, device: Any, default: str, x: Any, dtype: Any = None) -> Array:
    """Return host data as an array of the record's device and precision, copied."""
    if not hasattr(x, "__array_namespace__"):  # the standard's own mark of its arrays
        x = numpy.asarray(x)
    host = isinstance(x, numpy.ndarray | numpy.generic)
    wanted = array_dtype(xp, default, x, dtype) if host or dtype is not None else None
    return xp.asarray(x, dtype=wanted, device=device, copy=True if host else None)


def identity(x: Any) -> Any:
    """Return the argument: compilation without a compiler, a stopped gradient without autodiff."""
    return x


def with_slopes(f: Callable[..., Any], slopes: Callable[..., Any], d: int, has_aux: bool = False) -> Callable[..., Any]:
    """Return f: the slopes are needed by autodiff only."""
    return f


def own_axes(x: Array, y: Array, d: int) -> tuple[int, ...]:
    """Return the axes that x `(*batch, *axes, *lattice)` has and y `(*batch, *lattice)` lacks."""
    return tuple(range(y.ndim - d, x.ndim - d))


def no_autodiff(name: str, verb: str, *_: Any, **__: Any) -> Any:
    """Raise NoAutodiff, naming the remedy."""
    raise NoAutodiff(
        f"{verb} needs automatic differentiation, which the {name} backend does not support: choose jax or torch "
        "(pip install 'haarflow[jax]'), for example haarflow.backends.get('jax')"
    )


def stack(xp: Any, trees: list[Tree]) -> Tree:
    """Return trees of the same structure stacked leaf by leaf on a new axis 0."""
    return tree.tree_map(lambda *rows: xp.stack(rows, axis=0), *trees) if trees else None


def slice_tree(xs: Tree, index: int) -> Tree:
    """Return one entry of axis 0 of every leaf."""
    return tree.tree_map(lambda x: x[index, ...], xs)


def unstack(x: Array, axis: int = 0) -> tuple[Array, ...]:
    """Return the entries along an axis."""
    before = (slice(None),) * (axis % x.ndim)
    return tuple(x[(*before, index, ...)] for index in range(x.shape[axis]))


def scan(
    f: Callable[[Tree, Tree], tuple[Tree, Tree]],
    init: Tree,
    xs: Tree = None,
    length: int | None = None,
    unbind: Callable[[Array], Sequence[Array]] = unstack,
) -> tuple[Tree, Tree]:
    """Run `carry, y = f(carry, x)` over axis 0 of `xs`, or `length` times without xs; return the last carry and the stacked y.

    `unbind` is the backend's own `unstack`. Raises ValueError without xs and length.
    """
    stacks, rebuild = tree.flatten(xs)
    if not stacks and length is None:
        raise ValueError("scan wants arrays xs to run over, or a length, got neither")
    entries = zip(*[unbind(x) for x in stacks], strict=True) if stacks else itertools.repeat((), length or 0)
    carry, rows = init, []
    for entry in entries:
        carry, y = f(carry, rebuild(list(entry)))
        rows.append(y)
    leaves = tree.leaves(rows)
    return carry, stack(array_namespace(leaves[0]), rows) if leaves else None


def while_loop(cond: Callable[[Tree], Array], body: Callable[[Tree], Tree], init: Tree) -> Tree:
    """Run `state = body(state)` while `cond(state)` holds."""
    state = init
    while bool(cond(state)):
        state = body(state)
    return state


def cond(predicate: Array, then: Callable[[], Tree], otherwise: Callable[[], Tree]) -> Tree:
    """Return `then()` where the predicate, a single truth value, holds, else `otherwise()`; only one of them is called."""
    return then() if bool(predicate) else otherwise()


def vmap(f: Callable[..., Tree]) -> Callable[..., Tree]:
    """Map `f` over axis 0 of all its arguments by a loop."""

    def mapped(*args: Tree) -> Tree:
        xp = array_namespace(*tree.leaves(args))
        count = tree.leaves(args)[0].shape[0]
        return stack(xp, [f(*slice_tree(args, index)) for index in range(count)])

    return mapped


def offsets(kernel: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the displacements k - (K-1)/2 of a kernel's taps in row-major order.

    Raises ValueError for an even extent, which has no centre.
    """
    if any(extent % 2 == 0 for extent in kernel):
        raise ValueError(f"a periodic kernel has odd extents, got {kernel}")
    return list(itertools.product(*[range(-(extent // 2), extent // 2 + 1) for extent in kernel]))


def check_conv(x: Array, w: Array) -> int:
    """Return the dimension of a convolution's lattice; raises ValueError when the shapes do not match."""
    d = int(w.ndim) - 2
    if d < 1 or x.ndim < d + 1 or x.shape[-d - 1] != w.shape[1]:
        raise ValueError(
            f"conv wants x (*batch, C, *lattice) and w (O, C, *kernel), got x {tuple(x.shape)} and w {tuple(w.shape)}"
        )
    return d


def taps(x: Array, kernel: tuple[int, ...]) -> Array:
    """Return the features shifted by every tap, `(*batch, C * taps, *lattice)`, channel slowest."""
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
    """Raise ValueError for a layer whose kernel is even or does not match its input features."""
    d, channels = check_conv(x, weights[0]), x.shape[-weights[0].ndim + 1]
    for layer, w in enumerate(weights):
        if w.ndim != d + 2 or w.shape[1] != channels:
            raise ValueError(
                f"layer {layer} of a net gets {channels} channels on {d} lattice axes: its w is (O, {channels}, *kernel), "
                f"got {tuple(w.shape)}"
            )
        offsets(tuple(w.shape[2:]))
        channels = w.shape[0]


def conv_net(
    conv: Callable[[Array, Array], Array],
    x: Array,
    weights: Sequence[Array],
    biases: Sequence[Array | None],
    activations: Sequence[Callable[[Array], Array]],
) -> Array:
    """Return the features after several layers, each activation(conv(x, w) + b).

    Shapes: x `(*batch, C, *lattice)`, each w as in `conv`, each b `(O,)` or None; activations act element by element.
    An adapter may use another memory layout between the layers.
    Raises ValueError for layers that do not match.
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
    """Return x rolled by some steps along an axis, periodic."""
    return array_namespace(x).roll(x, steps, axis=axis)


def axpy(a: Any, x: Array, y: Array) -> Array:
    """Return a x + y for a number or an array a that broadcasts."""
    return a * x + y


def leaky_relu(x: Array) -> Array:
    """Return x where positive, 0.01 x elsewhere."""
    return array_namespace(x).where(x > 0, x, 0.01 * x)


def written(function: Callable[..., None], like: Sequence[Any], *arrays: numpy.ndarray) -> tuple[numpy.ndarray, ...]:
    """Return what `function(into, *arrays)` writes into new NumPy arrays with the shapes and types of `like`."""
    into = tuple(numpy.empty(x.shape, dtype=x.dtype) for x in like)
    with alone():
        function(into, *arrays)
    return into


def declined(*_: Any, **__: Any) -> None:
    """Return None: the adapter has no such kernel."""


def sincos(x: Array) -> tuple[Array, Array]:
    """Return sine and cosine of an array in radians."""
    xp = array_namespace(x)
    return xp.sin(x), xp.cos(x)
