"""The compiled action and force of SU(2) and SU(3) against their plain twins: every shape, batch, engine and derivative."""

import numpy
import pytest

from haarflow import backends
from haarflow.backends import simd
from haarflow.core import random
from haarflow.theories import Wilson

needs_numba = pytest.mark.skipif(not simd.is_present(), reason="compiled kernels need numba: haarflow[compiled]")

# Extents 1, 2, odd ones and those that fill registers; two to four dimensions.
LATTICES = [(1, 1), (2, 4), (3, 5), (4, 2), (4, 8), (2, 1, 3), (2, 3, 4), (6, 5, 2), (2, 3, 2, 4), (2, 2, 1, 3)]
WORKS, PLAIN = ("action", "force"), ("plain_action", "plain_force")


def links(theory, batch, backend):
    """Haar links and a beta for each chain."""
    field = theory.group.haar(random.key(1, backends.get("numpy")), (*batch, *theory.field_shape))
    beta = numpy.linspace(1.0, 5.0, int(numpy.prod(batch))).reshape(batch)
    return backend.asarray(field), backend.asarray(beta)


def difference(backend, found, wanted):
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    return numpy.abs(backend.to_numpy(found) - backend.to_numpy(wanted)).max(initial=0.0)


def both(theory, work, field, beta):
    return (getattr(theory, name)(field, {"beta": beta}) for name in (work, "plain_" + work))


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_equals_the_plain_twin(lattice, n, work):
    theory, host = Wilson(lattice, n), backends.get("numpy")
    for batch in ((), (5,), (2, 3), (0,), (2, 0)):
        field, beta = links(theory, batch, host)
        assert difference(host, *both(theory, work, field, beta)) < 1e-12


@needs_numba
@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("n", [2, 3])
def test_is_the_kernel(monkeypatch, n, work):
    """What the comparisons above compare is not the twin with itself."""

    def refuse(*_):
        raise AssertionError("the plain twin was called")

    monkeypatch.setattr(Wilson, "plain_" + work, refuse)
    field, beta = links(Wilson((2, 4), n), (2,), backends.get("numpy"))
    getattr(Wilson((2, 4), n), work)(field, {"beta": beta})


@pytest.mark.parametrize("work", WORKS)
def test_on_every_backend(backend, work):
    """Called on the engine's own arrays, compiled, and under vmap where there is one."""
    theory = Wilson((2, 4), n=3)
    field, beta = links(theory, (2, 3), backend)
    wanted = getattr(theory, "plain_" + work)(field, {"beta": beta})
    run = lambda field, beta: getattr(theory, work)(field, {"beta": beta})  # noqa: E731
    for way in (run, backend.jit(run), backend.vmap(run)):
        assert difference(backend, way(field, beta), wanted) < 1e-12


def scaled(theory, backend, field, beta, names):
    """A function of factors of the links, which leaves the group, where action and force are polynomials as well."""
    action, force = (getattr(theory, name) for name in names)

    def along(factor):
        longer = field * factor[:, None, None, None, None, None]
        return backend.xp.sum(action(longer, {"beta": beta * factor})) + backend.xp.sum(
            force(longer, {"beta": beta}) ** 2
        )

    return backend.jit(along)


def test_derivatives_are_those_of_the_plain_twin(backend):
    """By beta and by the links, backwards and forwards."""
    if not backend.autodiff:
        pytest.skip("no autodiff")
    theory = Wilson((2, 2), n=2)
    field, beta = links(theory, (2,), backend)
    factor = 0.2 * beta  # up to 1
    along, twin = (scaled(theory, backend, field, beta, names) for names in (WORKS, PLAIN))
    assert difference(backend, *(backend.value_and_grad(f)(factor)[1] for f in (along, twin))) < 1e-10
    assert difference(backend, *(backend.jvp(f, factor, beta)[1] for f in (along, twin))) < 1e-10


@pytest.mark.slow
def test_second_derivatives_are_those_of_the_plain_twin(backend):
    if not backend.autodiff:
        pytest.skip("no autodiff")
    theory = Wilson((2, 2), n=2)
    field, beta = links(theory, (2,), backend)
    found = (scaled(theory, backend, field, beta, names) for names in (WORKS, PLAIN))
    assert difference(backend, *(backend.jacobian(backend.jacobian(f))(0.2 * beta) for f in found)) < 1e-10


def test_force_is_the_slope_of_the_action(backend):
    if not backend.autodiff:
        pytest.skip("no autodiff")
    theory, xp = Wilson((2, 2), n=2), backend.xp
    field, beta = links(theory, (2,), backend)
    direction = theory.group.algebra_normal(random.key(2, backend), tuple(field.shape))
    along = lambda t: xp.sum(theory.action(theory.group.update(field, t * direction), {"beta": beta}))  # noqa: E731
    slope = backend.value_and_grad(backend.jit(along))(backend.asarray(0.0))[1]
    wanted = xp.sum(direction * theory.force(field, {"beta": beta}))
    assert abs(float(slope - wanted)) < 1e-10


@needs_numba
def test_declines_what_it_has_no_kernel_for():
    from haarflow.theories import compiled_actions

    class Derived(Wilson):
        pass

    host = backends.get("numpy")
    for theory in (Wilson((2, 2), n=4), Wilson((2, 2), rectangle=-1 / 12), Derived((2, 2))):
        field, beta = links(theory, (1,), host)
        assert compiled_actions.action(theory, field, {"beta": beta}) is None
        assert compiled_actions.force(theory, field, {"beta": beta}) is None
    field, _ = links(Wilson((2, 2)), (1,), host)
    assert compiled_actions.action(Wilson((2, 2)), field.astype("complex64"), None) is None


@pytest.mark.parametrize("work", WORKS)
def test_without_numba(monkeypatch, work):
    monkeypatch.setattr(simd, "is_present", lambda: False)
    field, beta = links(Wilson((2, 4)), (2,), backends.get("numpy"))
    assert numpy.array_equal(*both(Wilson((2, 4)), work, field, beta))


def test_links_that_are_read_only_or_not_in_order():
    theory, host = Wilson((4, 4)), backends.get("numpy")
    field, beta = links(theory, (3,), host)
    turned = numpy.asfortranarray(field)[::-1]
    turned.flags.writeable = False
    for work in WORKS:
        assert difference(host, *both(theory, work, turned, beta)) < 1e-12


def test_forward_derivatives_of_torch_pass():
    """A dual tensor shares its memory with the host; its tangent would be lost there."""
    torch = pytest.importorskip("torch")
    from torch.autograd import forward_ad

    theory, backend = Wilson((2, 2), n=2), backends.get("torch")
    field, beta = links(theory, (2,), backend)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(beta, torch.ones_like(beta))
        found, wanted = (forward_ad.unpack_dual(x).tangent for x in both(theory, "action", field, dual))
        assert difference(backend, found, wanted) < 1e-12
