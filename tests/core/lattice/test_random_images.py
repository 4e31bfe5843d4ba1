"""Random images of fields on sites: all of the orbit, nothing else, equally often, on every backend."""

import itertools
from types import SimpleNamespace

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.lattice import random_images as module
from haarflow.core.lattice.geometry import shift
from haarflow.core.lattice.random_images import random_images
from haarflow.core.lattice.symmetries import exchange, reflect
from haarflow.theories import Ising


def orbit(field):
    """Twin: all images of one field `(*lattice)` by rolls, reflections and exchanges, as tuples."""
    d, images = field.ndim, [field]
    for mu in range(d):
        images += [reflect(image, mu, d) for image in images]
    if len(set(field.shape)) == 1 and d == 2:
        images += [exchange(image, 0, 1, 2) for image in images]
    steps = itertools.product(*map(range, field.shape))
    return {tuple(shift(shift(image, 0, d, a), 1, d, b).ravel()) for a, b in steps for image in images}


def orbit_is_drawn_evenly(field, count):
    """Whether 100 x count draws are all of the orbit, and their chi square is within five sigma of its own distribution."""
    n, lattice = 100 * count, field.shape
    images = random_images(random.key(1, backends.get("numpy")), numpy.broadcast_to(field, (n, *lattice)), len(lattice))
    seen, often = numpy.unique(images.reshape(n, -1), axis=0, return_counts=True)
    assert len(seen) <= count
    chi2, degrees = ((often - 100.0) ** 2 / 100.0).sum(), count - 1
    return {tuple(row) for row in seen} == orbit(field) and bool(abs(chi2 - degrees) < 5 * (2 * degrees) ** 0.5)


@pytest.mark.parametrize("lattice, count", [((3, 3), 72), ((2, 3), 12), ((4, 3), 48)])
def test_images_are_the_orbit_of_a_field(generator, lattice, count):
    assert orbit_is_drawn_evenly(generator.normal(size=lattice), count)


def one_for_all(key, shape, dtype):
    return numpy.broadcast_to(random.uniform(key, (1, *shape[1:]), dtype), shape)


POINT_GROUP, DRAWN = module.point_group, module._drawn
MUTANTS = {
    "axes that are not exchanged": ("point_group", lambda lattice: POINT_GROUP(lattice)[:4, ...]),
    "an axis that is not reflected": ("point_group", lambda lattice: POINT_GROUP(lattice)[::2, ...]),
    "steps beyond the last but one left out": ("_drawn", lambda u, count: DRAWN(u, max(count - 1, 1))),
    "small steps preferred": ("_drawn", lambda u, count: DRAWN(u * u, count)),
    "the same image of every field": ("random", SimpleNamespace(uniform=one_for_all)),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_images_are_seen(generator, monkeypatch, mutant):
    monkeypatch.setattr(module, *MUTANTS[mutant])
    assert not orbit_is_drawn_evenly(generator.normal(size=(3, 3)), 72)


def test_three_dimensions_keep_the_action(host, generator):
    spins = numpy.where(generator.uniform(size=(20, 2, 3, 3)) < 0.5, -1.0, 1.0)
    images, theory = random_images(random.key(2, host), spins, 3), Ising((2, 3, 3))
    numpy.testing.assert_allclose(theory.action(images, {"beta": 0.7}), theory.action(spins, {"beta": 0.7}), atol=1e-12)
    assert (images != spins).any(axis=(1, 2, 3)).sum() > 10


def test_the_same_images_on_every_backend(backend, host, generator):
    field = generator.normal(size=(5, 3, 3))
    found = backend.jit(lambda key, x: random_images(key, x, 2))(random.key(3, backend), backend.asarray(field))
    numpy.testing.assert_array_equal(backend.to_numpy(found), random_images(random.key(3, host), field, 2))


def test_refuses_fields_that_are_not_on_sites(host):
    with pytest.raises(ValueError, match=r"\(n, \*lattice\) on 2 axes wanted, got the shape \(3, 2, 4, 4\)"):
        random_images(random.key(0, host), numpy.zeros((3, 2, 4, 4)), 2)
