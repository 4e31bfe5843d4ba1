"""Laws of Wilson's operator alone: its dispersion relation, and its compiled hop against array code."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.acceleration import accelerated
from haarflow.core.lattice import spinors
from haarflow.core.lattice.evenodd import packable
from haarflow.core.laws.law import EPSILON, Given, Law, Verdict, at_once, judge, largest, precision_of, to_host
from haarflow.core.laws.operators import measures
from haarflow.theories.fermions.hopping import ARRAYS
from haarflow.theories.fermions.wilson import Wilson


def plane_waves(operator: Any, phases: Array, momentum: tuple[int, ...], u: Array) -> Verdict:
    """H e^{ipx} u = sum_mu [2 cos(p_mu + a_mu) - 2 i gamma_mu sin(p_mu + a_mu)] e^{ipx} u, constant links e^{i a_mu}.

    `phases` are a_mu for each colour, `(d, n)` with sum 0 over the colours of SU(n), `momentum` integers k_mu: p_mu = 2 pi
    k_mu / L_mu, in time 2 pi (k_0 + 1/2) / T for antiperiodic fermions; u are constant spinors `(spin, n)`.

    >>> u = numpy.ones((2, 1)) + 0j
    >>> plane_waves(Wilson((4, 4)), numpy.ones((2, 1)), (1, 2), u).passed
    True
    """
    d, lattice, backend, host = operator.d, operator.lattice, backends.of(u), to_host(phases).astype("float64")
    halves = [0.5 if operator.antiperiodic and mu == 0 else 0.0 for mu in range(d)]
    p = [2.0 * math.pi * (k + half) / extent for k, half, extent in zip(momentum, halves, lattice, strict=True)]
    wave = numpy.exp(1j * sum(number * x for number, x in zip(p, numpy.indices(lattice), strict=True)))
    field = backend.asarray(_constant(operator, host), dtype=phases.dtype if operator.n == 1 else u.dtype)
    spinor = to_host(u).astype("complex128")
    psi = (spinor[..., *(None,) * d] * wave).reshape(operator.spinor_shape)
    hopped = at_once(lambda x, y: operator.hop(operator.prepare(x), y), field, backend.asarray(psi, dtype=u.dtype))
    angle, gammas = numpy.asarray(p)[:, None] + host, spinors.gamma(d)[:d]
    turned = 2 * numpy.cos(angle).sum(axis=0) * spinor
    turned = turned - 2j * numpy.einsum("mij,jc,mc->ic", gammas, spinor, numpy.sin(angle))
    expected = (turned[..., *(None,) * d] * wave).reshape(operator.spinor_shape)
    size = max(1.0, float(numpy.abs(spinor).max())) * max(1.0, float(numpy.abs(host).max()))
    tolerance = 64 * d * operator.n * EPSILON[precision_of(u)] * size
    reason = "64 roundings for each direction and colour"
    return judge(plane_waves, to_host(hopped) - expected, tolerance, reason, phases=host, momentum=momentum)


def equals_arrays(operator: Any, field: Array, psi: Array, kappa: float) -> Verdict:
    """The compiled D psi, D^+ psi and, on even extents, Dhat psi equal those of array code.

    >>> psi = numpy.ones((1, 2, 2, 2)) + 0j
    >>> equals_arrays(Wilson((2, 2)), numpy.ones((1, 2, 2, 2)), psi, 0.1).passed
    True
    """
    found, expected = (
        at_once(partial(_products, one, kappa), field, psi) for one in (_compiled(operator), _by_arrays(operator))
    )
    residual = max(largest(to_host(x) - to_host(y)) for x, y in zip(found, expected, strict=True))
    tolerance = measures.terms(operator) * measures.rounding(operator, psi)  # of two hops in Dhat
    return judge(equals_arrays, residual, tolerance, f"{measures.ROUNDING}, twice", field=field, kappa=kappa)


def _products(operator: Any, kappa: float, field: Array, psi: Array) -> list[Array]:
    links = operator.prepare(field)
    found = [operator.apply(links, kappa, psi), operator.adjoint(links, kappa, psi)]
    if packable(operator.lattice):
        form = operator.even_odd
        found.append(form.schur(form.prepare(field), kappa, form.split(psi).odd))
    return found


def _by_arrays(operator: Any) -> Any:
    return replace(operator, hopping=ARRAYS)


def _compiled(operator: Any) -> Any:
    """The operator with its own hop if that is not array code, else with the library's compiled one."""
    return accelerated(operator) if operator.hopping == ARRAYS else operator


def _constant(operator: Any, phases: numpy.ndarray) -> numpy.ndarray:
    """Constant links with these phases: angles, or diagonal matrices."""
    values = phases[:, 0] if operator.n == 1 else numpy.stack([numpy.diag(numpy.exp(1j * row)) for row in phases])
    shape = (*values.shape, *(1,) * operator.d)
    return numpy.broadcast_to(values.reshape(shape), operator.field_shape).copy()


def _check(operator: Any, given: Given) -> Verdict:
    generator, n = given.generator(23), operator.n
    phases = generator.uniform(-math.pi, math.pi, (operator.d, n))
    phases = phases if n == 1 else phases - phases.mean(axis=1, keepdims=True)
    momentum = tuple(int(generator.integers(extent)) for extent in operator.lattice)
    real, imaginary = generator.standard_normal((2, spinors.components(operator.d), n))
    return plane_waves(operator, given.array(phases), momentum, given.array(real + 1j * imaginary))


def _of_wilson(operator: Any) -> str | None:
    return None if isinstance(operator, Wilson) else "it is not Wilson's operator"


def _arrays(operator: Any, given: Given) -> Verdict:
    field = given.field(operator.group, operator.field_shape)
    real, imaginary = given.generator(24).standard_normal((2, given.batch, *operator.spinor_shape))
    return equals_arrays(operator, field, given.array(real + 1j * imaginary), kappa=0.2)


def _has_kernels(operator: Any) -> str | None:
    reason = _of_wilson(operator)
    if reason is None and _compiled(operator).hopping == ARRAYS:
        return "it has no compiled kernels"
    return reason


FERMION_LAWS: tuple[Law, ...] = (
    Law(plane_waves, _check, _of_wilson),
    Law(equals_arrays, _arrays, _has_kernels, programs=True),
)
