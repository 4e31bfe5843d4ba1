"""The flow along smeared potentials: against a slow twin in momentum space, its linear case exactly, and its messages."""

import numpy
import pytest

from haarflow.backends.tree import tree_map
from haarflow.core import random
from haarflow.core.lattice.fourier import momentum_squared
from haarflow.flows.scalar.smeared import SmearedPotentials

SMALL = {"smearings": (0.4, 2.0), "terms": 3, "degree": 1}


def moved(flow, host, generator):
    """Parameters away from the identity."""
    return tree_map(lambda p: p + 0.15 * generator.normal(size=p.shape), flow.init(random.key(0, host)))


def slope_of(flow, params, time, field):
    """dphi/dt from its definition, with Fourier transforms and powers."""
    times = numpy.concatenate([[0.0], numpy.exp(params["log_s"])])
    velocity = numpy.zeros_like(field)
    for k, s in enumerate(times):

        def smear(x, s=s):
            return numpy.fft.ifftn(numpy.exp(-s * momentum_squared(x.shape)) * numpy.fft.fftn(x)).real

        c = sum(params["C"][j, k] * (2 * time - 1) ** j for j in range(flow.degree + 1))
        u = smear(field)
        h = numpy.exp(params["log_w"][k]) * u / numpy.sqrt(1 + (numpy.exp(params["log_w"][k]) * u) ** 2)
        velocity += smear(c[0] * u + sum(c[i] * h ** (2 * i - 1) for i in range(1, flow.terms)))
    return velocity


@pytest.mark.parametrize("lattice", [(3, 4), (5,)])
def test_the_field_and_log_det_are_those_of_a_fine_integration(host, generator, lattice):
    """Against Heun steps of the definition, 500 of them, and the trace of their slopes by differences: to 2e-4."""
    flow = SmearedPotentials(len(lattice), **SMALL, steps=8)
    params, x = moved(flow, host, generator), generator.normal(size=lattice)
    y, total, step, unit = x, 0.0, 1 / 500, 1e-6
    for t in (numpy.arange(500) + 0.5) * step:
        middle = y + 0.5 * step * slope_of(flow, params, t, y)
        here = slope_of(flow, params, t, middle)
        for site in numpy.ndindex(lattice):
            bump = numpy.zeros(lattice)
            bump[site] = unit
            total += step * (slope_of(flow, params, t, middle + bump) - here)[site] / unit
        y = y + step * here
    z, log_det = flow.forward(params, x)
    assert numpy.abs(z - y).max() < 2e-4 and abs(float(log_det) - total) < 2e-4
    assert numpy.abs(z - x).max() > 0.05


def test_linear_terms_scale_every_mode(host, generator):
    """With terms = 1 the equation is linear: mode p grows by exp(sum_s c_s exp(-2 s phat^2)), to the order of the scheme."""
    flow = SmearedPotentials(2, (0.5,), terms=1, degree=0, steps=64)
    params = flow.init(random.key(0, host)) | {"C": numpy.asarray([[[0.3], [-0.4]]])}
    x = generator.normal(size=(4, 3))
    growth = 0.3 - 0.4 * numpy.exp(-momentum_squared((4, 3)))
    expected = numpy.fft.ifftn(numpy.exp(growth) * numpy.fft.fftn(x)).real
    y, log_det = flow.forward(params, x)
    assert numpy.abs(y - expected).max() < 1e-7 and abs(float(log_det) - growth.sum()) < 1e-7


def test_every_backend_gives_numpys_numbers(backend, host, generator):
    flow = SmearedPotentials(2, **SMALL, steps=2)
    params, x = moved(flow, host, generator), generator.normal(size=(3, 4, 3))
    y, log_det = flow.forward(params, x)
    z, same = backend.jit(flow.forward)(tree_map(backend.asarray, params), backend.asarray(x))
    assert numpy.allclose(backend.to_numpy(z), y, rtol=1e-11, atol=1e-12)
    assert numpy.allclose(backend.to_numpy(same), log_det, rtol=1e-11)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"steps": 0}, "steps >= 1, got terms = 4, degree = 2, steps = 0"),
        ({"smearings": (1.0, 0.0)}, "positive and finite, got"),
    ],
)
def test_refuses_options_out_of_range(words, message):
    with pytest.raises(ValueError, match=message):
        SmearedPotentials(2, **words)
