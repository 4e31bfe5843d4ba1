"""Every Dirac operator obeys every law on every backend, and every mutant is caught by its laws."""

import pytest

from haarflow.core.laws.law import Given
from haarflow.verification.objects import LAWS
from haarflow.verification.theory_objects import OPERATOR_ENTRIES
from tests.mutants.fermions import MUTANTS

OPERATOR_LAWS = {law.name: law for law in LAWS["operator"]}
ENTRIES = {entry.name: entry for entry in OPERATOR_ENTRIES}
STYLES, SIZES = ("haar", "seam", "near", "cold"), ("one", "large", "small")
# each law compiles programs of its own on JAX: these run by default, all of them by `haarflow verify`
COMPILED = {"Wilson U(1) d=2": ("bilinear_by_autodiff", "plane_waves"), "Wilson SU(2) d=2": ("rows_apart",)}


def held(operator, given, laws=OPERATOR_LAWS):
    """The laws that fail, as text."""
    faults = []
    for law in map(OPERATOR_LAWS.get, laws):
        verdict = law.verdict(operator, given)
        if not verdict.passed:
            faults.append(f"{law.name} {given}: {verdict.residual} > {verdict.tolerance}")
    return faults


@pytest.mark.parametrize("name", ENTRIES)
def test_all_laws_hold(name, backend):
    if backend.name == "jax" and name not in COMPILED:
        pytest.skip("compiling takes seconds; haarflow verify does it")
    entry, faults = ENTRIES[name], []
    for number, lattice in enumerate(entry.lattices if backend.name == "numpy" else entry.lattices[:1]):
        given = Given(lattice, seed=number, style=STYLES[number], size=SIZES[number % 3], batch=2, backend=backend)
        faults += held(entry.make(lattice), given, COMPILED[name] if backend.name == "jax" else OPERATOR_LAWS)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("name", ENTRIES)
def test_all_laws_hold_in_single_precision(name):
    entry = ENTRIES[name]
    assert not held(entry.make(entry.lattices[0]), Given(entry.lattices[0], dtype="float32"))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_law_bites(mutant, backend):
    if backend.name == "jax":
        pytest.skip("compiling takes seconds; the laws are those of the other backends")
    operator = mutant.make(mutant.given["lattice"])
    for name in mutant.laws:
        assert OPERATOR_LAWS[name].applies(operator) is None, f"{name} does not apply"
        verdict = OPERATOR_LAWS[name].verdict(operator, Given(**mutant.given, seed=1, backend=backend))
        without = name == "bilinear_by_autodiff" and not backend.autodiff
        assert verdict.void if without else not verdict.passed, (
            f"{name} lets it pass: {verdict.residual} <= {verdict.tolerance}"
        )


def test_every_law_has_a_mutant():
    assert set(OPERATOR_LAWS) == {name for mutant in MUTANTS for name in mutant.laws}
