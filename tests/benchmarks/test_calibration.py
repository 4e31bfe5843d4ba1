"""1-sigma intervals hold the exact value for 68% of the repeats, or the estimate has a note."""

import json
import math

import pytest

from haarflow.benchmarks.studies import calibration
from haarflow.benchmarks.studies.calibration import HIGH, LOW, Covered, measured, rows

REPEATS = 400
SIGMA = math.sqrt(0.683 * 0.317 / REPEATS)  # 0.023 of a share


@pytest.mark.statistical
@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_intervals_are_calibrated_or_noted(row):
    """Within three sigma of the bar: an interval that covers 0.683 fails once in 10^5 rows; the draws are fixed."""
    found = measured(row, REPEATS)
    assert found.noted > 0.5 or LOW - 3 * SIGMA < found.covered < HIGH + 3 * SIGMA, found


def test_a_study_of_error_bars_twice_too_small_is_off():
    """The measure itself: halved errors cover 0.38."""
    (row,) = (row for row in rows() if row.name == "mean, 200 independent draws")

    def halved(x):
        found = row.estimate(x)
        return found._replace(error=found.error / 2)

    found = measured(row._replace(estimate=halved), 300)
    assert found.verdict == "OFF" and abs(found.covered - 0.383) < 4 * math.sqrt(0.383 * 0.617 / 300)
    assert Covered("", 1, 0.68, 0.68, 0.0).verdict == "calibrated" and Covered("", 1, 0.4, 0.4, 0.6).verdict == "noted"


def test_an_interrupted_study_goes_on_from_its_rows(tmp_path, monkeypatch, capsys):
    path, done = tmp_path / "rows.json", []

    def counted(row, repeats, seed):
        done.append(row.name)
        return measured(row, repeats, seed)

    def study(*words):
        monkeypatch.setattr("sys.argv", ["calibration", "--repeats", "10", "--json", str(path), *words])
        calibration.main()
        return capsys.readouterr().out

    monkeypatch.setattr(calibration, "measured", counted)
    first = study("--rows", "30 independent draws")
    both = study("--rows", "30 independent draws", "200 independent draws")
    assert done == ["mean, 30 independent draws", "mean, 200 independent draws"] and first in both
    assert [row["name"] for row in json.loads(path.read_text())["rows"]] == done
    with pytest.raises(SystemExit, match="name another file"):
        study("--seed", "1")
