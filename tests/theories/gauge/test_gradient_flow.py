"""The gradient flow: linear waves decay exactly, third order, gauge invariance, charges of constant flux, scales."""

import itertools
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


def test_the_improved_charge_of_constant_flux(backend):
    """F = (4 sin theta - sin(4 theta) / 4) / 3 in each plane, theta the flux of a plaquette."""
    theory, sites = SUNGauge((3, 3, 3, 3), n=2), 9
    u = backend.asarray(theory.group.exp(constant_flux(theory.lattice, 2, 1)))
    angles = [2 * math.pi * k / sites for k in (2, 1)]
    strengths = [(4 * math.sin(x) - math.sin(4 * x) / 4) / 3 * sites / (2 * math.pi) for x in angles]
    found = backend.to_numpy(at_once(lambda u: gradient_flow.charge(theory, u, improved=True), u))
    assert float(found) == pytest.approx(2 * strengths[0] * strengths[1], abs=1e-10)


def instanton(extent, radius, sign=1):
    """SU(2) links of 't Hooft's instanton in the singular gauge, around the centre of the box: exact along each link.

    A_mu = radius^2 eta_a,mu,nu x_nu sigma_a / (s (s + radius^2)), s = x^2, of which a link sees a fixed direction in colour;
    the lattice is cut where the field has decayed (Phys. Rev. D 14 (1976) 3432).
    """
    x = numpy.indices((extent,) * 4) - (extent - 1) / 2.0
    w = numpy.zeros((4, 3, *(extent,) * 4))
    for mu in range(4):
        rest = sum(x[nu] ** 2 for nu in range(4) if nu != mu)
        integral = sum(
            weight * (numpy.arctan((x[mu] + 1) / root) - numpy.arctan(x[mu] / root)) / root
            for weight, root in ((1, numpy.sqrt(rest)), (-1, numpy.sqrt(rest + radius**2)))
        )
        for a, nu in itertools.product(range(3), range(4)):
            w[mu, a] -= 2 * eta(a, mu, nu, sign) * x[nu] * integral
    return w


def eta(a, mu, nu, sign):
    """'t Hooft's symbol: epsilon in space, sign times delta between space and time (axis 0)."""
    if mu == 0 or nu == 0:
        return sign * ((mu - 1 == a) - (nu - 1 == a)) if mu != nu else 0
    return (a - mu + 1) * (mu - nu) * (nu - 1 - a) / 2


def charges_of_an_instanton(extent):
    """1 - Q by the clover and improved, after the flow time (radius/9)^2, with radius = extent / 4."""
    theory, radius = SUNGauge((extent,) * 4, n=2), extent / 4
    u = gradient_flow.step(theory, theory.group.exp(instanton(extent, radius)), (radius / 9) ** 2)
    return numpy.asarray([1 - float(gradient_flow.charge(theory, u, improved)) for improved in (False, True)])


def test_an_instanton_has_charge_one():
    """The clover misses it by a^2 / radius^2, the improved charge by a^4: the ratio of two spacings tells the order."""
    coarse, fine = charges_of_an_instanton(8), charges_of_an_instanton(10)
    assert 0 < fine[0] < coarse[0] < 0.21 and 0 < fine[1] < coarse[1] < 0.045
    orders = numpy.log(coarse / fine) / math.log(10 / 8)
    assert 1.7 < orders[0] < 2.3 and 3.4 < orders[1] < 4.6
    theory = SUNGauge((6,) * 4, n=2)
    pair = [float(gradient_flow.charge(theory, theory.group.exp(instanton(6, 1.5, sign)))) for sign in (1, -1)]
    assert pair[0] > 0.6 and pair[1] == pytest.approx(-pair[0], abs=1e-12)


def test_smooth_fields_have_one_energy_by_clover_and_by_plaquette(generator):
    theory = SUNGauge((4, 4), n=3)
    u = theory.group.exp(0.3 * generator.standard_normal((2, 8, 4, 4)))
    smooth = gradient_flow.flow(theory, u, 0.1, 40)
    plaquette = 2 * 3 * (1 - theory.observables(smooth.field)["plaquette"])
    assert smooth.plaquette_energy[-1] == pytest.approx(plaquette, rel=1e-9)
    assert float(gradient_flow.plaquette_energy(theory, smooth.field)) == pytest.approx(plaquette, rel=1e-9)
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


def test_a_scale_is_between_the_two_times_around_the_level():
    """t^2 E rises from 0 to 0.2 and 0.4, and then much faster: linear between 1 and 2, whatever comes behind."""
    times = numpy.asarray([0.0, 1.0, 2.0, 3.0, 4.0])
    rising = numpy.asarray([0.0, 0.2, 0.4, 5.0, 90.0])
    energies = rising / numpy.where(times > 0, times, 1.0) ** 2
    assert gradient_flow.scales(times, energies, level=0.3)["t0"] == pytest.approx(1.5, rel=1e-12)
