"""Laws of a Dirac operator D(U) = 1 - kappa H(U), of this library or a user's own.

Gauge fields are `(batch, *field_shape)`, spinors `(batch, *spinor_shape)` with the colour, if there is one, right before
the lattice. The laws ask for what theories/fermions/operator.py lists; `gamma5`, `matrix` and `even_odd` are optional.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.groups.matrices import precision
from haarflow.core.lattice import loops
from haarflow.core.lattice.evenodd import packable
from haarflow.core.laws.fields import algebra_shape, element_shape
from haarflow.core.laws.law import (
    COMPLEX,
    EPSILON,
    Given,
    Law,
    Verdict,
    at_once,
    fits,
    in_double,
    judge,
    largest,
    to_host,
)

KAPPA = {"zero": 0.0, "small": 0.01, "one": 0.12, "large": 0.3}
# eighth-order central difference, as for the force of an action: f'(0) = sum_k weight_k [f(k h) - f(-k h)] / h
STENCIL = ((1, 4 / 5), (2, -1 / 5), (3, 4 / 105), (4, -1 / 280))
STEP = {"float64": 0.02, "float32": 0.2}
ROUNDING = "16 roundings for each term of a hop, of the largest number"
SUMMED = "16 roundings for each term of a hop and of the sum"


def spinor_values(operator: Any, field: Array, psi: Array, kappa: float) -> Verdict:
    """H psi and D psi are finite spinors of psi's shape and type.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> spinor_values(Wilson((2, 2)), numpy.ones((1, 2, 2, 2)), numpy.ones((1, 2, 2, 2)) + 0j, 0.1).passed
    True
    """
    found = _run(lambda links, x: (operator.hop(links, x), operator.apply(links, kappa, x)), operator, field, psi)
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
    sum_of, hop_x, hop_y = _run(
        lambda links, x, y: [operator.hop(links, z) for z in (a * x + y, x, y)], operator, field, x, y
    )
    residual = to_host(sum_of) - (a * to_host(hop_x) + to_host(hop_y))
    return judge(linearity, residual, _rounding(operator, x, y), ROUNDING, field=field)


def hopping_form(operator: Any, field: Array, psi: Array, kappa: float) -> Verdict:
    """D psi = psi - kappa H psi.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> hopping_form(Wilson((2, 2)), numpy.ones((1, 2, 2, 2)), numpy.ones((1, 2, 2, 2)) + 0j, 0.1).passed
    True
    """
    hopped, applied = _run(
        lambda links, x: (operator.hop(links, x), operator.apply(links, kappa, x)), operator, field, psi
    )
    residual = to_host(applied) - (to_host(psi) - kappa * to_host(hopped))
    return judge(hopping_form, residual, _rounding(operator, psi), ROUNDING, field=field, kappa=kappa)


def adjoint_product(operator: Any, field: Array, x: Array, y: Array, kappa: float) -> Verdict:
    """<D^+ x, y> = <x, D y>, for each row.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> psi = numpy.ones((1, 2, 2, 2)) + 0j
    >>> adjoint_product(Wilson((2, 2)), numpy.ones((1, 2, 2, 2)), psi, 1j * psi, 0.1).passed
    True
    """
    left, right = _run(
        lambda links, x, y: (operator.adjoint(links, kappa, x), operator.apply(links, kappa, y)), operator, field, x, y
    )
    residual = _inner(left, y) - _inner(x, right)
    return judge(adjoint_product, residual, _summed(operator, x, y), SUMMED, field=field, kappa=kappa)


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

    left, right, twice = _run(sides, operator, field, x, y)
    off = largest(to_host(twice) - to_host(x))
    residual = numpy.maximum(numpy.abs(_inner(left, y) - _inner(x, right)), off)
    return judge(gamma5_hermiticity, residual, _summed(operator, x, y), SUMMED, field=field, kappa=kappa)


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

    matrix, applied, *some = map(in_double, _run(sides, operator, field, psi, _like(psi, units)))
    rows = len(matrix)
    residual = [matrix @ in_double(psi).reshape(rows, size, 1) - applied.reshape(rows, size, 1)]
    residual += [(matrix[:, :, k] - x.reshape(rows, size))[..., None] for k, x in zip(columns, some, strict=True)]
    tolerance = _rounding(operator, psi)
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
    rotated = _like(psi, _rotated(operator, sites, psi))
    plain, turned = (_applied(operator, kappa, x, y) for x, y in ((field, psi), (moved, rotated)))
    residual = to_host(turned) - _rotated(operator, sites, plain)
    size = max(1.0, largest(sites) if not operator.group.matrix_axes else 1.0)  # angles lose digits as they grow
    return judge(
        gauge_covariance, residual, size * _rounding(operator, psi), ROUNDING, field=field, sites=sites, kappa=kappa
    )


def rows_apart(operator: Any, field: Array, psi: Array, kappa: Array) -> Verdict:
    """D of a batch, with one kappa a row, is D of its rows; one gauge field serves many spinors.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> links, psi = numpy.ones((1, 2, 2, 2)), numpy.ones((1, 2, 2, 2)) + 0j
    >>> rows_apart(Wilson((2, 2)), links, psi, numpy.asarray([0.1])).passed
    True
    """
    whole = to_host(_run(operator.apply, operator, field, kappa, psi))
    numbers = [float(value) for value in to_host(kappa)]
    fields, spinors, worst = to_host(field), to_host(psi), 0.0
    for row, number in enumerate(numbers):
        one = _like(field, fields[row])
        single = to_host(_applied(operator, number, one, _like(psi, spinors[row])))
        many = to_host(_applied(operator, number, one, psi))
        worst = max(worst, largest(single - whole[row]), largest(many[row] - whole[row]))
    return judge(rows_apart, worst, _rounding(operator, psi), ROUNDING, field=field, kappa=numbers)


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

    values = numpy.stack([2.0 * _inner(x, hopped).real for hopped in at_once(moved, field, y, w)])
    pairs = values.reshape(len(STENCIL), 2, -1)
    slope = sum(weight * (pair[0] - pair[1]) for (_, weight), pair in zip(STENCIL, pairs, strict=True)) / h
    reach = largest(w) * _group_norm(operator)
    scale = _summed(operator, x, y)
    tolerance = scale / h + _terms(operator) * _overlap(x, y) * reach**9 * h**8 / 630
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
        curve = lambda s: operator.hop(operator.prepare(operator.group.update(field, s * w)), y)  # noqa: E731
        value = lambda s: 2.0 * xp.sum(xp.real(xp.conj(x) * curve(s)))  # noqa: E731
        zero = xp.zeros((), dtype=w.dtype, device=backends.place(w))
        return backend.jvp(value, zero, xp.ones_like(zero))[1]

    expected = float(to_host(at_once(derivative, field, x, y, w)))
    residual = _slope(operator, field, x, y, w).sum() - expected
    tolerance = max(1.0, largest(w)) * len(to_host(x)) * _summed(operator, x, y)
    return judge(bilinear_by_autodiff, residual, tolerance, SUMMED, field=field)


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
    product = _inner(adjoint, odd) - _inner(even, schur)
    terms = float(_terms(operator))
    # the operator squared, and for the product of two spinors a sum
    tolerance = terms * _rounding(operator, psi)
    residual = max(largest(empty), largest(off), largest(merged))
    residual = max(residual, largest(product) * tolerance / (terms * _summed(operator, odd, even)))
    return judge(even_odd_form, residual, tolerance, f"{ROUNDING}, twice", field=field, kappa=kappa)


def equals_numpy(operator: Any, field: Array, psi: Array, kappa: float) -> Verdict:
    """D psi and D^+ psi agree with NumPy's in double precision.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> equals_numpy(Wilson((2, 2)), numpy.ones((1, 2, 2, 2)), numpy.ones((1, 2, 2, 2)) + 0j, 0.1).residual
    0.0
    """
    both = lambda links, x: (operator.apply(links, kappa, x), operator.adjoint(links, kappa, x))  # noqa: E731
    found = _run(both, operator, field, psi)
    expected = both(operator.prepare(in_double(field)), in_double(psi))
    residual = [largest(in_double(x) - y) for x, y in zip(found, expected, strict=True)]
    tolerance = max(1.0, 0.0 if operator.group.matrix_axes else largest(field)) * _rounding(operator, psi)
    return judge(equals_numpy, max(residual), tolerance, ROUNDING, field=field, kappa=kappa)


def _run(function: Callable[..., Any], operator: Any, field: Array, *arrays: Array) -> Any:
    """`function(links, *arrays)` on prepared links, as one program."""
    return at_once(lambda field, *arrays: function(operator.prepare(field), *arrays), field, *arrays)


def _applied(operator: Any, kappa: float, field: Array, psi: Array) -> Array:
    return _run(lambda links, x: operator.apply(links, kappa, x), operator, field, psi)


def _like(x: Array, host: Any) -> Array:
    """Host numbers on the backend and in the type of an array."""
    return backends.of(x).asarray(numpy.asarray(host), dtype=x.dtype)


def _inner(x: Array, y: Array) -> numpy.ndarray:
    """The products x^+ y of rows, in double precision."""
    a, b = in_double(x), in_double(y)
    result: numpy.ndarray = (a.conj() * b).reshape(len(a), -1).sum(axis=1)
    return result


def _overlap(x: Array, y: Array) -> float:
    """The largest sum of |x| |y| over the components of a row, with each component of one among those of the other."""
    a, b = (numpy.abs(in_double(z)).reshape(z.shape[0], -1) for z in (x, y))
    return float(numpy.max(a.sum(axis=1) * b.max(axis=1), initial=1.0))


def _slope(operator: Any, field: Array, x: Array, y: Array, w: Array) -> numpy.ndarray:
    """The derivative along w by the operator's own bilinear, for each row."""
    force = in_double(at_once(operator.hop_force, field, x, y))
    result: numpy.ndarray = (force * in_double(w)).reshape(len(force), -1).sum(axis=1)
    return result


def _colours(operator: Any) -> int:
    return int(operator.group.n) if operator.group.matrix_axes else 1


def _group_norm(operator: Any) -> float:
    """A bound of the norm of w_a T_a for coordinates of size 1."""
    return math.sqrt(0.5 * operator.group.dim) if operator.group.matrix_axes else 1.0


def _terms(operator: Any) -> int:
    """Products in one component of a hop: a link's row times two spins, in both directions of every axis."""
    return 4 * len(operator.lattice) * _colours(operator)


def _rounding(operator: Any, *spinors: Array) -> float:
    return 16 * _terms(operator) * EPSILON[precision(spinors[0])] * max(1.0, *map(largest, spinors))


def _summed(operator: Any, x: Array, y: Array) -> float:
    return 16 * _terms(operator) * EPSILON[precision(x)] * max(1.0, _overlap(x, y))


def _rotated(operator: Any, sites: Array, psi: Array) -> numpy.ndarray:
    """g psi in double precision."""
    g, x, d = in_double(sites), in_double(psi), len(operator.lattice)
    own = len(operator.spinor_shape) - d  # the axes before the lattice: spin, colour
    if not operator.group.matrix_axes:
        return numpy.asarray(numpy.exp(1j * g).reshape(len(g), *(1,) * own, *operator.lattice) * x)
    spins = x.reshape(len(x), -1, _colours(operator), math.prod(operator.lattice))
    turned = numpy.einsum("bijx,bsjx->bsix", g.reshape(len(g), *(_colours(operator),) * 2, -1), spins)
    return numpy.asarray(turned.reshape(x.shape))


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
