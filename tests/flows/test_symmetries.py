"""The transformations that stand for a symmetry: what they move, and what they leave alone."""

import numpy
import pytest

from haarflow.core.groups.additive import U1, Real
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import loops
from haarflow.core.laws.law import host_field
from haarflow.flows.coordinates import link_group
from haarflow.flows.symmetries import OF_LINKS, OF_SITES, images

LATTICE = (4, 4)


def plaquettes(links, group):
    """tr U_P, complex, of links of either group."""
    plaquette = loops.plaquette(links, 0, 1, 2, link_group(group))
    return numpy.exp(1j * plaquette) if group.name == "U1" else numpy.einsum("...iixy->...xy", plaquette)


@pytest.mark.parametrize("group, inner", [(U1(), (2,)), (SU(3, 2), (2, 3, 3))])
@pytest.mark.parametrize("name", OF_LINKS)
def test_links_keep_the_sum_of_real_plaquettes(generator, group, inner, name):
    """Every image moves the field, keeps sum Re tr U_P, and charge conjugation turns the sign of every Im tr U_P."""
    links = host_field(group, (3, *inner, *LATTICE), "haar", generator)
    found = images((name,), group, LATTICE, (1, 2), generator)
    assert found
    for image in found:
        moved = image.transform(links)
        assert not numpy.allclose(moved, links)
        before, after = plaquettes(links, group), plaquettes(moved, group)
        numpy.testing.assert_allclose(after.real.sum((-2, -1)), before.real.sum((-2, -1)), atol=1e-11)
        if name == "charge_conjugation":
            numpy.testing.assert_allclose(after, before.conj(), atol=1e-12)
            numpy.testing.assert_allclose(image.transform(moved), links, atol=1e-12)


@pytest.mark.parametrize("name", OF_SITES)
def test_numbers_on_sites_keep_the_sum_over_neighbours(generator, name):
    """Every image moves the field and keeps sum_x phi(x) phi(x + mu), summed over mu."""
    phi = generator.normal(size=(3, *LATTICE))
    for image in images((name,), Real(), LATTICE, (1, 2), generator):
        moved = image.transform(phi)
        assert not numpy.allclose(moved, phi)
        bonds = [sum((x * numpy.roll(x, 1, axis)).sum((-2, -1)) for axis in (-2, -1)) for x in (phi, moved)]
        numpy.testing.assert_allclose(bonds[1], bonds[0], atol=1e-11)
