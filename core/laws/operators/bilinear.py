"""Laws of the bilinear of a Dirac operator, the derivative of 2 Re x^+ H(U) y along the group: the force of a pseudofermion."""

from __future__ import annotations

from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.groups.matrices import precision
from haarflow.core.laws.derivatives import STENCIL
from haarflow.core.laws.law import Verdict, at_once, in_double, judge, largest, to_host
from haarflow.core.laws.operators.measures import (
    SUMMED,
    digits_lost,
    generator_norm,
    inner,
    overlap,
    rounding_of_sums,
    terms,
)

STEP = {"float64": 0.02, "float32": 0.2}


def bilinear_by_differences(operator: Any, field: Array, x: Array, y: Array, w: Array) -> Verdict:
    """w . F = d/ds 2 Re x^+ H(exp(i s w T) U) y at s = 0, by eighth-order differences, for each row.

    `w` are algebra elements of the field's shape.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> ones = numpy.ones((1, 2, 2, 2))
    >>> bilinear_by_differences(Wilson((2, 2)), ones, ones + 0j, 1j * ones, ones).passed
    True
    """
    h = STEP[precision(x)]
    force = _slope(operator, field, x, y, w)

    def moved(field: Array, y: Array, w: Array) -> list[Array]:
        steps = [sign * k * h for k, _ in STENCIL for sign in (1, -1)]
        return [operator.hop(operator.prepare(operator.group.update(field, s * w)), y) for s in steps]

    values = numpy.stack([2.0 * inner(x, hopped).real for hopped in at_once(moved, field, y, w)])
    pairs = values.reshape(len(STENCIL), 2, -1)
    slope = sum(weight * (pair[0] - pair[1]) for (_, weight), pair in zip(STENCIL, pairs, strict=True)) / h
    reach = largest(w) * generator_norm(operator)
    tolerance = (
        digits_lost(operator, field) * rounding_of_sums(operator, x, y) / h
        + terms(operator) * overlap(x, y) * reach**9 * h**8 / 630
    )
    return judge(
        bilinear_by_differences, force - slope, tolerance, f"rounding over the step {h}, plus h^8/630", field=field
    )


def bilinear_by_autodiff(operator: Any, field: Array, x: Array, y: Array, w: Array) -> Verdict:
    """w . F = d/ds 2 Re x^+ H(exp(i s w T) U) y at s = 0, by the backend's automatic differentiation.

    Raises NoAutodiff on a backend without it.

    >>> from haarflow.backends import torch
    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> ones = torch.asarray(numpy.ones((1, 2, 2, 2)))
    >>> bilinear_by_autodiff(Wilson((2, 2)), ones, ones + 0j, 1j * ones, ones).passed
    True
    """
    backend = backends.of(field)

    def derivative(field: Array, x: Array, y: Array, w: Array) -> Array:
        xp = array_namespace(field)

        def value(s: Array) -> Array:
            hopped = operator.hop(operator.prepare(operator.group.update(field, s * w)), y)
            return 2.0 * xp.sum(xp.real(xp.conj(x) * hopped))

        zero = xp.zeros((), dtype=w.dtype, device=backends.place(w))
        return backend.jvp(value, zero, xp.ones_like(zero))[1]

    expected = float(to_host(at_once(derivative, field, x, y, w)))
    residual = _slope(operator, field, x, y, w).sum() - expected
    tolerance = max(1.0, largest(w)) * len(to_host(x)) * digits_lost(operator, field) * rounding_of_sums(operator, x, y)
    return judge(bilinear_by_autodiff, residual, tolerance, SUMMED, field=field)


def _slope(operator: Any, field: Array, x: Array, y: Array, w: Array) -> numpy.ndarray:
    """The derivative along w by the operator's own bilinear, for each row."""
    force = in_double(at_once(operator.hop_force, field, x, y))
    result: numpy.ndarray = (force * in_double(w)).reshape(len(force), -1).sum(axis=1)
    return result
