"""The laws of mixtures, weighted draws and estimators: every object obeys them, every mutant breaks the one meant for it."""

import pytest

from haarflow.core.laws.estimators import ESTIMATOR_LAWS
from haarflow.core.laws.law import Given
from haarflow.flows.laws.densities import DENSITY_LAWS
from haarflow.flows.laws.weights import WEIGHT_LAWS
from haarflow.verification.weight_objects import DENSITY_ENTRIES, ESTIMATOR_ENTRIES, WEIGHT_ENTRIES
from tests.conftest import member
from tests.mutants.weights import MUTANTS

LAWS = {
    kind: {law.name: law for law in laws}
    for kind, laws in (("density", DENSITY_LAWS), ("weights", WEIGHT_LAWS), ("estimator", ESTIMATOR_LAWS))
}
ENTRIES = (*DENSITY_ENTRIES, *WEIGHT_ENTRIES, *ESTIMATOR_ENTRIES)


def broken(entry, given):
    """The laws that an object breaks."""
    obj = entry.make(given.lattice)
    verdicts = [law.verdict(obj, given) for law in LAWS[entry.kind].values()]
    return [(found.law, found.residual, found.tolerance) for found in verdicts if not found.passed]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_object_keeps_every_law_on_numpy(entry):
    for number, lattice in enumerate(entry.lattices):
        assert broken(entry, Given(lattice, seed=number)) == []


@pytest.mark.parametrize("name", ["strict", "torch", pytest.param("jax", marks=pytest.mark.engines)])
@pytest.mark.parametrize("entry", (*DENSITY_ENTRIES[:1], *WEIGHT_ENTRIES[:2]), ids=lambda entry: entry.name)
def test_objects_keep_every_law_elsewhere(name, entry):
    assert broken(entry, Given(entry.lattices[0], seed=1, backend=member(name))) == []


@pytest.mark.parametrize("entry", (*DENSITY_ENTRIES[:1], *WEIGHT_ENTRIES[:1]), ids=lambda entry: entry.name)
def test_objects_keep_every_law_in_single_precision(entry):
    assert broken(entry, Given(entry.lattices[0], seed=1, dtype="float32")) == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_caught_by_the_law_meant_for_it(mutant):
    given = Given(**mutant.given)
    for name in mutant.laws:
        verdict = LAWS[mutant.kind][name].verdict(mutant.make(given.lattice), given)
        assert not verdict.passed and not verdict.void, (name, verdict.residual, verdict.tolerance)


def test_every_law_has_a_mutant():
    caught = {law for mutant in MUTANTS for law in mutant.laws}
    assert {name for laws in LAWS.values() for name in laws} <= caught
