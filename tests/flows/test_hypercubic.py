"""Kernels tied by the hypercubic group: orbits, and nets and flows that commute with the group."""

import itertools

import numpy
import pytest

from haarflow.backends.tree import tree_map
from haarflow.core import random
from haarflow.flows import hypercubic
from haarflow.flows.nets import ConvNet
from haarflow.flows.scalar import architectures
from haarflow.flows.scalar.checkerboard import displacements


def moves(d):
    """Every element of the hypercubic group as a map of fields on equal extents, sites kept at the origin."""
    for order in itertools.permutations(range(d)):
        for flips in itertools.product((False, True), repeat=d):
            yield order, flips


def moved(x, order, flips):
    """The field at reflected and exchanged coordinates, x -> -x modulo the extent."""
    d = len(order)
    batch = x.ndim - d
    x = numpy.transpose(x, (*range(batch), *[batch + axis for axis in order]))
    for axis, flip in enumerate(flips):
        if flip:
            x = numpy.roll(numpy.flip(x, axis=batch + axis), 1, axis=batch + axis)
    return x


@pytest.mark.parametrize(("d", "extent"), [(1, 5), (2, 3), (2, 5), (3, 3), (4, 3)])
def test_orbits_are_those_of_the_group(d, extent):
    table = numpy.asarray(hypercubic.orbit_table(d, extent)).reshape((extent,) * d)
    for order, flips in moves(d):
        image = numpy.transpose(table, order)
        for axis, flip in enumerate(flips):
            image = numpy.flip(image, axis=axis) if flip else image
        assert numpy.array_equal(image, table)
    names = {
        tuple(sorted(abs(a) for a in step))
        for step in itertools.product(range(-(extent // 2), extent // 2 + 1), repeat=d)
    }
    assert hypercubic.orbits(d, extent) == len(names) == len(set(table.ravel().tolist()))


def test_orbits_of_one_colour_are_numbered_without_gaps():
    steps = displacements(2, 7, True)
    numbers = hypercubic.orbit_numbers(steps)
    assert hypercubic.count_orbits(steps) == len(set(numbers.tolist())) == numbers.max() + 1 == 4


def test_a_tied_net_commutes_with_the_group(backend, host, generator):
    """All images of one field are one batch, so that each backend meets one shape."""
    net = ConvNet(2, (1, 3, 2), kernel=3, activation="tanh", tied=True)
    params, x = tree_map(backend.asarray, net.init(random.key(1, host))), generator.normal(size=(1, 4, 4))
    images = backend.asarray(numpy.stack([moved(x, *move) for move in moves(2)]))
    y = backend.to_numpy(backend.jit(net.apply)(params, images))
    for image, move in zip(y, moves(2), strict=True):
        assert numpy.allclose(image, moved(y[0], *move), atol=1e-13)


@pytest.mark.parametrize("lattice", [(4, 4), (2, 2, 2)])
def test_a_tied_flow_commutes_with_the_group(host, generator, lattice):
    """Reflections and exchanges about a site keep its colour, so whole couplings commute with them."""
    d = len(lattice)
    model = architectures.convolutional(lattice, pairs=1, hidden=(4, 3), reach=3, kernel=3, tied=True, final_scale=0.3)
    params, x = model.init(random.key(1, host)), generator.normal(size=(2, *lattice))
    y, log_det = model.flow.forward(params, x)
    for order, flips in moves(d):
        image, same = model.flow.forward(params, moved(x, order, flips))
        assert numpy.allclose(image, moved(y, order, flips), atol=1e-12)
        assert numpy.allclose(same, log_det, atol=1e-12)


def test_tying_saves_parameters_and_an_untied_flow_does_not_commute(host, generator):
    untied = architectures.convolutional((4, 4), pairs=1, hidden=(4, 3), reach=3, kernel=3, final_scale=0.3)
    params, x = untied.init(random.key(1, host)), generator.normal(size=(2, 4, 4))
    y, _ = untied.flow.forward(params, x)
    image, _ = untied.flow.forward(params, moved(x, (1, 0), (False, False)))
    assert numpy.abs(image - moved(y, (1, 0), (False, False))).max() > 1e-3
