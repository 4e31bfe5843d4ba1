"""Gauss-Newton steps for flows along Wilson loops: least squares for Var log w of the flow's draws.

With a separate set of coefficients for each draw the gradient of sum_i log w_i contains all d log w_i / dc; the step d solves

    min_d sum_beta Var(log w + J d) / Var(log w) + ridge,

a linear problem in few unknowns, well determined by a hundred draws. Errors at different b may compensate each other, which a
fit to the equation at each b (flows/loops/fit.py) cannot exploit. No samples of the target are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy
from array_api_compat import array_namespace

from haarflow.backends import Backend
from haarflow.backends.types import Array, Flow
from haarflow.flows.proposals import log_weight

Action = Callable[[Array, Array], Array]  # (links, beta) -> S
LogWeight = Callable[[Array, Array, Array], Array]  # (coefficients, x, beta) -> log w
Block = tuple[numpy.ndarray, numpy.ndarray]  # log w (m,), d log w / dc (m, powers, products)


def weigher(flow: Flow, action: Action, backend: Backend) -> LogWeight:
    """Return the compiled log w `(m,)` of (coefficients, Haar links x, beta) for a conditioned flow and e^{-action(y, beta)}."""
    compiled: LogWeight = backend.jit(_log_w(flow, action))
    return compiled


def _log_w(flow: Flow, action: Action) -> LogWeight:
    def log_w(coefficients: Array, x: Array, beta: Array) -> Array:
        y, log_det = flow.forward({"coefficients": coefficients}, x, {"beta": beta})
        return log_weight(action(y, beta), -log_det)  # Haar links have density one

    return log_w


def derivatives(flow: Flow, action: Action, backend: Backend) -> Callable[[numpy.ndarray, Array, float], Block]:
    """Return the function (coefficients, x, beta) -> (log w, d log w / dc) on the host, by automatic differentiation."""
    weigh = _log_w(flow, action)

    def total(coefficients: Array, x: Array, beta: Array) -> tuple[Array, Array]:
        log_w = weigh(coefficients, x, beta)
        return array_namespace(log_w).sum(log_w), log_w

    program = backend.jit(backend.value_and_grad(total, has_aux=True))

    def block(coefficients: numpy.ndarray, x: Array, beta: float) -> Block:
        each = numpy.repeat(coefficients[:, :, None], x.shape[0], axis=2)
        (_, log_w), slopes = program(backend.asarray(each), x, backend.asarray(beta))
        return backend.to_numpy(log_w), numpy.moveaxis(backend.to_numpy(slopes), -1, 0)

    return block


def step(blocks: Sequence[Block], ridge: float = 1e-4) -> numpy.ndarray:
    """Return the change of the coefficients that minimises the variances of log w to first order; one block for each beta.

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
    change: numpy.ndarray = numpy.linalg.solve(normal, -columns.T @ known) / scale
    return change.reshape(blocks[0][1].shape[1:])
