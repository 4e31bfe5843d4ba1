"""Every solver obeys its laws on every backend, and every wrong one is caught by the law meant for it."""

import pytest

from haarflow.core.laws.law import Given
from haarflow.core.laws.solvers import SOLVER_LAWS
from haarflow.verification.solver_objects import SOLVERS
from tests.conftest import MEMBERS
from tests.laws.test_core import engine
from tests.mutants.solvers import MUTANTS

CASES = [(name, law) for name, solver in SOLVERS.items() for law in SOLVER_LAWS if law.applies(solver) is None]
# JAX compiles every law of every solver, strict is slow at every step: the rest are slow tests
QUICK = {
    "jax": {
        ("cg", "rows_apart"),
        ("bicgstab", "true_residual"),
        ("multishift", "equals_dense"),
        ("lanczos", "ends_of_spectrum"),
    },
    "strict": {("mixed cg", "true_residual"), ("multishift", "says_unconverged"), ("lanczos", "ends_of_spectrum")},
    "torch": {
        (name, law)
        for name in ("cg", "multishift", "mixed bicgstab")
        for law in ("true_residual", "equals_dense", "rows_apart")
    },
}


def cases():
    """List every backend with every solver and law, marked slow where QUICK does not list them."""
    found = []
    for backend in MEMBERS:
        for name, law in CASES:
            quick = QUICK.get(backend)
            marks = () if quick is None or (name, law.name) in quick else pytest.mark.slow
            found.append(pytest.param(backend, name, law, marks=marks, id=f"{backend}-{name}-{law.name}"))
    return found


@pytest.mark.parametrize(("backend", "name", "law"), cases())
def test_solvers_obey_their_laws(backend, name, law):
    for seed, size in ((0, "one"), (1, "zero")):
        verdict = law.check(SOLVERS[name], Given((4, 3), seed=seed, size=size, backend=engine(backend)))
        assert verdict.passed, (verdict.residual, verdict.tolerance)


@pytest.mark.parametrize(("name", "law"), [pytest.param(*case, id=f"{case[0]}-{case[1].name}") for case in CASES])
def test_solvers_obey_their_laws_in_single_precision_and_at_any_scale(name, law):
    given = Given((6, 4), dtype="float32", backend=engine("numpy", "float32"))
    for one in (given, Given((4, 3), seed=3, size="small"), Given((4, 3), seed=4, size="large")):
        verdict = law.check(SOLVERS[name], one)
        assert verdict.passed, (one, verdict.residual, verdict.tolerance)


@pytest.mark.parametrize("backend", ["numpy", *[pytest.param(name, marks=pytest.mark.slow) for name in MEMBERS[1:]]])
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_caught_by_the_law_meant_for_it(backend, mutant):
    laws, obj = {law.name: law for law in SOLVER_LAWS}, mutant.make((4, 3))
    for name in mutant.laws:
        assert laws[name].applies(obj) is None
        verdict = laws[name].check(obj, Given((4, 3), backend=engine(backend), **mutant.given))
        assert not verdict.passed, f"{name} lets it pass: {verdict.residual:.3g} <= {verdict.tolerance:.3g}"


def test_every_law_has_a_mutant():
    assert {name for mutant in MUTANTS for name in mutant.laws} == {law.name for law in SOLVER_LAWS}
