"""Numbers of a map by the spread of log w: exact maps are found whatever the configurations, the variance never rises."""

import math

import numpy
import pytest

from haarflow.core import random
from haarflow.flows.stochastic.least_spread import least_spread
from haarflow.flows.u1.gradient_sweep import GradientSweep
from haarflow.theories import U1Gauge
from haarflow.theories.samplers.u1 import exact_sample


def test_an_exact_map_is_found_from_any_configurations(backend, generator):
    """Of two Gaussian variables scaled to the widths 1/2 and 3; the third number does nothing and stays."""
    x, widths = backend.asarray(generator.uniform(-3.0, 3.0, (20, 2))), (0.5, 3.0)
    params = {name: backend.asarray(numpy.asarray(0.1)) for name in ("first", "second", "idle")}

    def log_w(params):
        scales = (params["first"], params["second"])
        parts = [
            0.5 * x[:, k] ** 2 * (1.0 - (backend.xp.exp(scale) / width) ** 2)
            for k, (scale, width) in enumerate(zip(scales, widths, strict=True))
        ]
        return parts[0] + parts[1] + scales[0] + scales[1]

    found = least_spread(log_w, params, 12)
    assert abs(float(found["first"]) - math.log(0.5)) < 1e-6 and abs(float(found["second"]) - math.log(3.0)) < 1e-6
    assert float(found["idle"]) == 0.1


def test_the_spread_of_a_map_of_links_is_least(host):
    """One number on 4 x 4: no number of a fine grid has a smaller variance."""
    theory, sweep = U1Gauge((4, 4)), GradientSweep()
    x = exact_sample(theory, random.key(1, host), 50, {"beta": 2.0}).field

    def log_w(params):
        y, log_det = sweep.forward(params, x)
        return log_det + theory.action(x, {"beta": 2.0}) - theory.action(y, {"beta": 2.3})

    found = least_spread(log_w, {"c": numpy.asarray(0.0)}, 6)
    grid = [log_w({"c": numpy.asarray(c)}).var() for c in numpy.linspace(0.0, 0.1, 41)]
    assert log_w(found).var() <= min(grid) * (1.0 + 1e-9) < 0.5 * grid[0]


@pytest.mark.parametrize("row", [numpy.ones(1), numpy.asarray([1.0, math.nan, 2.0])])
def test_refuses_what_it_cannot_fit(row):
    with pytest.raises(ValueError, match="log weights of more than 1 configurations wanted for as many numbers"):
        least_spread(lambda params: row * params["c"], {"c": numpy.asarray(1.0)})
