"""Laws of a determinant: its value, its sign, and its derivative, each against the dense matrix on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.axes import spread
from haarflow.core.laws.fields import algebra_shape
from haarflow.core.laws.law import EPSILON, Given, Law, Verdict, at_once, judge, precision_of, to_host
from haarflow.theories.exact import free_fermions
from haarflow.theories.fermions.staggered.staggered import Staggered
from haarflow.theories.fermions.wilson import Wilson

STEP = 1e-4  # of the difference quotients
KAPPAS = (0.1, 0.276, 0.4)  # in two dimensions; det D may be negative at the last one
BATCH = 6


class Form(NamedTuple):
    """A determinant of one operator: `value(operator, field, kappa) -> (ln |det D|, sign)` and its `force`."""

    operator: Any
    value: Callable[..., tuple[Array, Array]]
    force: Callable[..., Array]


def free_momenta(form: Form, field: Array, kappa: float) -> Verdict:
    """ln det D = sum over momenta of ln D^+D for free fermions, and the sign is 1.

    `field` is the gauge field U = 1.

    >>> from haarflow.theories.fermions.determinants import determinant
    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> form = Form(Wilson((4, 6)), determinant.log_det, determinant.log_det_force)
    >>> free_momenta(form, numpy.zeros((2, 4, 6)), 0.276).passed
    True
    """
    operator = form.operator
    log_abs, sign = (to_host(x) for x in at_once(lambda x: form.value(operator, x, kappa), field))
    exact = free_fermions.log_det(operator.lattice, kappa, operator.n, operator.antiperiodic)
    size = operator.n * numpy.prod(operator.lattice)
    fault = numpy.maximum(numpy.abs(log_abs - exact), numpy.abs(sign - 1.0))
    return judge(
        free_momenta, fault, 64 * size * EPSILON[precision_of(field)], "64 roundings for each site", kappa=kappa
    )


def free_masses(form: Form, field: Array, g: float) -> Verdict:
    """ln det(D_st + m) = 1/2 sum over momenta of ln(m^2 + sum sin^2 p) for a constant scalar field, m = g phi, and the sign is 1.

    `field` is a batch of constant fields; staggered fermions.

    >>> from haarflow.theories.fermions.staggered import staggered
    >>> form = Form(staggered.Staggered((4, 6)), staggered.log_det, staggered.log_det_force)
    >>> free_masses(form, numpy.full((1, 4, 6), 0.3), 1.0).passed
    True
    """
    operator = form.operator
    log_abs, sign = (to_host(x) for x in at_once(lambda x: form.value(operator, x, g), field))
    masses = g * to_host(field).astype("float64").reshape(len(log_abs), -1)[:, 0]
    exact = [free_fermions.staggered_log_det(operator.lattice, float(m), operator.antiperiodic) for m in masses]
    fault = numpy.maximum(numpy.abs(log_abs - numpy.asarray(exact)), numpy.abs(sign - 1.0))
    tolerance = 64 * numpy.prod(operator.lattice) * EPSILON[precision_of(field)]
    return judge(free_masses, fault, tolerance, "64 roundings for each site", g=g, field=field)


def dense_determinant(form: Form, field: Array, kappas: Array) -> Verdict:
    """ln |det D| and the sign of det D are those of the dense matrix, for every field and kappa.

    `kappas` has the batch's shape. The precision is that of a determinant: u cond(D) for each unknown.

    >>> from haarflow.theories.fermions.determinants import determinant
    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> form = Form(Wilson((2, 3)), determinant.log_det, determinant.log_det_force)
    >>> dense_determinant(form, numpy.ones((1, 2, 2, 3)), numpy.asarray([0.2])).passed
    True
    """
    log_abs, sign = (to_host(x) for x in at_once(lambda x, k: form.value(form.operator, x, k), field, kappas))
    matrices = _matrices(form.operator, field, kappas)
    signs, exact = numpy.linalg.slogdet(matrices)
    bound = 64 * len(matrices[0]) * EPSILON[precision_of(field)] * numpy.linalg.cond(matrices)
    fault = numpy.maximum(numpy.abs(log_abs - exact), numpy.abs(sign - signs.real)) / bound
    return judge(dense_determinant, fault, 1.0, "64 n u cond(D)", field=field, kappas=kappas)


def determinant_force(form: Form, field: Array, kappas: Array, momenta: Array) -> Verdict:
    """F_a w_a = d/ds ln |det D(exp(i s w) U)| by differences of dense determinants.

    >>> from haarflow.theories.fermions.determinants import determinant
    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> form = Form(Wilson((2, 3)), determinant.log_det, determinant.log_det_force)
    >>> field, momenta = numpy.ones((1, 2, 2, 3)), numpy.ones((1, 2, 2, 3)) * numpy.asarray([1.0, 2.0, 0.5])
    >>> determinant_force(form, field, numpy.asarray([0.2]), momenta).passed
    True
    """
    operator = form.operator
    force = to_host(at_once(lambda x, k: form.force(operator, x, k), field, kappas)).astype("float64")
    host, plain, w = backends.get("numpy"), to_host(field), to_host(momenta).astype("float64")
    plain = plain.astype("complex128" if plain.dtype.kind == "c" else "float64")
    values = []
    for steps in (1, -1, 2, -2):
        moved = host.asarray(operator.group.update(plain, steps * STEP * w))
        values.append(numpy.linalg.slogdet(_matrices(operator, moved, to_host(kappas)))[1])
    exact = (8.0 * (values[0] - values[1]) - (values[2] - values[3])) / (12.0 * STEP)
    condition = numpy.linalg.cond(_matrices(operator, field, kappas))
    size = numpy.abs(w).reshape(len(w), -1).sum(axis=1)
    bound = size * condition**2 * (64 * EPSILON[precision_of(field)] + 1e-11)
    fault = ((force * w).reshape(len(w), -1).sum(axis=1) - exact) / bound
    return judge(
        determinant_force, fault, 1.0, "u and h^4, times cond(D)^2 and the momenta", field=field, kappas=kappas
    )


def derivative_is_force(form: Form, field: Array, kappas: Array, momenta: Array) -> Verdict:
    """d ln |det D| by automatic differentiation along the group is F_a w_a; the sign has no derivative.

    `form` must run on a backend with automatic differentiation.

    >>> from haarflow.theories.fermions.determinants import determinant
    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> form = Form(Wilson((2, 3)), determinant.log_det, determinant.log_det_force)
    >>> ones = numpy.ones((1, 2, 2, 3))
    >>> derivative_is_force(form, ones, ones[:, 0, 0, 0], ones)
    Traceback (most recent call last):
        ...
    haarflow.backends.protocol.NoAutodiff: value_and_grad needs automatic differentiation, which the numpy backend does not \
support: choose jax or torch (pip install 'haarflow[jax]'), for example haarflow.backends.get('jax')
    """
    operator, backend = form.operator, backends.of(field)

    def both(x: Array, k: Array, w: Array) -> tuple[Array, Array]:
        def total(s: Array) -> Array:
            log_abs, sign = form.value(operator, operator.group.update(x, spread(s, w.ndim - k.ndim) * w), k)
            return backend.xp.sum(log_abs + sign)

        force = form.force(operator, x, k) * w
        _, slope = backend.value_and_grad(total)(backend.xp.zeros_like(k))
        return slope, backend.xp.sum(force, axis=tuple(range(k.ndim, force.ndim)))

    slope, exact = (to_host(x).astype("float64") for x in at_once(both, field, kappas, momenta))
    size = numpy.abs(to_host(momenta)).reshape(len(slope), -1).sum(axis=1)
    condition = numpy.linalg.cond(_matrices(operator, field, kappas))
    bound = 256 * EPSILON[precision_of(field)] * size * condition**2
    fault = (slope - exact) / bound
    return judge(derivative_is_force, fault, 1.0, "256 u cond(D)^2 and the momenta", field=field, kappas=kappas)


def _matrices(operator: Any, field: Array, kappas: Array) -> numpy.ndarray:
    """D of a batch as dense matrices on the host, in double precision."""
    plain = to_host(field)
    plain = plain.astype("complex128" if plain.dtype.kind == "c" else "float64")
    found: numpy.ndarray = operator.matrix(operator.prepare(plain), to_host(kappas).astype("float64"))
    return found


def _masses(form: Form, given: Given) -> Verdict:
    masses = numpy.asarray([0.3, -1.0, 2.0]).reshape(-1, *(1,) * form.operator.d)
    return free_masses(form, given.array(masses + numpy.zeros(form.operator.lattice)), 0.7)


def _of(kind: type, what: str) -> Callable[[Form], str | None]:
    """The reason why a law does not apply to other operators than those of one kind."""
    return lambda form: None if isinstance(form.operator, kind) else f"its operator is not {what}"


def _free(form: Form, given: Given) -> Verdict:
    shape = (1, *form.operator.field_shape)
    zero = numpy.zeros(shape)
    if form.operator.n > 1:
        zero = (
            zero
            + numpy.eye(form.operator.n).reshape(1, 1, form.operator.n, form.operator.n, *(1,) * form.operator.d)
            + 0j
        )
    return free_momenta(form, given.array(zero), float(_kappas(form, given)[1]))


def _kappas(form: Form, given: Given) -> numpy.ndarray:
    """One kappa for each field, up to well beyond the critical one of free fermions."""
    scale = 2.0 / form.operator.d
    return numpy.resize(numpy.asarray(KAPPAS) * scale, BATCH)


def _case(form: Form, given: Given) -> tuple[Array, Array, Array]:
    """Haar-distributed fields, kappas, and momenta."""
    operator, shape = form.operator, (BATCH, *form.operator.field_shape)
    drawn = Given(given.lattice, given.seed, batch=BATCH, dtype=given.dtype, backend=given.backend)
    field = drawn.field(operator.group, operator.field_shape)
    moves = given.array(given.generator(7).standard_normal(algebra_shape(operator.group, shape)))
    return field, given.array(_kappas(form, given)), moves


DETERMINANT_LAWS: tuple[Law, ...] = (
    Law(free_momenta, _free, _of(Wilson, "Wilson's")),
    Law(free_masses, _masses, _of(Staggered, "that of staggered fermions")),
    Law(dense_determinant, lambda form, given: dense_determinant(form, *_case(form, given)[:2])),
    Law(determinant_force, lambda form, given: determinant_force(form, *_case(form, given))),
    Law(derivative_is_force, lambda form, given: derivative_is_force(form, *_case(form, given)), programs=True),
)
