"""Mixtures and symmetrised models: plain twins of their densities, shares of the components, what is refused."""

import math
from dataclasses import replace

import numpy
import pytest

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.core import random
from haarflow.core.chains.metropolis import IndependenceMetropolis
from haarflow.core.groups.additive import U1, Real
from haarflow.flows.flow import Chain, Model, Translate
from haarflow.flows.images import Images, chosen
from haarflow.flows.loops.flow import LoopFlow
from haarflow.flows.mixtures import Mixture, bare, components, mixed, parameters, symmetrised
from haarflow.flows.priors import Gaussian, HaarLinks, UniformLinks
from haarflow.flows.sampling.draws import draw
from haarflow.flows.scalar.shift import UniformShift
from haarflow.theories import Phi4

LATTICE = (2, 2)
WELLS = tuple(Model(Gaussian(LATTICE, sigma), UniformShift(2, v)) for v, sigma in ((-3.0, 0.6), (2.0, 0.9)))
MIXTURE = Mixture(WELLS, (0.3, 0.7))


def normal(y, v, sigma):
    """Log-density of independent normal sites about v."""
    return -0.5 * (((y - v) / sigma) ** 2).sum(axis=(-2, -1)) - 4 * math.log(sigma * math.sqrt(2 * math.pi))


def twin(y):
    return numpy.log(0.3 * numpy.exp(normal(y, -3.0, 0.6)) + 0.7 * numpy.exp(normal(y, 2.0, 0.9)))


def test_the_density_is_the_weighted_mean_of_the_components(backend):
    params = MIXTURE.init(random.key(0, backend))
    y = numpy.random.default_rng(0).normal(0.0, 2.0, (3, 5, *LATTICE))
    found = backend.jit(MIXTURE.log_density)(params, backend.asarray(y))
    numpy.testing.assert_allclose(backend.to_numpy(found), twin(y), atol=1e-11)
    drawn, log_q = MIXTURE.sample(params, random.key(1, backend), 6)
    numpy.testing.assert_allclose(backend.to_numpy(log_q), twin(backend.to_numpy(drawn)), atol=1e-11)


def test_components_are_drawn_with_their_weights(host):
    """2000 draws of wells that do not overlap: the share of the first is 0.3 within 4 standard errors of 0.0102."""
    y, _ = MIXTURE.sample(MIXTURE.init(random.key(0, host)), random.key(2, host), 2000)
    assert abs((y.mean(axis=(1, 2)) < 0.0).mean() - 0.3) < 4 * 0.0102
    images = numpy.zeros((3, 4000, 1)) + numpy.arange(3)[:, None, None]
    counts = numpy.bincount(chosen(images, random.key(0, host), (0.5, 0.2, 0.3)).astype(int)[:, 0], minlength=3)
    wanted = 4000 * numpy.asarray([0.5, 0.2, 0.3])
    assert ((counts - wanted) ** 2 / wanted).sum() < 18.4  # two degrees of freedom: 1 in 10^4


def test_a_symmetrised_model_is_the_mean_over_both_signs(backend):
    model = symmetrised(WELLS[1], ("Z2",))
    params = model.init(random.key(0, backend))
    y = numpy.random.default_rng(1).normal(0.0, 2.0, (6, *LATTICE))
    expected = numpy.log(0.5 * numpy.exp(normal(y, 2.0, 0.9)) + 0.5 * numpy.exp(normal(y, -2.0, 0.9)))
    numpy.testing.assert_allclose(backend.to_numpy(model.log_density(params, backend.asarray(y))), expected, atol=1e-11)
    assert model.symmetries == ("translation", "reflection", "hypercubic", "Z2") and bare(model) == WELLS[1]


def test_a_symmetrised_mixture_is_the_mixture_of_symmetrised_models(host):
    model = symmetrised(MIXTURE, ("Z2",))
    params, y = model.init(random.key(0, host)), numpy.random.default_rng(2).normal(0.0, 2.0, (6, *LATTICE))
    expected = numpy.log(0.5 * numpy.exp(twin(y)) + 0.5 * numpy.exp(twin(-y)))
    numpy.testing.assert_allclose(model.log_density(params, y), expected, atol=1e-11)
    assert bare(MIXTURE) is MIXTURE and bare(model) == MIXTURE and components(model)[0].images is not None
    assert parameters(MIXTURE, params)[1] is params["1"] and parameters(WELLS[0], params) == (params,)


def test_images_under_charge_conjugation():
    links = numpy.random.default_rng(0).uniform(-3, 3, (2, 2, 4, 4))
    assert numpy.array_equal(Images((0, 0), internal=("charge_conjugation",)).of(links, U1(), (4, 4))[1], -links)
    matrices = HaarLinks((2, 2), 2).sample(random.key(0, backends.get("numpy")), 1)
    group = HaarLinks((2, 2), 2).group
    found = Images((0, 0), internal=("charge_conjugation",)).of(matrices, group, (2, 2))
    assert numpy.array_equal(found[1], matrices.conj())
    both = Images((1, 0), (1,), ("Z2",)).of(numpy.arange(4.0).reshape(1, 2, 2), Real(), (2, 2))
    assert (
        len({image.tobytes() for image in both}) == 4
        and both.shape[0] == Images((1, 0), (1,), ("Z2",)).count((2, 2)) == 8
    )


def test_weights_and_metropolis_take_a_mixture(host):
    """The log weight that a chain keeps is -S - log q of the mixture, whichever component a proposal came from."""
    theory, couplings = Phi4(LATTICE), {"m2": 1.0, "lam": 0.5}
    params = MIXTURE.init(random.key(0, host))
    draws = draw(MIXTURE, params, theory, random.key(3, host), 7, couplings)
    expected = -theory.action(draws.field, couplings) - twin(draws.field)
    numpy.testing.assert_allclose(draws.log_w, expected, atol=1e-11)
    kernel = IndependenceMetropolis(MIXTURE, theory, 3, {"params": params, "couplings": couplings})
    state = kernel.init(draws.field)
    numpy.testing.assert_allclose(state.cache, expected, atol=1e-11)
    moved, _ = kernel.step(random.key(4, host), state)
    numpy.testing.assert_allclose(moved.cache, -theory.action(moved.field, couplings) - twin(moved.field), atol=1e-11)


def test_components_start_from_parameters_of_their_own(host):
    from haarflow.flows.scalar.architectures import convolutional

    model = mixed(lambda: convolutional((2, 2), hidden=(2,)), 2)
    params = model.init(random.key(0, host))
    same = []
    tree_map(lambda a, b: same.append(numpy.array_equal(a, b)), params["0"], params["1"])
    assert not all(same) and mixed(lambda: WELLS[0], 1) is WELLS[0]


def test_refuses():
    with pytest.raises(ValueError, match="at least one model"):
        Mixture(())
    with pytest.raises(ValueError, match="at least one model"):
        mixed(lambda: WELLS[0], 0)
    with pytest.raises(ValueError, match="fields of the same shape"):
        Mixture((WELLS[0], Model(Gaussian((3, 2)), UniformShift(2))))
    for weights in ((0.5, 0.6), (1.0, 0.0), (1.0,)):
        with pytest.raises(ValueError, match="2 positive weights that sum to one"):
            Mixture(WELLS, weights)
    with pytest.raises(ValueError, match="continuous time"):
        Mixture((Model(HaarLinks((2, 2), 2), LoopFlow(2, 2, scheme="continuous")),))
    with pytest.raises(ValueError, match="averaged over Z2 or charge_conjugation, got 'parity'"):
        Images((0, 0), internal=("parity",))
    with pytest.raises(ValueError, match="group U1 have no symmetry Z2"):
        Images((0, 0), internal=("Z2",)).check(U1(), (4, 4))
    links = symmetrised(Model(UniformLinks((4, 4)), Translate((0, 0), 1)), ("Z2",))
    with pytest.raises(ValueError, match="no symmetry Z2"):
        links.sample({}, random.key(0, backends.get("numpy")), 1)


def test_a_shift_moves_every_site_back(backend):
    flow = Chain((UniformShift(2, 0.5), UniformShift(2, -2.0)))
    params, x = flow.init(random.key(0, backend)), backend.asarray(numpy.arange(8.0).reshape(2, 2, 2))
    y, log_det = flow.forward(params, x)
    back, other = flow.inverse(params, y)
    assert numpy.array_equal(backend.to_numpy(y), backend.to_numpy(x) - 1.5)
    assert numpy.array_equal(backend.to_numpy(back), backend.to_numpy(x))
    assert not backend.to_numpy(log_det).any() and not backend.to_numpy(other).any()
    assert replace(UniformShift(2), start=0.0).symmetries == ("translation", "reflection", "hypercubic")
