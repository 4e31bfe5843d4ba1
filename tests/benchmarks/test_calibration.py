"""1-sigma intervals hold the exact value for 68% of the repeats, or the estimate has a note."""

import math

import pytest

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
