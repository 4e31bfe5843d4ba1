"""The laws of paths between couplings: every path obeys them, every mutant breaks the ones meant for it."""

import pytest

from haarflow.core.laws.law import Given
from haarflow.flows.laws.paths import PATH_LAWS
from haarflow.verification.path_objects import PATH_ENTRIES
from tests.conftest import member
from tests.mutants.paths import MUTANTS

LAWS = {law.name: law for law in PATH_LAWS}


def broken(entry, given):
    """The laws that a path breaks."""
    obj = entry.make(given.lattice)
    verdicts = [law.verdict(obj, given) for law in PATH_LAWS]
    return [(found.law, found.residual, found.tolerance, found.example) for found in verdicts if not found.passed]


@pytest.mark.parametrize("entry", PATH_ENTRIES, ids=lambda entry: entry.name)
def test_every_path_keeps_every_law_on_numpy(entry):
    assert broken(entry, Given(entry.lattices[0], seed=1)) == []


@pytest.mark.parametrize("name", ["strict", "torch", pytest.param("jax", marks=pytest.mark.engines)])
def test_a_path_is_the_same_elsewhere(name):
    entry = PATH_ENTRIES[1]
    assert broken(entry, Given(entry.lattices[0], seed=1, backend=member(name))) == []


def test_a_path_keeps_its_laws_in_single_precision():
    assert broken(PATH_ENTRIES[0], Given((2, 2), seed=1, dtype="float32")) == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_caught_by_the_law_meant_for_it(mutant):
    given = Given(**mutant.given)
    for name in mutant.laws:
        verdict = LAWS[name].verdict(mutant.make(given.lattice), given)
        assert not verdict.passed and not verdict.void, (name, verdict.residual, verdict.tolerance)


def test_the_counterexample_of_a_wrong_kernel_names_the_step():
    mutant = MUTANTS[-1]
    verdict = LAWS["kernels_keep_their_weights"].verdict(mutant.make((2, 2)), Given((2, 2)))
    assert verdict.example["step"] == 3 and verdict.example["couplings"] == {"beta": 1.5}


def test_every_law_has_a_mutant():
    assert set(LAWS) <= {law for mutant in MUTANTS for law in mutant.laws}
