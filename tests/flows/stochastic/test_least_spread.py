"""Numbers of a map by the spread of log w: exact maps are found whatever the configurations, the variance never rises."""

import itertools
import math

import numpy
import pytest

from haarflow.core import random
from haarflow.flows.stochastic import least_spread as module
from haarflow.flows.stochastic.least_spread import least_spread
from haarflow.flows.u1.gradient_sweep import GradientSweep
from haarflow.theories import U1Gauge
from haarflow.theories.samplers.u1 import exact_sample

WIDTHS = (0.5, 3.0)


def widths(backend, x):
    """The numbers found for two Gaussian variables scaled to these widths; the third number, 0.1, does nothing."""
    x, params = backend.asarray(x), {name: backend.asarray(numpy.asarray(0.1)) for name in ("first", "second", "idle")}

    def log_w(params):
        scales = (params["first"], params["second"])
        parts = [
            0.5 * x[:, k] ** 2 * (1.0 - (backend.xp.exp(scale) / width) ** 2)
            for k, (scale, width) in enumerate(zip(scales, WIDTHS, strict=True))
        ]
        return parts[0] + parts[1] + scales[0] + scales[1]

    return {name: float(number) for name, number in least_spread(log_w, params, 12).items()}


def test_an_exact_map_is_found_from_any_configurations(backend, generator):
    found = widths(backend, generator.uniform(-3.0, 3.0, (20, 2)))
    assert [found["first"], found["second"]] == pytest.approx([math.log(width) for width in WIDTHS], abs=1e-6)
    assert found["idle"] == 0.1


def uphill(residuals, numbers, here):
    return 2.0 * numbers - LOWERED(residuals, numbers, here)[0], here


def first_number_alone(residuals, numbers, here):
    moved = LOWERED(lambda one: residuals(numpy.concatenate([one, numbers[1:]])), numbers[:1], here)
    return numpy.concatenate([moved[0], numbers[1:]]), moved[1]


def of_the_mean_square(residuals, numbers, here):
    """A step towards log w = 1, as if the mean were not free."""
    return LOWERED(lambda other: residuals(other) + numbers @ other, numbers, here + numbers @ numbers)


def three_times_too_far(residuals, numbers, here):
    moved = numbers - (numbers - LOWERED(residuals, numbers, here)[0]) * 3.0
    return moved, residuals(moved)


LOWERED = module._lowered


@pytest.mark.parametrize("mutant", [uphill, first_number_alone, of_the_mean_square, three_times_too_far])
def test_wrong_steps_do_not_find_an_exact_map(host, generator, monkeypatch, mutant):
    monkeypatch.setattr(module, "_lowered", mutant)
    found = widths(host, generator.uniform(-3.0, 3.0, (20, 2)))
    off = [abs(found[name] - math.log(width)) for name, width in zip(("first", "second"), WIDTHS, strict=True)]
    assert not max(off) < 1e-3  # NaN included


def spreads(steps=5):
    """The variance of log w = x atan(a) from a = 6, where a full step is much too long, after 0, 1, ... steps."""
    x, begin = numpy.linspace(-1.0, 1.0, 9), {"a": numpy.asarray(6.0)}
    ends = [least_spread(lambda params: x * numpy.arctan(params["a"]), begin, count) for count in range(steps)]
    return [float(numpy.arctan(end["a"]) ** 2) for end in ends]


def test_the_spread_never_rises(monkeypatch):
    """Steps are halved until they lower it; longer ones, planted, raise it."""
    values = spreads()
    assert all(after < before for before, after in itertools.pairwise(values)) and values[-1] < 1e-6 * values[0]
    monkeypatch.setattr(module, "_lowered", three_times_too_far)
    assert not all(after < before for before, after in itertools.pairwise(spreads()))


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
