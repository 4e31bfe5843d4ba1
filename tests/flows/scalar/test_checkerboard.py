"""Checkerboards: splitting and merging, stencils against a walk over the lattice, odd extents."""

import itertools

import numpy
import pytest

from haarflow.backends.tree import tree_map
from haarflow.core import random
from haarflow.flows.scalar.affine import AffineCoupling
from haarflow.flows.scalar.checkerboard import displacements, merge, split, stencil, sublattice
from haarflow.flows.scalar.nets import CheckerboardNet, LatticeNet

LATTICES = ((6,), (4, 2), (2, 4, 2), (2, 2, 4, 2))


def sites(lattice, parity):
    """Sites of one parity in row-major order."""
    return [site for site in itertools.product(*[range(extent) for extent in lattice]) if sum(site) % 2 == parity]


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("parity", [0, 1])
def test_split_takes_the_sites_of_a_parity_and_merge_puts_them_back(backend, generator, lattice, parity):
    x = generator.normal(size=(2, 3, *lattice))
    active, passive = split(backend.asarray(x), len(lattice), parity)
    expected = numpy.stack([x[(..., *site)].reshape(-1) for site in sites(lattice, parity)])
    assert numpy.array_equal(backend.to_numpy(active), expected)
    back = merge(active, passive, parity, x.shape, len(lattice))
    assert numpy.array_equal(backend.to_numpy(back), x)


def test_a_field_without_batch_axes_is_one_column(backend, generator):
    x = generator.normal(size=(4, 4))
    active, passive = split(backend.asarray(x), 2, 1)
    assert tuple(active.shape) == (8, 1)
    assert numpy.array_equal(backend.to_numpy(merge(active, passive, 1, x.shape, 2)), x)


def test_features_on_a_sublattice(generator):
    x = generator.normal(size=(2, 3, 4, 4))
    rows = sublattice(x, 2, 1)
    assert rows.shape == (3, 8, 2)
    assert numpy.array_equal(rows[1], split(x[:, 1], 2, 1)[0])


@pytest.mark.parametrize(
    ("lattice", "kernel"), [((6,), 5), ((4, 2), 3), ((4, 4), 7), ((2, 4, 2), 3), ((2, 2, 2, 4), 3)]
)
@pytest.mark.parametrize("parity", [0, 1])
@pytest.mark.parametrize("odd", [True, False])
def test_a_stencil_is_a_walk_over_the_lattice(lattice, kernel, parity, odd):
    table = stencil(lattice, parity, kernel, odd)
    source = sites(lattice, 1 - parity if odd else parity)
    for row, step in zip(table, displacements(len(lattice), kernel, odd), strict=True):
        for place, site in zip(row, sites(lattice, parity), strict=True):
            assert source[place] == tuple((s + a) % extent for s, a, extent in zip(site, step, lattice, strict=True))


def test_taps_of_both_parities_make_up_the_kernel():
    both = {*displacements(2, 5, True), *displacements(2, 5, False)}
    assert both == set(itertools.product(range(-2, 3), repeat=2))
    with pytest.raises(ValueError, match="odd extent, got 4"):
        displacements(2, 4, True)


def test_a_net_on_the_sublattice_is_a_convolution_of_the_masked_field(host, generator):
    """One hidden layer, linear response: the twin is `conv` with the kernel's even taps left out."""
    net = CheckerboardNet(2, hidden=(3,), reach=5, activation="none", symmetric=False, final_scale=1.0)
    params = net.init(random.key(4, host), 2, 0)
    x = generator.normal(size=(2, 4, 6))
    found = net.apply(params, split(x, 2, 0)[1], (4, 6), 0, 2, 0)
    kernel = numpy.zeros((3, 1, 5, 5))
    for number, (a, b) in enumerate(displacements(2, 5, True)):
        kernel[:, :, a + 2, b + 2] = params["w0"][:, :, number]
    features = host.conv(x[:, None], kernel) + params["b0"][:, None, None]
    expected = numpy.einsum("oc,ncxy->noxy", params["w"], features) + params["bias"][:, None, None]
    assert numpy.allclose(found, sublattice(expected, 2, 0), atol=1e-13)


@pytest.mark.parametrize("lattice", [(3, 4), (4, 1), (5,)])
def test_odd_extents_are_refused_with_extent_and_period(backend, host, lattice):
    flow = AffineCoupling(CheckerboardNet(len(lattice), hidden=(2,)))
    params = tree_map(backend.asarray, flow.init(random.key(0, host)))
    with pytest.raises(ValueError, match=r"period 2 .* odd extent"):
        flow.forward(params, backend.asarray(numpy.zeros((2, *lattice))))


def test_a_coupling_refuses_a_field_of_fewer_axes(host):
    flow = AffineCoupling(LatticeNet(2))
    with pytest.raises(ValueError, match="lattice of 2 axes"):
        flow.forward(flow.init(random.key(0, host)), numpy.zeros(4))
