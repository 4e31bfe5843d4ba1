"""Compiled trajectories against their plain twin, by the theory's force and density: every group, shape and scheme."""

import math

import numpy
import pytest

from haarflow import backends
from haarflow.backends.compiled import vector
from haarflow.core import random
from haarflow.core.acceleration import kernels_of
from haarflow.core.chains.hmc import HMC, molecular_dynamics
from haarflow.core.chains.integrators import LEAPFROG, SCHEMES
from haarflow.core.laws.law import at_once
from haarflow.theories import SUNGauge, U1Gauge, with_parts

pytestmark = pytest.mark.skipif(not vector.is_present(), reason="compiled kernels need numba: haarflow[compiled]")

# name: theory, chains, scheme, steps, step size. Extents 1, 2 and odd ones; more and fewer chains than fill a register.
CASES = {
    "u1 2d": (U1Gauge((4, 6)), 3, "leapfrog", 4, 0.3),
    "u1 3d": (U1Gauge((2, 3, 5)), 7, "omelyan", 3, 0.2),
    "su2 2d": (SUNGauge((4, 2), n=2), 3, "omelyan4", 2, 0.4),
    "su2 4d": (SUNGauge((2, 3, 2, 4), n=2), 2, "forest_ruth", 2, 0.1),
    "su3 one site wide": (SUNGauge((2, 1, 3), n=3), 5, "omelyan4", 2, 0.2),
    "su3 one by one": (SUNGauge((1, 1), n=3), 2, "leapfrog", 1, 0.2),
    "su3 2d": (SUNGauge((3, 5), n=3), 9, "omelyan", 3, 0.2),
    "u1 tubes": (U1Gauge((2, 9, 5, 2)), 2, "leapfrog", 2, 0.2),
    "su2 tubes": (SUNGauge((3, 6, 4), n=2), 2, "leapfrog", 3, 0.2),
    "su3 4d": (SUNGauge((2, 2, 2, 4), n=3), 1, "leapfrog", 3, 0.1),
}


def start(theory, batch, backend):
    """Haar links, normal momenta, a beta and a step-size factor for each chain."""
    host = backends.get("numpy")
    field = theory.group.haar(random.key(1, host), (*batch, *theory.field_shape))
    momentum = theory.group.algebra_normal(random.key(2, host), (*batch, *theory.field_shape))
    chains = math.prod(batch)
    beta = numpy.linspace(1.0, 5.0, chains).reshape(batch)
    factor = numpy.linspace(0.9, 1.1, chains).reshape(batch)
    return [backend.asarray(x) for x in (field, momentum, beta, factor)]


def plain(theory, scheme, steps, field, momentum, beta, step_size):
    """The twin."""
    return molecular_dynamics(theory, field, momentum, scheme, step_size, steps, {"beta": beta})


@pytest.mark.parametrize("name", CASES)
def test_equals_the_plain_integrator(name):
    theory, chains, scheme, steps, size = CASES[name]
    field, momentum, beta, factor = start(theory, (chains,), backends.get("numpy"))
    found = kernels_of(theory).evolve(field, momentum, SCHEMES[scheme], size * factor, steps, {"beta": beta})
    wanted = plain(theory, SCHEMES[scheme], steps, field, momentum, beta, size * factor)
    for here, there in zip(found, wanted, strict=True):
        assert here.shape == there.shape and here.dtype == there.dtype
        assert numpy.abs(here - there).max() < 1e-12


@pytest.mark.parametrize("size", [0.01, 0.9, 6.0])
def test_exponentials_near_and_far(size):
    """One drift of any length, on both sides of where the short series ends."""
    for theory in (SUNGauge((2, 4), n=2), SUNGauge((2, 4), n=3)):
        field, momentum, beta, factor = start(theory, (2,), backends.get("numpy"))
        momentum = momentum / numpy.sqrt((momentum**2).sum(axis=2, keepdims=True))  # |w| = 1 everywhere
        found = kernels_of(theory).evolve(field, momentum, LEAPFROG, size * factor, 1, {"beta": 0.0 * beta})
        wanted = plain(theory, LEAPFROG, 1, field, momentum, 0.0 * beta, size * factor)
        assert numpy.abs(found[0] - wanted[0]).max() < 2e-14


def test_beyond_the_bound_is_nan_for_that_chain_alone():
    theory = SUNGauge((2, 4), n=3)
    field, momentum, beta, factor = start(theory, (3,), backends.get("numpy"))
    momentum[1, 0, :, 1, 2] = 100.0
    found, _, change = kernels_of(theory).evolve(field, momentum, LEAPFROG, factor, 1, {"beta": 0.0 * beta})
    assert numpy.isnan(found).any(axis=(1, 2, 3, 4, 5)).tolist() == [False, True, False]
    assert numpy.isnan(change).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("theory", "size"), [(U1Gauge((4, 4)), 50.0), (SUNGauge((2, 4), n=2), 1e-3), (SUNGauge((2, 4), n=3), 1e-3)], ids=str
)
def test_ends_in_standard_form(theory, size):
    """At rest and without a coupling nothing moves: what is left is the group's `restore`, here of links far off."""
    field, momentum, beta, factor = start(theory, (2,), backends.get("numpy"))
    field = field + size * numpy.cos(numpy.arange(field.size)).reshape(field.shape)
    found, _, change = kernels_of(theory).evolve(field, 0.0 * momentum, LEAPFROG, factor, 1, {"beta": 0.0 * beta})
    assert numpy.abs(found - theory.group.restore(field)).max() < 1e-13
    assert not change.any()


def test_sine_beyond_many_turns():
    """Angles never wrapped during a trajectory: sines of large ones stay right to a few units of the angle's last place."""
    theory = U1Gauge((2, 2))
    field, momentum, beta, factor = start(theory, (3,), backends.get("numpy"))
    field = field + 2.0 * math.pi * numpy.arange(24.0).reshape(field.shape) * 1000.0
    found = kernels_of(theory).evolve(field, momentum, LEAPFROG, 0.1 * factor, 2, {"beta": beta})
    wanted = plain(theory, LEAPFROG, 2, field, momentum, beta, 0.1 * factor)
    assert numpy.abs(found[1] - wanted[1]).max() < 1e-10


@pytest.mark.parametrize("theory", [U1Gauge((4, 4)), SUNGauge((2, 4), n=2)], ids=str)
def test_on_every_backend(theory, backend):
    """Called from the engine's own arrays, batch axes of any number, compiled and under vmap where there is one."""
    field, momentum, beta, factor = start(theory, (2, 3), backend)

    def run(*arrays):
        return HMC(theory, steps=3, values={"couplings": {"beta": arrays[2]}, "step_size": 0.2 * arrays[3]}).trajectory(
            arrays[0], arrays[1]
        )

    host = start(theory, (2, 3), backends.get("numpy"))
    wanted = plain(theory, LEAPFROG, 3, *host[:3], 0.2 * host[3])
    for way in (run, backend.jit(run), backend.vmap(run)):
        for here, there in zip(way(field, momentum, beta, factor), wanted, strict=True):
            assert numpy.abs(backend.to_numpy(here) - there).max() < 1e-12


def test_derivatives_are_those_of_the_plain_twin(backend):
    if not backend.autodiff:
        pytest.skip("no autodiff")
    theory = U1Gauge((2, 2))
    field, momentum, beta, factor = start(theory, (2,), backend)
    xp = backend.xp

    def through(beta, way):
        return xp.sum(way(beta)[0] ** 2)

    kernel = lambda beta: kernels_of(theory).evolve(field, momentum, LEAPFROG, 0.2 * factor, 2, {"beta": beta})  # noqa: E731
    twin = lambda beta: plain(theory, LEAPFROG, 2, field, momentum, beta, 0.2 * factor)  # noqa: E731
    ways = (lambda beta: kernel(beta) or twin(beta), twin)
    found, wanted = (at_once(backend.value_and_grad(lambda b, way=way: through(b, way)), beta)[1] for way in ways)
    assert numpy.abs(backend.to_numpy(found - wanted)).max() < 1e-12


def test_declines_what_it_has_no_kernel_for():
    host = backends.get("numpy")

    doubled = with_parts(
        U1Gauge((4, 4)), force=lambda field, couplings=None: 2.0 * U1Gauge((4, 4)).force(field, couplings)
    )
    for theory in (SUNGauge((4, 4), n=4), SUNGauge((4, 4), rectangle=-1 / 12), doubled):
        field, momentum, beta, _ = start(theory, (1,), host)
        assert kernels_of(theory).evolve(field, momentum, LEAPFROG, 0.1, 1, {"beta": beta}) is None
    field, momentum, _, _ = start(U1Gauge((4, 4)), (1,), host)
    single = [x.astype("float32") for x in (field, momentum)]
    assert kernels_of(U1Gauge((4, 4))).evolve(*single, LEAPFROG, 0.1, 1) is None


def test_nothing_is_written_into_what_is_given():
    theory = SUNGauge((2, 2), n=2)
    field, momentum, beta, _ = start(theory, (2,), backends.get("numpy"))
    for x in (field, momentum, beta):
        x.flags.writeable = False
    before = field.copy(), momentum.copy()
    kernels_of(theory).evolve(field, momentum, LEAPFROG, 0.1, 2, {"beta": beta})
    assert numpy.array_equal(field, before[0]) and numpy.array_equal(momentum, before[1])


def test_no_chains():
    theory = SUNGauge((2, 2), n=2)
    field, momentum, beta, _ = start(theory, (0,), backends.get("numpy"))
    found = kernels_of(theory).evolve(field, momentum, LEAPFROG, 0.1, 2, {"beta": beta})
    assert found[0].shape == field.shape and found[1].shape == momentum.shape
