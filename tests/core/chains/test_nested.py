"""Nested time scales: one level is the plain integrator, two levels against a twin by recursion, and HMC of two terms."""

import math

import numpy
import pytest

from haarflow.core import random
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.integrators import FOREST_RUTH, LEAPFROG, OMELYAN, OMELYAN4, drift, integrate, kick
from haarflow.core.chains.nested import Level, Nested, Term, nested
from haarflow.core.groups.additive import Real
from haarflow.core.parts import described
from haarflow.core.spaces import Space
from haarflow.theories import Phi4, Sum, U1Gauge

SPACE = Space(Real(), (3,))
SCHEMES = (LEAPFROG, OMELYAN, FOREST_RUTH, OMELYAN4)


def start(backend, seed=1):
    return [random.normal(random.key(seed + i, backend), (4, 3)) for i in range(2)]


def stiff(x):
    return 16.0 * x


def soft(x):
    return 0.3 * x + 0.1 * x**3


def together(x):
    return stiff(x) + soft(x)


def trajectory(levels, x, w, step_size):
    levels = tuple(Level(kick(force), scheme, steps) for force, scheme, steps in levels)
    return nested(levels, drift(SPACE), (x, w), step_size)


def by_recursion(levels, x, w, time):
    """The flow of the levels for a time: plain loops over a list of drifts and kicks."""
    if not levels:
        return x + time * w, w
    (force, scheme, steps), *inner = levels
    h = time / steps
    drifts = [scheme.drifts[0]]
    for step in range(steps):
        last = scheme.drifts[-1] + (scheme.drifts[0] if step < steps - 1 else 0.0)
        drifts += [*scheme.drifts[1:-1], last]
    x, w = by_recursion(inner, x, w, drifts[0] * h)
    for c, k in zip(drifts[1:], scheme.kicks * steps, strict=True):
        w = w - k * h * force(x)
        x, w = by_recursion(inner, x, w, c * h)
    return x, w


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_level_is_the_plain_integrator(backend, scheme):
    x, w = start(backend)
    plain = integrate(together, x, w, scheme, 0.1, 5, SPACE)
    ours = trajectory([(together, scheme, 5)], x, w, 0.1)
    for one, other in zip(plain, ours, strict=True):
        assert numpy.allclose(backend.to_numpy(one), backend.to_numpy(other), rtol=1e-14, atol=1e-14)


def test_two_and_three_levels_equal_the_recursion(backend):
    x, w = start(backend)
    levels = ((soft, OMELYAN, 3), (stiff, LEAPFROG, 4), (soft, OMELYAN4, 2))
    for count in (2, 3):
        ours = trajectory(levels[:count], x, w, 0.1)
        twin = by_recursion(levels[:count], *start_on_host(backend, x, w), 0.3)
        for one, other in zip(ours, twin, strict=True):
            assert numpy.allclose(backend.to_numpy(one), other, rtol=1e-12, atol=1e-12)


def start_on_host(backend, *arrays):
    return [backend.to_numpy(array) for array in arrays]


@pytest.mark.parametrize(("outer", "inner"), [(LEAPFROG, OMELYAN), (OMELYAN4, FOREST_RUTH)])
def test_it_converges_to_one_trajectory_with_the_order_of_its_schemes(host, outer, inner):
    x, w = start(host)
    exact = integrate(together, x, w, OMELYAN4, 1.0 / 400, 400, SPACE)[0]
    errors = [
        numpy.abs(trajectory([(soft, outer, n), (stiff, inner, 3)], x, w, 1.0 / n)[0] - exact).max()
        for n in (10, 20, 40)
    ]
    slope = math.log2(errors[1] / errors[2])
    assert abs(slope - outer.order) < 0.3, errors


def test_a_small_inner_step_removes_the_error_of_a_stiff_force(host):
    """With the soft force computed as rarely, a plain trajectory has more than ten times the energy error."""
    x, w = start(host)

    def violation(pair):
        def energy(x, w):
            return (0.5 * w**2 + 8.0 * x**2 + 0.15 * x**2 + 0.025 * x**4).sum(axis=-1)

        return numpy.abs(energy(*pair) - energy(x, w)).max()

    plain = violation(integrate(together, x, w, LEAPFROG, 0.1, 10, SPACE))
    ours = violation(trajectory([(soft, LEAPFROG, 10), (stiff, LEAPFROG, 10)], x, w, 0.1))
    assert ours < 0.1 * plain


@pytest.mark.parametrize("theory", [Phi4((2, 2)), U1Gauge((2, 2))])
def test_hmc_of_two_terms_is_that_of_their_sum(backend, theory):
    """Both integrate one Hamiltonian, so that they agree to the error of their schemes."""
    couplings = {name: 0.5 * value for name, value in theory.couplings.items()}
    values = {"couplings": couplings, "step_size": 0.01}
    both = HMC(Sum((theory, theory)), OMELYAN4, 10, values, Nested(theory, (Term(theory, OMELYAN, 3),)))
    plain = HMC(Sum((theory, theory)), OMELYAN4, 10, values)
    x, v = (random.normal(random.key(seed, backend), (2, *described(theory).field_shape)) for seed in (1, 2))
    moved = [backend.jit(kernel.trajectory)(x, v) for kernel in (both, plain)]
    for one, other, error in zip(*moved, (2e-3, 2e-3, 2e-2), strict=True):
        assert numpy.allclose(backend.to_numpy(one), backend.to_numpy(other), rtol=0.0, atol=error)


def test_wrong_levels_are_refused(host):
    x, w = start(host)
    with pytest.raises(ValueError, match="one level of forces or more, got none"):
        trajectory([], x, w, 0.1)
    with pytest.raises(ValueError, match="whole number of steps >= 1, got 0"):
        trajectory([(soft, LEAPFROG, 1), (stiff, LEAPFROG, 0)], x, w, 0.1)
    with pytest.raises(TypeError, match="a theory has lattice, group"):
        Nested(3, ())
