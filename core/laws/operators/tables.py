"""The laws of Dirac operators, and how they are checked on a `Given`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from haarflow.backends.types import Array
from haarflow.core.lattice.evenodd import packable
from haarflow.core.laws.fields import algebra_shape, element_shape
from haarflow.core.laws.law import COMPLEX, Given, Law, Verdict
from haarflow.core.laws.operators.bilinear import bilinear_by_autodiff, bilinear_by_differences
from haarflow.core.laws.operators.products import (
    adjoint_product,
    dense_matrix,
    equals_numpy,
    even_odd_form,
    gamma5_hermiticity,
    gauge_covariance,
    hopping_form,
    linearity,
    rows_apart,
    spinor_values,
)

KAPPA = {"zero": 0.0, "small": 0.01, "one": 0.12, "large": 0.3}


def _field(operator: Any, given: Given) -> Array:
    return given.field(operator.group, tuple(operator.field_shape))


def _spinor(operator: Any, given: Given, salt: int = 20) -> Array:
    """Normal complex numbers."""
    shape = (2, given.batch, *operator.spinor_shape)
    real, imaginary = given.generator(salt).standard_normal(shape)
    return given.array(real + 1j * imaginary, dtype=COMPLEX[given.dtype])


def _one(law: Callable[..., Verdict]) -> Callable[[Any, Given], Verdict]:
    """The check of a law of (operator, field, psi, kappa)."""
    return lambda operator, given: law(operator, _field(operator, given), _spinor(operator, given), KAPPA[given.size])


def _two(law: Callable[..., Verdict]) -> Callable[[Any, Given], Verdict]:
    """The check of a law of (operator, field, x, y, kappa)."""
    return lambda operator, given: law(
        operator, _field(operator, given), *(_spinor(operator, given, salt) for salt in (20, 21)), KAPPA[given.size]
    )


def _linear(operator: Any, given: Given) -> Verdict:
    return linearity(operator, _field(operator, given), *(_spinor(operator, given, salt) for salt in (20, 21)))


def _gauge(operator: Any, given: Given) -> Verdict:
    shape = element_shape(operator.group, (given.batch,), tuple(operator.lattice))
    sites = given.elements(operator.group, shape)
    return gauge_covariance(operator, _field(operator, given), sites, _spinor(operator, given), KAPPA[given.size])


def _rows(operator: Any, given: Given) -> Verdict:
    kappa = given.array(KAPPA[given.size] * (1.0 + 0.1 * numpy.arange(given.batch)))
    return rows_apart(operator, _field(operator, given), _spinor(operator, given), kappa)


def _bilinear(law: Callable[..., Verdict]) -> Callable[[Any, Given], Verdict]:
    def check(operator: Any, given: Given) -> Verdict:
        field = _field(operator, given)
        w = given.normal(algebra_shape(operator.group, tuple(field.shape)), 22)
        return law(operator, field, *(_spinor(operator, given, salt) for salt in (20, 21)), w)

    return check


def _has(name: str, why: str) -> Callable[[Any], str | None]:
    return lambda operator: None if hasattr(operator, name) else why


def _on_links(operator: Any) -> str | None:
    links = element_shape(operator.group, (len(operator.lattice),), tuple(operator.lattice))
    compact = operator.group.name not in ("Real", "Complex")
    return None if compact and tuple(operator.field_shape) == links else "its field does not live on links"


def _divided(operator: Any) -> str | None:
    if not packable(tuple(operator.lattice)):
        return "even and odd sites alternate only where all extents are even"
    return _has("even_odd", "it offers no even-odd form")(operator)


OPERATOR_LAWS: tuple[Law, ...] = (
    Law(spinor_values, _one(spinor_values), first=True),
    Law(linearity, _linear),
    Law(hopping_form, _one(hopping_form)),
    Law(adjoint_product, _two(adjoint_product)),
    Law(gamma5_hermiticity, _two(gamma5_hermiticity), _has("gamma5", "it declares no gamma_5")),
    Law(dense_matrix, _one(dense_matrix), _has("matrix", "it makes no dense matrix")),
    Law(gauge_covariance, _gauge, _on_links),
    Law(rows_apart, _rows),
    Law(bilinear_by_differences, _bilinear(bilinear_by_differences)),
    Law(bilinear_by_autodiff, _bilinear(bilinear_by_autodiff), programs=True),
    Law(even_odd_form, _one(even_odd_form), _divided),
    Law(equals_numpy, _one(equals_numpy)),
)
