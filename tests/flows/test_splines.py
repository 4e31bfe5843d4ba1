"""Splines: slopes against finite differences, closed-form inverse, the seam, the tails, refusals."""

import math

import numpy
import pytest

from haarflow.core.groups.additive import wrap
from haarflow.flows import splines

BOUND = 3.0
KINDS = {
    "circle": (splines.circular_channels, splines.circular_spline, splines.inverse_circular_spline, {}),
    "line": (splines.line_channels, splines.line_spline, splines.inverse_line_spline, {"bound": BOUND}),
}


def numbers(kind, bins=6, size=1.0, seed=0):
    """Points `(5, 4, 4)` and raw numbers `(5, channels, 4, 4)` on the host."""
    rng = numpy.random.default_rng(seed)
    x = rng.uniform(-math.pi, math.pi, (5, 4, 4)) * (1.0 if kind == "circle" else 1.4)
    return x, size * rng.normal(size=(5, KINDS[kind][0](bins), 4, 4))


def both_ways(backend, kind, x, raw):
    """(y, log slope, x back, log slope back) on the host, in one compiled call."""
    _, forward, inverse, options = KINDS[kind]

    def run(x, raw):
        y, log_slope = forward(x, raw, axis=-3, **options)
        return y, log_slope, *inverse(y, raw, axis=-3, **options)

    found = backend.jit(run)(backend.asarray(x), backend.asarray(raw))
    return [backend.to_numpy(part) for part in found]


@pytest.mark.parametrize("kind", KINDS)
def test_slope_and_inverse(backend, kind):
    x, raw = numbers(kind)
    _, log_slope, back, log_back = both_ways(backend, kind, x, raw)
    step, forward = 1e-6, KINDS[kind][1]
    ends = [forward(x + sign * step, raw, axis=-3, **KINDS[kind][3])[0] for sign in (1, -1)]
    # A central difference is good to step^2 y'''/6 and loses digits where a knot lies in between.
    numpy.testing.assert_allclose(wrap(ends[0] - ends[1]) / (2 * step), numpy.exp(log_slope), rtol=1e-4)
    largest = numpy.exp(numpy.abs(log_slope).max())
    assert numpy.abs(back - x).max() < 1e-12 * largest
    numpy.testing.assert_allclose(log_back, -log_slope, atol=1e-11 * largest)


@pytest.mark.parametrize("kind", KINDS)
def test_autodiff_gives_the_slope_of_both_directions(autodiff_backend, kind):
    backend = autodiff_backend
    x, raw = (backend.asarray(part) for part in numbers(kind, bins=3))
    cotangent = (backend.xp.ones_like(x), backend.xp.zeros_like(x))

    def slopes(x, raw):
        found = []
        for f in KINDS[kind][1:3]:
            (_, log_slope), pullback = backend.vjp(lambda x, f=f: f(x, raw, axis=-3, **KINDS[kind][3]), x)
            found += [pullback(cotangent), log_slope]
        return found

    found = [backend.to_numpy(part) for part in backend.jit(slopes)(x, raw)]
    numpy.testing.assert_allclose(found[0], numpy.exp(found[1]), rtol=1e-10)
    numpy.testing.assert_allclose(found[2], numpy.exp(found[3]), rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_zero_raw_numbers_give_the_identity(backend, kind):
    x, raw = numbers(kind, size=0.0)
    y, log_slope, _, _ = both_ways(backend, kind, x, raw)
    assert numpy.abs(y - x).max() < 1e-14 and numpy.abs(log_slope).max() < 1e-14


def test_the_circle_has_no_seam():
    _, raw = numbers("circle")
    ends = [splines.circular_spline(numpy.full((5, 4, 4), x), raw, axis=-3) for x in (-math.pi, math.pi - 1e-12)]
    assert numpy.abs(wrap(ends[0][0] - ends[1][0])).max() < 1e-9
    assert numpy.abs(ends[0][1] - ends[1][1]).max() < 1e-8
    turned = splines.circular_spline(numpy.full((5, 4, 4), 0.3 + 6 * math.pi), raw, axis=-3)
    numpy.testing.assert_allclose(turned[0], splines.circular_spline(numpy.full((5, 4, 4), 0.3), raw, axis=-3)[0])


def test_a_turn_of_the_circle_is_one_turn():
    grid = (numpy.arange(20000) + 0.5) * (2 * math.pi / 20000) - math.pi
    raw = numpy.random.default_rng(2).normal(size=(19, 1))
    _, log_slope = splines.circular_spline(grid, numpy.broadcast_to(raw, (19, 20000)), axis=0)
    assert abs(numpy.exp(log_slope).mean() - 1.0) < 1e-6


def test_tails_are_the_identity_and_join_with_slope_one():
    x = numpy.asarray([-50.0, -BOUND - 1e-9, BOUND + 1e-9, 7.0])
    raw = numpy.random.default_rng(2).normal(size=(17, 4))
    y, log_slope = splines.line_spline(x, raw, BOUND, axis=0)
    assert y.tolist() == x.tolist() and log_slope.tolist() == [0.0] * 4
    y, log_slope = splines.line_spline(numpy.asarray([-BOUND + 1e-9, BOUND - 1e-9]), raw[:, :2], BOUND, axis=0)
    assert numpy.abs(y - [-BOUND, BOUND]).max() < 1e-8 and numpy.abs(log_slope).max() < 1e-6


def test_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match="got 24"):
        splines.circular_spline(numpy.zeros(2), numpy.zeros((24, 2)), axis=0)
    with pytest.raises(ValueError, match="bound > 0"):
        splines.line_spline(numpy.zeros(2), numpy.zeros((23, 2)), bound=0.0, axis=0)


def test_the_inverse_keeps_its_digits_where_a_slope_is_steep(backend):
    """Slopes of 1e4 beside a bin of steepness one: the root's usual form cancels there and lost half of all digits."""
    rng, z = numpy.random.default_rng(0), numpy.zeros((4, 2000))
    left, width = numpy.arange(4.0)[:, None] / 2 + z, z + 0.5
    slopes = rng.uniform(0.5, 2.0, z.shape), 1e4 * rng.uniform(0.5, 2.0, z.shape)
    table = splines.Table(*[backend.asarray(part) for part in (left, width, left, width, *slopes)])
    y = rng.uniform(0.0, 2.0, 2000)
    x, _ = splines.inverse_spline(backend.asarray(y), table, 0)
    back, log_slope = splines.spline(x, table, 0)
    steepest = numpy.exp(numpy.max(backend.to_numpy(log_slope)))
    assert numpy.max(numpy.abs(backend.to_numpy(back) - y)) < 4e-16 * steepest
