"""Compiled phi^4 against its plain twins by arrays: action, force and trajectories, every lattice, form and engine."""

import math

import numpy
import pytest

from haarflow import backends
from haarflow.backends.compiled import vector as simd
from haarflow.core.acceleration import kernels_of
from haarflow.core.chains.hmc import HMC, molecular_dynamics
from haarflow.core.chains.integrators import LEAPFROG, OMELYAN4, SCHEMES
from haarflow.theories import Phi4, accelerated, with_parts

pytestmark = pytest.mark.skipif(not simd.is_present(), reason="compiled kernels need numba: haarflow[compiled]")

# Extents 1, 2 and odd ones; fewer and more sites in a row than fill a register.
LATTICES = [(1,), (2,), (7,), (1, 1), (4, 6), (5, 3), (2, 9), (3, 1, 2), (2, 3, 4, 5)]
COUPLINGS = {"m2": {"m2": -1.5, "lam": 0.7}, "hopping": {"kappa": 0.21, "lam": 0.03}}


def start(theory, batch, seed=0):
    """Fields, momenta and couplings of every chain."""
    generator, chains = numpy.random.default_rng(seed), math.prod(batch)
    factor = numpy.linspace(0.8, 1.3, chains).reshape(batch)
    fields = [generator.normal(size=(*batch, *theory.lattice)) for _ in range(2)]
    return *fields, {name: value * factor for name, value in COUPLINGS[theory.parameterisation].items()}


def plain(theory, scheme, steps, field, momentum, couplings, size):
    """Molecular dynamics by the force of arrays."""
    return molecular_dynamics(theory, field, momentum, scheme, size, steps, couplings)


@pytest.mark.parametrize("form", COUPLINGS)
@pytest.mark.parametrize("lattice", LATTICES, ids=str)
@pytest.mark.parametrize("batch", [(), (3,), (2, 2), (0,)], ids=str)
def test_action_and_force_equal_those_by_arrays(lattice, batch, form):
    theory = Phi4(lattice, form)
    field, _, couplings = start(theory, batch)
    for values in (couplings, COUPLINGS[form]):
        numpy.testing.assert_allclose(
            accelerated(theory).force(field, values), theory.force(field, values), rtol=0, atol=1e-13
        )
        numpy.testing.assert_allclose(
            accelerated(theory).action(field, values), theory.action(field, values), rtol=1e-13, atol=1e-13
        )


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_trajectories_equal_those_by_arrays(lattice, scheme):
    for form in COUPLINGS:
        theory = Phi4(lattice, form)
        field, momentum, couplings = start(theory, (3,))
        before, size = (field.copy(), momentum.copy()), numpy.asarray([0.03, 0.08, 0.05])
        found = kernels_of(theory).evolve(field, momentum, SCHEMES[scheme], size, 3, couplings)
        wanted = plain(theory, SCHEMES[scheme], 3, field, momentum, couplings, size)
        for here, there in zip(found, wanted, strict=True):
            assert here.shape == there.shape and numpy.abs(here - there).max() < 1e-12
        assert numpy.array_equal(field, before[0]) and numpy.array_equal(momentum, before[1])


@pytest.mark.parametrize("least", [0, 2**17])
def test_on_every_engine(backend, least, monkeypatch):
    """As they are, compiled and under vmap where there is one; JAX calls back where it is told that the work is worth it."""
    if backend.name == "jax":
        monkeypatch.setattr("haarflow.backends.with_jax.CALLED", least)
    theory = Phi4((4, 5))
    field, momentum, couplings = start(theory, (2, 3))
    wanted = [theory.action(field, couplings), theory.force(field, couplings)]
    wanted += plain(theory, LEAPFROG, 3, field, momentum, couplings, 0.1)
    arrays = [backend.asarray(x) for x in (field, momentum, couplings["m2"], couplings["lam"])]

    def run(field, momentum, m2, lam):
        values = {"m2": m2, "lam": lam}
        kernel, fast = HMC(theory, steps=3, values={"couplings": values, "step_size": 0.1}), accelerated(theory)
        return fast.action(field, values), fast.force(field, values), *kernel.trajectory(field, momentum)

    for way in (run, backend.jit(run), backend.vmap(run)):
        for here, there in zip(way(*arrays), wanted, strict=True):
            assert numpy.abs(backend.to_numpy(here) - there).max() < 1e-12


def test_derivatives(backend, monkeypatch):
    """dS/dphi is the force, and the derivative of |F|^2 is that of the force by arrays."""
    if not backend.autodiff:
        pytest.skip("no autodiff")
    if backend.name == "jax":
        monkeypatch.setattr("haarflow.backends.with_jax.CALLED", 0)
    plain, xp = Phi4((3, 4)), backend.xp
    theory = accelerated(plain)
    field = backend.asarray(start(theory, (2,))[0])
    slope = backend.value_and_grad(lambda x: xp.sum(theory.action(x)))(field)[1]
    assert numpy.abs(backend.to_numpy(slope - theory.force(field))).max() < 1e-12
    ours, theirs = (
        backend.value_and_grad(lambda x, force=force: xp.sum(force(x, None) ** 2))(field)[1]
        for force in (theory.force, plain.force)
    )
    assert numpy.abs(backend.to_numpy(ours - theirs)).max() < 1e-11


def test_declines_what_it_has_no_kernel_for():
    plain = Phi4((2, 2))
    doubled = with_parts(plain, force=lambda field, couplings=None: 2.0 * plain.force(field, couplings))
    field, momentum, _ = start(plain, (1,))
    for theory, kind in ((doubled, "float64"), (plain, "float32")):
        given = field.astype(kind), momentum.astype(kind)
        assert kernels_of(theory).evolve(*given, OMELYAN4, 0.1, 1, None) is None
        assert numpy.array_equal(accelerated(theory).force(given[0]), theory.force(given[0]))
        assert accelerated(theory).action(given[0]).dtype == given[0].dtype


def test_the_kernels_are_those_of_numba(monkeypatch):
    """Without the package the arrays' code runs: the same numbers to rounding, no kernel asked for."""
    theory = Phi4((4, 4))
    field, momentum, couplings = start(theory, (3,))
    compiled = accelerated(theory).force(field, couplings)
    monkeypatch.setattr(simd, "is_present", lambda: False)
    assert kernels_of(theory).evolve(field, momentum, LEAPFROG, 0.1, 1, couplings) is None
    assert numpy.abs(theory.force(field, couplings) - compiled).max() < 1e-13
    assert backends.of(field).name == "numpy"
