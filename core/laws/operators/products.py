"""Laws of the products D psi of a Dirac operator D(U) = 1 - kappa H(U), of this library or a user's own.

Gauge fields are `(batch, *field_shape)`, spinors `(batch, *spinor_shape)` with the colour, if there is one, right before
the lattice. The laws ask for what theories/fermions/operator.py lists; `gamma5`, `matrix` and `even_odd` are optional.
"""

from __future__ import annotations

import math
from typing import Any

import numpy

from haarflow.backends.types import Array
from haarflow.core.lattice import loops
from haarflow.core.laws.law import Verdict, at_once, fits, in_double, judge, largest, to_host
from haarflow.core.laws.operators.measures import (
    ROUNDING,
    SUMMED,
    applied,
    digits_lost,
    inner,
    like,
    rotated,
    rounding,
    rounding_of_sums,
    run,
    terms,
)


def spinor_values(operator: Any, field: Array, psi: Array, kappa: float) -> Verdict:
    """H psi and D psi are finite spinors of psi's shape and type.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> spinor_values(Wilson((2, 2)), numpy.ones((1, 2, 2, 2)), numpy.ones((1, 2, 2, 2)) + 0j, 0.1).passed
    True
    """
    found = run(lambda links, x: (operator.hop(links, x), operator.apply(links, kappa, x)), operator, field, psi)
    right = all(
        tuple(x.shape) == tuple(psi.shape) and x.dtype == psi.dtype and bool(numpy.isfinite(to_host(x)).all())
        for x in found
    )
    said = [f"shape {tuple(x.shape)}, {x.dtype}" for x in found]
    return judge(spinor_values, 0.0 if right else math.inf, 0.0, "no rounding is involved", field=field, values=said)


def linearity(operator: Any, field: Array, x: Array, y: Array) -> Verdict:
    """H (a x + y) = a H x + H y, with a complex.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> psi = numpy.ones((1, 2, 2, 2)) + 0j
    >>> linearity(Wilson((2, 2)), numpy.ones((1, 2, 2, 2)), psi, 1j * psi).passed
    True
    """
    a = 0.7 - 1.1j
    sum_of, hop_x, hop_y = run(
        lambda links, x, y: [operator.hop(links, z) for z in (a * x + y, x, y)], operator, field, x, y
    )
    residual = to_host(sum_of) - (a * to_host(hop_x) + to_host(hop_y))
    return judge(linearity, residual, rounding(operator, x, y), ROUNDING, field=field)


def hopping_form(operator: Any, field: Array, psi: Array, kappa: float) -> Verdict:
    """D psi = psi - kappa H psi.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> hopping_form(Wilson((2, 2)), numpy.ones((1, 2, 2, 2)), numpy.ones((1, 2, 2, 2)) + 0j, 0.1).passed
    True
    """
    hopped, applied = run(
        lambda links, x: (operator.hop(links, x), operator.apply(links, kappa, x)), operator, field, psi
    )
    residual = to_host(applied) - (to_host(psi) - kappa * to_host(hopped))
    return judge(hopping_form, residual, rounding(operator, psi), ROUNDING, field=field, kappa=kappa)


def adjoint_product(operator: Any, field: Array, x: Array, y: Array, kappa: float) -> Verdict:
    """<D^+ x, y> = <x, D y>, for each row.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> psi = numpy.ones((1, 2, 2, 2)) + 0j
    >>> adjoint_product(Wilson((2, 2)), numpy.ones((1, 2, 2, 2)), psi, 1j * psi, 0.1).passed
    True
    """
    left, right = run(
        lambda links, x, y: (operator.adjoint(links, kappa, x), operator.apply(links, kappa, y)), operator, field, x, y
    )
    residual = inner(left, y) - inner(x, right)
    return judge(adjoint_product, residual, rounding_of_sums(operator, x, y), SUMMED, field=field, kappa=kappa)


def gamma5_hermiticity(operator: Any, field: Array, x: Array, y: Array, kappa: float) -> Verdict:
    """<gamma_5 D gamma_5 x, y> = <x, D y> and gamma_5^2 = 1: so det D is real.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> psi = numpy.ones((1, 2, 2, 2)) + 0j
    >>> gamma5_hermiticity(Wilson((2, 2)), numpy.ones((1, 2, 2, 2)), psi, 1j * psi, 0.1).passed
    True
    """

    def sides(links: Any, x: Array, y: Array) -> tuple[Array, Array, Array]:
        turned = operator.gamma5(operator.apply(links, kappa, operator.gamma5(x)))
        return turned, operator.apply(links, kappa, y), operator.gamma5(operator.gamma5(x))

    left, right, twice = run(sides, operator, field, x, y)
    off = largest(to_host(twice) - to_host(x))
    residual = numpy.maximum(numpy.abs(inner(left, y) - inner(x, right)), off)
    return judge(gamma5_hermiticity, residual, rounding_of_sums(operator, x, y), SUMMED, field=field, kappa=kappa)


def dense_matrix(operator: Any, field: Array, psi: Array, kappa: float) -> Verdict:
    """The dense matrix of D times psi is D psi, and its columns are D of the unit vectors.

    Raises TooLarge for matrices that do not fit into a law's memory.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> dense_matrix(Wilson((2, 2)), numpy.ones((1, 2, 2, 2)), numpy.ones((1, 2, 2, 2)) + 0j, 0.1).passed
    True
    """
    size = math.prod(operator.spinor_shape)
    fits(64.0 * field.shape[0] * size**2, f"dense matrices of {size} rows")
    columns = sorted({0, size // 3, size - 1})
    units = numpy.eye(size)[columns].reshape(len(columns), 1, *operator.spinor_shape)

    def sides(links: Any, x: Array, units: Array) -> list[Array]:
        some = [operator.apply(links, kappa, units[k, ...] + 0.0 * x) for k in range(len(columns))]
        return [operator.matrix(links, kappa), operator.apply(links, kappa, x), *some]

    matrix, applied, *some = map(in_double, run(sides, operator, field, psi, like(psi, units)))
    rows = len(matrix)
    residual = [matrix @ in_double(psi).reshape(rows, size, 1) - applied.reshape(rows, size, 1)]
    residual += [(matrix[:, :, k] - x.reshape(rows, size))[..., None] for k, x in zip(columns, some, strict=True)]
    tolerance = rounding(operator, psi)
    return judge(dense_matrix, numpy.concatenate(residual, axis=1), tolerance, ROUNDING, field=field, kappa=kappa)


def gauge_covariance(operator: Any, field: Array, sites: Array, psi: Array, kappa: float) -> Verdict:
    """D[U^g] g psi = g D[U] psi, where U^g = g(x) U_mu(x) g(x+mu)^+.

    `sites` are group elements `(batch, [N, N,] *lattice)`.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> links, psi = numpy.ones((1, 2, 2, 2)), numpy.ones((1, 2, 2, 2)) + 0j
    >>> gauge_covariance(Wilson((2, 2)), links, numpy.arange(4.0).reshape(1, 2, 2), psi, 0.1).passed
    True
    """
    d, group = len(operator.lattice), operator.group if operator.group.matrix_axes else loops.COVER
    moved = at_once(lambda links, sites: loops.gauge_transform(links, sites, d, group), field, sites)
    pairs = (field, psi), (moved, like(psi, rotated(operator, sites, psi)))
    plain, turned = (applied(operator, kappa, x, y) for x, y in pairs)
    residual = to_host(turned) - rotated(operator, sites, plain)
    tolerance = max(digits_lost(operator, x) for x in (field, moved)) * rounding(operator, psi)
    return judge(gauge_covariance, residual, tolerance, ROUNDING, field=field, sites=sites, kappa=kappa)


def rows_apart(operator: Any, field: Array, psi: Array, kappa: Array) -> Verdict:
    """D of a batch, with one kappa a row, is D of its rows; one gauge field serves many spinors.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> links, psi = numpy.ones((1, 2, 2, 2)), numpy.ones((1, 2, 2, 2)) + 0j
    >>> rows_apart(Wilson((2, 2)), links, psi, numpy.asarray([0.1])).passed
    True
    """
    whole = to_host(run(operator.apply, operator, field, kappa, psi))
    numbers = [float(value) for value in to_host(kappa)]
    fields, spinors, worst = to_host(field), to_host(psi), 0.0
    for row, number in enumerate(numbers):
        one = like(field, fields[row])
        single = to_host(applied(operator, number, one, like(psi, spinors[row])))
        many = to_host(applied(operator, number, one, psi))
        worst = max(worst, largest(single - whole[row]), largest(many[row] - whole[row]))
    return judge(rows_apart, worst, rounding(operator, psi), ROUNDING, field=field, kappa=numbers)


def even_odd_form(operator: Any, field: Array, psi: Array, kappa: float) -> Verdict:
    """D (kappa H_eo psi_o, psi_o) = (0, Dhat psi_o), the parts merge to the whole, and Dhat^+ is the adjoint.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> even_odd_form(Wilson((2, 2)), numpy.ones((1, 2, 2, 2)), numpy.ones((1, 2, 2, 2)) + 0j, 0.1).passed
    True
    """
    form = operator.even_odd

    def sides(field: Array, psi: Array) -> tuple[Array, ...]:
        links, (even, odd) = form.prepare(field), form.split(psi)
        whole = form.merge(kappa * form.hop_eo(links, odd), odd)
        applied = form.split(operator.apply(operator.prepare(field), kappa, whole))
        schur, adjoint = form.schur(links, kappa, odd), form.schur_adjoint(links, kappa, even)
        return applied.even, applied.odd - schur, form.merge(even, odd) - psi, adjoint, odd, even, schur

    empty, off, merged, adjoint, odd, even, schur = at_once(sides, field, psi)
    product = inner(adjoint, odd) - inner(even, schur)
    count = float(terms(operator))
    # the operator squared, and for the product of two spinors a sum
    tolerance = count * rounding(operator, psi)
    residual = max(largest(empty), largest(off), largest(merged))
    residual = max(residual, largest(product) * tolerance / (count * rounding_of_sums(operator, odd, even)))
    return judge(even_odd_form, residual, tolerance, f"{ROUNDING}, twice", field=field, kappa=kappa)


def equals_numpy(operator: Any, field: Array, psi: Array, kappa: float) -> Verdict:
    """D psi and D^+ psi agree with NumPy's in double precision.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> equals_numpy(Wilson((2, 2)), numpy.ones((1, 2, 2, 2)), numpy.ones((1, 2, 2, 2)) + 0j, 0.1).residual
    0.0
    """

    def both(links: Any, x: Array) -> tuple[Array, Array]:
        return operator.apply(links, kappa, x), operator.adjoint(links, kappa, x)

    found = run(both, operator, field, psi)
    expected = both(operator.prepare(in_double(field)), in_double(psi))
    residual = [largest(in_double(x) - y) for x, y in zip(found, expected, strict=True)]
    tolerance = digits_lost(operator, field) * rounding(operator, psi)
    return judge(equals_numpy, max(residual), tolerance, ROUNDING, field=field, kappa=kappa)
