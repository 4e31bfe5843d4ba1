"""Densities averaged over translations and reflections: twins that add the images one by one, and invariance."""

import math
from dataclasses import replace

import numpy
import pytest

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.core import random
from haarflow.core.groups.additive import U1, Complex, Real
from haarflow.core.lattice import symmetries
from haarflow.core.lattice.geometry import shift
from haarflow.core.spaces import Pair
from haarflow.flows.conditionals import marginal_and_conditional, scalars_and_shears
from haarflow.flows.images import Images, chosen
from haarflow.flows.mixtures import symmetrised
from haarflow.flows.u1.autoregressive import autoregressive
from haarflow.theories.models.yukawa import yukawa_pairs

MODEL = autoregressive(
    (2, 4), 1.0, bins=6, harmonics=2, waves=1, channels=2, hidden=2, kernel=3, images=(1, 2), reflected=(1,)
)


def params_of(backend):
    rng = numpy.random.default_rng(1)
    fresh = MODEL.init(random.key(0, backends.get("numpy")))
    return tree_map(lambda leaf: backend.asarray(leaf + 0.4 * rng.normal(size=leaf.shape)), fresh)


def all_images(y):
    """Every image by itself."""
    for t in range(2):
        for x in (0, 2):
            for mirror in (False, True):
                image = symmetries.reflect_links(y, 1, 2) if mirror else y
                yield shift(shift(image, 0, 2, -t), 1, 2, -x)


def test_density_is_the_mean_over_the_group(backend, host):
    params, plain = params_of(host), replace(MODEL, images=None)
    y = numpy.random.default_rng(0).uniform(-math.pi, math.pi, (3, 2, 2, 4))
    q = numpy.mean([numpy.exp(plain.log_density(params, image)) for image in all_images(y)], axis=0)
    found = backend.jit(MODEL.log_density)(params_of(backend), backend.asarray(y))
    numpy.testing.assert_allclose(backend.to_numpy(found), numpy.log(q), atol=1e-9)
    assert MODEL.images.count((2, 4)) == len(list(all_images(y))) == 8


def test_density_is_invariant_and_that_of_its_draws(host):
    params = params_of(host)
    y, log_q = MODEL.sample(params, random.key(3, host), 6)
    numpy.testing.assert_allclose(MODEL.log_density(params, y), log_q, atol=1e-9)
    for image in all_images(y):
        numpy.testing.assert_allclose(MODEL.log_density(params, image), log_q, atol=1e-9)
    assert MODEL.log_density(params, y.reshape(2, 3, 2, 2, 4)).shape == (2, 3)
    assert numpy.ptp([replace(MODEL, images=None).log_density(params, image) for image in all_images(y)]) > 0.1


def test_images_are_chosen_evenly(host):
    """4000 choices of 8 images: the counts have chi^2 below 35 at seven degrees of freedom, but for 1 in 10^5."""
    images = numpy.zeros((8, 4000, 1)) + numpy.arange(8)[:, None, None]
    counts = numpy.bincount(chosen(images, random.key(0, host)).astype(int)[:, 0], minlength=8)
    assert ((counts - 500) ** 2 / 500).sum() < 35 and len(counts) == 8


def test_of_sites_too(host):
    field = numpy.arange(4.0)[None]
    images = Images((2,), (0,)).of(field, Real(), (4,))
    assert images[:, 0].tolist() == [[0, 1, 2, 3], [0, 3, 2, 1], [2, 3, 0, 1], [2, 1, 0, 3]]


@pytest.mark.parametrize("steps, reflected", [((-1, 0), ()), ((1, 1), (2,)), ((), ())])
def test_refuses(steps, reflected):
    with pytest.raises(ValueError, match="images take"):
        Images(steps, reflected)


def test_refuses_another_lattice():
    with pytest.raises(ValueError, match="do not act"):
        Images((1, 1)).count((4, 4, 4))
    with pytest.raises(ValueError, match="divisible"):
        Images((3, 1)).count((4, 4))


def pair_model():
    free = yukawa_pairs((4, 2)).free
    return symmetrised(scalars_and_shears((4, 2), free, g=0.5, bins=4, hidden=(2,), shift=0.7), ("Z2",))


def mirrored(pair):
    """phi -> -phi with chi(x) -> (-1)^x chi(x), by hand."""
    signs = numpy.asarray([[1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]])
    return Pair(-pair.U, signs * pair.phi)


def test_a_density_of_pairs_is_the_mean_over_both_wells(backend, host):
    model, key = pair_model(), random.key(3, host)
    params, plain = model.init(key), replace(model, images=None)
    drawn, log_q = model.sample(params, key, 40)
    one, other = (numpy.exp(plain.log_density(params, pair)) for pair in (drawn, mirrored(drawn)))
    numpy.testing.assert_allclose(numpy.exp(log_q), 0.5 * (one + other), rtol=1e-9)
    assert 0 < int((one > other).sum()) < 40  # draws of either well
    given = tree_map(backend.asarray, (params, drawn))
    found = backend.jit(model.log_density)(*given)
    numpy.testing.assert_allclose(backend.to_numpy(found), log_q, atol=1e-9)
    folded = Pair(drawn.U.reshape(8, 5, 4, 2), drawn.phi.reshape(8, 5, 2, 4, 2))
    numpy.testing.assert_allclose(model.log_density(params, folded).ravel(), log_q, atol=1e-9)


def test_the_mirror_image_of_a_pair_is_as_likely(host):
    key = random.key(1, host)
    pair = Pair(random.normal(key, (5, 4, 2)), random.normal(random.fold_in(key, 1), (5, 2, 4, 2)))
    theory, group = yukawa_pairs((4, 2)), pair_model().group
    images = Images((0, 0), internal=("Z2",)).of(pair, group, (4, 2))
    for name, part in zip(pair._fields, mirrored(pair), strict=True):
        numpy.testing.assert_array_equal(getattr(images, name)[1], part)
    action = theory.action(images, {"g": 0.8})
    numpy.testing.assert_allclose(action[1], action[0], rtol=1e-12)


def test_the_marginal_of_a_model_of_both_wells_has_both(host):
    model = pair_model()
    marginal, conditional = marginal_and_conditional(model)
    params = model.init(random.key(0, host))
    phi, _ = marginal.sample(params["marginal"], random.key(1, host), 6)
    one = marginal.log_density(params["marginal"], phi)
    numpy.testing.assert_allclose(marginal.log_density(params["marginal"], -phi), one, atol=1e-12)
    assert numpy.isfinite(conditional.sample(params["conditional"], random.key(2, host), 6, phi)[1]).all()


@pytest.mark.parametrize(
    "images, groups",
    [
        (Images((1, 0), internal=("Z2",)), (Real(), Real())),
        (Images((0, 0), (1,), ("Z2",)), (Real(), Real())),
        (Images((0, 0), internal=("Z2",)), (U1(), Complex())),
        (Images((0, 0), internal=("charge_conjugation",)), (Real(), Real())),
    ],
)
def test_refuses_other_images_of_pairs(images, groups):
    with pytest.raises(ValueError, match="averaged over Z2 of real fields alone"):
        images.check(Pair(*groups), (4, 4))
