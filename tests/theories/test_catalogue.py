"""Rows of the catalogue: what they say of the couplings."""

import pytest

from haarflow.theories.catalogue import THEORIES


@pytest.mark.parametrize("name", ["phi4", "phi4-hopping"])
def test_scalar_chains_start_within_the_quartic_well(name):
    """lam sigma^4 <= 1/4 and sigma <= 1, also for the free field."""
    width = THEORIES[name].width
    assert width({"lam": 0.0}) == 1.0
    assert width({"lam": 0.1}) == 1.0
    assert width({"lam": 4.0}) == pytest.approx(0.5)


def test_the_free_field_needs_a_mass():
    fault = THEORIES["phi4"].fault
    assert fault({"m2": 0.0, "lam": 0.0})[0] == "m2"
    assert fault({"m2": 0.1, "lam": 0.0}) is None
    assert fault({"m2": -1.0, "lam": 0.1}) is None
