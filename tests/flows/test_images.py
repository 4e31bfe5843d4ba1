"""Densities averaged over translations and reflections: twins that add the images one by one, and invariance."""

import math
from dataclasses import replace

import numpy
import pytest

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.core import random
from haarflow.core.lattice import symmetries
from haarflow.core.lattice.geometry import shift
from haarflow.flows.images import Images, chosen
from haarflow.flows.u1.autoregressive import autoregressive

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
    from haarflow.core.groups.additive import Real

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
