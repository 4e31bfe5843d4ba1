"""The law that only Wilson's operator obeys: its dispersion relation."""

from __future__ import annotations

import math
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.lattice import spinors
from haarflow.core.laws.law import EPSILON, Given, Law, Verdict, at_once, judge, precision_of, to_host
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


FERMION_LAWS: tuple[Law, ...] = (Law(plane_waves, _check, _of_wilson),)
