"""What the study of the Schwinger model judges: estimates that both samplers support."""

import pytest

from haarflow.benchmarks.studies.schwinger_exactness import OBSERVABLES, notes, with_pulls
from haarflow.core.statistics import Estimate


def row(sampler, value, beta=1.0, **said):
    found = {name: Estimate(value, 3.0, note=said.get(name, ""))._asdict() for name in OBSERVABLES}
    found["sign"] = Estimate(1.0, None, note="constant over all 9 values: its error is not known")._asdict()
    return {"lattice": 4, "beta": beta, "kappa": 0.2, "sampler": sampler, "estimates": found}


def test_estimates_with_a_note_or_without_an_error_are_not_judged():
    rows = [row("hmc", 50.0), row("hmc-hits", 0.0, Q2="few"), row("reweighting", 4.0, p_Q1="9 effective samples")]
    hmc, known, ours = with_pulls(rows)
    assert "pulls" not in hmc and "pulls" not in known
    assert set(ours["pulls"]) == {*OBSERVABLES} - {"sign", "Q2", "p_Q1"} and notes(ours) == ["9 effective samples"]
    assert all(pull == pytest.approx(4.0 / 18**0.5) for pull in ours["pulls"].values())


def test_rows_of_one_point_are_not_held_against_those_of_another():
    assert "pulls" not in with_pulls([row("hmc-hits", 0.0), row("reweighting", 1.0, beta=2.0)])[1]
