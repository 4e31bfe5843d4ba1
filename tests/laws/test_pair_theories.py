"""The pseudofermions of every theory of pairs stand for the determinant of its marginal theory, and the law bites."""

import pytest

from haarflow.core.laws.law import Given
from haarflow.theories.laws.pairs import PAIR_LAWS
from haarflow.verification.pair_objects import PAIR_ENTRIES
from tests.mutants.pairs.theories import MUTANTS

LAWS = {law.name: law for law in PAIR_LAWS}
ENTRIES = {entry.name: entry for entry in PAIR_ENTRIES if entry.kind == "pairs"}


@pytest.mark.parametrize("name", ENTRIES)
def test_pairs_obey_their_laws(name, backend):
    if backend.name == "jax" and name != "Yukawa model as pairs":
        pytest.skip("compiling takes seconds; haarflow verify does it")
    entry = ENTRIES[name]
    for number, lattice in enumerate(entry.lattices if backend.name == "numpy" else entry.lattices[:1]):
        for law in PAIR_LAWS:
            verdict = law.verdict(entry.make(lattice), Given(lattice, seed=number, backend=backend))
            assert verdict.passed, (lattice, verdict.residual, verdict.tolerance)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_law_bites(mutant, backend):
    if backend.name == "jax":
        pytest.skip("compiling takes seconds")
    obj = mutant.make(mutant.given["lattice"])
    for name in mutant.laws:
        verdict = LAWS[name].verdict(obj, Given(backend=backend, **mutant.given))
        assert not verdict.passed, f"{name} lets it pass: {verdict.residual} <= {verdict.tolerance}"
