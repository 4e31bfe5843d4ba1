"""Compiled action, force and plaquettes of U(1), SU(2), SU(3) against plain twins: every shape, batch, engine, derivative."""

import numpy
import pytest

from haarflow import backends
from haarflow.backends.compiled import vector as simd
from haarflow.core import random
from haarflow.core.acceleration import kernels_of
from haarflow.theories import Sum, SUNGauge, U1Gauge, accelerated, with_parts

needs_numba = pytest.mark.skipif(not simd.is_present(), reason="compiled kernels need numba: haarflow[compiled]")

# Extents 1, 2, odd ones and those that fill registers; two to four dimensions.
LATTICES = [
    (1, 1),
    (2, 4),
    (3, 5),
    (4, 2),
    (4, 8),
    (2, 257),
    (3, 256),
    (2, 1, 3),
    (2, 3, 4),
    (6, 5, 2),
    (2, 3, 2, 4),
    (2, 2, 1, 3),
]
WORKS = ("action", "force", "plaquettes")
GROUPS = {"u1": U1Gauge, "su2": lambda lattice: SUNGauge(lattice, 2), "su3": SUNGauge}


def links(theory, batch, backend):
    """Haar links and a beta for each chain."""
    field = theory.group.haar(random.key(1, backends.get("numpy")), (*batch, *theory.field_shape))
    beta = numpy.linspace(1.0, 5.0, int(numpy.prod(batch))).reshape(batch)
    return backend.asarray(field), backend.asarray(beta)


def difference(backend, found, wanted):
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    return numpy.abs(backend.to_numpy(found) - backend.to_numpy(wanted)).max(initial=0.0)


def done(theory, work, field, beta):
    """What a method makes of links, and of beta where it takes couplings."""
    given = () if work == "plaquettes" else ({"beta": beta},)
    return getattr(theory, work)(field, *given)


def both(theory, work, field, beta):
    return (done(kind, work, field, beta) for kind in (accelerated(theory), theory))


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_equals_the_plain_twin(lattice, group, work):
    theory, host = GROUPS[group](lattice), backends.get("numpy")
    for batch in ((), (5,), (2, 3), (0,), (2, 0)):
        field, beta = links(theory, batch, host)
        assert difference(host, *both(theory, work, field, beta)) < 1e-12


@needs_numba
@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("group", GROUPS)
def test_is_the_kernel(monkeypatch, group, work):
    """What the comparisons above compare is not the twin with itself."""

    def refuse(*_):
        raise AssertionError("the plain twin was called")

    theory = GROUPS[group]((2, 256))
    monkeypatch.setattr(type(theory), work, refuse)
    done(accelerated(theory), work, *links(theory, (2,), backends.get("numpy")))


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("group", ["u1", "su3"])
def test_on_every_backend(monkeypatch, backend, group, work):
    """Called on the engine's own arrays, compiled, and under vmap where there is one."""
    if backend.name == "jax":
        monkeypatch.setattr("haarflow.backends.with_jax.CALLED", 0)
    theory = GROUPS[group]((2, 256 if group == "u1" else 4))
    field, beta = links(theory, (2, 3), backend)
    wanted = done(theory, work, field, beta)
    run = lambda field, beta: done(accelerated(theory), work, field, beta)  # noqa: E731
    for way in (run, backend.jit(run), backend.vmap(run)):
        assert difference(backend, way(field, beta), wanted) < 1e-12


def scaled(theory, backend, field, beta):
    """A function of factors of the links, which leaves the group, where the works are polynomials as well."""
    xp = backend.xp

    def along(factor):
        longer = field * xp.reshape(factor, (-1, *(1,) * (field.ndim - 1)))
        found = [done(theory, work, longer, beta * factor) for work in WORKS]
        return sum(xp.sum(xp.real(x * xp.conj(x)) if "complex" in str(x.dtype) else x * x) for x in found)

    return backend.jit(along)


@pytest.mark.parametrize("group", ["u1", "su2"])
def test_derivatives_are_those_of_the_plain_twin(monkeypatch, backend, group):
    """By beta and by the links, backwards and forwards."""
    if not backend.autodiff:
        pytest.skip("no autodiff")
    if backend.name == "jax":
        monkeypatch.setattr("haarflow.backends.with_jax.CALLED", 0)
    theory = GROUPS[group]((2, 2))
    field, beta = links(theory, (2,), backend)
    factor = 0.2 * beta  # up to 1
    along, twin = (scaled(kind, backend, field, beta) for kind in (accelerated(theory), theory))
    assert difference(backend, *(backend.value_and_grad(f)(factor)[1] for f in (along, twin))) < 1e-10
    assert difference(backend, *(backend.jvp(f, factor, beta)[1] for f in (along, twin))) < 1e-10


@pytest.mark.slow
def test_second_derivatives_are_those_of_the_plain_twin(backend):
    if not backend.autodiff:
        pytest.skip("no autodiff")
    theory = SUNGauge((2, 2), n=2)
    field, beta = links(theory, (2,), backend)
    found = (scaled(kind, backend, field, beta) for kind in (accelerated(theory), theory))
    assert difference(backend, *(backend.jacobian(backend.jacobian(f))(0.2 * beta) for f in found)) < 1e-10


def test_force_is_the_slope_of_the_action(backend):
    if not backend.autodiff:
        pytest.skip("no autodiff")
    theory, xp = accelerated(SUNGauge((2, 2), n=2)), backend.xp
    field, beta = links(theory, (2,), backend)
    direction = theory.group.algebra_normal(random.key(2, backend), tuple(field.shape))
    along = lambda t: xp.sum(theory.action(theory.group.update(field, t * direction), {"beta": beta}))  # noqa: E731
    slope = backend.value_and_grad(backend.jit(along))(backend.asarray(0.0))[1]
    wanted = xp.sum(direction * theory.force(field, {"beta": beta}))
    assert abs(float(slope - wanted)) < 1e-10


@needs_numba
def test_declines_what_it_has_no_kernel_for():
    host, doubled = backends.get("numpy"), Sum((SUNGauge((2, 2)), SUNGauge((2, 2))))
    replaced = with_parts(SUNGauge((2, 2)), action=doubled.action)
    for theory in (SUNGauge((2, 2), n=4), SUNGauge((2, 2), rectangle=-1 / 12), doubled, replaced):
        field, beta = links(theory, (1,), host)
        kernels = kernels_of(theory)
        assert kernels.action(field, {"beta": beta}) is None
        assert kernels.force(field, {"beta": beta}) is None
        assert kernels.plaquettes(field) is None
    field, _ = links(SUNGauge((2, 2)), (1,), host)
    assert kernels_of(SUNGauge((2, 2))).action(field.astype("complex64"), None) is None


@pytest.mark.parametrize("work", WORKS)
def test_without_numba(monkeypatch, work):
    monkeypatch.setattr(simd, "is_present", lambda: False)
    assert accelerated(SUNGauge((2, 4))) == SUNGauge((2, 4))
    field, beta = links(SUNGauge((2, 4)), (2,), backends.get("numpy"))
    assert numpy.array_equal(*both(SUNGauge((2, 4)), work, field, beta))


def test_links_that_are_read_only_or_not_in_order():
    theory, host = SUNGauge((4, 4)), backends.get("numpy")
    field, beta = links(theory, (3,), host)
    turned = numpy.asfortranarray(field)[::-1]
    turned.flags.writeable = False
    for work in WORKS:
        assert difference(host, *both(theory, work, turned, beta)) < 1e-12


def test_forward_derivatives_of_torch_pass():
    """A dual tensor shares its memory with the host; its tangent would be lost there."""
    torch = pytest.importorskip("torch")
    from torch.autograd import forward_ad

    theory, backend = SUNGauge((2, 2), n=2), backends.get("torch")
    field, beta = links(theory, (2,), backend)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(beta, torch.ones_like(beta))
        found, wanted = (forward_ad.unpack_dual(x).tangent for x in both(theory, "action", field, dual))
        assert difference(backend, found, wanted) < 1e-12
