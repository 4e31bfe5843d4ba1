"""Pseudofermions: drawn exactly, an action whose integral is the determinant, forces by differences, and Hasenbusch's factors."""

import math

import numpy
import pytest

from haarflow import backends
from haarflow.backends.compiled import vector
from haarflow.core import random
from haarflow.core.groups.matrices import complex_array
from haarflow.core.laws.deviations import largest_pull
from haarflow.core.spaces import Pair
from haarflow.theories import SUNGauge, U1Gauge
from haarflow.theories.fermions.determinants.determinant import log_det
from haarflow.theories.fermions.evenodd import EvenOdd
from haarflow.theories.fermions.hops import OddHops
from haarflow.theories.fermions.pseudofermions import pseudofermion
from haarflow.theories.fermions.pseudofermions.hasenbusch import factors
from haarflow.theories.fermions.pseudofermions.pairs import WithPseudofermions
from haarflow.theories.fermions.pseudofermions.pseudofermion import Accuracy, Background, Factor, background
from haarflow.theories.fermions.wilson import Wilson
from tests.support.dirac_twins import spinor

TIGHT = Accuracy(1e-13, 500)
OPERATORS = [Wilson((4, 2)), Wilson((2, 4), antiperiodic=False), Wilson((2, 2), n=2)]
FACTORS = [Factor(0.23), Factor(0.23, 0.15)]


def links(operator, backend, batch=2, seed=1):
    return operator.group.haar(random.key(seed, backend), (batch, *operator.field_shape))


def moved(operator, field, site, h):
    """The field with one coordinate of its algebra displaced."""
    w = numpy.zeros_like(operator.group.zeros(field))
    w[(slice(None), *site)] = h
    return operator.group.update(field, w)


def action_at(operator, field, factor, phi):
    return pseudofermion.action(background(operator, field), factor, phi, TIGHT)[0]


def test_mixed_precision_steps_in_single_and_reaches_the_residual_in_double(backend, monkeypatch):
    """Both solutions are as near to the exact one as the residual and the condition of Dhat Dhat^+ allow."""
    monkeypatch.setattr(pseudofermion, "fits", lambda *args: False)  # the dense retry takes long to compile
    operator, kinds, plain, tolerance = OPERATORS[0], set(), EvenOdd.schur, 1e-12

    def seen(form, prepared, kappa, psi):
        kinds.add(str(psi.dtype).split(".")[-1])
        return plain(form, prepared, kappa, psi)

    monkeypatch.setattr(EvenOdd, "schur", seen)
    field = links(operator, backend)
    b = backend.asarray(spinor((2, *operator.even_odd.packed_shape)))

    def both(field, b):
        gauge = background(operator, field)
        return [pseudofermion.solve(gauge, 0.23, b, Accuracy(tolerance, 200, mixed)) for mixed in (False, True)]

    (x, _), (y, solves) = backend.jit(both)(field, b)
    assert kinds == {"complex128", "complex64"}
    assert backend.to_numpy(solves.converged).all() and (backend.to_numpy(solves.residual) <= tolerance).all()
    x, y = map(backend.to_numpy, (x, y))
    assert y.dtype == numpy.complex128 and numpy.abs(x - y).max() < 50 * tolerance * numpy.abs(x).max()


def test_fields_in_single_precision_are_solved_as_they_are(host):
    operator = OPERATORS[0]
    gauge = background(operator, links(operator, host).astype("float32"))
    b = spinor((2, *operator.even_odd.packed_shape)).astype("complex64")
    (x, _), (y, _) = (pseudofermion.solve(gauge, 0.23, b, Accuracy(1e-9, 200, mixed)) for mixed in (False, True))
    assert x.dtype == numpy.complex64 and numpy.array_equal(x, y)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("factor", FACTORS)
def test_a_drawn_field_has_the_action_of_its_noise(backend, operator, factor, monkeypatch):
    """phi = A chi, so that |A^-1 phi|^2 = |chi|^2."""
    monkeypatch.setattr(pseudofermion, "fits", lambda *args: False)  # the dense retry takes long to compile
    key = random.key(3, backend)

    def drawn_and_weighed(field):
        gauge = background(operator, field)
        phi, solved = pseudofermion.drawn(gauge, factor, key, TIGHT)
        return pseudofermion.action(gauge, factor, phi, TIGHT)[0], solved.steps

    value, steps = map(backend.to_numpy, backend.jit(drawn_and_weighed)(links(operator, backend)))
    chi = backend.to_numpy(pseudofermion.noise(EvenOdd(operator), key, (2,), "float64"))
    assert numpy.allclose(value, (numpy.abs(chi) ** 2).reshape(2, -1).sum(axis=1), rtol=1e-10)
    assert (steps > 0).all() == (factor.heavier is not None)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("factor", FACTORS)
def test_the_force_is_the_derivative_of_the_solved_action(host, operator, factor):
    field = links(operator, host)
    gauge = background(operator, field)
    phi = pseudofermion.drawn(gauge, factor, random.key(4, host), TIGHT)[0]
    force = pseudofermion.force(gauge, factor, phi, TIGHT)[0]
    h, shape = 1e-3, force.shape[1:]
    for site in [tuple(0 for _ in shape), tuple(n - 1 for n in shape), tuple(n // 2 for n in shape)]:
        once, twice = (
            (
                action_at(operator, moved(operator, field, site, step), factor, phi)
                - action_at(operator, moved(operator, field, site, -step), factor, phi)
            )
            / (2 * step)
            for step in (h, 2 * h)
        )
        assert numpy.allclose(force[(slice(None), *site)], (4 * once - twice) / 3, atol=1e-8)


@pytest.mark.skipif(not vector.is_present(), reason="the compiled hop needs numba: haarflow[compiled]")
@pytest.mark.parametrize("operator", OPERATORS)
def test_the_compiled_hop_gives_what_array_code_gives(host, operator):
    """Solves, actions and forces take the compiled hop by themselves; their twin is the operator's own array code."""
    field, form = links(operator, host), EvenOdd(operator)
    fast, plain = background(operator, field), Background(operator, form, field, form.prepare(field))
    assert not numpy.iscomplexobj(fast.links.even) and numpy.iscomplexobj(plain.links.even)
    phi = pseudofermion.drawn(plain, FACTORS[1], random.key(4, host), TIGHT)[0]
    for find in (pseudofermion.action, pseudofermion.force):
        assert numpy.allclose(find(fast, FACTORS[1], phi, TIGHT)[0], find(plain, FACTORS[1], phi, TIGHT)[0], atol=1e-11)
    hops, odd = OddHops(operator, 0.2), form.schur(plain.links, 0.2, phi)
    assert numpy.allclose(phi - hops.apply(hops.prepare(field), phi), odd, atol=1e-12)


@pytest.mark.parametrize("operator", OPERATORS[:2])
def test_the_force_is_the_same_on_every_backend(backend, host, operator, monkeypatch):
    monkeypatch.setattr(pseudofermion, "fits", lambda *args: False)  # the dense retry takes long to compile
    field = links(operator, host)
    phi = pseudofermion.drawn(background(operator, field), FACTORS[1], random.key(4, host), TIGHT)[0]

    def force(x, phi):
        return pseudofermion.force(background(operator, x), FACTORS[1], phi, TIGHT)[0]

    found = backend.jit(force)(backend.asarray(field), backend.asarray(phi, dtype="complex128"))
    assert numpy.allclose(backend.to_numpy(found), force(field, phi), atol=1e-10)


@pytest.mark.parametrize("factor", [Factor(0.12), Factor(0.16, 0.1)])
def test_the_integral_is_the_determinant(host, factor):
    """E over q(phi) = e^{-|phi|^2}/pi^n of e^{-S}/q is pi^n det A A^+: 5 sigma, chance of luck 6e-7; the seed is fixed."""
    operator, draws = Wilson((4, 2)), 3000
    field = 0.0 * links(operator, host, draws) + links(operator, host, 1, seed=7)
    phi = pseudofermion.noise(EvenOdd(operator), random.key(8, host), (draws,), "float64")
    value = action_at(operator, field, factor, phi)
    weights = numpy.exp((numpy.abs(phi) ** 2).reshape(draws, -1).sum(axis=1) - value)
    exact = 2.0 * log_det(operator, field[:1], factor.kappa)[0][0]
    if factor.heavier is not None:
        exact -= 2.0 * log_det(operator, field[:1], factor.heavier)[0][0]
    assert largest_pull(weights[:, None], math.exp(exact)) < 5.0
    assert weights.std() < 1.5 * weights.mean()


def test_factors_multiply_to_the_determinant():
    chain = factors(0.276, (0.25, 0.2))
    assert chain == (Factor(0.276, 0.25), Factor(0.25, 0.2), Factor(0.2, None))
    for masses in ((0.28,), (0.2, 0.25), (0.2, -0.1), (0.2, 0.2)):
        with pytest.raises(ValueError, match=r"fall from kappa = 0.276 towards 0"):
            factors(0.276, masses)


def test_odd_extents_are_refused(host):
    operator = Wilson((3, 4))
    with pytest.raises(ValueError, match="even"):
        background(operator, links(operator, host))


def test_action_is_differentiated_by_its_force(autodiff_backend):
    """Along the group and along phi, against differences on NumPy extrapolated to an error of order h^4."""
    backend, host = autodiff_backend, backends.get("numpy")
    operator, factor, accuracy = Wilson((2, 4)), Factor(0.2, 0.15), Accuracy(1e-13, 40)
    field, moves = numpy.random.default_rng(1).normal(size=(2, *operator.field_shape))
    phi, along = spinor((2, *operator.even_odd.packed_shape))

    def action(t, b):
        links, psi = b.asarray(field) + t * b.asarray(moves), b.asarray(phi) + t * b.asarray(along)
        return pseudofermion.action_with_slopes(operator, factor, links, psi, accuracy)

    value, slope = backend.jit(backend.value_and_grad(lambda t: action(t, backend)))(backend.asarray(0.0))
    near, far = ((float(action(h, host)) - float(action(-h, host))) / (2 * h) for h in (1e-3, 2e-3))
    assert abs(float(value) - float(action(0.0, host))) < 1e-9
    assert abs(float(slope) - (4 * near - far) / 3) < 1e-8 * abs(near)


@pytest.mark.parametrize("gauge, n", [(U1Gauge((2, 2)), 1), (SUNGauge((2, 2), n=2), 2)])
def test_autodiff_of_the_action_is_its_slope_along_both_fields(autodiff_backend, host, gauge, n, monkeypatch):
    """As training takes it, against central differences in one direction of the links and of the pseudofermions."""
    monkeypatch.setattr(pseudofermion, "fits", lambda *args: False)  # the dense retry takes long to compile
    theory, backend = WithPseudofermions(gauge, Wilson((2, 2), n=n), tolerance=1e-13), autodiff_backend
    couplings, key = {"beta": 1.3, "kappa": 0.2}, random.key(7, host)
    field = Pair(links(theory.operator, host), pseudofermion.noise(theory.form, key, (2,), "float64"))
    w = random.normal(random.fold_in(key, 1), theory.operator.group.zeros(field.U).shape)
    toward = pseudofermion.noise(theory.form, random.fold_in(key, 2), (2,), "float64")

    def at(step):
        return Pair(theory.operator.group.update(field.U, step * w), field.phi + step * toward)

    by_differences = (theory.action(at(1e-4), couplings) - theory.action(at(-1e-4), couplings)) / 2e-4

    def parts(pair):
        return tuple(numpy.real(x) if k == 0 else numpy.imag(x) for x in pair for k in (0, 1))

    def total(a, b, c, d):
        u = a if n == 1 else complex_array(a, b)
        return backend.xp.sum(theory.action(Pair(u, complex_array(c, d)), couplings))

    def both(values):
        return backend.value_and_grad(lambda values: total(*values))(values)[1]

    found = map(backend.to_numpy, backend.jit(both)(tuple(map(backend.asarray, parts(field)))))
    ahead, behind = parts(at(1e-4)), parts(at(-1e-4))
    along = sum(
        (slope * (one - other) / 2e-4).reshape(2, -1).sum(axis=1)
        for slope, one, other in zip(found, ahead, behind, strict=True)
    )
    numpy.testing.assert_allclose(along, by_differences, rtol=1e-6)
