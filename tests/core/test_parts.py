"""The records of a theory's parts: what they mean where nothing is said, and theories that cannot be hashed."""

import dataclasses

import pytest

from haarflow.core.parts import AngleWeight, LinkWeight, Local, Symmetries, described
from haarflow.core.spaces import Space
from haarflow.theories import Phi4, SUNGauge, U1Gauge


def test_a_weight_that_says_nothing_more_is_of_plaquettes_one_link_wide():
    for weight in (AngleWeight(print), LinkWeight(print, print)):
        assert (weight.reach, weight.rectangular) == (1, False)
    assert not LinkWeight(print, print).plaquettes_only  # the staples may be any
    assert SUNGauge((4, 4), n=2).conditional.plaquettes_only


def test_records_are_values():
    odd = Symmetries(("Z2",), odd={"m": ("Z2",)})
    assert odd == Symmetries(("Z2",), odd={"m": ("Z2",)})
    assert len({odd, Symmetries(("Z2",), odd={"m": ("Z2",)}), Symmetries(("Z2",), tied={"m": ("Z2",)})}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        Local(print, 1).reach = 2


def test_a_theory_that_cannot_be_hashed_has_spaces_too():
    class Mutable:
        lattice, group, field_shape = (4, 4), U1Gauge((4, 4)).group, (2, 4, 4)
        __hash__ = None

        def action(self, field, couplings=None):
            return 0.0

    assert described(Mutable()).spaces == Space(U1Gauge((4, 4)).group, (2, 4, 4))
    assert described(Phi4((4, 4))).spaces is described(Phi4((4, 4))).spaces  # computed once for equal theories
