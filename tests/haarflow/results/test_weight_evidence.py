"""What a summary says of a flow: what it leaves out, heavy tails, NaN weights, means that a symmetry makes zero."""

import json
import math

import h5py
import numpy
import pytest

from haarflow.core.parts import described
from haarflow.core.statistics import weights
from haarflow.report.text import coverage_table
from haarflow.results import ensemble, mode_evidence, summary
from haarflow.results.ensemble import Sampled
from haarflow.results.summary_file import SummaryError, read_summary
from haarflow.results.weight_evidence import UNSEEN, evidence, judged
from haarflow.run.advice import against_collapse
from haarflow.run.recipes import load
from haarflow.run.target import target_of
from tests.core.statistics.test_coverage import normal, two_wells
from tests.support.runs import haarflow, uniform_recipe

ZERO = {"m": {"value": 0.01, "error": 0.01, "exact": 0.0}, "E": {"value": 2.0, "error": 0.01, "exact": 1.0}}


def flow(log_w, target=None, **observables):
    """A reweighted flow, with the weights of a chain's configurations."""
    beside = {} if target is None else {"hmc": target}
    return Sampled("flow-reweighting", observables, numpy.atleast_2d(log_w), None, beside)


def sentences(log_w, target=None, table=None):
    sampled = flow(log_w, target)
    return judged(sampled, evidence(sampled), ZERO if table is None else table)


def log_normal(sigma, n, seed, chains=16, draws=75):
    """Log weights of a flow and of a chain, none of the target left out."""
    return normal(sigma, n, seed), sigma**2 + normal(sigma, chains * draws, 10_000 + seed).reshape(chains, draws)


def test_flows_that_cover_are_not_called_wrong():
    """ESS 0.5 at 2,000 draws, and at 128 draws 43 configurations: by chance 1 set in 1,000 is called wrong."""
    for seed in range(60):
        assert sentences(*log_normal(0.83, 2000, seed)) == []
        assert sentences(*log_normal(0.83, 128, seed, 8, 6)) == []


def test_all_observables_share_one_note_on_the_weights(monkeypatch):
    asked, target = [], target_of(load("u1-tiny"))
    plain, log_w = weights.weight_note, normal(2.0, 2000, 0)
    monkeypatch.setattr(weights, "weight_note", lambda log_w: asked.append(1) or plain(log_w))
    generator = numpy.random.default_rng(0)
    names = described(target.theory).part("summary")
    table = summary.observables(target, flow(log_w, **{name: generator.normal(size=(1, 2000)) for name in names}))
    assert len(table) > 5 and asked == [1]
    assert {entry["note"] for entry in table.values()} == {plain(log_w)}


@pytest.mark.statistical
def test_false_alarms_are_as_rare_as_stated():
    """3,000 sets of ESS 0.5: at most 6 where 3 may be (a rate of 1 in 1,000 gives more than 6 with chance 0.03)."""
    assert sum(bool(sentences(*log_normal(0.83, 2000, seed))) for seed in range(3000)) <= 6


@pytest.mark.parametrize("seed", range(5))
def test_a_well_that_is_missed_is_named(seed):
    said = sentences(*two_wells((3.0,), 0.55, seed))
    assert len(said) == 1 and "does not cover the target" in said[0] and "1,600 configurations of hmc" in said[0]


def test_a_few_per_cent_left_out_are_named():
    """An interval that holds 3% of the target is never drawn; of 1,200 configurations 36 lie there."""
    for seed in range(10):
        own, target = log_normal(0.5, 8000, seed)
        lost = numpy.random.default_rng(seed).uniform(size=target.shape) < 0.03
        assert "does not cover" in sentences(own, numpy.where(lost, target + 20.0, target))[0]


def test_ln_z_of_both_sides_is_compared():
    own, target = log_normal(0.3, 8000, 0)
    assert "standard errors apart" in sentences(own, target - 0.2)[0]


def test_heavy_tails_are_named():
    heavy = -1.0 * numpy.log(numpy.random.default_rng(0).uniform(size=10_000))
    assert "heavy tail, Pareto shape" in sentences(heavy)[0]


def test_nan_weights_are_named_and_give_no_estimate():
    log_w = normal(0.3, 500, 0)
    log_w[7] = math.nan
    sampled = flow(log_w, m=numpy.ones((1, 500)))
    assert "1 of 500 log weights is NaN" in judged(sampled, evidence(sampled), {})[0]
    assert evidence(sampled)["ess"]["value"] is None
    metropolis = sampled._replace(kind="flow-metropolis", accepted=numpy.ones((1, 500)))
    target = target_of(load("phi4-2d"))
    for one in (sampled, metropolis):
        entry = summary.observables(target, one._replace(observables=every_name(500)))["abs_m"]
        assert entry["value"] is None and "1 of 500 log weights is NaN" in entry["note"]


def every_name(n, m=None):
    """Observables of phi^4 that fluctuate about zero, with a magnetisation `m`."""
    rng = numpy.random.default_rng(3)
    names = ("phi2", "phi4", "E", "abs_m", "chi2", "m_4", "G_min", "identity", "m")
    series = {name: rng.normal(1.0, 0.1, (1, n)) for name in names}
    return series | {"m": rng.normal(0.0, 1.0, (1, n)) if m is None else m}


def test_a_magnetisation_of_one_sign_is_caught_by_symmetry():
    target, log_w = target_of(load("phi4-2d")), normal(0.3, 2000, 1)
    for m, wrong in ((None, False), (1.36 + 0.1 * numpy.random.default_rng(0).normal(size=(1, 2000)), True)):
        sampled = flow(log_w)._replace(observables=every_name(2000, m))
        table = summary.observables(target, sampled)
        assert table["m"]["exact"] == 0.0  # measured though the theory's report does not name it
        said = judged(sampled, evidence(sampled), table)
        assert bool(said) == wrong and all("zero, which it is by a symmetry" in one for one in said)


def two_signs(share, chains, seed=0):
    """Magnetisations `(chain, 50)` of chains that stay in their well, a share of them in the negative one."""
    sign = numpy.where(numpy.arange(chains) < share * chains, -1.0, 1.0)
    return sign[:, None] * numpy.random.default_rng(seed).normal(2.0, 0.1, (chains, 50))


def test_a_well_that_is_never_drawn_is_called_a_collapse():
    target, log_w = target_of(load("phi4-2d")), normal(0.3, 2000, 1)
    collapsed = flow(log_w)._replace(observables=every_name(2000, two_signs(0.0, 40).reshape(1, -1)))
    both = flow(log_w)._replace(observables=every_name(2000, two_signs(0.5, 40).reshape(1, -1)))
    chain = Sampled("hmc", {"m": two_signs(0.5, 64)}, None, numpy.ones((64, 50)))
    for sampled, wrong in ((collapsed, True), (both, False)):
        found = mode_evidence.evidence(target.theory, sampled, {"hmc": chain})
        said = judged(sampled, evidence(sampled, found), {})
        assert (
            any("has collapsed: 50.0% ± 6.3% of the configurations of hmc have m < 0" in one for one in said) == wrong
        )
        assert len(found["rows"]) == 2 and json.loads(json.dumps(found)) == found
    assert mode_evidence.evidence(target.theory, chain, {}) is None
    assert (
        mode_evidence.evidence(target.theory, collapsed._replace(observables={"E": numpy.ones((1, 2000))}), {}) is None
    )


def test_what_helps_against_a_collapse_is_what_the_theory_and_the_recipe_allow():
    wells = target_of(load("phi4-two-wells"))
    assert "one-well.symmetrised=false leaves out" in against_collapse(wells, "one-well")
    assert against_collapse(wells, "symmetrised").startswith("try a mixture, flow.mixture=2, or training")
    assert "flow.symmetrised=['charge_conjugation']" in against_collapse(target_of(load("u1-tiny")), "flow-metropolis")
    assert against_collapse(target_of(load("u1-freezing")), "flow-metropolis") == ""


def test_sectors_of_a_gauge_group_are_told_apart_by_the_polyakov_loop():
    theory = target_of(load("su2-2d")).theory
    loop = numpy.where(numpy.arange(2000) % 4 == 0, -0.8, 0.8)[None, :]
    found = mode_evidence.evidence(theory, flow(numpy.zeros(2000))._replace(observables={"polyakov": loop}), {})
    assert found["by"] == "sign" and [row["model"]["value"] for row in found["rows"]] == [0.25, 0.75]


def test_modes_of_a_charge_are_its_values_and_rare_ones_are_left_out():
    rng = numpy.random.default_rng(2)
    charge = numpy.round(rng.normal(0.0, 1.0, (1, 4000)))
    charge[0, 0] = 9.0
    theory = target_of(load("u1-tiny")).theory
    sampled = flow(numpy.zeros(4000))._replace(observables={"Q": charge})
    found = mode_evidence.evidence(theory, sampled, {})
    assert found["by"] == "value" and [row["label"] for row in found["rows"]] == [-3, -2, -1, 0, 1, 2, 3]
    assert sum(row["weighted"]["value"] for row in found["rows"]) == pytest.approx(1.0, abs=1e-3)


def test_without_a_chain_the_unseen_is_a_remark_and_no_warning():
    log_w = normal(0.3, 2000, 1)
    assert evidence(flow(log_w))["remark"] == UNSEEN and sentences(log_w) == []
    assert evidence(flow(*log_normal(0.3, 2000, 0)))["remark"] == ""


# ---- a run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    where = tmp_path_factory.mktemp("weights")
    assert haarflow("run", uniform_recipe(where), "--backend", "numpy", "--out", where / "run", "--quiet") == 0
    return where / "run"


def test_the_weights_of_a_chain_are_those_of_its_configurations(run):
    """Uniform links have log q = 0, so that log w = -S of each configuration, which the file holds too."""
    with h5py.File(run / "ensemble.h5") as file:
        for flow_name in ("flow-metropolis", "flow-reweighting"):
            assert set(file[flow_name]["target_log_w"]) == {"hmc", "heatbath", "mixture"}
        for chain, chains, draws in (("hmc", 4, 25), ("heatbath", 4, 20), ("mixture", 2, 10)):
            found = file["flow-reweighting/target_log_w"][chain][...]
            stride = -(-draws // found.shape[1])
            action = file[chain]["observables/action"][...]
            assert found.shape[0] == chains
            numpy.testing.assert_allclose(found, -action[:, ::stride], rtol=1e-12)


def test_the_summary_and_the_terminal_carry_the_evidence(run):
    found = json.loads((run / "summary.json").read_text())["samplers"]
    entry = found["flow-reweighting"]["coverage"]
    assert entry["ess"]["value"] == found["flow-reweighting"]["ess"] and entry["ess"]["error"] > 0.0
    assert set(entry["chains"]) == {"hmc", "heatbath", "mixture"} and found["hmc"]["warnings"] == []
    assert "coverage" not in found["hmc"]
    text = coverage_table(found)
    assert "ESS of target" in text and "Bennett" in text and "of their weight" in text and "Q = 0" in text
    for name, chain in entry["chains"].items():
        assert entry["elbo"]["value"] < chain["bridge"]["value"] < chain["eubo"]["value"], name
    page = (run / "report.html").read_text()
    assert "Does the flow cover the target?" in page and "Free energy" in page and "Bennett" in page and "Q = 0" in page
    assert ensemble.read(run / "ensemble.h5").samplers["flow-reweighting"].target_log_w["hmc"].shape[0] == 4


def test_summaries_without_bounds_and_modes_are_still_read(run, tmp_path):
    """As they were written before there were any: no table of ln Z, all else as ever; a damaged bound is refused."""
    whole = json.loads((run / "summary.json").read_text())
    older = json.loads(json.dumps(whole))
    for name in ("flow-metropolis", "flow-reweighting"):
        entry = older["samplers"][name]["coverage"]
        for key in ("elbo", "iwae", "group", "bias", "modes"):
            del entry[key]
        for chain in entry["chains"].values():
            del chain["eubo"], chain["bridge"], chain["covered"]
    (tmp_path / "older.json").write_text(json.dumps(older))
    text = coverage_table(read_summary(tmp_path / "older.json")["samplers"])
    assert "ESS of target" in text and "Bennett " not in text and "Q = 0" not in text
    for path in (("elbo",), ("chains", "hmc", "bridge"), ("modes",)):
        damaged = json.loads(json.dumps(whole))
        part = damaged["samplers"]["flow-reweighting"]["coverage"]
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = {"value": "high"}
        (tmp_path / "damaged.json").write_text(json.dumps(damaged))
        with pytest.raises(SummaryError, match="is damaged"):
            read_summary(tmp_path / "damaged.json")


@pytest.mark.slow
def test_two_wells_of_phi4_are_flagged(tmp_path):
    """phi^4 on 4x4 at m2 = -4, lam = 1: the flow has ESS 0.4 and leaves out 3 to 5% of what HMC visits."""
    pytest.importorskip("jax")
    recipe = tmp_path / "wells.toml"
    recipe.write_text(WELLS)
    assert haarflow("run", recipe, "--backend", "jax", "--quiet", "--no-report", "--out", tmp_path / "run") == 0
    said = json.loads((tmp_path / "run" / "summary.json").read_text())["samplers"]["flow-reweighting"]["warnings"]
    assert any("does not cover the target" in one for one in said)


WELLS = """
name = "wells"
lattice = [4, 4]
theory = { name = "phi4", m2 = -4.0, lam = 1.0 }
flow = { kind = "convolutional" }
train = { steps = 300, batch = 128, lr = 5e-3, clip = 1.0 }
[samplers]
flow-reweighting = { draws = 8000 }
hmc = { chains = 16, draws = 500, warmup = 100, step_size = 0.06 }
"""
