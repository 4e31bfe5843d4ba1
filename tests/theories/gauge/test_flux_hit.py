"""The instanton hit: flux and charge by a site-by-site twin, the laws of involutions, and charges that HMC does not reach."""

import math

import numpy
import pytest

from haarflow.core import random
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.involution import Involutive
from haarflow.core.chains.kernel import Cycle, run
from haarflow.core.laws.kernels.involution import applied_twice, involution_volume
from haarflow.core.statistics import gamma_method
from haarflow.theories import Phi4, Sum, SUNGauge, U1Gauge
from haarflow.theories.gauge.flux_hit import FluxHit, instanton
from haarflow.theories.samplers.u1 import exact_sample


@pytest.mark.parametrize("lattice", [(4, 4), (3, 5), (6, 2), (1, 4), (4, 1), (2, 2)])
def test_an_instanton_has_constant_plaquettes_and_charge_one(lattice):
    theory, links = U1Gauge(lattice), numpy.asarray(instanton(lattice))
    angles = theory.plaquettes(links)
    wrapped = numpy.angle(numpy.exp(1j * angles))
    flux = 2 * math.pi / math.prod(lattice)
    if flux < math.pi:
        assert numpy.allclose(wrapped, flux, atol=1e-12) and theory.charge(links) == 1.0
    else:
        assert numpy.allclose(numpy.abs(wrapped), math.pi, atol=1e-12)


def test_it_shifts_the_charge_by_its_sign(backend, host):
    theory = U1Gauge((4, 6))
    field = backend.asarray(exact_sample(theory, random.key(1, host), 12, {"beta": 4.0}).field)
    hit = FluxHit(theory)
    signs = hit.auxiliary(random.key(2, backend), field)
    image = hit.involution(field, signs)
    before, after, turned = (
        backend.to_numpy(x) for x in (theory.charge(field), theory.charge(image.field), image.auxiliary)
    )
    assert set(numpy.abs(turned)) == {1.0} and len(set(turned)) == 2
    assert numpy.array_equal(after - before, -turned)  # no plaquette is within 2 pi/V of the cut at this seed


@pytest.mark.parametrize("theory", [U1Gauge((2, 3)), Sum((U1Gauge((3, 2)), U1Gauge((3, 2))))])
def test_the_laws_of_involutions_hold(backend, host, theory):
    kernel = Involutive(theory, FluxHit(theory))
    x = backend.asarray(random.normal(random.key(1, host), (3, 2, *theory.lattice)))
    v = kernel.involution.auxiliary(random.key(2, backend), x)
    assert applied_twice(kernel, x, v).passed
    assert involution_volume(kernel, x[0, ...], v[0, ...]).passed


def test_one_key_for_each_chain_draws_as_many_signs(host):
    hit, x = FluxHit(U1Gauge((2, 2))), numpy.zeros((5, 2, 2, 2))
    keys = random.split(random.key(3, host), 5)
    signs = hit.auxiliary(keys, x)
    assert signs.tolist() == [float(hit.auxiliary(keys[i], x[0])) for i in range(5)]


@pytest.mark.parametrize("theory", [Phi4((4, 4)), U1Gauge((2, 2, 2)), SUNGauge((2, 2), n=2)])
def test_other_fields_are_refused(theory):
    with pytest.raises(
        TypeError, match="adds flux to the links of U\\(1\\) in two dimensions, which are not the field"
    ):
        FluxHit(theory)


@pytest.mark.statistical
def test_with_hits_frozen_hmc_samples_the_charges(host):
    """8x8 at beta = 9, where HMC stays in its sector: <Q^2> within 4 sigma of exact (chance of luck 6e-5)."""
    theory, couplings = U1Gauge((8, 8)), {"beta": 9.0}
    values = {"couplings": couplings, "step_size": 0.1}
    hmc = HMC(theory, steps=10, values=values)
    both = Cycle((hmc, Involutive(theory, FluxHit(theory, {"couplings": couplings}))))
    start = numpy.zeros((32, 2, 8, 8))
    exact = theory.exact(couplings)["Q2"]
    for kernel, moves in ((hmc, False), (both, True)):
        draws = run(kernel, random.key(5, host), kernel.init(start), 600, measure=theory.observables)[1]
        charges = draws["observables"]["Q2"].T[:, 100:]
        if not moves:
            assert charges.mean() < 0.5 * exact
            continue
        estimate = gamma_method(charges)
        assert abs(estimate.value - exact) < 4.0 * estimate.error, estimate
        assert 0.05 < draws["info"]["1"]["accepted"].mean() < 1.0
