"""Flows of scalar fields: log_det against the dense Jacobian, round trips, symmetries, conditions, edges of splines."""

import numpy
import pytest

from haarflow.backends.tree import tree_map
from haarflow.core import random
from haarflow.flows.scalar import architectures
from haarflow.flows.scalar.affine import AffineCoupling
from haarflow.flows.scalar.momentum import MomentumScaling
from haarflow.flows.scalar.nets import CheckerboardNet, LatticeNet
from haarflow.flows.scalar.spline import SplineCoupling
from haarflow.flows.scalar.tails import QuarticTail, inverse_quartic_tail, quartic_tail

SMALL = CheckerboardNet(2, hidden=(4, 3), reach=3, kernel=3, final_scale=0.5)
LINE = CheckerboardNet(1, hidden=(3,), reach=5, final_scale=0.5)
LATTICE = LatticeNet(2, hidden=(3,), final="tanh")

# name: (flow, lattice, commutes with phi -> -phi)
FLOWS = {
    "affine": (AffineCoupling(SMALL, tail=2.0), (4, 4), True),
    "affine, odd sites": (AffineCoupling(SMALL, parity=1), (4, 4), True),
    "affine, one dimension": (AffineCoupling(LINE), (6,), True),
    "affine, tied": (AffineCoupling(CheckerboardNet(3, (3,), reach=3, tied=True, final_scale=0.5)), (2, 2, 4), True),
    "affine, four dimensions": (AffineCoupling(CheckerboardNet(4, (2,), reach=3, final_scale=0.5)), (2, 2, 2, 2), True),
    "affine on the lattice": (AffineCoupling(LATTICE), (4, 4), False),
    "affine, not symmetric": (
        AffineCoupling(CheckerboardNet(2, (4, 3), 3, 1, symmetric=False, final_scale=0.5), tail=1.0),
        (4, 4),
        False,
    ),
    "splines": (SplineCoupling(SMALL, bins=4, bound=1.0), (4, 4), True),
    "splines on the lattice": (SplineCoupling(LATTICE, parity=1, bins=3), (4, 4), False),
    "momentum": (MomentumScaling(2, order=2, m2=0.7), (4, 4), True),
    "momentum, odd extents": (MomentumScaling(3, order=3), (2, 3, 1), True),
    "tail": (QuarticTail(2, 2.0), (3, 2), True),
    "inverse tail": (QuarticTail(2, 2.0, expand=True), (3, 2), True),
    "copula": (architectures.copula((4, 4)).flow, (4, 4), True),
    "convolutional": (
        architectures.convolutional((4, 4), 2, bins=0, hidden=(4, 3), reach=3, final_scale=0.5).flow,
        (4, 4),
        True,
    ),
    "tutorial": (architectures.tutorial((4, 4), layers=4, hidden=(3,)).flow, (4, 4), False),
}


def start(flow, key):
    """Parameters away from the identity."""
    params = flow.init(key)
    return tree_map(lambda p: p + 0.1 * random.normal(random.fold_in(key, 9), tuple(p.shape)), params)


@pytest.mark.parametrize("name", ["convolutional", "splines", "tutorial"])
def test_every_backend_gives_numpys_numbers_and_finds_the_way_back(backend, host, generator, name):
    flow, lattice, _ = FLOWS[name]
    x = 0.6 * generator.normal(size=(3, *lattice))
    params = start(flow, random.key(2, host))
    y, log_det = flow.forward(params, x)
    here = tree_map(backend.asarray, params)
    z, same = backend.jit(flow.forward)(here, backend.asarray(x))
    back, inverse_log_det = backend.jit(flow.inverse)(here, z)
    assert numpy.allclose(backend.to_numpy(z), y, rtol=1e-12, atol=1e-12)
    assert numpy.allclose(backend.to_numpy(same), log_det, rtol=1e-12)
    assert numpy.allclose(backend.to_numpy(back), x, atol=1e-11)
    assert numpy.allclose(backend.to_numpy(inverse_log_det), -log_det, atol=1e-10)


@pytest.mark.parametrize("name", FLOWS)
def test_round_trips_for_any_batch_shape(host, generator, name):
    flow, lattice, _ = FLOWS[name]
    params = start(flow, random.key(2, host))
    for batch in ((), (2,), (2, 3)):
        x = generator.normal(size=(*batch, *lattice))
        y, log_det = flow.forward(params, x)
        back, inverse_log_det = flow.inverse(params, y)
        assert y.shape == x.shape
        assert numpy.shape(log_det) == numpy.shape(inverse_log_det) == batch
        assert numpy.allclose(back, x, atol=1e-9)
        assert numpy.allclose(inverse_log_det, -log_det, atol=1e-8)


def test_a_coupling_leaves_passive_sites_alone_and_translations_by_two_sites_pass_through(host, generator):
    flow, lattice, _ = FLOWS["affine"]
    params, x = start(flow, random.key(2, host)), generator.normal(size=lattice)
    y, _ = flow.forward(params, x)
    passive = numpy.indices(lattice).sum(axis=0) % 2 == 1
    assert numpy.array_equal(y[passive], x[passive])
    assert not numpy.any(y[~passive] == x[~passive])
    for shift in ((2, 0), (1, 1)):
        moved, _ = flow.forward(params, numpy.roll(x, shift, (0, 1)))
        assert numpy.allclose(moved, numpy.roll(y, shift, (0, 1)), atol=1e-13)


@pytest.mark.parametrize("name", ["convolutional", "tutorial"])
def test_a_flow_starts_near_where_it_should(host, name):
    """The convolutional flow starts as its copula, whatever the couplings' nets; all flows carry to another volume."""
    flow, _, _ = FLOWS[name]
    params = flow.init(random.key(0, host))
    y, log_det = flow.forward(params, numpy.full((2, 6, 8), 0.3))
    assert numpy.all(numpy.isfinite(y)) and numpy.all(numpy.isfinite(log_det))


def test_an_untrained_convolutional_flow_is_its_copula_but_for_the_slight_tails(host, generator):
    x = generator.normal(size=(2, 4, 4))
    both = [make((4, 4)) for make in (architectures.convolutional, architectures.copula)]
    (y, _), (z, _) = [model.flow.forward(model.init(random.key(0, host)), x) for model in both]
    assert numpy.abs(y - z).max() < 0.05 * numpy.abs(z).max()


CONDITION = ("lam", "m2")
CONDITIONED = {
    "tail": QuarticTail(2, condition=CONDITION),
    "momentum": MomentumScaling(2, 1, m2=0.7, condition=CONDITION),
    "coupling": AffineCoupling(CheckerboardNet(2, (3,), 3, condition=CONDITION, final_scale=0.5)),
    "lattice": AffineCoupling(LatticeNet(2, (3,), condition=CONDITION)),
    "whole": architectures.convolutional((4, 4), 1, condition=CONDITION, hidden=(3,), reach=3, final_scale=0.5).flow,
}


@pytest.mark.parametrize("kind", CONDITIONED)
def test_conditions_batch_sample_by_sample(host, generator, kind):
    flow = CONDITIONED[kind]
    params, x = start(flow, random.key(2, host)), generator.normal(size=(2, 4, 4))
    condition = {"lam": numpy.asarray([0.5, 1.5]), "m2": 0.3}
    y, log_det = flow.forward(params, x, condition)
    back, _ = flow.inverse(params, y, condition)
    assert numpy.allclose(back, x, atol=1e-12)
    for number, value in enumerate((0.5, 1.5)):
        one, same = flow.forward(params, x[number], {"lam": value, "m2": 0.3})
        assert numpy.allclose(one, y[number], atol=1e-12)
        assert float(same) == pytest.approx(float(log_det[number]), abs=1e-11)
    with pytest.raises(ValueError, match="conditioned on 'lam'"):
        flow.forward(params, x)


def test_a_conditioned_flow_on_every_backend(backend, host, generator):
    flow = CONDITIONED["whole"]
    params, x = start(flow, random.key(2, host)), generator.normal(size=(2, 4, 4))
    condition = {"lam": numpy.asarray([0.5, 1.5]), "m2": numpy.asarray(0.3)}
    y, log_det = flow.forward(params, x, condition)
    here = [tree_map(backend.asarray, tree) for tree in (params, x, condition)]
    z, same = backend.jit(flow.forward)(*here)
    assert numpy.allclose(backend.to_numpy(z), y, atol=1e-12)
    assert numpy.allclose(backend.to_numpy(same), log_det, atol=1e-11)


@pytest.mark.parametrize("c", [1e-6, 0.3, 40.0])
def test_quartic_tails_reach_far_and_find_back(backend, c):
    u = numpy.concatenate([-numpy.logspace(6, -8, 40), [0.0], numpy.logspace(-8, 6, 40)])
    y, log_slope = quartic_tail(backend.asarray(u), c)
    back, inverse_log_slope = inverse_quartic_tail(y, c)
    assert numpy.allclose(backend.to_numpy(back), u, rtol=1e-12)
    assert numpy.allclose(backend.to_numpy(inverse_log_slope), -backend.to_numpy(log_slope), atol=1e-11)
    assert numpy.all(numpy.diff(backend.to_numpy(y)) > 0)


@pytest.mark.parametrize("axis", [0, 1])
def test_the_sum_of_a_compiled_tails_slopes_is_the_sum(backend, generator, axis):
    """A compiler once made such a sum of log1p zero, where each term was right."""
    u = generator.normal(size=(32, 200))
    for map in (quartic_tail, inverse_quartic_tail):
        summed = backend.jit(lambda u, c, map=map: backend.xp.sum(map(u, c)[1], axis=axis))
        found = summed(backend.asarray(u), backend.asarray(0.06))
        assert numpy.allclose(backend.to_numpy(found), numpy.sum(map(u, 0.06)[1], axis=axis), rtol=1e-12)


def test_splines_join_their_tails(host):
    """Value and slope are continuous at the bound, and beyond it the map is the affine one."""
    flow = SplineCoupling(LINE, bins=4, bound=1.0)
    params = start(flow, random.key(2, host))
    x = numpy.zeros((8, 4))
    edge = 1e-7
    x[:, 0] = [-3.0, -2.0, -1.0 - edge, -1.0 + edge, 1.0 - edge, 1.0 + edge, 2.0, 3.0]
    y, log_det = flow.forward(params, x)
    value = y[:, 0]
    slope = value[1] - value[0]
    assert value[7] - value[6] == pytest.approx(slope, rel=1e-12)
    assert value[6] - value[1] == pytest.approx(4.0 * slope, rel=1e-12)
    assert numpy.allclose(value[[3, 5]] - value[[2, 4]], 2.0 * edge * slope, rtol=1e-4)
    assert numpy.allclose(log_det[2:6], log_det[0], atol=1e-5)


def test_float32_stays_float32(backend, host):
    flow, lattice, _ = FLOWS["splines"]
    params = tree_map(lambda p: backend.asarray(p, dtype="float32"), flow.init(random.key(0, host), "float32"))
    x = backend.asarray(numpy.full((2, *lattice), 0.3), dtype="float32")
    y, log_det = backend.jit(flow.forward)(params, x)
    assert str(y.dtype).endswith("float32")
    assert str(log_det.dtype).endswith("float32")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: AffineCoupling(SMALL, parity=2), "parity is 0 .* got 2"),
        (lambda: AffineCoupling(SMALL, tail=-1.0), "tail's strength"),
        (lambda: SplineCoupling(SMALL, bins=5), "even number of bins, got 5"),
        (lambda: SplineCoupling(SMALL, bound=0.0), "bound > 0"),
        (lambda: CheckerboardNet(2, hidden=()), "at least one hidden layer"),
        (lambda: CheckerboardNet(2, reach=4), "odd extents"),
        (lambda: CheckerboardNet(2, activation="swish"), "activation is one of"),
        (lambda: QuarticTail(2, 0.0), "positive and finite"),
        (lambda: MomentumScaling(2, m2=0.0), "m2 must be positive"),
        (lambda: MomentumScaling(2, order=-1), "order"),
        (lambda: architectures.tutorial((4, 4), layers=3), "even number"),
    ],
)
def test_definitions_that_make_no_sense_are_refused(make, what):
    with pytest.raises(ValueError, match=what):
        make()


def test_momentum_scalings_begin_as_the_identity(host, generator):
    flow, x = MomentumScaling(2), generator.normal(size=(3, 4, 4))
    y, log_det = flow.forward(flow.init(random.key(0, host)), x)
    assert numpy.allclose(y, x, atol=1e-14) and numpy.allclose(log_det, 0.0, atol=1e-14)


def test_momentum_scalings_are_polynomials_in_the_momentum(host):
    """The wave cos(p x) is multiplied by exp(a_0 + a_1 q + a_2 q^2), q = -cos p in one dimension."""
    params = {"a": host.asarray([0.3, -0.7, 0.4])}
    for k in range(5):
        p = 2 * numpy.pi * k / 8
        wave = numpy.cos(p * numpy.arange(8))[None, :]
        y, _ = MomentumScaling(1, order=2).forward(params, wave)
        factor = numpy.exp(0.3 + 0.7 * numpy.cos(p) + 0.4 * numpy.cos(p) ** 2)
        numpy.testing.assert_allclose(y, factor * wave, rtol=0, atol=1e-13)
