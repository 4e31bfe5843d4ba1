"""One flavour by Zolotarev's approximation: drawn exactly, with its force by differences, and the integral is |det D|."""

import math

import numpy
import pytest

from haarflow.core import random
from haarflow.core.laws.deviations import largest_pull
from haarflow.theories.fermions.determinants.determinant import log_det
from haarflow.theories.fermions.pseudofermions import one_flavour, pseudofermion
from haarflow.theories.fermions.pseudofermions.one_flavour import OneFlavour, Root, largest
from haarflow.theories.fermions.pseudofermions.pseudofermion import Accuracy, background
from haarflow.theories.fermions.wilson import Wilson

TIGHT = Accuracy(1e-13, 500)
OPERATORS = [Wilson((4, 2)), Wilson((2, 2), n=2)]
FACTOR = OneFlavour(0.23, Root())


def links(operator, backend, batch=2, seed=1):
    return operator.group.haar(random.key(seed, backend), (batch, *operator.field_shape))


def action_at(operator, field, phi):
    return one_flavour.action(background(operator, field), FACTOR, phi, TIGHT)[0]


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_drawn_field_has_the_action_of_its_noise(host, operator):
    key, gauge = random.key(3, host), background(operator, links(operator, host))
    phi, solved = one_flavour.drawn(gauge, FACTOR, key, TIGHT)
    chi = pseudofermion.noise(gauge.form, key, (2,), "float64")
    wanted = (numpy.abs(chi) ** 2).reshape(2, -1).sum(axis=1)
    assert numpy.allclose(one_flavour.action(gauge, FACTOR, phi, TIGHT)[0], wanted, rtol=1e-11)
    assert solved.converged.all() and (solved.steps > 0).all()


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_force_is_the_derivative_of_the_action(host, operator):
    field = links(operator, host)
    gauge = background(operator, field)
    phi = one_flavour.drawn(gauge, FACTOR, random.key(4, host), TIGHT)[0]
    force, h = one_flavour.force(gauge, FACTOR, phi, TIGHT)[0], 1e-3
    site = (slice(None), *(n // 2 for n in force.shape[1:]))

    def at(step):
        w = numpy.zeros_like(force)
        w[site] = step
        return action_at(operator, operator.group.update(field, w), phi)

    once, twice = ((at(step) - at(-step)) / (2 * step) for step in (h, 2 * h))
    assert numpy.allclose(force[site], (4 * once - twice) / 3, atol=1e-9)


def test_the_force_is_the_same_on_every_backend(backend, host, monkeypatch):
    monkeypatch.setattr(one_flavour, "fits", lambda *args: False)  # the dense retry takes long to compile
    operator = OPERATORS[0]
    field = links(operator, host)
    phi = pseudofermion.noise(operator.even_odd, random.key(6, host), (2,), "float64")

    def force(x, phi):
        return one_flavour.force(background(operator, x), FACTOR, phi, TIGHT)[0]

    found = backend.jit(force)(backend.asarray(field), backend.asarray(phi, dtype="complex128"))
    assert numpy.allclose(backend.to_numpy(found), force(field, phi), atol=1e-10)


def test_the_integral_is_the_absolute_determinant(host):
    """E over q(phi) = e^{-|phi|^2}/pi^n of e^{-S}/q is pi^n |det D| c^{-n/2}: 5 sigma, chance of luck 6e-7; the seed is fixed."""
    operator, draws = OPERATORS[0], 3000
    field = numpy.repeat(links(operator, host, 1, seed=7), draws, axis=0)
    gauge, factor = background(operator, field), OneFlavour(0.12, Root(8, 0.05))
    phi = pseudofermion.noise(gauge.form, random.key(8, host), (draws,), "float64")
    value, n = one_flavour.action(gauge, factor, phi, TIGHT)[0], phi[0].size
    weights = numpy.exp((numpy.abs(phi) ** 2).reshape(draws, -1).sum(axis=1) - value)
    exact = log_det(operator, field[:1], factor.kappa)[0][0] - 0.5 * n * math.log(largest(2, factor.kappa))
    assert largest_pull(weights[:, None], math.exp(exact)) < 5.0
    assert weights.std() < 1.5 * weights.mean()
