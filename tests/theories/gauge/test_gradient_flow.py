"""The gradient flow: linear waves decay exactly, third order, gauge invariance, charges of constant flux, scales."""

import math

import numpy
import pytest

from haarflow.core.lattice import loops
from haarflow.core.laws.fields import host_matrices
from haarflow.core.laws.law import at_once
from haarflow.theories import SUNGauge
from haarflow.theories.gauge import gradient_flow


def wave(theory, momentum, size):
    """A transverse wave of one colour: A_1 = size cos(p t) T_a, in time."""
    w = numpy.zeros((theory.d, theory.group.dim, *theory.lattice))
    phase = numpy.cos(momentum * numpy.arange(theory.lattice[0]))
    w[1, -1] = size * phase.reshape(-1, *(1,) * (theory.d - 1))
    return theory.group.exp(w)


@pytest.mark.parametrize("n", [2, 3])
def test_a_weak_wave_decays_as_the_heat_kernel(n, backend):
    """A(t) = A(0) e^{-t p^2} with the lattice's p^2 = 4 sin^2(p/2): the flow's normalisation, exactly."""
    theory, p = SUNGauge((8, 2, 2), n=n), 2 * math.pi / 8
    found = gradient_flow.flow(theory, backend.asarray(wave(theory, p, 1e-4)), 0.05, 8)
    energy = backend.to_numpy(found.energy)
    wanted = numpy.exp(-2 * found.times * 4 * math.sin(p / 2) ** 2)
    assert abs(energy / energy[0] - wanted).max() < 1e-6
    start = backend.asarray(wave(theory, p, 1e-4))
    first = backend.to_numpy(at_once(lambda u: gradient_flow.energy(theory, u), start))
    assert first == pytest.approx(energy[0], rel=1e-12)


def test_the_scheme_is_of_third_order(generator):
    theory = SUNGauge((3, 3), n=3)
    u = host_matrices(theory.group, (2, *theory.field_shape), "haar", generator)

    def end(steps):
        return gradient_flow.flow(theory, u, 0.16 / steps, steps).field

    exact = end(64)
    off = [abs(end(steps) - exact).max() for steps in (2, 4, 8)]
    assert 2.7 < math.log2(off[0] / off[1]) < 3.6 and 2.7 < math.log2(off[1] / off[2]) < 3.4


def test_the_flow_commutes_with_gauge_transformations(generator):
    theory = SUNGauge((2, 3, 2), n=3)
    u = host_matrices(theory.group, theory.field_shape, "haar", generator)
    g = host_matrices(theory.group, (3, 3, 2, 3, 2), "haar", generator)
    turned = gradient_flow.flow(theory, loops.gauge_transform(u, g, 3, theory.group), 0.05, 3)
    plain = gradient_flow.flow(theory, u, 0.05, 3)
    assert abs(turned.field - loops.gauge_transform(plain.field, g, 3, theory.group)).max() < 1e-13
    assert abs(turned.energy - plain.energy).max() < 1e-12 and plain.charge is None


def constant_flux(lattice, first, second):
    """SU(2) links diag(e^{i theta}, e^{-i theta}) of constant flux in the planes (0, 1) and (2, 3)."""
    theta = numpy.zeros((4, *lattice))
    x = numpy.meshgrid(*map(numpy.arange, lattice), indexing="ij")
    for (mu, nu), k in (((0, 1), first), ((2, 3), second)):
        flux = 2 * math.pi * k / (lattice[mu] * lattice[nu])
        theta[nu] += flux * x[mu]
        theta[mu] -= flux * lattice[mu] * x[nu] * (x[mu] == lattice[mu] - 1)
    w = numpy.zeros((4, 3, *lattice))
    w[:, 2] = 2 * theta
    return w


@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, -1), (2, 1), (0, 1)])
def test_the_charge_of_constant_flux(first, second):
    """Q = 2 k k' up to the lattice's sine, the clover's field strength of a flux theta being 2 sin theta."""
    lattice = (4, 4, 4, 4)
    theory = SUNGauge(lattice, n=2)
    u = theory.group.exp(constant_flux(lattice, first, second))
    sines = [math.sin(2 * math.pi * k / 16) * 16 / (2 * math.pi) for k in (first, second)]
    assert float(gradient_flow.charge(theory, u)) == pytest.approx(2 * sines[0] * sines[1], abs=1e-10)


def test_smooth_fields_have_one_energy_by_clover_and_by_plaquette(generator):
    theory = SUNGauge((4, 4), n=3)
    u = theory.group.exp(0.3 * generator.standard_normal((2, 8, 4, 4)))
    smooth = gradient_flow.flow(theory, u, 0.1, 40)
    plaquette = 2 * 3 * (1 - theory.observables(smooth.field)["plaquette"])
    assert smooth.energy[-1] == pytest.approx(plaquette, rel=0.4) and smooth.energy[-1] < 1e-2 * smooth.energy[0]


def test_scales_of_a_known_curve():
    """t^2 E = 0.3 (t / 2)^2 reaches 0.3 at t0 = 2, its logarithmic slope 2 x at w0^2 = sqrt 2."""
    times = numpy.linspace(0, 4, 401)
    found = gradient_flow.scales(times, numpy.full(401, 0.3 / 4))
    assert found["t0"] == pytest.approx(2.0, abs=1e-4) and found["w0"] == pytest.approx(2**0.25, abs=1e-4)
    assert math.isnan(gradient_flow.scales(times, numpy.zeros(401))["t0"])


def test_wrong_words_are_refused():
    theory = SUNGauge((2, 2))
    field = theory.group.exp(numpy.zeros((2, 8, 2, 2)))
    with pytest.raises(ValueError, match="size > 0"):
        gradient_flow.flow(theory, field, 0.0, 3)
    with pytest.raises(ValueError, match="four dimensions"):
        gradient_flow.charge(theory, field)
