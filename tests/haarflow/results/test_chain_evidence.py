"""What a chain's observables say of all its numbers, through summary.json."""

import numpy
import pytest

from haarflow.core.parts import described
from haarflow.core.statistics import gamma_method
from haarflow.results import chain_evidence
from haarflow.results.ensemble import Sampled
from haarflow.results.summary import observables
from haarflow.run import recipes
from haarflow.run.target import target_of
from haarflow.theories import U1Gauge
from tests.support.entries import entry, sampler
from tests.support.series import autoregressive


@pytest.fixture(scope="module")
def target():
    return target_of(recipes.load("u1-tiny", ("fields_every=0",)))


NAMES = described(U1Gauge((4, 4))).part("summary")


def chains(**changed):
    """HMC of u1-tiny by hand: every observable an AR(1) series of 4 chains."""
    series = {name: autoregressive(0.5, 400, 4, seed=number) for number, name in enumerate(NAMES)}
    return Sampled("hmc", {**series, **changed}, None, None)


def summarised(target, sampled):
    """The entry of summary.json, as far as chains matter."""
    found = {"kind": sampled.kind, "acceptance": None, "observables": observables(target, sampled)}
    return chain_evidence.marked({**found, "warnings": chain_evidence.judged(found)})


def test_healthy_chains_have_no_warnings(target):
    found = summarised(target, chains())
    assert found["warnings"] == [] and not any("note" in one for one in found["observables"].values())


def test_one_frozen_observable_marks_all_numbers(target):
    stuck = numpy.ones((4, 400)) * numpy.asarray([[1.0], [0.0], [0.0], [2.0]])
    found = summarised(target, chains(Q=stuck))
    warning, meaning = found["warnings"]
    assert warning.startswith("frozen: each of the 4 chains is constant") and warning.endswith("(Q)")
    assert meaning.startswith("Q is zero by a symmetry")
    assert found["observables"]["plaquette"]["note"] == chain_evidence.MARK
    assert "frozen" in found["observables"]["Q"]["note"]


def test_chains_that_disagree_in_one_observable_mark_all(target):
    shifted = autoregressive(0.5, 400, 4, seed=9) + numpy.asarray([[0.0], [0.0], [1.5], [0.0]])
    found = summarised(target, chains(plaquette=shifted))
    (warning,) = found["warnings"]
    assert "the 4 chains disagree" in warning and warning.endswith("(plaquette)")
    assert all(one["note"] for one in found["observables"].values())


def test_two_wells_are_told_from_a_mean_that_is_not_known():
    """The magnetisation of chains that keep to their wells: what it means for numbers that are the same in both."""
    wells = [[1.0], [-1.0], [1.0], [1.0]] + 0.1 * autoregressive(0.5, 400, 4, seed=9)
    found = gamma_method(wells)
    m, m2 = entry(found.value, found.error, 0.0, found.note, found.tau_int), entry(1.0, 0.01)
    warning, meaning = chain_evidence.judged(sampler(m=m, m2=m2))
    assert warning.startswith("the 4 chains disagree") and warning.endswith("(m)")
    assert meaning.startswith(
        "m is zero by a symmetry, over which these chains do not average: all other numbers are those of"
    )
    assert chain_evidence.judged(sampler(m={**m, "exact": None}, m2=m2)) == [warning]
    _, both = chain_evidence.judged(sampler(m=m, n=m, m2=m2))
    assert both.startswith("m and n are zero by a symmetry")


def test_random_walks_are_no_evidence(target):
    walks = numpy.cumsum(numpy.random.default_rng(3).normal(size=(4, 400)), axis=1)
    found = summarised(target, chains(Q=walks))
    assert found["warnings"] and found["observables"]["Q"]["error"] is None


def test_a_stuck_chain_is_told_by_its_acceptance():
    assert chain_evidence.judged({**sampler(E=entry(1.0, 0.1)), "acceptance": 0.004}) == [
        "accepted only 0.4% of its steps"
    ]


def test_weighted_draws_are_no_chain():
    assert chain_evidence.judged({**sampler(E=entry(1.0, None)), "kind": "flow-reweighting"}) == []


@pytest.mark.parametrize(("value", "error", "wrong"), [(0.02, 0.01, True), (0.9, 0.01, False), (1.0, None, False)])
def test_a_mean_sign_near_zero_is_a_warning_and_a_constant_one_is_not(value, error, wrong):
    entry = {"value": value, "error": error, "tau_int": error and 0.5, "note": "" if error else "constant"}
    found = chain_evidence.judged({"kind": "hmc", "acceptance": 0.9, "observables": {"sign": entry}})
    assert bool(found) == wrong and all("within three errors of 0" in line for line in found)


def test_a_file_without_the_series_of_sectors_has_the_other_numbers():
    """As written before the condensate was measured by charge."""
    target = target_of(recipes.load("schwinger-2d"))
    names = described(target.theory).part("summary")
    derived = described(target.theory).part("derived")
    primary = [name for name in names if name not in derived]
    inside = [name for name, one in derived.items() if one.inside]
    series = {name: autoregressive(0.5, 100, 4, seed=number) for number, name in enumerate([*primary, "Q2", "p_Q0"])}
    table = observables(target, Sampled("hmc", series, None, None))
    assert inside and not set(inside) & set(table) and set(primary) <= set(table)
