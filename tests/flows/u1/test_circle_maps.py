"""Circle maps: slopes, inverses to rounding, derivatives of both, one turn for one turn, closed forms."""

import math

import numpy
import pytest

from haarflow.core.groups.additive import wrap
from haarflow.core.laws.law import at_once
from haarflow.flows.u1.circle_maps import CIRCLE_MAPS, circle_map
from haarflow.flows.u1.moebius import LARGEST, inverse_mixture, mixture

NAMES = tuple(CIRCLE_MAPS)


def numbers(name, size, pieces=3):
    """Angles `(40, 2, 2)` and raw numbers `(40, channels, 2, 2)` on the host."""
    rng = numpy.random.default_rng(7)
    raw = size * rng.normal(size=(40, circle_map(name).channels(pieces), 2, 2))
    return rng.uniform(-math.pi, math.pi, (40, 2, 2)), raw


@pytest.mark.parametrize("name", NAMES)
def test_inverse_to_rounding_and_slope(backend, name):
    h = circle_map(name)

    def run(x, raw):
        y, log_slope = h.forward(x, raw, -3)
        return y, log_slope, *h.inverse(y, raw, -3)

    compiled = backend.jit(run)
    for size in (0.5, 2.0):
        x, raw = numbers(name, size)
        found = compiled(backend.asarray(x), backend.asarray(raw))
        y, log_slope, back, log_back = (backend.to_numpy(part) for part in found)
        assert y.min() >= -math.pi - 1e-12 and y.max() <= math.pi + 1e-12
        largest = numpy.exp(numpy.abs(log_slope)).max()
        assert numpy.abs(wrap(back - x)).max() < 1e-12 * largest
        numpy.testing.assert_allclose(log_back, -log_slope, atol=1e-11 * largest)


@pytest.mark.parametrize("name", NAMES)
def test_autodiff_of_both_directions(autodiff_backend, name):
    backend, h = autodiff_backend, circle_map(name)
    x, raw = (backend.asarray(part) for part in numbers(name, 1.0, pieces=2))
    one, zero = backend.xp.ones_like(x), backend.xp.zeros_like(x)

    def slopes(x, raw):
        (y, log_slope), pullback = backend.vjp(lambda x: h.forward(x, raw, -3), x)
        # The composition is the identity for every raw number: its derivative with respect to them vanishes.
        _, pullback_both = backend.vjp(lambda raw: h.inverse(h.forward(x, raw, -3)[0], raw, -3), raw)
        (_, log_back), pullback_back = backend.vjp(lambda y: h.inverse(y, raw, -3), y)
        return pullback((one, zero)), log_slope, pullback_back((one, zero)), log_back, pullback_both((one, zero))

    found = [backend.to_numpy(part) for part in backend.jit(slopes)(x, raw)]
    numpy.testing.assert_allclose(found[0], numpy.exp(found[1]), rtol=1e-9)
    numpy.testing.assert_allclose(found[2], numpy.exp(found[3]), rtol=1e-9)
    assert numpy.abs(found[4]).max() < 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_a_turn_is_one_turn_and_nothing_happens_at_the_seam(name):
    h, n = circle_map(name), 4000
    grid = (numpy.arange(n) + 0.5) * (2 * math.pi / n) - math.pi
    raw = numpy.broadcast_to(0.7 * numpy.random.default_rng(1).normal(size=(h.channels(3), 1)), (h.channels(3), n))
    y, log_slope = h.forward(grid, raw, 0)
    assert abs(numpy.exp(log_slope).mean() - 1.0) < 1e-5
    steps = wrap(numpy.roll(y, -1) - y)
    assert steps.min() > 0 and abs(steps.sum() - 2 * math.pi) < 1e-9
    numpy.testing.assert_allclose(wrap(h.forward(grid + 4 * math.pi, raw, 0)[0] - y), 0.0, atol=1e-12)


def test_two_projections_are_undone_in_closed_form_as_by_newton():
    raw, h = numpy.random.default_rng(4).normal(size=(3, 500)) * 1.5, circle_map("noncompact")
    special = [0.0, -math.pi, math.pi / 2, 1e-9, -1e-12]
    x = numpy.concatenate([special, numpy.random.default_rng(5).uniform(-math.pi, math.pi, 495)])
    y, log_slope = h.forward(x, raw, 0)
    back, log_back = h.inverse(y, raw, 0)
    newton, _ = inverse_mixture(y - raw[2], (numpy.tanh(0.5 * raw[:2]), None), 0)
    largest = math.exp(numpy.abs(log_slope).max())
    assert numpy.abs(wrap(back - x)).max() < 1e-13 * largest
    assert numpy.abs(wrap(back - newton)).max() < 1e-13 * largest
    numpy.testing.assert_allclose(log_back, -log_slope, atol=1e-12 * largest)


@pytest.mark.parametrize("size", [0.5, 3.0, 1e3])
def test_pairs_are_means_of_two_lifted_moebius_maps(size):
    rng, h, pieces = numpy.random.default_rng(3), circle_map("moebius_pairs"), 3
    raw, x = size * rng.normal(size=(h.channels(pieces), 400)), rng.uniform(-math.pi, math.pi, 400)
    y, log_slope = h.forward(x, raw, 0)
    centre = raw[:-1].reshape(2, 2 * pieces, 400)
    centre = LARGEST * centre / numpy.sqrt(1 + (centre**2).sum(0))
    expected, slope = x, 1.0
    for n in range(pieces):
        expected, factor = mixture(expected, tuple(centre[:, 2 * n : 2 * n + 2]), 0)
        slope = slope * factor
    largest = numpy.maximum(slope, 1 / slope).max()
    assert numpy.abs(wrap(y - expected - raw[-1])).max() < 1e-13 * largest
    numpy.testing.assert_allclose(log_slope, numpy.log(slope), atol=1e-12 * largest)
    back, log_back = h.inverse(y, raw, 0)
    assert numpy.abs(wrap(back - x)).max() < 1e-12 * largest
    numpy.testing.assert_allclose(log_back, -log_slope, atol=1e-11 * largest)


@pytest.mark.parametrize("name", NAMES)
def test_slope_is_that_of_a_difference_of_high_order(name):
    h, step = circle_map(name), 2e-3
    x, raw = numbers(name, 0.4)
    _, log_slope = h.forward(x, raw, -3)
    ends = [wrap(h.forward(x + k * step, raw, -3)[0] - h.forward(x - k * step, raw, -3)[0]) for k in (1, 2, 3)]
    slope = (45 * ends[0] - 9 * ends[1] + ends[2]) / (60 * step)
    # Within a spline's bin too, but not across a knot, where its second derivative jumps.
    off = numpy.sort(numpy.abs(slope * numpy.exp(-log_slope) - 1), axis=None)
    assert off[-off.size // 5 if name == "spline" else -1] < 1e-8


def test_a_pair_with_both_centres_at_the_edge_is_undone():
    h, edge, x = circle_map("moebius_pairs"), 1e6, numpy.linspace(-math.pi, math.pi, 1001)
    for first, second in ((0.3, 0.3), (0.3, 0.3 + 1e-9), (0.3, 0.3 + math.pi), (-math.pi, math.pi / 2)):
        centres = edge * numpy.asarray([math.cos(first), math.cos(second), math.sin(first), math.sin(second)])
        raw = numpy.broadcast_to(numpy.append(centres, 0.2)[:, None], (5, x.size))
        y, log_slope = h.forward(x, raw, 0)
        back, log_back = h.inverse(y, raw, 0)
        largest = math.exp(numpy.abs(log_slope).max())
        assert largest > 500 and numpy.abs(wrap(back - x)).max() < 1e-12 * largest
        numpy.testing.assert_allclose(log_back, -log_slope, atol=1e-11 * largest)


@pytest.mark.parametrize("name", ["moebius", "moebius_pairs"])
def test_derivatives_are_finite_where_all_raw_numbers_are_zero(autodiff_backend, name):
    backend, h = autodiff_backend, circle_map(name)
    x = backend.asarray(numpy.linspace(-math.pi, math.pi, 17))
    raw = backend.asarray(numpy.zeros((h.channels(2), 17)))
    for direction in (h.forward, h.inverse):

        def both(raw, go=direction):
            (y, log_slope), pullback = backend.vjp(lambda raw: go(x, raw, 0), raw)
            return y, pullback((y + 1.0, log_slope + 1.0))

        y, slopes = at_once(both, raw)
        found = backend.to_numpy(slopes)
        assert numpy.isfinite(found).all() and numpy.abs(found).max() > 0.1
        assert numpy.abs(wrap(backend.to_numpy(y - x))).max() < 1e-15


def test_noncompact_projection_is_the_published_formula():
    x, s = numpy.linspace(-3.0, 3.0, 7), numpy.asarray([0.7, -1.2])
    y, log_slope = circle_map("noncompact").forward(x, numpy.asarray([0.7, -1.2, 0.0])[:, None] + 0 * x, 0)
    expected = numpy.mean([2 * numpy.arctan(numpy.exp(c) * numpy.tan(x / 2)) for c in s], axis=0)
    e, cosine, sine = numpy.exp(s)[:, None], numpy.cos(x / 2), numpy.sin(x / 2)
    slope = numpy.mean(1 / (cosine**2 / e + e * sine**2), axis=0)
    numpy.testing.assert_allclose(y, expected, atol=1e-14)
    numpy.testing.assert_allclose(numpy.exp(log_slope), slope, rtol=1e-13)


def test_one_moebius_map_is_the_fractional_linear_one():
    x, raw = numpy.linspace(-3.0, 3.0, 7), numpy.asarray([0.4, -0.9, 0.0])[:, None]
    y, _ = circle_map("moebius").forward(x, raw + 0 * x, 0)
    z = 0.4 - 0.9j
    omega = 0.999 * z / math.sqrt(1 + abs(z) ** 2)
    u = numpy.exp(1j * x)
    # f(x) - x is twice the argument of 1 - conj(u) omega, taken backwards: u (1 - omega/u) / (1 - conj(omega) u).
    image = (u - omega) / (1 - numpy.conj(omega) * u)
    numpy.testing.assert_allclose(wrap(y - numpy.angle(image)), 0, atol=1e-12)


def test_an_unknown_map_and_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match="spline, noncompact, moebius"):
        circle_map("affine")
    with pytest.raises(ValueError, match="got 4"):
        circle_map("moebius").forward(numpy.zeros(2), numpy.zeros((4, 2)), 0)
    with pytest.raises(ValueError, match="got 7"):
        circle_map("moebius_pairs").inverse(numpy.zeros(2), numpy.zeros((7, 2)), 0)
    with pytest.raises(ValueError, match="got 1"):
        circle_map("noncompact").forward(numpy.zeros(2), numpy.zeros((1, 2)), 0)
