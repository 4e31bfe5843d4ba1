"""Real coordinates of fields: tangents are the derivatives of displacements, and know their coordinates."""

import numpy
import pytest

from haarflow.core import random
from haarflow.core.groups.additive import U1, Real
from haarflow.core.groups.sun import SU
from haarflow.flows import coordinates


@pytest.mark.parametrize(
    ("group", "shape"),
    [(SU(2, 2), (2, 2, 2, 2, 3)), (SU(3, 1), (1, 3, 3, 2)), (U1(), (2, 2, 3)), (Real(), (2, 3))],
    ids=["SU(2)", "SU(3)", "U(1)", "numbers"],
)
def test_tangents_are_the_derivatives_of_displacements(group, shape, host, generator):
    """Central differences, whose error is h^2 = 1e-10 times a third derivative."""
    x = generator.normal(size=shape) if group == Real() else group.haar(random.key(1, host), shape)
    w, h = generator.normal(size=coordinates.components(group, shape)), 1e-5
    ahead, behind = coordinates.displaced(group, x, numpy.stack([h * w, -h * w]))
    tangent = coordinates.tangent_along(group, x, w)
    numpy.testing.assert_allclose(tangent, (ahead - behind) / (2 * h), rtol=0, atol=1e-8)
    numpy.testing.assert_allclose(coordinates.coordinates_of(group, tangent, x), w, rtol=0, atol=1e-12)
