"""Laws of a backend: its kernels agree with NumPy loops, its transforms change no number, its conversions copy.

The references are the slowest code that is obviously right; autodiff is compared with finite differences of a NumPy function.
"""

from __future__ import annotations

import math
from typing import Any

import numpy

from haarflow.backends.protocol import Backend
from haarflow.backends.standard import identity
from haarflow.backends.tree import leaves
from haarflow.backends.types import Array, Tree
from haarflow.core.laws.derivatives import derivatives, image_of
from haarflow.core.laws.law import EPSILON as ULP
from haarflow.core.laws.law import Given, Law, Verdict, at_once, judge, largest, precision_of, to_host
from haarflow.core.laws.references import slow_conv, slow_matmul

REDUCED = {"float64": 1e5, "float32": 1e2}  # up to here sine and cosine are accurate to their last bits


def border(backend: Backend, host: numpy.ndarray) -> Verdict:
    """to_numpy(asarray(x)) = x, and both copy.

    Floats take the backend's precision, integers become int32. A later change of the host's array, or of the array that
    `to_numpy` returned, must not change the array of the backend.

    >>> from haarflow.backends import numpy as backend
    >>> border(backend, numpy.asarray([1.0, 2.5])).passed
    True
    """
    passed, before = host.copy(), host.copy()
    array = backend.asarray(passed)
    faults = largest(numpy.asarray(passed != before))
    passed += 1
    back = backend.to_numpy(array)
    expected = before.astype({"f": backend.dtype, "i": "int32"}[before.dtype.kind])
    faults = max(faults, float(back.dtype != expected.dtype), largest(back - expected))
    if back.flags.writeable:
        back += 1
    faults = max(faults, largest(backend.to_numpy(array) - expected))
    return judge(border, faults, 0.0, "a copy is exact", host=before)


def convolution(backend: Backend, x: Array, w: Array) -> Verdict:
    """conv(x, w)[o, x] = sum_{c,k} w[o,c,k] x[c, x + k - (K-1)/2], periodic.

    `x (*batch, C, *lattice)` and `w (O, C, *kernel)` are arrays of the backend; the kernel may be larger than the lattice.

    >>> from haarflow.backends import numpy as backend
    >>> convolution(backend, numpy.ones((1, 2)), numpy.ones((1, 1, 5))).passed
    True
    """
    plain_x, plain_w = to_host(x).astype("float64"), to_host(w).astype("float64")
    terms = math.prod(w.shape[1:])
    residual = _off(backend.to_numpy(backend.jit(backend.conv)(x, w)), slow_conv(plain_x, plain_w))
    bound = (terms + 2) * ULP[precision_of(x)] * largest(slow_conv(numpy.abs(plain_x), numpy.abs(plain_w)))
    return judge(convolution, residual, bound, f"rounding of {terms} terms: n u sum |w| |x|", x=x, w=w)


def convolution_net(backend: Backend, x: Array, weights: list[Array], biases: list[Array | None]) -> Verdict:
    """conv_net(x, w, b, f) is f(conv(x, w) + b), layer after layer.

    `x (*batch, C, *lattice)`, the layers' `w (O, C, *kernel)` and `b (O,)` or None; f is the leaky rectifier between
    the layers and the identity after the last.

    >>> from haarflow.backends import numpy as backend
    >>> convolution_net(backend, numpy.ones((1, 2)), [numpy.ones((1, 1, 3))], [None]).passed
    True
    """
    activations = [*[_rectified] * (len(weights) - 1), identity]
    result = backend.jit(lambda x, w, b: backend.conv_net(x, w, b, activations))(x, weights, biases)
    y = bound = to_host(x).astype("float64")
    bound, terms = numpy.abs(bound), 0
    for w, b, activate in zip(weights, biases, activations, strict=True):
        plain, d = to_host(w).astype("float64"), w.ndim - 2
        shift = 0.0 if b is None else to_host(b).astype("float64")[(..., *(None,) * d)]
        y = activate(slow_conv(y, plain) + shift)
        bound = slow_conv(bound, numpy.abs(plain)) + numpy.abs(shift)
        terms += math.prod(w.shape[1:]) + 4
    tolerance = terms * ULP[precision_of(x)] * largest(bound)
    reason = f"rounding of {terms} terms: n u times the net of sizes"
    return judge(
        convolution_net, _off(backend.to_numpy(result), y), tolerance, reason, x=x, weights=weights, biases=biases
    )


def _off(result: numpy.ndarray, expected: numpy.ndarray) -> Tree:
    """The difference, infinite if the shapes differ."""
    return result - expected if result.shape == expected.shape else math.inf


def _rectified(y: Array) -> Array:
    return 0.55 * y + 0.45 * abs(y)


def small_matrices(backend: Backend, a: Array, b: Array, d: int) -> Verdict:
    """matmul(a, b, d)[n, k, x] = sum_m a[n, m, x] b[m, k, x], the lattice on the last d axes.

    >>> from haarflow.backends import numpy as backend
    >>> small_matrices(backend, numpy.ones((2, 2, 4)), numpy.ones((2, 2, 4)), 1).passed
    True
    """
    plain_a, plain_b = to_host(a).astype("float64"), to_host(b).astype("float64")
    residual = _off(
        backend.to_numpy(at_once(lambda a, b: backend.matmul(a, b, d), a, b)), slow_matmul(plain_a, plain_b, d)
    )
    size = largest(slow_matmul(numpy.abs(plain_a), numpy.abs(plain_b), d))
    terms = plain_b.shape[-d - 2]
    bound = (terms + 2) * ULP[precision_of(a)] * size
    return judge(small_matrices, residual, bound, f"rounding of {terms} terms: n u sum |a| |b|", a=a, b=b)


def sine_and_cosine(backend: Backend, x: Array) -> Verdict:
    """sincos(x) = (sin x, cos x) to 1.5 ulp of 1.

    The error may be 1.5 ulp of 1 up to |x| = 1e5 (float32: 1e2), and 4 ulp of |x| beyond.

    >>> from haarflow.backends import numpy as backend
    >>> sine_and_cosine(backend, numpy.linspace(-9.0, 9.0, 7)).passed
    True
    """
    plain, dtype = to_host(x).astype("float64"), precision_of(x)
    allowed = ULP[dtype] * numpy.where(numpy.abs(plain) <= REDUCED[dtype], 1.5, 4 * numpy.abs(plain))
    sine, cosine = (backend.to_numpy(part) for part in at_once(backend.sincos, x))
    errors = numpy.stack([sine - numpy.sin(plain), cosine - numpy.cos(plain)]) / allowed
    reason = "1.5 ulp of 1 up to |x| = 1e5 (float32: 1e2), 4 ulp of |x| beyond"
    return judge(sine_and_cosine, errors, 1.0, reason, x=x)


def scanning(backend: Backend, start: Array, xs: Any) -> Verdict:
    """scan(f, c, xs) is the loop c, y_t = f(c, x_t) with the y_t stacked; without xs it runs `length` times.

    `start` is an array `(n,)`, `xs` a dict with "a" of shape `(t, n)`.

    >>> from haarflow.backends import numpy as backend
    >>> scanning(backend, numpy.ones(2), {"a": numpy.ones((3, 2))}).passed
    True
    """
    carry, ys = backend.scan(_scanned, start, xs)
    doubled, none = backend.scan(lambda c, _: (c + c, None), start, None, length=3)
    rows, plain = [], to_host(start).astype("float64")
    for row in to_host(xs["a"]).astype("float64"):
        plain, y = _scanned(plain, {"a": row})
        rows.append(y["y"])
    results = [carry, ys["y"], doubled]
    expected = [plain, numpy.stack(rows), 8.0 * to_host(start)]
    faults = [backend.to_numpy(one) - two for one, two in zip(results, expected, strict=True)]
    size = max(1.0, *map(largest, expected))
    tolerance = 4 * len(rows) * ULP[precision_of(start)] * size
    residual = math.inf if leaves(none) else max(map(largest, faults))
    return judge(scanning, residual, tolerance, "two roundings per step", start=start, xs=xs)


def _scanned(carry: Tree, x: Array) -> Tree:
    after = 0.5 * carry + x["a"]
    return after, {"y": carry * x["a"]}


def looping(backend: Backend, start: Array) -> Verdict:
    """while_loop(condition, f, s) applies f as long as condition(s) is true, and no longer.

    >>> from haarflow.backends import numpy as backend
    >>> looping(backend, numpy.asarray([1.0])).passed
    True
    """
    final = backend.while_loop(lambda state: state[0][0] < 100.0, _tripled, (start, 0.0 * start))
    plain = (to_host(start).astype("float64"), 0.0 * to_host(start))
    while plain[0][0] < 100.0:
        plain = _tripled(plain)
    residual = max(largest(backend.to_numpy(one) - two) for one, two in zip(final, plain, strict=True))
    tolerance = 16 * ULP[precision_of(start)] * largest(plain[0])
    return judge(looping, residual, tolerance, "one rounding per pass", start=start)


def branching(backend: Backend, x: Array) -> Verdict:
    """cond(x_0 > 0, f, g) is f() where x_0 > 0, else g().

    >>> from haarflow.backends import numpy as backend
    >>> branching(backend, numpy.asarray([1.0])).passed
    True
    """

    def chosen(value: Array) -> Array:
        return backend.cond(value[0] > 0.0, lambda: 2.0 * value, lambda: value - 1.0)

    run, off = backend.jit(chosen), 0.0
    for value in (x, -x, 0.0 * x):
        host = to_host(value)
        plain = 2.0 * host if host[0] > 0.0 else host - 1.0
        off = max(off, largest(backend.to_numpy(run(value)) - plain))
    return judge(branching, off, 4 * ULP[precision_of(x)] * (1.0 + largest(x)), "one rounding", x=x)


def _tripled(state: Tree) -> Tree:
    return 3.0 * state[0] + 1.0, state[1] + 1.0


def mapping(backend: Backend, x: Array, y: Array) -> Verdict:
    """vmap(f)(x, y)[i] = f(x[i], y[i]), also where f returns a tree.

    >>> from haarflow.backends import numpy as backend
    >>> mapping(backend, numpy.ones((3, 2)), numpy.ones((3, 2))).passed
    True
    """

    def one(a: Array, b: Array) -> Tree:
        return {"product": a * b, "sum": backend.xp.sum(a + 2.0 * b)}

    mapped = backend.vmap(one)(x, y)
    plain_x, plain_y = to_host(x).astype("float64"), to_host(y).astype("float64")
    expected = {"product": plain_x * plain_y, "sum": (plain_x + 2.0 * plain_y).sum(axis=-1)}
    residual = max(largest(backend.to_numpy(mapped[name]) - expected[name]) for name in expected)
    tolerance = 4 * plain_x.shape[-1] * ULP[precision_of(x)] * max(1.0, *map(largest, expected.values()))
    return judge(mapping, residual, tolerance, "rounding of one sum", x=x, y=y)


def inputs_unchanged(backend: Backend, x: Array, w: Array) -> Verdict:
    """No kernel or transform changes its arguments, bit for bit.

    >>> from haarflow.backends import numpy as backend
    >>> inputs_unchanged(backend, numpy.ones((1, 2)), numpy.ones((1, 1, 3))).passed
    True
    """
    before = [backend.to_numpy(one).copy() for one in (x, w)]

    def everything(x: Array, w: Array) -> Tree:
        return image_of(backend, x, w), backend.vmap(lambda row: 2.0 * row)(x), backend.matmul(x, x, x.ndim - 2)

    backend.jit(everything)(x, w)
    faults = [largest(backend.to_numpy(one) != two) for one, two in zip((x, w), before, strict=True)]
    return judge(inputs_unchanged, max(faults), 0.0, "arguments belong to the caller", x=before[0], w=before[1])


def compiled_as_eager(backend: Backend, x: Array, w: Array) -> Verdict:
    """jit(f)(x) = f(x) for a function that uses every kernel.

    >>> from haarflow.backends import numpy as backend
    >>> compiled_as_eager(backend, numpy.ones((1, 2)), numpy.ones((1, 1, 3))).passed
    True
    """

    def f(x: Array, w: Array) -> Tree:
        return image_of(backend, x, w)

    jitted, eager = (to_host(result) for result in (backend.jit(f)(x, w), f(x, w)))
    terms = math.prod(w.shape[1:])
    tolerance = (4 * terms + 16) * ULP[precision_of(x)] * max(1.0, largest(x) * largest(w))
    return judge(compiled_as_eager, jitted - eager, tolerance, f"{terms} terms summed in another order", x=x, w=w)


def traced_once(backend: Backend, x: Array) -> Verdict:
    """jit(f) runs the Python code of f once per shape and precision, whatever the values.

    The residual is the number of traces beyond the first.

    >>> from haarflow import backends
    >>> traced_once(backends.get("numpy"), numpy.ones(2)).residual  # NumPy compiles nothing
    2.0
    """
    calls = []

    def f(x: Array, factor: float) -> Array:
        calls.append(1)
        return factor * x

    compiled = backend.jit(f)
    for factor in (1.0, 2.0, 3.0):
        compiled(factor * x, factor)
    return judge(traced_once, len(calls) - 1, 0.0, "one trace for three calls of one shape", x=x)


def _borders(backend: Backend, given: Given) -> Verdict:
    """The worse verdict of floats and integers."""
    host = given.generator().standard_normal(given.lattice)
    verdicts = [border(backend, host), border(backend, numpy.rint(100 * host).astype("int64"))]
    return max(verdicts, key=lambda verdict: verdict.residual)


def _features(backend: Backend, given: Given, batch: tuple[int, ...] = (2,)) -> tuple[Array, Array]:
    """Features `(*batch, C, *lattice)` and a kernel whose extents alternate between 3 and 5 over the axes."""
    host, d = given.generator(), len(given.lattice)
    kernel = tuple(3 + 2 * ((axis + given.seed) % 2) for axis in range(d))
    x = host.standard_normal((*batch, 3, *given.lattice))
    w = host.standard_normal((2, 3, *kernel)) / math.sqrt(3 * math.prod(kernel))
    return _array(backend, given, x), _array(backend, given, w)


def _array(backend: Backend, given: Given, host: numpy.ndarray) -> Array:
    return backend.asarray(host, dtype=given.dtype)


def _normal(backend: Backend, given: Given, shape: tuple[int, ...], salt: int) -> Array:
    return _array(backend, given, given.generator(salt).standard_normal(shape))


def _angles(backend: Backend, given: Given) -> Array:
    """Angles of every magnitude, and the multiples of pi/4 at which the argument reduction changes branch."""
    sizes = 10.0 ** numpy.arange(-9, 8)
    host = given.generator().uniform(-1, 1, (100, sizes.size)) * sizes
    corners = math.pi / 4 * numpy.concatenate([numpy.arange(-16, 17), numpy.asarray([-1001, 999, 12345, 65536])])
    return _array(backend, given, numpy.concatenate([host.ravel(), corners, numpy.zeros(1)]))


def _matrices(backend: Backend, given: Given) -> Verdict:
    a, b = (_normal(backend, given, (2, *shape, *given.lattice), salt) for salt, shape in enumerate(((3, 2), (2, 3))))
    return small_matrices(backend, a, b, len(given.lattice))


def _derivatives(backend: Backend, given: Given) -> Verdict:
    x, w = _features(backend, given)
    v = _normal(backend, given, tuple(w.shape), 5) / math.sqrt(math.prod(w.shape[1:]))
    return derivatives(backend, x, w, v)


def _net(backend: Backend, given: Given) -> Verdict:
    x, w = _features(backend, given)
    shapes = [(3, 2, *w.shape[2:]), (1, 3, *(3,) * len(given.lattice))]
    weights = [w, *(0.3 * _normal(backend, given, shape, salt) for salt, shape in enumerate(shapes, 2))]
    return convolution_net(
        backend, x, weights, [_normal(backend, given, (2,), 6), None, _normal(backend, given, (1,), 7)]
    )


def _scans(backend: Backend, given: Given) -> Verdict:
    """Scans of each length on either side of those that are written out (backends/with_jax.py); the worst one counts."""
    start = _normal(backend, given, (3,), 1)
    found = [scanning(backend, start, {"a": _normal(backend, given, (length, 3), 2)}) for length in (1, 2, 3, 5)]
    return max(found, key=lambda verdict: verdict.ratio)


def _differentiates(backend: Backend) -> str | None:
    return None if backend.autodiff else "the backend does not support automatic differentiation"


def _compiles(backend: Backend) -> str | None:
    return "its jit is the identity" if backend.jit is identity else None


BACKEND_LAWS: tuple[Law, ...] = (
    Law(border, _borders),
    Law(convolution, lambda obj, given: convolution(obj, *_features(obj, given, ((2,), (), (2, 2))[given.seed % 3]))),
    Law(convolution_net, _net),
    Law(small_matrices, _matrices),
    Law(sine_and_cosine, lambda obj, given: sine_and_cosine(obj, _angles(obj, given))),
    Law(scanning, _scans),
    Law(looping, lambda obj, given: looping(obj, _array(obj, given, given.generator().uniform(0.1, 2.0, 3)))),
    Law(branching, lambda obj, given: branching(obj, _array(obj, given, given.generator().uniform(0.1, 2.0, 3)))),
    Law(mapping, lambda obj, given: mapping(obj, _normal(obj, given, (3, 2), 1), _normal(obj, given, (3, 2), 2))),
    Law(derivatives, _derivatives, _differentiates),
    Law(inputs_unchanged, lambda obj, given: inputs_unchanged(obj, *_features(obj, given))),
    Law(compiled_as_eager, lambda obj, given: compiled_as_eager(obj, *_features(obj, given))),
    Law(traced_once, lambda obj, given: traced_once(obj, _normal(obj, given, (3,), 1)), _compiles),
)
