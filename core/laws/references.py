"""Kernels and loops by their definitions in NumPy: the slow references with which backends are compared."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, cast

import numpy

from haarflow.backends.types import Tree


def slow_conv(x: numpy.ndarray, w: numpy.ndarray) -> numpy.ndarray:
    """Return the periodic cross-correlation by its definition, site by site and tap by tap.

    >>> slow_conv(numpy.asarray([[1.0, 2.0, 4.0]]), numpy.asarray([[[0.0, 0.0, 1.0]]])).tolist()
    [[2.0, 4.0, 1.0]]
    """
    d = w.ndim - 2
    lattice = x.shape[-d:]
    y = numpy.zeros((*x.shape[: -d - 1], w.shape[0], *lattice))
    for site in itertools.product(*[range(extent) for extent in lattice]):
        for tap in itertools.product(*[range(extent) for extent in w.shape[2:]]):
            source: Any = tuple(
                (s + k - (extent - 1) // 2) % size
                for s, k, extent, size in zip(site, tap, w.shape[2:], lattice, strict=True)
            )
            at, weights = cast("Any", (..., *site)), w[cast("Any", (slice(None), slice(None), *tap))]
            y[at] += x[(..., *source)] @ weights.T
    return y


def slow_matmul(a: numpy.ndarray, b: numpy.ndarray, d: int) -> numpy.ndarray:
    """Return the products of small matrices, with the lattice axes moved to the front and back.

    >>> slow_matmul(numpy.full((1, 2, 3), 2.0), numpy.ones((2, 1, 3)), 1).tolist()
    [[[4.0, 4.0, 4.0]]]
    """
    first, last = tuple(range(-d - 2, -d)), (-2, -1)
    return numpy.moveaxis(numpy.moveaxis(a, first, last) @ numpy.moveaxis(b, first, last), last, first)


def slow_scan(f: Callable[..., Any], carry: Tree, xs: numpy.ndarray) -> tuple[Any, numpy.ndarray]:
    """Return the last carry and the stacked rows of a loop over axis 0.

    >>> slow_scan(lambda c, x: (c + x, c), 0.0, numpy.ones(3))
    (np.float64(3.0), array([0., 1., 2.]))
    """
    rows = []
    for x in xs:
        carry, row = f(carry, x)
        rows.append(row)
    return carry, numpy.stack(rows)
