"""`haarflow verify` on what users bring: nothing right fails, and what is wrong is named in a sentence."""

import pytest

import haarflow as library
from haarflow.backends import members
from haarflow.flows.flow import Model
from tests import user_objects as users
from tests.conftest import member



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


@pytest.mark.parametrize("lattice", [(4, 4), (2, 4), (2, 4, 4)], ids=str)
def test_a_right_flow_of_angles_on_sites_keeps_all_laws(lattice):
    """(2, 4, 4) has the shape of links on 4 x 4, too: the prior's lattice decides."""
    model = Model(users.UniformSites(lattice), users.CircleMap(len(lattice)))
    found = library.verify(model, backend="numpy")
    assert [(result.law, result.reason) for result in found.failed] == []
    assert {"equivariance", "invariant_density", "log_det_by_differences"} <= {result.law for result in found.results}


@pytest.mark.parametrize("name", ["jax", "torch"])
def test_a_checkerboard_coupling_of_angles_on_sites_keeps_all_laws(name):
    member(name)
    found = library.verify(Model(users.UniformSites((4, 4)), users.AngleCoupling()), backend=f"numpy,{name}")
    assert [(result.law, result.backend, result.reason) for result in found.failed] == []
    assert {"equivariance", "log_det_by_differences"} <= {result.law for result in found.results}


def test_the_prior_of_angles_on_sites_keeps_its_laws():
    assert not library.verify(users.UniformSites((4, 4)), backend="numpy").failed


def test_a_symmetry_that_a_flow_of_angles_on_sites_has_not_is_seen():
    found = library.verify(Model(users.UniformSites((4, 4)), users.OddCircleMap()), backend="numpy")
    assert "equivariance" in {result.law for result in found.failed}
