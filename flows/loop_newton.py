"""Gauss-Newton steps for flows along Wilson loops: Var log w of own draws, through the flow, as least squares.

With one set of coefficients for each draw the gradient of sum_i log w_i holds all d log w_i / dc, and the step d solves

    min_d sum_beta Var(log w + J d) / Var(log w) + ridge,

a linear problem for few numbers, well determined by a hundred draws. Early errors of the flow may undo later ones, which a
fit to the equation at each b (flows/loop_fit.py) cannot want. No samples of the target are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow.backends.types import Array

Block = tuple[numpy.ndarray, numpy.ndarray]  # log w (m,), d log w / dc (m, powers, products)


def weigher(flow: Any, action: Callable[[Array, Array], Array], backend: Any) -> Any:
    """Return the program (coefficients, x, beta) -> log w `(m,)` of a conditioned flow from Haar links x to e^{-action(y, beta)}."""
    return backend.jit(_log_w(flow, action))


def _log_w(flow: Any, action: Callable[[Array, Array], Array]) -> Callable[[Array, Array, Array], Array]:
    def log_w(numbers: Array, x: Array, beta: Array) -> Array:
        y, log_det = flow.forward({"coefficients": numbers}, x, {"beta": beta})
        return log_det - action(y, beta)

    return log_w


def derivatives(flow: Any, action: Callable[[Array, Array], Array], backend: Any) -> Callable[..., Block]:
    """Return the function (coefficients, x, beta) -> (log w, d log w / dc) on the host, by the backend's autodiff."""
    weigh = _log_w(flow, action)

    def total(numbers: Array, x: Array, beta: Array) -> tuple[Array, Array]:
        log_w = weigh(numbers, x, beta)
        return array_namespace(log_w).sum(log_w), log_w

    program = backend.jit(backend.value_and_grad(total, has_aux=True))

    def found(numbers: numpy.ndarray, x: Array, beta: float) -> Block:
        each = numpy.repeat(numbers[:, :, None], x.shape[0], axis=2)
        (_, log_w), slopes = program(backend.asarray(each), x, backend.asarray(beta))
        return backend.to_numpy(log_w), numpy.moveaxis(backend.to_numpy(slopes), -1, 0)

    return found


def step(blocks: Sequence[Block], ridge: float = 1e-4) -> numpy.ndarray:
    """Return the change of the coefficients that makes the variances of log w least, to first order; a block for each beta.

    `ridge` is in units of the columns' mean squares.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> slopes = rng.normal(size=(50, 1, 2))
    >>> step([(slopes @ np.asarray([3.0, -1.0]) @ np.ones(1), slopes)], ridge=0.0).round(6).tolist()
    [[-3.0, 1.0]]
    """
    rows, rest = [], []
    for log_w, slopes in blocks:
        size = numpy.std(log_w) * numpy.sqrt(len(log_w))
        flat = slopes.reshape(len(slopes), -1)
        rows.append((flat - flat.mean(axis=0)) / size)
        rest.append((log_w - log_w.mean()) / size)
    columns, known = numpy.concatenate(rows), numpy.concatenate(rest)
    scale = numpy.sqrt(numpy.sum(columns**2, axis=0)) + 1e-300
    columns = columns / scale
    normal = columns.T @ columns + ridge * numpy.eye(len(scale))
    return (numpy.linalg.solve(normal, -columns.T @ known) / scale).reshape(blocks[0][1].shape[1:])
