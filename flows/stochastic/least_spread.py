"""Few numbers of a map fitted by the spread of log w on given configurations: Gauss and Newton's method, by differences.

For a map f from one target to another, log w = -S_b(f(x)) + S_a(x) + log_det is constant where f is exact, whatever the
configurations x. Its variance over fixed x has no noise at an exact map, so that a few steps on some hundred
configurations find what stochastic gradients take thousands for (damped: Levenberg, Q. Appl. Math. 2 (1944) 164).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy

from haarflow.backends.types import Array, Params
from haarflow.core.laws.law import to_host
from haarflow.flows.stochastic.values import flat_numbers, with_numbers

DIFFERENCE = 1e-4  # of a number, in derivatives
DAMPING = 1e-5  # of the mean curvature: holds numbers on which log w does not depend
HALVINGS = 6

Residuals = Callable[[numpy.ndarray], numpy.ndarray]


def least_spread(log_w: Callable[[Params], Array], params: Params, steps: int = 4) -> Params:
    """Return the parameters after `steps` steps that each lower the variance of `log_w(params)`, `(n,)`, or after fewer where
    none does.

    One evaluation for each number and step, in double precision; no automatic differentiation. Raises ValueError for
    log weights at the start that are not finite, or no more than the numbers.

    >>> x = numpy.linspace(-1.0, 1.0, 9)
    >>> fit = least_spread(lambda params: x**2 - numpy.exp(params["a"]) * x**2 + 3.0, {"a": numpy.asarray(0.5)}, 8)
    >>> abs(float(fit["a"])) < 1e-6
    True
    """

    def residuals(numbers: numpy.ndarray) -> numpy.ndarray:
        host = to_host(log_w(with_numbers(params, numbers))).astype("float64")
        centred: numpy.ndarray = host - host.mean()
        return centred

    numbers = flat_numbers(params)
    here = residuals(numbers)
    if not numpy.isfinite(here).all() or here.size <= numbers.size:
        raise ValueError(
            f"finite log weights of more than {numbers.size} configurations wanted for as many numbers, got {here.size}, "
            f"{'all' if numpy.isfinite(here).all() else 'not all'} of them finite"
        )
    for _ in range(steps):
        numbers, here = _lowered(residuals, numbers, here)
    return with_numbers(params, numbers)


def _lowered(residuals: Residuals, numbers: numpy.ndarray, here: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """One damped step, halved until the variance falls; the same numbers where it does not."""
    unit = DIFFERENCE * numpy.eye(numbers.size)
    slopes = numpy.stack([(residuals(numbers + row) - here) / DIFFERENCE for row in unit])
    curvature = slopes @ slopes.T
    damping = DAMPING * max(float(numpy.trace(curvature)) / len(unit), 1e-300)
    move = numpy.linalg.solve(curvature + damping * numpy.eye(len(unit)), slopes @ here)
    for halvings in range(HALVINGS):
        moved = numbers - move * 0.5**halvings
        there = residuals(moved)
        if there @ there < here @ here:  # false for NaN
            return moved, there
    return numbers, here
