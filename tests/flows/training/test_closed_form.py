"""The closed form of divisions of flux: their product is the target, and a flow fitted to them starts near it."""

import math

import numpy
import pytest

from haarflow import backends
from haarflow.backends import NoAutodiff
from haarflow.core import random
from haarflow.flows.masks import LinkMask
from haarflow.flows.priors import UniformLinks
from haarflow.flows.training import closed_form as module
from haarflow.flows.training.closed_form import closed_form_start
from haarflow.flows.u1 import coupling
from haarflow.flows.u1.architectures import convolutional, tutorial
from haarflow.flows.u1.closed_form import division_grid, divisions, flux_density
from haarflow.theories import U1Gauge
from haarflow.theories.exact import bessel, u1_torus

SMALL = {"depth": 1, "map": "moebius_pairs", "pieces": 2, "hidden": (6,), "harmonics": 2}
STEPS, BETA = 120, 2.0


KL = {}  # by backend


def single_key(name="torch"):
    return random.key(3, backends.get(name, dtype="float64"))


@pytest.mark.parametrize("beta, area", [(0.3, 1), (2.0, 2), (7.0, 8), (30.0, 1), (30.0, 2), (7.0, 64)])
def test_flux_density_is_the_character_expansion(beta, area):
    angle = numpy.linspace(-3.0, 3.0, 7)
    ratios = bessel.ratios(beta)[1:]
    twin = 1 + 2 * sum(ratio**area * numpy.cos((n + 1) * angle) for n, ratio in enumerate(ratios))
    scale = 1 + 2 * float(numpy.sum(ratios**area))
    assert numpy.abs(flux_density(beta, area, angle) - twin).max() < 2e-13 * scale


def test_two_plaquettes_divide_their_flux_by_von_mises():
    """p(S|T) = e^{kappa cos(S - T/2)} / I_0(kappa), kappa = 2 beta cos(T/2)."""
    grid = division_grid(3.0, 2, wholes=12, halves=64)
    kappa = 6.0 * numpy.cos(0.5 * grid.whole[:, None])
    weight = numpy.exp(kappa * numpy.cos(grid.half - 0.5 * grid.whole[:, None]))
    log_i0 = numpy.asarray([[bessel.log_i0(float(k))] for k in kappa[:, 0]])
    numpy.testing.assert_allclose(grid.density, weight * numpy.exp(-log_i0), rtol=1e-10)


def log_divided(flow, beta, links, density):
    """sum over all divisions of log p(S|T) of links, p(S|T) = density(A/2, S) density(A/2, T - S) / density(A, T)."""
    total = 0.0
    for area, layers in divisions(flow):
        layer = flow.flows[layers[0]]
        whole, half = (coupling._flux(links, loop, LinkMask(*layer.mask), 2) for loop in (layer.context[0], layer.loop))
        parts = [density(beta, area // 2, half), density(beta, area // 2, whole - half), density(beta, area, whole)]
        total = total + numpy.sum(numpy.log(parts[0]) + numpy.log(parts[1]) - numpy.log(parts[2]), axis=(-2, -1))
    return total


def of_another_area(beta, area, angle):
    return flux_density(beta, 2 * area, angle)


def of_a_gaussian(beta, area, angle):
    x = numpy.angle(numpy.exp(1j * angle))
    return numpy.exp(-0.5 * x * x * beta / area) * math.sqrt(2 * math.pi * beta / area)


@pytest.mark.parametrize("density", [flux_density, of_another_area, of_a_gaussian])
def test_all_divisions_of_the_torus_multiply_to_the_target_density(density):
    """e^{-S}/Z = prod p(S|T) for any links where one block is the torus; densities of another kind fail."""
    theory, flow = U1Gauge((4, 4)), convolutional((4, 4), block=4, depth=2).flow
    links = UniformLinks((4, 4)).sample(random.key(1, backends.get("numpy")), 20)
    wanted = -theory.action(links, {"beta": BETA}) - u1_torus.log_z(BETA, 16)
    off = numpy.abs(log_divided(flow, BETA, links, density) - wanted).max()
    assert (off < 1e-10) == (density is flux_density), off


def test_the_cap_is_the_ess_of_uniform_block_fluxes():
    """By quadrature over the fluxes of two blocks of the 2 x 4 torus, which must cancel: w = g(x) g(-x)."""
    x = 2 * math.pi * numpy.arange(256) / 256
    w = flux_density(BETA, 4, x) * flux_density(BETA, 4, -x)
    assert u1_torus.ess_blocks(BETA, 8, 2) == pytest.approx(numpy.mean(w) ** 2 / numpy.mean(w**2), rel=1e-12)
    assert u1_torus.ess_blocks(BETA, 16, 4) == 1.0  # the flux of the torus vanishes
    assert u1_torus.ess_blocks(BETA, 16, 1) == pytest.approx(u1_torus.ess_uniform(BETA, 16), rel=1e-12)
    assert u1_torus.ess_blocks(0.0, 16, 2) == 1.0
    with pytest.raises(ValueError, match="blocks of 3 x 3 plaquettes do not fill 16"):
        u1_torus.ess_blocks(BETA, 16, 3)


def start_and_nearness(model, key, steps=STEPS, draws=2000):
    """The start of a flow of 2 x 2 links, one block, and whether it is as near as its own record says.

    The KL divergence from the target is a fifth of that of fresh parameters, and within 2.5 of what is left in the divisions:
    the two are of opposite directions, 1.7 to 2 times each other here.
    """
    start, backend = closed_form_start(model.flow, key, BETA, steps), backends.of(key)

    def log_weights(params):
        y, log_q = model.sample(params, random.fold_in(key, 7), draws)
        return -U1Gauge((2, 2)).action(y, {"beta": BETA}) - log_q

    weigh, log_z = backend.jit(log_weights), u1_torus.log_z(BETA, 4)
    started, fresh = (log_z - backend.to_numpy(weigh(each)).mean() for each in (start.params, model.init(key)))
    left = start.kl[4] + 2 * start.kl[2]
    return start, bool(0.0 < started < min(2.5 * left, 0.2 * fresh))


@pytest.mark.parametrize("name", ["jax", "torch"])
def test_a_flow_starts_near_the_target_on_both_backends(name):
    start, near = start_and_nearness(convolutional((2, 2), block=2, **SMALL), single_key(name))
    assert near and min(start.kl.values()) > 0.0
    KL.setdefault(name, start.kl)
    assert start.kl == pytest.approx(KL.get("jax", start.kl), rel=1e-5)  # whichever ran before


PLACED, GRID, EMBEDDED = module._placed, module.division_grid, module._embedded


def at_other_features(own, like, first, loops):
    """Weights of the first layer with those of cosines and sines exchanged."""
    placed = PLACED(own, like, first, loops)
    return module.array_namespace(placed).flip(placed, axis=1) if first else placed


def without_first_biases(own, whole, loops):
    return EMBEDDED(own, whole, loops) | {"b0": whole["b0"]}


MUTANTS = {
    "weights at other features": ("_placed", at_other_features),
    "a fit at another coupling": ("division_grid", lambda beta, *words: GRID(3.0 * beta, *words)),
    "a fit to other areas": ("division_grid", lambda beta, area, *words: GRID(beta, 6 - area, *words)),
    "fitted numbers that are not kept": ("_embedded", lambda own, whole, loops: whole),
    "biases that are not kept": ("_embedded", without_first_biases),
}


@pytest.mark.parametrize("mutant", [None, *MUTANTS])
def test_wrong_starts_are_not_near_the_target(monkeypatch, mutant):
    if mutant:
        monkeypatch.setattr(module, *MUTANTS[mutant])
    _, near = start_and_nearness(convolutional((2, 2), block=2, **SMALL), single_key(), steps=60)
    assert near == (mutant is None)


def test_what_a_wide_net_sees_besides_starts_with_no_weight():
    """Kernels of extent 3 and a third dimension change nothing at the start."""
    key, host = single_key(), backends.get("numpy")
    narrow, wide = (convolutional((2, 2), block=2, **SMALL, kernel=extent) for extent in (1, 3))
    params = [closed_form_start(model.flow, key, BETA, STEPS).params for model in (narrow, wide)]
    x = backends.of(key).asarray(UniformLinks((2, 2)).sample(random.key(2, host), 3))
    (y, log_det), (other, log_other) = (m.flow.forward(p, x) for m, p in zip((narrow, wide), params, strict=True))
    assert float(abs(y - other).max()) < 1e-12 and float(abs(log_det - log_other).max()) < 1e-12
    cube = convolutional((2, 2, 2), block=2, **SMALL)
    start = closed_form_start(cube.flow, key, BETA, STEPS)
    assert sorted(start.kl) == [2, 4] and len(start.params) == 6
    for plane in (2, 4):  # every plane begins alike
        for w in ("w0", "w1", "b1"):
            first, later = (start.params[str(n)]["net"][w] for n in (0, plane))
            assert float(abs(first - later).max()) == 0.0


def test_flows_without_a_closed_form_and_backends_that_cannot_fit_are_refused():
    with pytest.raises(ValueError, match="halve the flux of rectangles"):
        divisions(tutorial((4, 4)).flow)
    with pytest.raises(ValueError, match="halve the flux of rectangles"):
        divisions(convolutional((4, 4), conditioned=False).flow)
    with pytest.raises(ValueError, match=r"leave out flow\.condition"):
        divisions(convolutional((4, 4), condition=("beta",)).flow)
    flow = convolutional((2, 2), block=2, **SMALL).flow
    with pytest.raises(ValueError, match="at least one step, got 0"):
        closed_form_start(flow, single_key(), BETA, 0)
    with pytest.raises(NoAutodiff):
        closed_form_start(flow, random.key(0, backends.get("numpy")), BETA, 1)
