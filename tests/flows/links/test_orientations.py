"""Flows in every plane: one turned body against couplings written out plane by plane; what the spectral flow starts with."""

import numpy
import pytest

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.core import random
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import loops
from haarflow.flows.flow import Chain, Translate
from haarflow.flows.links.orientations import EveryPlane, Turn
from haarflow.flows.masks import frozen_loops
from haarflow.flows.nets import ConvNet
from haarflow.flows.priors import HaarLinks
from haarflow.flows.sun.architectures import spectral
from haarflow.flows.sun.spectral import SpectralCoupling
from haarflow.theories import SUNGauge

HOST = backends.get("numpy")
HALVES = ("stripes", 0, 1, 2, 1)


def moved(params, generator, size=0.3):
    return tree_map(lambda leaf: leaf + size * generator.standard_normal(leaf.shape), params)


def in_plane(flow, mu, nu):
    """A coupling of the plane (0, 1) in the plane (mu, nu): masks and loops with renamed axes."""
    j = (nu - mu) % flow.d
    order = [(axis + mu) % flow.d for axis in (0, *range(j, flow.d), *range(1, j))]
    context = tuple(
        ((order[rho], order[sigma]), extents, tuple(corner[order.index(axis)] for axis in range(flow.d)))
        for (rho, sigma), extents, corner in flow.context
    )
    return SpectralCoupling(flow.n, flow.d, ("stripes", mu, nu, 2, 1), context, flow.bins, flow.hidden, start=0.5)


def test_every_plane_once_like_couplings_written_out(generator):
    context = frozen_loops(HALVES, 3, [(1, 2), (1, 1)], [(0, 1), (1, 2)])
    coupling = SpectralCoupling(2, 3, HALVES, context, 2, (3,), start=0.5)
    flow = EveryPlane(coupling, 3, 2)
    params = moved(flow.init(random.key(0, HOST)), generator)
    x = HaarLinks((2, 2, 2), 2).sample(random.key(1, HOST), 2)
    found, log_det = flow.forward(params, x)
    total = 0.0
    for k in range(3):
        for j in range(2):
            own = tree_map(lambda leaf, place=(k, j): leaf[place], params["0"]["0"])
            x, part = in_plane(coupling, k, (k + j + 1) % 3).forward(own, x)
            total = total + part
    assert numpy.abs(found - x).max() < 1e-12 and numpy.abs(log_det - total).max() < 1e-11


def test_a_turn_renames_the_plaquettes(generator):
    x = HaarLinks((2, 3, 4), 3).sample(random.key(2, HOST), 2)
    turn = Turn((2, 0, 1), 2)
    y, log_det = turn.forward({}, x)
    assert (turn.inverse({}, y)[0] == x).all() and (log_det == 0.0).all()
    new, old = (loops.plaquette(links, *plane, 3, SU(3, 3)) for links, plane in ((y, (0, 2)), (x, (2, 1))))
    assert (new == old.transpose(0, 1, 2, 5, 3, 4)).all()


def test_a_separated_kernel_is_a_cross(generator):
    """One layer against the dense convolution whose kernel vanishes off the axes."""
    net = ConvNet(3, (2, 4), 5, separated=True)
    params = moved(net.init(random.key(0, HOST)), generator)
    x, dense = generator.standard_normal((3, 2, 3, 4, 2)), numpy.zeros((4, 2, 5, 5, 5))
    dense[:, :, 2, 2, 2] = params["w0"][:, :, 0]
    for axis in range(3):
        for place, offset in enumerate((0, 1, 3, 4)):
            tap = [2, 2, 2]
            tap[axis] = offset
            dense[(slice(None), slice(None), *tap)] = params["w0"][:, :, 1 + 4 * axis + place]
    wanted = HOST.conv(x, dense) + params["b0"][:, None, None, None]
    assert numpy.abs(net.apply(params, x) - wanted).max() < 1e-13


def test_taps_lie_apart(generator):
    """Two layers with taps 1 and 2 sites apart against the sums of rolled features."""
    net = ConvNet(2, (2, 3, 1), 3, "tanh", separated=True, dilations=(1, 2))
    params = moved(net.init(random.key(0, HOST)), generator)
    x = y = generator.standard_normal((4, 2, 5, 6))
    for layer, apart in enumerate((1, 2)):
        w, b = params[f"w{layer}"], params[f"b{layer}"]
        steps = ((0, 0), (-apart, 0), (apart, 0), (0, -apart), (0, apart))
        views = numpy.stack([numpy.roll(y, (-t, -s), (2, 3)) for t, s in steps], axis=2)
        y = numpy.einsum("oik,nikts->nots", w, views) + b[:, None, None]
        y = numpy.tanh(y) if layer == 0 else y
    numpy.testing.assert_allclose(net.apply(params, x), y, atol=1e-13)


@pytest.mark.parametrize("n", [2, 3])
def test_it_starts_as_the_trivialising_map_to_first_order(n):
    """sigma of log w is of second order in beta: twice the coupling, four times sigma, where Haar links have twice as much."""
    lattice, theory, spreads = (2, 2, 2), SUNGauge((2, 2, 2), n=n), []
    for beta in (0.4, 0.8):
        model = spectral(lattice, n, beta, rounds=1, period=2, hidden=(), bins=2, final_scale=0.0)
        y, log_q = model.sample(model.init(random.key(0, HOST)), random.key(1, HOST), 200)
        action = theory.action(y, {"beta": beta})
        spreads.append((-action - log_q).std())
        assert spreads[-1] < 0.3 * action.std()
    assert 3.4 < spreads[1] / spreads[0] < 4.8


def test_equal_extents_are_one_body_others_plane_by_plane():
    cubic, long = (spectral(lattice, 2, 1.0, rounds=2, period=2) for lattice in ((2, 2, 2), (2, 2, 4)))
    assert isinstance(cubic.flow.flow, EveryPlane) and len(long.flow.flows) == 12
    with pytest.raises(ValueError, match=r"wants a lattice of equal extents, got \(2, 2, 4\)"):
        cubic.flow.forward(cubic.init(random.key(0, HOST)), numpy.zeros((1, 3, 2, 2, 2, 2, 4)))


def test_what_does_not_fit_is_refused():
    coupling = SpectralCoupling(2, 3, HALVES)
    with pytest.raises(ValueError, match="add the opposite Translate"):
        EveryPlane(Chain((coupling, Translate((0, 1, 0), 3))), 3, 2)
    with pytest.raises(ValueError, match="d >= 2 wanted, got d = 1"):
        EveryPlane(coupling, 1)
    with pytest.raises(ValueError, match="names each of 0"):
        Turn((0, 0, 1))
    with pytest.raises(ValueError, match="tied by the hypercubic group or separated"):
        ConvNet(2, (1, 1), tied=True, separated=True)
