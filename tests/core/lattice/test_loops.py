"""Loops: Stokes' law ties each to plaquettes, staples complete links to plaquettes, gauge transformations act right."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haarflow.core import random
from haarflow.core.groups.additive import U1, Real, wrap
from haarflow.core.lattice import loops

lattices = st.integers(2, 4).flatmap(lambda d: st.tuples(*[st.integers(1, 5 if d < 4 else 3)] * d))


def draw(lattice, seed=1, batch=(2,)):
    return np.random.default_rng(seed).uniform(-math.pi, math.pi, size=(*batch, len(lattice), *lattice))


def slow_loop(links, x, steps, lattice):
    """Walk a path of signed steps (mu, +-1) from x and add up the angles."""
    total, x = 0.0, list(x)
    for mu, sign in steps:
        if sign < 0:
            x[mu] = (x[mu] - 1) % lattice[mu]
        total += sign * links[(mu, *x)]
        if sign > 0:
            x[mu] = (x[mu] + 1) % lattice[mu]
    return total


@given(lattice=lattices, r=st.integers(1, 3), t=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_rectangles_equal_a_walk(lattice, r, t, seed):
    links, d = draw(lattice, seed, ()), len(lattice)
    x = tuple(seed % extent for extent in lattice)
    for mu, nu in loops.planes(d):
        path = [(mu, 1)] * r + [(nu, 1)] * t + [(mu, -1)] * r + [(nu, -1)] * t
        assert abs(loops.rectangle(links, mu, nu, (r, t), d)[x] - slow_loop(links, x, path, lattice)) < 1e-12


@given(lattice=lattices, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_staples_complete_a_link_to_its_plaquettes(lattice, seed):
    links, d = draw(lattice, seed, ()), len(lattice)
    x = tuple(seed % extent for extent in lattice)
    for mu in range(d):
        found = loops.staples(links, mu, d)[(slice(None), *x)]
        paths = []
        for nu in (nu for nu in range(d) if nu != mu):
            paths += [[(mu, 1), (nu, sign), (mu, -1), (nu, -sign)] for sign in (1, -1)]
        wanted = [slow_loop(links, x, path, lattice) - links[(mu, *x)] for path in paths]
        assert np.allclose(found, wanted, atol=1e-12)


@given(lattice=lattices, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_gauge_transformations_leave_loops_alone(lattice, seed):
    links, d = draw(lattice, seed), len(lattice)
    turned = loops.gauge_transform(links, draw(lattice, seed + 1)[:, 0], d)
    for loop in (lambda u: loops.plaquettes(u, d), lambda u: loops.rectangles(u, (1, 2), d)):
        assert np.max(np.abs(loop(turned) - loop(links))) < 1e-12
    for mu in range(d):
        assert np.max(np.abs(loops.polyakov(turned, mu, lattice) - loops.polyakov(links, mu, lattice))) < 1e-12


def test_a_gauge_dependent_quantity_bites():
    links = draw((3, 3))
    turned = loops.gauge_transform(links, draw((3, 3), 5)[:, 0], 2)
    line = loops.line(links[:, 0], 0, 2, 2) - loops.line(turned[:, 0], 0, 2, 2)
    assert np.max(np.abs(line)) > 0.1


@given(lattice=st.tuples(st.integers(1, 5), st.integers(1, 5)), seed=st.integers(0, 99))
@settings(deadline=None)
def test_rectangles_hold_the_plaquettes_inside(lattice, seed):
    links = draw(lattice, seed)
    p = loops.plaquettes(links, 2)[:, 0]
    inside = p + np.roll(p, -1, -1)
    assert np.max(np.abs(loops.rectangle(links, 0, 1, (1, 2), 2) - inside)) < 1e-12
    assert abs(np.sum(p, axis=(-1, -2))).max() < 1e-11


def test_composing_in_the_group_wraps_the_sum():
    links = draw((3, 4, 2))
    covered, group = loops.plaquettes(links, 3), loops.plaquettes(links, 3, U1())
    assert np.allclose(np.exp(1j * covered), np.exp(1j * group), atol=1e-13)
    assert np.max(np.abs(group)) <= math.pi and np.allclose(wrap(covered), group, atol=1e-13)


def test_every_backend_agrees(backend, host):
    links = draw((3, 2))
    mine = backend.asarray(links)
    for loop in (
        lambda u: loops.plaquettes(u, 2),
        lambda u: loops.rectangles(u, (1, 2), 2),
        lambda u: loops.staples(u, 1, 2),
        lambda u: loops.polyakov(u, 0, (3, 2)),
    ):
        assert np.max(np.abs(backend.to_numpy(backend.jit(loop)(mine)) - loop(links))) < 1e-13


@pytest.mark.parametrize("extent", [(0, 1), (1, 0), (1, -1)])
def test_a_rectangle_has_positive_extents(extent):
    with pytest.raises(ValueError, match="extents >= 1"):
        loops.rectangle(draw((3, 3)), 0, 1, extent, 2)


def test_the_quotient_is_the_product_with_the_inverse(host):
    a, b = (random.uniform(random.key(seed, host), (50,)) * 6.0 - 3.0 for seed in (1, 2))
    for group in (Real(), U1()):
        plain = group.compose(a, group.inverse(b))
        assert np.abs(wrap(group.quotient(a, b) - plain)).max() < 1e-14
