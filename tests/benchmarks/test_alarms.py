"""The study of warnings: what counts as flagged and as a false alarm, which seeds are run, and that it goes on where it was."""

import json

import pytest

from haarflow.benchmarks.studies import alarms
from haarflow.benchmarks.studies.alarms import CASES, Row
from haarflow.run.recipes import names


def summary(**warnings):
    """A summary.json of u1-freezing's samplers, with the warnings of some."""
    entry = {"value": 1.5, "error": 0.25, "exact": 1.0, "tau_int": 0.5}
    names = (*CASES["u1-freezing"].wrong, *CASES["u1-freezing"].right)
    chain = {"kind": "hmc", "observables": {"E": entry}, "cpu_s": 2.0}
    flow = {"kind": "flow-reweighting", "observables": {"E": entry}, "coverage": {}, "ess": 0.75, "cpu_s": 1.0}
    table = {name: chain if name in ("hmc", "heatbath") else flow for name in names}
    return {
        "training": {"cpu_s": 7.0},
        "samplers": {name: {**one, "warnings": warnings.get(name, [])} for name, one in table.items()},
    }


def tiny(seed, ess=0.9, **words):
    return Row("u1-tiny", seed, ess, **{"warnings": {}, "grave": [], "notes": {}, "off": {}, "cpu_s": 1.0, **words})


def test_a_run_is_flagged_if_every_wrong_sampler_warns_and_a_right_one_that_warns_is_a_false_alarm():
    silent = alarms.row_of("u1-freezing", 0, summary())
    assert not silent.flagged and not silent.false_alarms and silent.ess == 0.75
    assert silent.cpu_s == 14.0 and not silent.off
    part = alarms.row_of("u1-freezing", 1, summary(hmc=["frozen"], heatbath=["frozen"]))
    assert not part.flagged and not part.false_alarms and part.off == {"hmc": 2.0, "heatbath": 2.0}
    whole = alarms.row_of("u1-freezing", 2, summary(**{name: ["frozen"] for name in CASES["u1-freezing"].wrong}))
    assert whole.flagged and not whole.false_alarms
    false = alarms.row_of("u1-freezing", 3, summary(**{"flow-metropolis": ["the weights"]}))
    assert not false.flagged and false.false_alarms == {"flow-metropolis": ["the weights"]}
    (found,) = alarms.counted([silent, part, whole, false])
    assert found == ("u1-freezing", 4, 1, 1, 1)


def test_a_grave_verdict_on_right_numbers_is_a_false_alarm_and_a_note_is_none():
    far = summary()
    far["samplers"]["hmc"]["observables"] = {
        "E": {"value": 3.0, "error": 0.25, "exact": 1.0, "tau_int": 0.5, "note": "x"}
    }
    row = alarms.row_of("u1-tiny", 0, far)
    assert row.notes == {"hmc: E": "x"}
    assert list(row.false_alarms) == ["verdict"] and "do not trust this run" in row.grave[0]
    assert alarms.texts([row])["u1-tiny", "note", "x"] == 1
    assert not row._replace(case="u1-freezing").false_alarms  # there numbers are wrong, and differ


def test_runs_of_a_weak_flow_do_not_count_and_are_replaced_by_others():
    rows = [tiny(0), tiny(1, 0.4, warnings={"hmc": ["x"]}), tiny(2, None)]
    assert alarms.counted(rows) == [("u1-tiny", 1, None, 0, 0)]
    assert "0 false alarms (at most 6); 2 runs of u1-tiny" in alarms.report(rows)
    seeds = alarms.seeds_of(CASES["u1-tiny"], 10, 3, rows)
    assert [next(seeds), next(seeds)] == [0, 1]
    rows += [tiny(3), tiny(4)]
    assert next(seeds, None) is None


def test_an_interrupted_study_goes_on_from_its_rows(tmp_path, monkeypatch):
    """The runs are replaced by rows of known size: what is tested is which of them are asked for."""
    asked, given = [], ["--cases", "u1-tiny", "wells", "u1-2d", "--runs", "3", "--seeds", "2"]
    given = alarms.parsed([*given, "--json", str(tmp_path / "rows.json")])

    def ran(case, seed, folder):
        asked.append((case.name, seed))
        if len(asked) == 4:
            raise KeyboardInterrupt
        return tiny(7 if seed is None else seed, 0.4 if seed == 1 else 0.9)._replace(case=case.name)

    monkeypatch.setattr(alarms, "ran", ran)
    with pytest.raises(KeyboardInterrupt):
        alarms.completed(given)
    alarms.completed(given)
    alarms.completed(given)
    tinies = [("u1-tiny", seed) for seed in (0, 1, 2, 3)]
    assert asked == [*tinies, tinies[-1], ("wells", 0), ("wells", 1), ("u1-2d", None)]
    assert [row.seed for row in alarms.kept_in(given.json)] == [0, 1, 2, 3, 0, 1, 7]
    (tmp_path / "rows.json").write_text(json.dumps({"kind": "calibration"}))
    with pytest.raises(SystemExit, match="holds calibration"):
        alarms.kept_in(given.json)


def test_the_cases_are_recipes_and_their_seeds_are_set():
    for case in CASES.values():
        assert case.load(3).seed == 3 and set(case.wrong) <= set(case.load(None).samplers)
    assert CASES["one-well"].load(0).flow == {"kind": "tutorial", "layers": 8}
    assert "hmc" not in CASES["one-well, no chain"].load(0).samplers
    assert len(CASES) == 4 + len(names())
