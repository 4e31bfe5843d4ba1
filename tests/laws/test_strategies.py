"""Strategies: what they draw is legal, and what fails shrinks to the smallest lattice and the simplest style."""

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haarflow.core.groups.additive import U1, Real
from haarflow.core.laws import strategies
from haarflow.core.laws.coupling_values import couplings_at
from haarflow.core.laws.law import SIZES, STYLES, Given
from haarflow.theories import Phi4, U1Gauge


def smallest(strategy, fails=lambda value: True):
    """The example to which a failure shrinks."""
    return hypothesis.find(strategy, fails, settings=settings(database=None, deadline=None, max_examples=1000))


@given(strategies.lattices(largest=48))
@settings(max_examples=50)
def test_lattices_keep_within_their_volume(lattice):
    assert 1 <= len(lattice) <= 4 and all(extent >= 1 for extent in lattice) and math.prod(lattice) <= 48


@given(st.integers(1, 5), st.integers(1, 3), st.booleans(), st.data())
@settings(max_examples=50, deadline=None)
def test_masks_get_extents_that_their_period_divides(period, d, odd, data):
    lattice = data.draw(strategies.lattices(d, period=period, odd=odd, smallest=2, largest=1000))
    assert len(lattice) == d and math.prod(lattice) <= 1000
    assert all(extent % period == 0 and extent >= 2 and (odd or extent % 2 == 0) for extent in lattice)


def test_the_awkward_extents_are_reached():
    for extent in (1, 2, 3, 7):
        assert extent in smallest(strategies.lattices(2), lambda lattice, extent=extent: extent in lattice)


def test_failures_shrink_to_the_smallest_lattice_and_the_simplest_style():
    assert smallest(strategies.lattices()) == (1,)
    assert smallest(strategies.lattices((2, 4), period=2), lambda lattice: lattice[-1] > 2) == (2, 4)
    words = smallest(strategies.givens(), lambda given: math.prod(given.lattice) >= 3)
    assert words == Given((3,), seed=0, style="cold", size="zero", backend=words.backend)
    words = smallest(strategies.givens(strategies.lattices(2)), lambda given: given.style not in ("cold", "haar"))
    assert (words.lattice, words.seed, words.style, words.size) == ((1, 1), 0, STYLES[2], SIZES[0])


def test_a_counterexample_is_one_line_that_repeats_it():
    found = smallest(strategies.givens((2, 3)), lambda given: np.any(given.field(U1(), (2, 2, 3)) > 3.1))
    again = eval(repr(found), {"Given": Given})
    assert np.array_equal(found.field(U1(), (2, 2, 3)), again.field(U1(), (2, 2, 3)))


def test_fields_are_made_from_two_words():
    cold = smallest(strategies.fields(Real(), (3,)))
    assert cold.shape == (3, 3) and not cold.any()
    assert np.abs(smallest(strategies.fields(Real(), (3,)), lambda x: np.abs(x).max() > 10)).max() < 300
    seam = smallest(strategies.fields(U1(), (4,), style="seam"), lambda x: np.any(np.abs(np.abs(x) - math.pi) < 2e-9))
    assert seam.shape == (3, 4)
    with pytest.raises(ValueError, match="unknown style of fields"):
        strategies.fields(U1(), (4,), style="warm")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_arrays_are_of_the_backend_and_the_precision(backend, dtype):
    links = smallest(strategies.fields(U1(), (2, 2, 2), batch=2, backend=backend, dtype=dtype))
    sites = smallest(strategies.gauge_transformations(U1(), (2, 2), batch=2, backend=backend, dtype=dtype))
    assert links.shape == (2, 2, 2, 2) and sites.shape == (2, 2, 2)
    for array in (links, sites):
        assert isinstance(array, type(backend.asarray([0.0]))) and dtype in str(array.dtype)


def test_couplings_are_legal_and_of_every_strength():
    betas = {
        smallest(strategies.couplings(U1Gauge((4, 4))), lambda c, b=b: c["beta"] == b)["beta"] for b in (0, 0.2, 8)
    }
    assert betas == {0.0, 0.2, 8.0}
    assert smallest(strategies.couplings(Phi4((4, 4)))) == {"m2": -4.0, "lam": 8.0}
    assert smallest(strategies.couplings(object())) == {}


@given(st.data(), st.sampled_from(["m2", "hopping"]), strategies.lattices((1, 3), largest=8))
@settings(max_examples=40)
def test_no_coupling_is_refused(data, form, lattice):
    theory = Phi4(lattice, form)
    theory.check(data.draw(strategies.couplings(theory)))


def test_regimes_fall_back_on_the_defaults():
    assert couplings_at(Phi4((4, 4)), "zero") == Phi4((4, 4)).couplings and couplings_at(object()) is None
    with pytest.raises(ValueError, match="unknown size"):
        couplings_at(Phi4((4, 4)), "huge")


def test_profiles_say_how_many_and_how():
    assert [strategies.profile(name).max_examples for name in strategies.PROFILES] == [2, 25, 500]
    assert strategies.profile("ci").derandomize and not strategies.profile("deep").derandomize
    with pytest.raises(ValueError, match="quick, ci, deep"):
        strategies.profile("slow")


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="at most 8 sites"):
        strategies.lattices(3, period=4, largest=8)
    assert len(smallest(strategies.lattices((2, 4), period=4, largest=64), lambda lattice: len(lattice) == 3)) == 3
    assert smallest(strategies.dtypes()) == "float64" and smallest(strategies.sizes()) == "zero"
