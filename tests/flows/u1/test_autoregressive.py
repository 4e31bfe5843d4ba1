"""The autoregressive flow of 2D U(1): pure gauge theory at the start, what each stage leaves alone, what a step may see."""

import math

import numpy
import pytest

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.core import random, statistics
from haarflow.core.groups.additive import wrap
from haarflow.core.lattice import loops
from haarflow.flows.sampling.draws import draw
from haarflow.flows.u1.autoregressive import Autoregressive, autoregressive, interleaved, log_weights, together
from haarflow.flows.u1.memory import convolved
from haarflow.flows.u1.winding import about_mean
from haarflow.theories import U1Gauge
from haarflow.theories.exact import bessel, u1_torus

SMALL = {"beta": 1.5, "bins": 8, "harmonics": 4, "waves": 2, "channels": 3, "hidden": 4, "kernel": 3}
FLOW = Autoregressive(**SMALL)


def params_of(backend, size=0.3, parts=("columns", "rows", "time", "space")):
    """Parameters far from the start in some of the nets, equal on all backends."""
    rng, host = numpy.random.default_rng(0), backends.get("numpy")
    fresh = FLOW.init(random.key(0, host))
    noise = tree_map(lambda leaf: size * rng.normal(size=leaf.shape), fresh)
    spoilt = tree_map(lambda leaf, change: leaf + change, fresh, noise)
    return tree_map(backend.asarray, {name: (spoilt if name in parts else fresh)[name] for name in fresh})


def links(lattice, n=2, seed=0):
    return numpy.random.default_rng(seed).uniform(-math.pi, math.pi, (n, 2, *lattice))


def same_angles(a, b, tolerance=1e-9):
    numpy.testing.assert_allclose(wrap(numpy.asarray(a) - numpy.asarray(b)), 0, atol=tolerance)


def flux(x):
    return loops.plaquette(x, 0, 1, 2)


def test_the_same_numbers_on_every_backend(backend, host):
    x = links((2, 4))
    want, want_log_det = FLOW.forward(params_of(host), x)
    y, log_det = backend.jit(FLOW.forward)(params_of(backend), backend.asarray(x))
    same_angles(backend.to_numpy(y), want, 1e-11)
    numpy.testing.assert_allclose(backend.to_numpy(log_det), want_log_det, atol=1e-10)


@pytest.mark.parametrize("lattice, beta", [((4, 4), 0.5), ((4, 4), 2.0), ((2, 6), 4.0)])
def test_starts_as_pure_gauge_theory(host, lattice, beta):
    """1000 weights of pure gauge theory are constant but for the splines, whose density is off by some percent at a step:
    ln Z is known exactly, and the mean of 1000 weights with the standard deviation 0.1 errs by less than 0.02 at six sigma."""
    model = autoregressive(lattice, beta, channels=2, hidden=2)
    field, log_q = model.sample(model.init(random.key(0, host)), random.key(1, host), 1000)
    log_w = -U1Gauge(lattice).action(field, {"beta": beta}) - log_q
    assert log_w.std() < 0.1 and statistics.ess(log_w) > 0.99
    assert abs(statistics.log_z(log_w).value - u1_torus.log_z(beta, math.prod(lattice))) < 0.02


@pytest.mark.parametrize("area", [1, 4])
def test_log_weights_are_those_of_convolved_plaquettes(area):
    """Twin: sum_m (I_m/I_0)^n cos(m p) by Bessel functions."""
    beta, harmonics, grid = 2.0, 5, 2 * numpy.pi * numpy.arange(400) / 400
    ratios = bessel.ratios(beta)
    rows = []
    for n in (area, 2 * area, area):
        logs = numpy.log(1 + 2 * numpy.cos(numpy.outer(grid, numpy.arange(1, len(ratios)))) @ ratios[1:] ** n)
        rows.append([2 * (logs * numpy.cos(k * grid)).mean() for k in range(1, harmonics + 1)])
    numpy.testing.assert_allclose(log_weights(area, 3, harmonics, beta), rows, atol=1e-9)


def test_lines_move_and_fluxes_do_not(host):
    x = links((3, 4))
    both, _ = FLOW.forward(params_of(host), x)
    fluxes, _ = FLOW.forward(params_of(host, parts=("columns", "rows")), x)
    moved = wrap(both - fluxes)
    assert numpy.abs(moved).max() > 1e-3
    lines = wrap(both[:, 0].sum(1) - fluxes[:, 0].sum(1))
    same_angles(lines - lines[:, :1], 0)


def test_shifts_of_the_space_lines_leave_all_plaquettes(host):
    """The last stage moves no flux, however the others have drawn."""
    x = links((4, 2))
    with_lines, one = FLOW.forward(params_of(host), x)
    without, other = FLOW.forward(params_of(host, parts=("columns", "rows", "time")), x)
    same_angles(flux(with_lines), flux(without))
    change = wrap(with_lines - without)
    assert numpy.abs(change[:, 1]).max() > 1e-3 and numpy.abs(one - other).max() > 1e-3
    same_angles(change[:, 1, :, -1], change[:, 1, :1, -1] + numpy.zeros((1, 4)))
    same_angles(change[:, 1, :, :-1], 0)


@pytest.mark.parametrize("parts, row", [(1, 0), (2, 0), (2, 1)])
def test_a_plaquette_depends_on_those_before_it_only(host, parts, row):
    """Drawn row by row and part by part, the output's plaquettes change only after the first whose input is changed."""
    flow = Autoregressive(**SMALL, parts=parts)
    params, (times, spaces) = params_of(host, parts=("rows",)), (4, 4)
    x = links((times, spaces), 1)
    other = x.copy()
    site = spaces - 1 if parts == 2 else 0
    other[0, 1, row + 1, site] += 0.7  # moves flux between P(row, site) and P(row + 1, site), within a column
    other[0, 1, row + 1, (site + 1) % spaces] += 0.0
    change = numpy.abs(wrap(flux(flow.forward(params, x)[0]) - flux(flow.forward(params, other)[0])))[0]
    assert (change[:row] < 1e-12).all() and change[row, site] > 1e-3
    assert (numpy.delete(change[row], [site, (site - 1) % spaces]) < 1e-12).all()
    assert change[row + 1].min() > 1e-9  # the memory carries what was drawn to all sites of the next row


def test_parts_of_a_row(host):
    x = numpy.arange(12.0).reshape(6, 2)
    numpy.testing.assert_array_equal(interleaved([x[part::3] for part in range(3)]), x)
    drawn = together([x[0::3], None, None], x)
    assert drawn.shape == (3, 6, 4) and drawn[2, :, 0].tolist() == [1, 0, 0, 1, 0, 0]
    numpy.testing.assert_allclose(drawn[1, 3], [*numpy.sin(x[3]), *-numpy.sin(x[3])])


def test_convolution_is_the_sum_over_taps():
    rng = numpy.random.default_rng(0)
    w, b, x = rng.normal(size=(2, 3, 5)), rng.normal(size=2), rng.normal(size=(3, 4, 6))
    want = b[:, None, None] + sum(
        numpy.einsum("oc,cxn->oxn", w[..., tap], numpy.roll(x, 2 - tap, axis=1)) for tap in range(5)
    )
    numpy.testing.assert_allclose(convolved({"w0": w, "b0": b}, x), want, atol=1e-12)


def test_moments_do_not_see_a_common_shift():
    lines = links((5, 3))[:, 0, :, 0].T
    moments, middle, size = about_mean(lines)
    moved, further, same = about_mean(lines + 1.3)
    numpy.testing.assert_allclose(moved, moments, atol=1e-12)
    numpy.testing.assert_allclose(same, numpy.abs(numpy.exp(1j * lines).mean(0)), atol=1e-12)
    same_angles(further - middle, 1.3)
    assert size.shape == middle.shape == (2,)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"beta": -1.0}, "coupling"),
        ({"bins": 1}, "bins"),
        ({"waves": 5}, "waves"),
        ({"kernel": 2}, "odd kernel"),
        ({"parts": 0}, "parts"),
    ],
)
def test_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        Autoregressive(**SMALL | wrong)


def test_refuses_what_is_not_two_dimensional(host):
    with pytest.raises(ValueError, match="two dimensions"):
        autoregressive((4, 4, 4), 1.0)
    with pytest.raises(ValueError, match="got shape"):
        FLOW.forward(FLOW.init(random.key(0, host)), numpy.zeros((3, 3, 4, 4)))


@pytest.mark.statistical
def test_ln_z_of_an_untrained_flow_is_exact_to_a_hundredth():
    """8x8 at beta = 2, ln Z = 52.7356 in Haar measure, from 4,000 draws: 4 of its own errors, which are below 0.01."""
    model, theory, couplings = autoregressive((8, 8), 2.0), U1Gauge((8, 8)), {"beta": 2.0}
    host = backends.get("numpy")
    draws = draw(model, model.init(random.key(0, host)), theory, random.key(1, host), 4000, couplings)
    found, exact = statistics.log_z(draws.log_w), theory.exact(couplings)["ln_Z"]
    assert abs(exact - 52.7356) < 1e-4 and abs(found.value - exact) < 4 * found.error < 0.01
