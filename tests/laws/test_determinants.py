"""Every form of the determinant obeys its laws on every backend, and every wrong one is caught by the law meant for it."""

import pytest

from haarflow.core.laws.law import Given
from haarflow.theories.laws.determinant import DETERMINANT_LAWS
from haarflow.verification.theory_objects import DETERMINANT_ENTRIES
from tests.conftest import MEMBERS
from tests.laws.test_core import engine
from tests.mutants.determinants import MUTANTS

LAWS = {law.name: law for law in DETERMINANT_LAWS}
ENTRIES = {entry.name: entry for entry in DETERMINANT_ENTRIES}
# JAX compiles every law of every form: these by default, the rest as slow tests
QUICK = {
    "jax": {
        ("slices U(1) d=2", "dense_determinant"),
        ("slices U(1) d=2", "derivative_is_force"),
        ("compiled slices U(1) d=2", "dense_determinant"),
    }
}
SMALL = {name for name in ENTRIES if "d=4" not in name}


APPLY = [
    (name, law.name)
    for name, entry in ENTRIES.items()
    for law in DETERMINANT_LAWS
    if law.applies(entry.make(entry.lattices[0])) is None
]


def cases():
    """List every backend with every form and law, marked slow where that takes seconds."""
    every = [(backend, name, law) for backend in MEMBERS for name, law in APPLY]
    quick = [name in SMALL and (name, law) in QUICK.get(backend, {(name, law)}) for backend, name, law in every]
    return [
        pytest.param(*case, marks=() if fast else pytest.mark.slow) for case, fast in zip(every, quick, strict=True)
    ]


@pytest.mark.parametrize(("backend", "name", "law"), cases())
def test_determinants_obey_their_laws(backend, name, law):
    record, entry = engine(backend), ENTRIES[name]
    for number, lattice in enumerate(entry.lattices if backend == "numpy" else entry.lattices[:1]):
        verdict = LAWS[law].verdict(entry.make(lattice), Given(lattice, seed=1 + number, backend=record))
        assert verdict.passed, (lattice, verdict.residual, verdict.tolerance)
        assert verdict.void == (law == "derivative_is_force" and not record.autodiff)


@pytest.mark.parametrize(("name", "law"), [(name, law) for name, law in APPLY if name in SMALL])
def test_determinants_obey_their_laws_in_single_precision(name, law):
    entry = ENTRIES[name]
    given = Given(
        entry.lattices[0],
        dtype="float32",
        backend=engine("torch" if law == "derivative_is_force" else "numpy", "float32"),
    )
    verdict = LAWS[law].verdict(entry.make(given.lattice), given)
    assert verdict.passed and not verdict.void, (verdict.residual, verdict.tolerance)


@pytest.mark.parametrize("backend", ["numpy", "torch", pytest.param("jax", marks=pytest.mark.slow)])
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_caught_by_the_law_meant_for_it(backend, mutant):
    obj = mutant.make(mutant.given["lattice"])
    for name in mutant.laws:
        verdict = LAWS[name].verdict(obj, Given(backend=engine(backend), **mutant.given))
        if verdict.void:
            assert name == "derivative_is_force" and backend == "numpy"
            continue
        assert not verdict.passed, f"{name} lets it pass: {verdict.residual:.3g} <= {verdict.tolerance:.3g}"


def test_every_law_has_a_mutant():
    assert {name for mutant in MUTANTS for name in mutant.laws} == set(LAWS)
