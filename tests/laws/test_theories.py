"""Every theory obeys every law on every backend, and every mutant is caught by its laws."""

from collections import Counter
from dataclasses import dataclass, replace
from itertools import cycle

import pytest
from hypothesis import given, settings

from haarflow.core.laws.law import Given
from haarflow.core.laws.strategies import givens, lattices
from haarflow.core.parts import described
from haarflow.theories import Phi4, U1Gauge
from haarflow.theories.laws.exact import exact_by_quadrature
from haarflow.theories.laws.tables import THEORY_LAWS
from haarflow.theories.theory import SYMMETRIES, autodiff_force
from haarflow.verification.theory_objects import THEORY_ENTRIES, Bare, SineGordon
from tests.mutants import kept
from tests.mutants.theories import MUTANTS

LAWS = {law.name: law for law in THEORY_LAWS}
ENTRIES = {entry.name: entry for entry in THEORY_ENTRIES}
# exact values are host code: one backend is enough
CHEAP = [
    law for law in THEORY_LAWS if law.name not in ("exact_by_quadrature", "thermodynamic_identity", "remembers_nothing")
]
ON_ITS_OWN_LATTICES = LAWS["remembers_nothing"]
# what a backend that compiles for each shape runs here; `haarflow verify` runs all of them on it
COMPILED = {"phi^4 d=2": (4, 4), "phi^4 hopping d=1": (4,), "U(1) d=2": (2, 2), "an own action d=2": (2, 3)}


def held(theory, given, laws=THEORY_LAWS):
    """The laws that fail, as text."""
    faults = []
    for law in laws:
        if law.applies(theory) is None:
            verdict = law.check(theory, given)
            if not verdict.passed:
                example = {word: value for word, value in verdict.example.items() if word != "field"}
                faults.append(f"{law.name} {given}: {verdict.residual} > {verdict.tolerance}, {example}")
    return faults


def is_readonly(backend):
    """Whether the backend's arrays cannot be written to."""
    return backend.name == "numpy" and not backend.asarray([0.0]).flags.writeable


@pytest.mark.parametrize("name", ENTRIES)
def test_all_laws_hold(name, backend):
    if backend.name == "jax" and name not in COMPILED:
        pytest.skip("compiling takes seconds; haarflow verify does it")
    entry, faults, plain = ENTRIES[name], [], backend.name == "numpy" and not is_readonly(backend)
    some = {"jax": (COMPILED.get(name),), "torch": entry.lattices[:2], "standard": entry.lattices[:1]}
    shapes = entry.lattices[:1] if is_readonly(backend) else some.get(backend.name, entry.lattices)
    for number, (lattice, style) in enumerate(zip(shapes, cycle(("haar", "seam", "huge", "near", "cold")))):
        given = Given(lattice, seed=number, style=style, size=("one", "small")[number % 2], backend=backend)
        laws = [law for law in THEORY_LAWS if number == 0 or law is not ON_ITS_OWN_LATTICES]
        faults += held(entry.make(lattice), given, laws if plain else CHEAP)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@given(given=givens(lattices((1, 4), largest=24)))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_all_laws_hold_on_any_lattice_and_field(dtype, given):
    laws = [law for law in CHEAP if not law.sampled]
    faults = held(Phi4(given.lattice, "hopping"), replace(given, dtype=dtype), laws)
    faults += held(Phi4(given.lattice), replace(given, dtype=dtype), laws)
    if len(given.lattice) > 1:
        faults += held(U1Gauge(given.lattice), replace(given, dtype=dtype), laws)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_law_bites(mutant, backend):
    words = {"lattice": (4, 4), "seed": 1} | mutant.given
    theory = mutant.make(words["lattice"])
    for name in mutant.laws if backend.name == "numpy" else mutant.laws[:1]:  # residuals are the same as on NumPy
        assert LAWS[name].applies(theory) is None, f"{name} does not apply"
        verdict = LAWS[name].check(theory, Given(**words, backend=backend))
        assert not verdict.passed, f"{name} lets it pass: {verdict.residual} <= {verdict.tolerance}"


def test_every_law_has_a_mutant():
    caught = Counter(name for mutant in MUTANTS for name in mutant.laws)
    assert set(LAWS) - set(caught) == {"traced_once"}  # only a backend that compiles can fail it: see the next test


def reads_its_coupling(lattice):
    """Branches on the value of beta, which is unknown while a function is traced."""
    theory = U1Gauge(lattice)

    def action(field, couplings=None):
        return theory.action(field, {"beta": float(couplings["beta"])})

    return kept(theory, action=action)


def test_a_coupling_that_is_read_is_caught_where_functions_are_traced(backend):
    verdict = LAWS["traced_once"].check(reads_its_coupling((2, 2)), Given((2, 2), backend=backend))
    assert verdict.passed == (backend.name != "jax")


def test_the_least_theory_gets_what_makes_sense_and_reasons_for_the_rest():
    reasons = {law.name: law.applies(Bare((4,))) for law in THEORY_LAWS}
    assert {name for name, reason in reasons.items() if reason is None} == {
        "action_values",
        "batch_rows",
        "inputs_unchanged",
        "remembers_nothing",
        "compiled_as_eager",
        "equals_numpy",
    }
    assert reasons["density_sums"] == "it declares no local"
    assert reasons["gauge_invariance"] == "it does not declare the symmetry 'gauge'"


def test_symmetries_are_words_that_laws_know():
    for entry in THEORY_ENTRIES:
        assert set(described(entry.make(entry.lattices[0])).symmetries.words) <= set(SYMMETRIES)


def test_a_force_by_autodiff_is_held_where_there_is_autodiff(backend):
    @dataclass(frozen=True)
    class Differentiated:
        lattice: tuple[int, ...]
        group, couplings, force = SineGordon.group, SineGordon.couplings, autodiff_force

        def action(self, field, couplings=None):
            return SineGordon(self.lattice).action(field, couplings)

    given = Given((3,), backend=backend)
    verdict = LAWS["force_by_differences"].check(Differentiated((3,)), given)
    assert verdict.passed and ("does not apply" in verdict.reason) == (not backend.autodiff)


@pytest.mark.parametrize("lattice", [(3, 1), (2, 2)])
def test_exact_values_of_tori_that_brute_force_resolves(lattice):
    verdict = exact_by_quadrature(U1Gauge(lattice), {"beta": 0.7}, fields=200_000)
    assert verdict.passed and {"plaquette", "ln_Z", "action"} <= set(verdict.example["judged"])


def test_mean_magnetisation_deep_in_the_broken_phase():
    """|m| was once 6e-5 too small here, because its Fourier integral was cut off before it resolved the width of the peaks."""
    theory, couplings = Phi4((2, 1, 1, 1), "hopping"), {"kappa": 0.3, "lam": 0.022}
    verdict = exact_by_quadrature(theory, couplings)
    assert verdict.passed and "abs_m" in verdict.example["judged"]
    assert abs(theory.exact(couplings)["abs_m"] - 5.688940007) < 1e-9
