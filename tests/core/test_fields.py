"""Fields as trees: one array gives what the functions of arrays give, a NamedTuple of arrays what its parts give."""

from typing import Any, NamedTuple

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haarflow.backends.tree import leaves, tree_map
from haarflow.core import axes, fields, random
from haarflow.core.chains.integrators import OMELYAN, integrate
from haarflow.core.fields import Space
from haarflow.core.groups.additive import U1, Complex, Real
from haarflow.core.groups.sun import SU
from haarflow.core.laws import group as group_laws
from haarflow.core.laws.strategies import lattices, profile
from haarflow.theories import Phi4, U1Gauge

SEEDS = st.integers(0, 1000)


class Quarks(NamedTuple):
    """Links and a pseudofermion of two spin components."""

    U: Any
    phi: Any


def quarks(lattice):
    return Quarks(Space(U1(), (len(lattice), *lattice)), Space(Complex(), (2, *lattice)))


def drawn(spaces, seed, backend, chains=3):
    """Fields `(chains, *shape)`: angles, complex numbers, and matrices by the exponentials of normal numbers."""
    momenta = fields.normal(random.key(seed, backend), spaces, (chains,))
    return fields.map(lambda space, w: space.group.exp(w), spaces, momenta)


def equal(backend, a, b):
    return all(
        numpy.array_equal(backend.to_numpy(x), backend.to_numpy(y)) for x, y in zip(leaves(a), leaves(b), strict=True)
    )


SPACES = {
    "Real": Space(Real(), (4, 2)),
    "U1": Space(U1(), (2, 4, 2)),
    "SU": Space(SU(3, 2), (2, 3, 3, 4, 2)),
    "Complex": Space(Complex(), (2, 4, 2)),
}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_one_array_gives_what_the_functions_of_arrays_give(backend, space):
    key, group, chains = random.key(5, backend), space.group, 3
    x, scale = drawn(space, 1, backend), backend.asarray([0.1, 0.2, 0.3])
    v = group.algebra_normal(key, (chains, *space.shape))
    assert equal(backend, fields.normal(key, space, (chains,)), v)
    keys = random.split(key, chains)
    assert equal(backend, fields.normal(keys, space, (chains,)), group.algebra_normal(keys, space.shape))
    w = group.algebra_normal(random.fold_in(key, 1), (chains, *space.shape))
    assert equal(backend, fields.inner(space, v, w), axes.total(group.inner(v, w), 1))
    spread = axes.spread(scale, w.ndim - 1)
    assert equal(backend, fields.axpy(scale, v, w), backend.axpy(spread, v, w))
    assert equal(backend, fields.axpy(0.5, v, w), backend.axpy(0.5, v, w))
    moved = fields.move(space, x, w, scale)
    assert equal(backend, moved, group.move(x, w, spread))
    assert equal(backend, fields.restore(space, moved), group.restore(moved))
    assert equal(backend, fields.zeros(space, x), group.zeros(x))
    assert fields.precision(x) == "float64" and list(fields.paths(x)) == ["field"]


@pytest.mark.parametrize("theory", [Phi4((4, 2)), U1Gauge((4, 2))], ids=["phi4", "u1"])
def test_batch_axes_are_those_of_the_theory(backend, theory):
    for lead in ((), (3,), (2, 3)):
        field = backend.asarray(numpy.ones((*lead, *axes.field_shape(theory))))
        space = Space(theory.group, axes.field_shape(theory))
        assert fields.batch_shape(space, field) == axes.batch_shape(theory, field) == lead


def test_two_parts_give_what_each_gives(backend):
    @profile("quick")
    @given(lattice=lattices((1, 3)), seed=SEEDS)
    def check(lattice, seed):
        two_parts(backend, lattice, seed)

    check()


def two_parts(backend, lattice, seed):
    spaces, chains = quarks(lattice), 3
    field, key = drawn(spaces, seed, backend), random.key(seed + 1, backend)
    momentum = fields.normal(key, spaces, (chains,))
    assert type(field) is type(momentum) is Quarks
    for index, (space, part) in enumerate(zip(spaces, momentum, strict=True)):
        alone = fields.normal(random.fold_in(key, index), space, (chains,))
        assert equal(backend, part, alone)
    assert fields.batch_shape(spaces, field) == (chains,)
    chosen = backend.asarray([True, False, True])
    moved = fields.move(spaces, field, momentum, backend.asarray([0.1, 0.2, 0.3]))
    mixed = fields.where(chosen, moved, field)
    for new, old, both in zip(moved, field, mixed, strict=True):
        assert equal(backend, both[0, ...], new[0, ...]) and equal(backend, both[1, ...], old[1, ...])
    each = [fields.inner(space, w, w) for space, w in zip(spaces, momentum, strict=True)]
    assert equal(backend, fields.inner(spaces, momentum, momentum), each[0] + each[1])
    nothing = fields.axpy(-1.0, momentum, momentum)
    assert equal(backend, nothing, tree_map(lambda x: 0.0 * x, fields.zeros(spaces, field)))


def test_momenta_of_a_complex_field_have_two_coordinates(host):
    w = fields.normal(random.key(2, host), Space(Complex(), (50, 40)), (10,))
    assert numpy.abs(w.real.mean()) < 0.03 and numpy.abs(w.imag.mean()) < 0.03  # 4 standard errors
    assert w.real.std() == pytest.approx(1.0, abs=0.02) and w.imag.std() == pytest.approx(1.0, abs=0.02)
    assert abs((w.real * w.imag).mean()) < 0.03
    energy = fields.inner(Space(Complex(), (50, 40)), w, w)
    assert energy == pytest.approx((numpy.abs(w) ** 2).sum(axis=(1, 2)), rel=1e-13)


def test_the_complex_numbers_are_a_group(host):
    group = Complex()
    a, b, c = (group.algebra_normal(random.key(seed, host), (20,)) for seed in range(3))
    for verdict in (
        group_laws.closure(group, a, b),
        group_laws.associativity(group, a, b, c),
        group_laws.inverses(group, a, b),
        group_laws.projection(group, a),
        group_laws.one_parameter(group, a),
        group_laws.logarithm(group, a, b),
        group_laws.update_by_exponential(group, a, b),
    ):
        assert verdict.passed, verdict
    assert numpy.array_equal(group.quotient(a, b), a - b) and numpy.array_equal(group.move(a, b, 0.5), a + 0.5 * b)
    with pytest.raises(ValueError, match="no normalised Haar measure"):
        group.haar(random.key(0, host), (2,))


def test_a_complex_oscillator_is_two_real_ones(backend):
    """S = |phi|^2/2 with the force dS/d Re phi + i dS/d Im phi = phi: Re phi and Im phi move on their own."""
    start, momentum = (drawn(Space(Complex(), (4,)), seed, backend) for seed in (1, 2))
    xp = backend.xp
    end = integrate(lambda x: x, start, momentum, OMELYAN, 0.1, 7, Space(Complex(), (4,)))
    for part in (xp.real, xp.imag):
        plain = integrate(lambda x: x, part(start), part(momentum), OMELYAN, 0.1, 7, Space(Real(), (4,)))
        for one, other in zip(end, plain, strict=True):
            assert numpy.abs(backend.to_numpy(part(one)) - backend.to_numpy(other)).max() < 1e-14


def test_dicts_are_fields_in_the_order_of_their_names(backend):
    spaces = {"phi": Space(Real(), (4,)), "U": Space(U1(), (1, 4))}
    field = drawn(spaces, 3, backend)
    assert list(fields.paths(field)) == ["field/U", "field/phi"]
    assert list(fields.paths(Quarks(1, {"odd": 2, "even": 3}), "x")) == ["x/U", "x/phi/even", "x/phi/odd"]
    key = random.key(4, backend)
    links = fields.normal(random.fold_in(key, 0), spaces["U"], (3,))
    assert equal(backend, fields.normal(key, spaces, (3,))["U"], links)


def test_compiled_as_eager(backend):
    spaces = quarks((2, 4))
    field, key = drawn(spaces, 6, backend), random.key(7, backend)

    def step(key, field, scale):
        momentum = fields.normal(key, spaces, (3,))
        moved = fields.restore(spaces, fields.move(spaces, field, momentum, scale))
        return fields.where(fields.inner(spaces, momentum, momentum) > 30.0, moved, field)

    scale = backend.asarray([0.1, 0.2, 0.3])
    compiled, eager = backend.jit(step)(key, field, scale), step(key, field, scale)
    for one, other in zip(compiled, eager, strict=True):
        assert numpy.abs(backend.to_numpy(one) - backend.to_numpy(other)).max() < 1e-13


def test_what_does_not_match_is_refused(host):
    spaces = quarks((4, 4))
    links, phi = numpy.zeros((3, 2, 4, 4)), numpy.zeros((3, 2, 4, 4), dtype=complex)
    with pytest.raises(ValueError, match="parts field/U, field/phi wanted, got field"):
        fields.batch_shape(spaces, links)
    with pytest.raises(ValueError, match=r"field/phi wants the shape \(\*batch, 2, 4, 4\), got \(3, 2, 4, 5\)"):
        fields.batch_shape(spaces, Quarks(links, numpy.zeros((3, 2, 4, 5))))
    with pytest.raises(ValueError, match="field wants the shape"):
        fields.batch_shape(Space(Real(), (2, 4, 4)), numpy.zeros((4, 4)))
    with pytest.raises(ValueError, match="share their batch axes"):
        fields.batch_shape(spaces, Quarks(links, phi[0]))
    with pytest.raises(TypeError, match="name its parts"):
        fields.batch_shape(spaces, (links, phi))
    with pytest.raises(ValueError, match="one precision"):
        fields.precision(Quarks(links, phi.astype("complex64")))
    with pytest.raises(ValueError, match="a key for each chain"):
        fields.normal(random.split(random.key(0, host), 2), spaces, (3,))
