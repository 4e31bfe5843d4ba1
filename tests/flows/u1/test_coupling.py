"""Gauge couplings: log_det against the dense Jacobian over all links, inverse, symmetries, frozenness, density."""

import dataclasses
import math

import numpy
import pytest

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.core import random
from haarflow.core.groups.additive import wrap
from haarflow.core.lattice import loops
from haarflow.flows import masks
from haarflow.flows.flow import Model
from haarflow.flows.masks import frozen_loops
from haarflow.flows.priors import UniformLinks
from haarflow.flows.u1.architectures import convolutional, stripes, sweep_couplings, tutorial
from haarflow.flows.u1.coupling import GaugeCoupling
from haarflow.flows.u1.far_context import features, frozen_charge, frozen_lines
from haarflow.theories import U1Gauge
from haarflow.theories.exact import u1_torus
from haarflow.theories.gauge.flux_hit import instanton

STRIPES = ("stripes", 0, 1, 4, 3)
CELLS = ("cells", 1, 0, (2, 2), (1, 0))
SPACE = ("stripes", 2, 0, 2, 1)
TIME = ("stripes", 3, 1, 2, 0)

# name -> (coupling, lattice): both kinds of mask, all circle maps, d = 2, 3, 4, larger loops
LAYERS = {
    "stripes": (
        GaugeCoupling(2, STRIPES, frozen_loops(STRIPES, 2, [(1, 1), (1, 2)]), pieces=4, hidden=(4,), kernel=3),
        (2, 4),
    ),
    "cells": (
        GaugeCoupling(
            2, CELLS, (((1, 0), (2, 2), (-1, 0)),), "moebius", 2, harmonics=3, active=((1, 0), (2, 1), (0, 0))
        ),
        (4, 4),
    ),
    "pairs": (GaugeCoupling(2, STRIPES, frozen_loops(STRIPES, 2, [(1, 1)]), "moebius_pairs", 2), (2, 4)),
    "published": (tutorial((4, 4), hidden=(4,)).flow.flow.flows[1], (4, 4)),
    "space": (GaugeCoupling(3, SPACE, frozen_loops(SPACE, 3, [(1, 2)], [(2, 0), (1, 0)]), "spline", 3), (2, 2, 2)),
    "far": (
        GaugeCoupling(
            2, STRIPES, frozen_loops(STRIPES, 2, [(1, 1)]), "spline", 3, (3,), 3, dilations=(1, 2), winding=True
        ),
        (2, 8),
    ),
    "time": (GaugeCoupling(4, TIME, frozen_loops(TIME, 4, [(1, 2)]), "noncompact", 2), (2, 2, 1, 2)),
}


def host_numbers(layer, lattice, batch=3, size=3.0):
    """Links and parameters on the host, the parameters large enough for maps far from the identity."""
    host = backends.get("numpy")
    params = tree_map(lambda w: size * w, layer.init(random.key(5, host)))
    return UniformLinks(lattice).sample(random.key(6, host), batch), params


def on(backend, tree):
    return tree_map(backend.asarray, tree)


@pytest.mark.parametrize("name", LAYERS)
def test_log_det_inverse_and_the_same_numbers_everywhere(backend, name):
    layer, lattice = LAYERS[name]
    x, params = host_numbers(layer, lattice)

    def run(params, x):
        y, log_det = layer.forward(params, x)
        return y, log_det, *layer.inverse(params, y)

    found = backend.jit(run)(on(backend, params), backend.asarray(x))
    y, log_det, back, log_back = (backend.to_numpy(part) for part in found)
    largest = math.exp(numpy.abs(log_det).max())
    assert numpy.abs(wrap(back - x)).max() < 1e-12 * largest
    numpy.testing.assert_allclose(log_back, -log_det, atol=1e-11 * largest)
    expected, expected_log_det = layer.forward(params, x)
    assert numpy.abs(wrap(y - expected)).max() < 1e-12 and numpy.abs(log_det - expected_log_det).max() < 1e-12


def test_a_fresh_net_starts_where_the_circle_map_asks():
    host, flow = backends.get("numpy"), GaugeCoupling(2, STRIPES, map="moebius_pairs", pieces=2, final_scale=0.0)
    expected = [0.5, -0.5, 0.0, 0.0, 0.0, 0.0, 0.5, -0.5, 0.0]
    assert flow.init(random.key(0, host), "float32")["net"]["b1"].tolist() == expected


@pytest.mark.parametrize("name", LAYERS)
def test_the_net_does_not_see_active_links_and_nothing_else_moves(name):
    layer, lattice = LAYERS[name]
    x, params = host_numbers(layer, lattice)
    mask, raw = masks.LinkMask(*layer.mask), layer._raw(params, x, None)
    coarse = raw.shape[-layer.d :]
    other = masks.move_links(x, numpy.random.default_rng(1).uniform(0.5, 2.0, (3, *coarse)), mask, layer.d)
    numpy.testing.assert_allclose(layer._raw(params, other, None), raw, atol=1e-12)
    y, _ = layer.forward(params, x)
    still = masks.move_links(numpy.zeros_like(x), numpy.ones((3, *coarse)), mask, layer.d) == 0
    assert numpy.array_equal(y[still], x[still]) and (y[~still] != x[~still]).all()


@pytest.mark.parametrize(
    "options, size",
    [({"map": "moebius"}, 1.5), ({"map": "moebius_pairs"}, 0.5), ({"map": "noncompact", "pieces": 3}, 1.5)],
)
def test_density_integrates_to_one_on_a_tiny_lattice(options, size):
    model = convolutional((2, 2), block=2, depth=1, final_scale=1.0, **options)
    params = tree_map(lambda w: size * w, model.init(random.key(3, backends.get("numpy"))))
    # On 2 x 2 sites three links reach all plaquettes (two each: t1 - t3, -t1, t2 + t3, -t2), and log q sees no more.
    n = 20
    t = (numpy.arange(n) * (2 * math.pi / n)) - math.pi
    t1, t2, t3 = (part.ravel() for part in numpy.meshgrid(t, t, t, indexing="ij"))
    links = numpy.zeros((n**3, 2, 2, 2))
    links[:, 0, 0, 0], links[:, 0, 1, 0], links[:, 1, 0, 0] = t1, t2, t3
    log_q = model.log_density(params, wrap(links))
    assert log_q.std() > 0.1
    assert abs(numpy.exp(log_q).mean() - 1.0) < 1e-4


@pytest.mark.parametrize("lattice", [(4, 8), (4, 4, 4)])
def test_the_coarse_to_fine_flow_moves_one_link_for_each_plaquette_but_one_in_a_block(lattice):
    model, d = convolutional(lattice, depth=1), len(lattice)
    moved = 0
    for layer in model.flow.flows:
        moved += math.prod(lattice) // math.prod(masks.periods(masks.LinkMask(*layer.mask), d))
    assert moved == len(loops.planes(d)) * math.prod(lattice) * 15 // 16


@pytest.mark.parametrize("model", [tutorial((4, 8)), convolutional((4, 8)), convolutional((4, 4, 2), block=2)])
def test_named_models_are_gauge_invariant_and_go_back(model):
    host, d = backends.get("numpy"), len(model.prior.lattice)
    params = tree_map(lambda w: 2.0 * w, model.init(random.key(1, host)))
    y, log_q = model.sample(params, random.key(2, host), 4)
    sites = numpy.random.default_rng(0).uniform(-3, 3, (4, *model.prior.lattice))
    numpy.testing.assert_allclose(model.log_density(params, y), log_q, atol=1e-9)
    numpy.testing.assert_allclose(model.log_density(params, loops.gauge_transform(y, sites, d)), log_q, atol=1e-9)


def test_the_same_parameters_serve_another_volume():
    host, model = backends.get("numpy"), convolutional((4, 4))
    params = model.init(random.key(1, host))
    larger = dataclasses.replace(model, prior=UniformLinks((8, 12)))
    y, log_q = larger.sample(params, random.key(2, host), 2)
    assert y.shape == (2, 2, 8, 12) and log_q.shape == (2,)


def test_tied_kernels_commute_with_reflection_and_charge_conjugation_together():
    layer = GaugeCoupling(2, STRIPES, frozen_loops(STRIPES, 2, [(1, 1), (1, 2)]), kernel=3, tied=True)
    x, params = host_numbers(layer, (4, 4))
    y, log_det = layer.forward(params, x)

    def image(x):
        """theta_0(x) -> theta_0(-x - 1), theta_1(x) -> -theta_1(-x) on axis 0: plaquettes move, angles stay."""
        back = numpy.flip(x, axis=-2)
        return numpy.stack([back[:, 0], -numpy.roll(back[:, 1], 1, axis=-2)], axis=1)

    mirrored, mirrored_log_det = layer.forward(params, image(x))
    numpy.testing.assert_allclose(mirrored_log_det, log_det, atol=1e-12)
    assert numpy.abs(wrap(mirrored - image(y))).max() < 1e-12
    loose = dataclasses.replace(layer, tied=False)
    assert numpy.abs(loose.forward(params, image(x))[1] - loose.forward(params, x)[1]).max() > 1e-3


def test_a_coupling_of_the_theory_conditions_the_flow():
    host, layer = backends.get("numpy"), dataclasses.replace(LAYERS["cells"][0], condition=("beta",))
    params = tree_map(lambda w: 3.0 * w, layer.init(random.key(5, host)))
    x = UniformLinks((4, 4)).sample(random.key(6, host), 2)
    each = [layer.forward(params, x, {"beta": beta}) for beta in (1.0, 2.0)]
    y, log_det = layer.forward(params, x, {"beta": numpy.asarray([1.0, 2.0])})
    assert numpy.abs(each[0][1] - each[1][1]).max() > 1e-2
    numpy.testing.assert_allclose(log_det, [each[0][1][0], each[1][1][1]])
    numpy.testing.assert_allclose(y, numpy.stack([each[0][0][0], each[1][0][1]]))
    with pytest.raises(ValueError, match="beta"):
        layer.forward(params, x)


def test_named_models_have_the_layers_and_loops_asked_for():
    """Two layers are the fewest of the published model; stripes read frozen loops that enclose 1, 2 or 3 plaquettes."""
    assert [tutorial((8, 8), layers=layers).flow.n for layers in (2, 4)] == [1, 2]
    for layer in stripes((8, 8)).flow.flows:
        part = layer.flow.flows[0]
        assert {math.prod(extents) for _, extents, _ in part.context} == {1, 2, 3}


@pytest.mark.parametrize("mask", [("stripes", 0, 1, 4, 3), ("stripes", 1, 0, 2, 1), ("stripes", 1, 0, 4, 0)])
def test_far_features_are_whole_invariant_and_blind_to_active_links(mask):
    """Fields of a few instantons with small noise: where no flux is near pi, the frozen loops carry the whole charge."""
    rng, mask = numpy.random.default_rng(2), masks.LinkMask(*mask)
    numbers = numpy.asarray([-2.0, 0.0, 1.0, 3.0])
    x = wrap(numbers[:, None, None, None] * numpy.asarray(instanton((8, 8))) + 0.2 * rng.normal(size=(4, 2, 8, 8)))
    assert frozen_charge(x, mask).tolist() == U1Gauge((8, 8)).charge(x).tolist() == numbers.tolist()
    found = features(x, mask)
    sites = rng.uniform(-3, 3, (4, 8, 8))
    numpy.testing.assert_allclose(features(loops.gauge_transform(x, sites, 2), mask), found, atol=1e-12)
    moved = masks.move_links(x, rng.uniform(-3, 3, (4, *found.shape[-2:])), mask, 2)
    numpy.testing.assert_allclose(features(moved, mask), found, atol=1e-12)
    assert numpy.abs(features(wrap(x + rng.normal(size=x.shape)), mask) - found).max() > 0.1


def test_frozen_lines_are_those_through_and_beside_the_active_link():
    """Twin: sums of links by hand, at the active site (t, x) = (1, 4 + 3)."""
    x = numpy.random.default_rng(1).normal(size=(2, 3, 8))
    across, ahead, behind = (line[1, 1] for line in frozen_lines(x, masks.LinkMask(*STRIPES)))
    assert numpy.allclose([across, ahead, behind], [x[1, 1].sum(), x[0, :, 0].sum(), x[0, :, 6].sum()])


def test_couplings_on_the_sweep_start_as_pure_gauge_theory():
    """The nets are zero at first: the weights of pure gauge theory are those of the sweep, constant to some percent."""
    host, model = backends.get("numpy"), sweep_couplings((4, 4), 2.0, rounds=1, hidden=(2,))
    field, log_q = model.sample(model.init(random.key(0, host)), random.key(1, host), 500)
    log_w = -U1Gauge((4, 4)).action(field, {"beta": 2.0}) - log_q
    assert log_w.std() < 0.1 and abs(log_w.mean() - u1_torus.log_z(2.0, 16)) < 0.05


def test_bad_input_is_refused():
    layer, _ = LAYERS["stripes"]
    host = backends.get("numpy")
    params = layer.init(random.key(0, host))
    with pytest.raises(ValueError, match=r"period 4 along axis 1.*extent 6"):
        layer.forward(params, numpy.zeros((1, 2, 4, 6)))
    with pytest.raises(ValueError, match=r"got the shape \(1, 3, 4, 4\)"):
        layer.forward(params, numpy.zeros((1, 3, 4, 4)))
    with pytest.raises(ValueError, match="contains an active link"):
        GaugeCoupling(2, STRIPES, (((0, 1), (1, 1), (0, 0)),))
    with pytest.raises(ValueError, match="exactly one active link"):
        GaugeCoupling(2, STRIPES, active=((0, 1), (2, 1), (0, 0)))
    with pytest.raises(ValueError, match="symmetric about the active link"):
        GaugeCoupling(2, STRIPES, frozen_loops(STRIPES, 2, [(2, 2)]), tied=True)
    with pytest.raises(ValueError, match="stripes in two dimensions, got cells in 2 dimensions"):
        GaugeCoupling(2, CELLS, active=((1, 0), (2, 1), (0, 0)), winding=True)
    with pytest.raises(ValueError, match="nets on the whole lattice"):
        GaugeCoupling(2, STRIPES, winding=True, on_lattice=True)
    with pytest.raises(ValueError, match=r"one whole number >= 1 for each layer: got \(1,\) for 2 layers"):
        GaugeCoupling(2, STRIPES, dilations=(1,))
    with pytest.raises(ValueError, match="power of two"):
        convolutional((8, 8), block=3)
    with pytest.raises(ValueError, match="even number"):
        tutorial((8, 8), layers=3)


def test_model_refuses_extents_its_blocks_do_not_divide():
    host, model = backends.get("numpy"), Model(UniformLinks((6, 6)), convolutional((8, 8)).flow)
    with pytest.raises(ValueError, match="extent 6"):
        model.sample(model.init(random.key(0, host)), random.key(1, host), 2)
