"""The law of a backend's derivatives, against finite differences of a NumPy function."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy

from haarflow.backends.protocol import Backend
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Tree
from haarflow.core.laws.law import EPSILON as ULP
from haarflow.core.laws.law import Verdict, judge, largest, precision_of, to_host
from haarflow.core.laws.references import slow_conv, slow_scan

STENCIL = ((1, 4 / 5), (2, -1 / 5), (3, 4 / 105), (4, -1 / 280))  # eighth-order central difference


def derivatives(backend: Backend, x: Array, w: Array, v: Array) -> Verdict:
    """value_and_grad, vjp, jvp and jacobian are the limits of (f(w + h v) - f(w - h v)) / 2h.

    f(w) = sin(conv(x, w)) cos(conv(x, w)) passed through a scan; `v` is a direction of w's shape. The differences are
    of eighth order with h = 1/256, of a NumPy reference. `checkpoint` must change nothing, `stop_gradient` must give zero.

    >>> from haarflow.backends import numpy as backend
    >>> derivatives(backend, numpy.ones((1, 2)), numpy.ones((1, 1, 3)), numpy.ones((1, 1, 3)))
    Traceback (most recent call last):
        ...
    haarflow.backends.protocol.NoAutodiff: value_and_grad needs automatic differentiation, which the numpy backend ...
    """
    results = tree_map(to_host, backend.jit(lambda x, w, v: _derived(backend, x, w, v))(x, w, v))
    twin, push = _differences(to_host(x).astype("float64"), to_host(w), to_host(v))
    square = (2.0 * twin * push).sum()
    expected = {"value": (twin * twin).sum(), "aux": twin, "vjp_y": twin, "jvp_y": twin, "stopped": twin.sum()}
    expected |= {"along": push, "dense": push, "grad": square, "checkpoint": square, "pulled": square}
    direction = to_host(v).astype("float64").ravel()
    for name in ("grad", "checkpoint", "pulled"):
        results[name] = results[name].ravel() @ direction
    results["dense"] = results["dense"].reshape(*twin.shape, -1) @ direction
    faults = [largest(results[name] - expected[name]) for name in expected]
    size = largest(numpy.abs(twin).sum() + numpy.abs(push).sum() * largest(twin) * 2)
    tolerance = (1e-11 + 64 * ULP[precision_of(w)]) * max(1.0, size)
    reason = "64 roundings and the error 1e-11 of the differences, times the sum of moduli"
    return judge(derivatives, max(faults), tolerance, reason, x=x, w=w, v=v)


def _derived(backend: Backend, x: Array, w: Array, v: Array) -> Tree:
    """All derivatives that the backend offers."""
    xp = backend.xp

    def image(w: Array) -> Tree:
        return image_of(backend, x, w)

    def loss(tree: Tree) -> Tree:
        y = image(tree["w"])
        return xp.sum(y * y), {"image": y}

    (value, aux), grad = backend.value_and_grad(loss, has_aux=True)({"w": w})
    again = backend.value_and_grad(lambda w: xp.sum(backend.checkpoint(image)(w) ** 2))(w)[1]
    stopped = backend.value_and_grad(lambda w: xp.sum(backend.stop_gradient(image(w)) * xp.sum(w)))(w)[1]
    y, pullback = backend.vjp(image, w)
    y_too, along = backend.jvp(image, w, v)
    results = {"value": value, "aux": aux["image"], "grad": grad["w"], "checkpoint": again, "stopped": stopped}
    pulled, dense = pullback(2.0 * y), backend.jacobian(image)(w)
    return results | {"vjp_y": y, "jvp_y": y_too, "along": along, "pulled": pulled, "dense": dense}


def image_of(backend: Any, x: Any, w: Any) -> Tree:
    """A small function that uses every kernel: conv, sincos, scan.

    >>> from haarflow.backends import numpy as backend
    >>> image_of(backend, numpy.zeros((1, 2)), numpy.ones((1, 1, 3))).tolist()
    [[2.0, 2.0]]
    """
    y = backend.conv(x, w)
    sine, cosine = backend.sincos(y)
    carry, rows = backend.scan(lambda c, s: (c * s, c + s), cosine, backend.xp.stack([sine, cosine], axis=0))
    return carry + backend.xp.sum(rows, axis=0)


def _differences(x: Any, w: Any, v: Any, h: Any = 1 / 256) -> Tree:
    """The reference's image at w and its derivative along v."""
    plain = SimpleNamespace(conv=slow_conv, sincos=lambda y: (numpy.sin(y), numpy.cos(y)), xp=numpy, scan=slow_scan)
    w, v = w.astype("float64"), v.astype("float64")
    total = 0.0
    for multiple, weight in STENCIL:
        up, down = (image_of(plain, x, w + sign * multiple * h * v) for sign in (1, -1))
        total = total + weight * (up - down)
    return image_of(plain, x, w), total / h
