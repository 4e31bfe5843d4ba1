"""Layers of a path fitted one after the other: each minimises the mean work of its step on a pilot of paths.

The pilot walks along the protocol. At step k its fields x are held, and the parameters of the step's flow minimise

    L(c) = mean over the pilot of S_k(f_c x) - log_det_c(x),

the part of the mean work, that is of KL(forward paths | reverse paths), that depends on them; heat baths and accept
steps are never differentiated. L is nearly quadratic for the few numbers of a short step, and Newton's method with
numerical derivatives finds its minimum on every backend. A pilot leaves noise in the numbers, which follow smooth
curves: polynomials in k/n take it away, and the path needs no more numbers than their coefficients.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.tree import flatten, tree_map
from haarflow.backends.types import Array, Key, Params, Tree
from haarflow.core import random
from haarflow.core.acceleration import accelerated
from haarflow.core.laws.law import to_host
from haarflow.flows.stochastic.paths import Moment, Path, Stretch
from haarflow.flows.stochastic.values import flat_numbers, with_numbers

# Newton steps of a stretch's first step, and of others, which start from the numbers of the one before
FIRST, LATER = 4, 1
DIFFERENCE = 1e-3  # of a parameter, in numerical derivatives
LONGEST = 1.0  # change of a parameter in one Newton step


class NotFitted(ArithmeticError):
    """The mean work of the pilot is not finite, or has no minimum."""


def fitted(path: Path, params: Params, key: Key, pilot: int = 256, degree: int | None = 4) -> Params:
    """Return the numbers of a path with the parameters of its flows fitted on `pilot` paths, as polynomials of a degree in k/n.

    `degree` None keeps each step's own numbers. Steps without a flow, or whose flow has no parameters, stay as they
    are. Raises ValueError for a pilot of fewer than two populations, NotFitted where the mean work is not finite.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.priors import UniformLinks
    >>> from haarflow.flows.stochastic.paths import Step, path
    >>> from haarflow.flows.stochastic.starts import FromPrior
    >>> from haarflow.flows.u1.gradient_sweep import GradientSweep
    >>> from haarflow.theories import U1Gauge
    >>> steps = [Step({"beta": 0.2}, GradientSweep(2), {"c": 0.0})]
    >>> one = path(U1Gauge((4, 4)), FromPrior(UniformLinks((4, 4))), {"beta": 0.0}, steps)
    >>> key = random.key(0, backend)
    >>> 0.2 < float(fitted(one, one.init(key), key, degree=None)["0"]["flow"]["c"][0]) / 0.2 < 0.3
    True
    """
    if pilot < 2 * path.population or pilot % path.population:
        raise ValueError(f"a pilot has two populations of {path.population} or more, got {pilot} paths")
    moment, found = path.begun(params, key, pilot), dict(params)
    backend = backends.of(key)
    for index, stretch in enumerate(path.stretches):
        name, stream = str(index), random.fold_in(key, index)
        rows: list[Params] = []
        for number in range(stretch.steps):
            row = tree_map(lambda leaf: leaf[(number, ...)], params[name])  # noqa: B023 (used at once)
            own = row["flow"] if not rows else rows[-1]
            rows.append(
                _minimum(path, stretch, moment, row, own, FIRST if not rows else LATER) if flatten(own)[0] else own
            )
            moment = _stepped(path, stretch, backend)(random.fold_in(stream, number), moment, {**row, "flow": rows[-1]})
        table = tree_map(lambda *leaves: array_namespace(leaves[0]).stack(leaves, axis=0), *rows)
        smooth = table if degree is None else tree_map(lambda leaf: smoothed(leaf, degree), table)
        found[name] = {**params[name], "flow": smooth}
    return found


def smoothed(rows: Array, degree: int) -> Array:
    """Return the least-squares polynomial of a degree through numbers `(steps, ...)`, at the same steps.

    >>> smoothed(numpy.asarray([1.0, 2.0, 3.0, 4.0]), 1).round(12).tolist()
    [1.0, 2.0, 3.0, 4.0]
    """
    host = to_host(rows).astype("float64")
    steps = numpy.linspace(-1.0, 1.0, len(host)) if len(host) > 1 else numpy.zeros(1)
    basis = numpy.polynomial.legendre.legvander(steps, min(degree, len(host) - 1))
    flat = host.reshape(len(host), -1)
    curve = basis @ numpy.linalg.lstsq(basis, flat, rcond=None)[0]
    return backends.of(rows).asarray(curve.reshape(host.shape), dtype=rows.dtype)


def _minimum(path: Path, stretch: Stretch, moment: Moment, row: Tree, start: Params, newton: int) -> Params:
    """The parameters that minimise the step's mean work on the pilot, by Newton's method from `start`."""
    theory: Any = path.theory  # hashable, as every frozen record
    compiled = _work(theory, stretch.flow, backends.of(moment.log_w))

    def work(p: numpy.ndarray) -> float:
        return float(compiled(with_numbers(start, p), moment.field, dict(row["couplings"])))

    p = flat_numbers(start)
    best = work(p)
    for _ in range(newton):
        p, best = _descended(work, p, best)
    if not numpy.isfinite(best):
        raise NotFitted("the mean work of a step of the protocol is not finite on the pilot: take more steps")
    return with_numbers(start, p)


def _descended(work: Callable[[numpy.ndarray], float], p: numpy.ndarray, value: float) -> tuple[numpy.ndarray, float]:
    """One Newton step, halved until the work falls."""
    gradient, hessian = _derivatives(work, p, value)
    curvature, axes = numpy.linalg.eigh(hessian)
    curvature = numpy.maximum(numpy.abs(curvature), 1e-12 + 1e-6 * numpy.abs(curvature).max())
    move = axes @ ((axes.T @ gradient) / curvature)
    move = move * min(1.0, LONGEST / max(float(numpy.abs(move).max()), 1e-300))
    for halvings in range(8):
        tried = p - move * 0.5**halvings
        if (new := work(tried)) <= value:
            return tried, new
    return p, value


def _derivatives(
    work: Callable[[numpy.ndarray], float], p: numpy.ndarray, value: float
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Gradient and Hessian by central differences."""
    unit, n = DIFFERENCE * numpy.eye(len(p)), len(p)
    ahead, behind = ([work(p + sign * row) for row in unit] for sign in (1.0, -1.0))
    gradient = (numpy.asarray(ahead) - numpy.asarray(behind)) / (2.0 * DIFFERENCE)
    hessian = numpy.diag(numpy.asarray(ahead) + numpy.asarray(behind) - 2.0 * value)
    for i in range(n):
        for j in range(i):
            both = work(p + unit[i] + unit[j]) - ahead[i] - ahead[j] + value
            hessian[i, j] = hessian[j, i] = both
    return gradient, hessian / DIFFERENCE**2


@lru_cache(maxsize=32)
def _work(theory: Any, flow: Any, backend: Any) -> Callable[..., Array]:
    """The mean of S(f_c x) - log_det over the pilot, compiled."""

    def mean(params: Params, x: Tree, couplings: dict[str, Array]) -> Array:
        y, log_det = flow.forward(params, x, couplings)
        log_w = log_det - accelerated(theory).action(y, couplings)
        return -array_namespace(log_w).mean(log_w)

    compiled: Callable[..., Array] = backend.jit(mean)
    return compiled


@lru_cache(maxsize=32)
def _stepped(path: Path, stretch: Stretch, backend: Any) -> Callable[..., Moment]:
    """One step of the pilot, compiled."""

    def step(key: Key, moment: Moment, row: Tree) -> Moment:
        return path.step(stretch, key, moment, row)

    compiled: Callable[..., Moment] = backend.jit(step)
    return compiled
