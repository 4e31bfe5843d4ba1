"""Rows of the catalogue: what they say of the couplings."""

import pytest

from haarflow.theories.catalogue import THEORIES
from haarflow.theories.exact import u1_torus
from haarflow.theories.gauge.links import LABELS
from haarflow.theories.names import WILSON


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


@pytest.mark.parametrize(("name", "n"), [("su2", 2), ("su3", 3), ("su4", 4)])
def test_theories_with_a_number_in_their_name_have_that_group(name, n):
    assert THEORIES[name].make((2, 2)).n == n


def test_probabilities_of_the_charge_are_known_in_two_dimensions_for_all_but_huge_couplings():
    charges = THEORIES["u1"].distributions["Q"]
    probabilities = charges((4, 4), {"beta": 2.0})
    assert sum(probabilities.values()) == pytest.approx(1.0)
    assert sum(q * q * p for q, p in probabilities.items()) == pytest.approx(u1_torus.charge_squared(2.0, 16))
    assert charges((4, 4, 4), {"beta": 2.0}) is None
    assert charges((4, 4), {"beta": 2 * u1_torus.LARGEST}) is None


def test_every_wilson_loop_that_is_measured_has_a_label_and_counts_once():
    assert len(set(WILSON)) == len(WILSON) and all(r <= t for r, t in WILSON)
    assert {name for name in LABELS if name.startswith("wilson")} == {f"wilson_{r}x{t}" for r, t in WILSON}
