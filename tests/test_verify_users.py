"""`haarflow verify` on what users bring: nothing right fails, and what is wrong is named in a sentence."""

import pytest

import haarflow as library
from haarflow.backends import members
from tests import user_objects as users
from tests.conftest import member

SITES = users.UniformSites((4, 4))


@pytest.mark.parametrize("name", [name for name in ("numpy", "strict", "jax", "torch") if not members.absence(name)])
@pytest.mark.parametrize(
    "theory", [users.Least, users.GaussianTheory, users.DifferentiatedInside, users.XY], ids=lambda kind: kind.__name__
)
def test_nothing_fails_for_a_right_theory_with_a_force_by_autodiff(theory, name):
    member(name)  # JAX counts in 64 bits
    found = library.verify(theory((4, 4)), backend=name)
    assert [(result.law, result.reason) for result in found.failed] == []
    checked = {result.law for result in found.results}
    assert {"action_values", "equals_numpy", "inputs_unchanged"} <= checked
    skipped = {result.law: result.reason for result in found.skipped}
    if theory is not users.Least:
        differentiates = name in ("jax", "torch")
        assert ("force_by_differences" in checked) == differentiates
        assert differentiates or "automatic differentiation" in skipped["force_by_differences"]
