"""`haarflow verify` on what users bring: nothing right fails, and what is wrong is named in a sentence."""

import re
import tracemalloc

import pytest

import haarflow as library
from haarflow.backends import members
from haarflow.core import random
from haarflow.core.laws import law
from haarflow.flows.flow import Model
from haarflow.flows.laws.maps import log_dets_cancel, round_trip, support
from haarflow.flows.mixtures import Mixture
from haarflow.flows.modelfile import save_model
from haarflow.flows.priors import Gaussian
from haarflow.flows.scalar.shift import UniformShift
from haarflow.verification import weight_objects
from haarflow.verification.subjects import entries
from tests.conftest import member
from tests.support import user_objects as users


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


def test_a_mixture_from_a_file_keeps_the_laws_of_densities(tmp_path):
    """With its trained parameters, on the smallest lattice that it accepts; a target whose ln Z is known is a subject, too."""
    wells = Mixture(tuple(Model(Gaussian((4, 4)), UniformShift(2, v)) for v in (-0.5, 1.0)), (0.25, 0.75))
    host = member("numpy")
    save_model(tmp_path / "wells.safetensors", wells, wells.init(random.key(0, host)))
    found = library.verify(str(tmp_path / "wells.safetensors"), backend="numpy")
    assert [(result.law, result.reason) for result in found.failed] == []
    assert {"sample_is_its_density", "draws_follow_the_density"} <= {result.law for result in found.results}
    assert [entry.lattices for entry in entries(str(tmp_path / "wells.safetensors"))] == [((3, 3),)]
    found = library.verify(weight_objects.uniform((2, 2)), backend="numpy")
    assert not found.failed and {result.law for result in found.results} == {"mean_weight_is_z", "bounds_in_order"}


def test_the_prior_of_angles_on_sites_keeps_its_laws():
    assert not library.verify(users.UniformSites((4, 4)), backend="numpy").failed


def test_a_symmetry_that_a_flow_of_angles_on_sites_has_not_is_seen():
    found = library.verify(Model(users.UniformSites((4, 4)), users.OddCircleMap()), backend="numpy")
    assert "equivariance" in {result.law for result in found.failed}


@pytest.mark.parametrize(
    "flow, sentence",
    [
        (users.AccidentalOuterProduct(), "returns y of the shape (3, 3, 8, 8), wanted the same shape"),
        (users.OddLogDet("column"), "returns log_det of the shape (3, 1), wanted one number for each field, (3,)"),
        (users.OddLogDet("one"), "log_det of the shape (1,)"),
        (users.OddLogDet("sum"), "log_det of the shape ()"),
        (users.OddLogDet("a float"), "log_det as a float"),
        (users.ForwardOnly(), "wanted the pair (y, log_det)"),
    ],
)
def test_a_wrong_shape_is_named_and_the_other_laws_are_left(flow, sentence):
    found = library.verify(Model(Gaussian((8, 8)), flow), backend="numpy")
    (failed,) = found.results
    assert failed.law == "shapes" and not failed.passed and sentence in failed.reason
    assert "round_trip" in {result.law for result in found.skipped if "shapes does not hold" in result.reason}


def test_a_single_law_fails_where_shapes_are_wrong_and_allocates_little():
    flow = users.AccidentalOuterProduct()
    found = library.verify(Model(Gaussian((8, 8)), flow), backend="numpy", laws="draws_have_the_density")
    assert [(result.law, result.passed) for result in found.results] == [("draws_have_the_density", False)]


def test_laws_of_a_map_do_not_broadcast(host):
    """(B, B, 4, 4) less (B, 4, 4) is a difference of arrays all the same: the laws themselves look at shapes."""
    flow, x = users.AccidentalOuterProduct(), host.asarray([[[0.3, -1.0], [2.0, 0.1]]] * 3)
    for of_a_map in (round_trip, log_dets_cancel, support):
        verdict = of_a_map(flow, {"a": host.asarray(0.1)}, x)
        assert not verdict.passed and "wanted" in verdict.reason


def test_an_exception_is_told_with_the_users_line_and_other_laws_go_on():
    found = library.verify(Model(Gaussian((4, 4)), users.Stumbling()), backend="numpy")
    failed = {result.law: result.reason for result in found.failed}
    assert "KeyError: 'b'" in failed["round_trip"] and 'return y * params["b"], y' in failed["round_trip"]
    assert "user_objects.py:" in failed["round_trip"]
    assert "log_det_by_differences" in {result.law for result in found.results if result.passed}


def test_a_flow_that_is_no_dataclass_and_has_no_hash_keeps_all_laws_that_apply():
    found = library.verify(users.Scaling(), backend="numpy")
    assert not found.failed and len(found.results) > 8
    skipped = {result.law: result.reason for result in found.skipped}
    assert "Scaling is not one" in skipped["file_keeps_the_model"] and "no symmetries" in skipped["equivariance"]


@pytest.mark.parametrize("make", [users.CircleMap, users.AngleCoupling], ids=lambda kind: kind.__name__)
def test_a_bare_flow_of_angles_is_put_on_sites(make):
    (entry,) = entries(make())
    assert type(entry.make((4, 4)).prior).__name__ == "UniformSites"


@pytest.mark.parametrize(
    "subject, sentence",
    [
        (users.NoInverse(), "a flow has forward, inverse, init, but it lacks inverse"),
        (users.CircleMap, "CircleMap returns flows, which have no lattice: return Model(prior, flow)"),
        (users.site_sum, "site_sum does not return an object of a known kind"),
        (Model(users.XY((4, 4)), users.CircleMap()), "XY of this model lacks sample and log_density"),
        (Model(Gaussian((4, 4)), users.NoInverse()), "NoInverse of this model lacks inverse"),
    ],
)
def test_what_cannot_be_verified_is_refused_in_a_sentence(subject, sentence):
    with pytest.raises(TypeError, match=re.escape(sentence)):
        library.verify(subject, backend="numpy")


def test_a_module_that_raises_is_named_with_its_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raises_at_import.py").write_text("answer = 1\nanswer.no_such_name\n")
    with pytest.raises(ValueError, match=r"raises_at_import.py:2, in <module>: answer.no_such_name"):
        library.verify("raises_at_import:answer", backend="numpy")


@pytest.mark.parametrize(
    "subject",
    [
        users.XY((512, 512)),
        users.XY((8192, 8192)),
        Gaussian((4096, 4096)),
        Model(Gaussian((4096, 4096)), users.Scaling()),
        Model(users.UniformSites((64, 64)), users.CircleMap()),
    ],
    ids=lambda subject: type(subject).__name__,
)
def test_no_law_allocates_more_than_its_memory(subject, monkeypatch):
    """A law of a large object looks at less of it, or says that it is too large: nothing allocates beyond the bound."""
    monkeypatch.setattr(law, "MEMORY", 2**27)
    tracemalloc.start()
    try:
        found = library.verify(subject, backend="numpy")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not found.failed and peak < 2**27
    assert found.results or {result.reason.partition(":")[0] for result in found.skipped} >= {"too large for this law"}


def test_a_users_dirac_operator_gets_a_verdict_with_a_counterexample():
    """Staggered fermions on the usual links keep all laws; one that moves back by the same phase is not covariant."""
    found = library.verify(users.Staggered((4, 2)), backend="numpy")
    assert [(result.law, result.reason) for result in found.failed] == []
    assert {"gauge_covariance", "adjoint_product", "bilinear_by_differences"} <= {r.law for r in found.results}
    assert {"gamma5_hermiticity", "dense_matrix", "even_odd_form", "plane_waves"} <= {r.law for r in found.skipped}
    wrong = {r.law: r for r in library.verify(users.Staggered((4, 2), backward=1), backend="numpy").failed}
    assert {"gauge_covariance", "adjoint_product", "bilinear_by_differences"} <= set(wrong)
    assert "Given(lattice=(4, 2)" in wrong["gauge_covariance"].example
