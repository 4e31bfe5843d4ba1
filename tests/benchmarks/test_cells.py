"""Studies that are cut short and go on: cells are measured once, and kept with the recipe that measured them."""

import pytest

from haarflow.benchmarks.harness.cells import measured, stored


def test_what_a_file_holds_is_not_measured_again(tmp_path):
    path, asked = tmp_path / "squares.json", []

    def square(cell):
        asked.append(cell["x"])
        if cell["x"] == 3 and asked.count(3) == 1:
            raise KeyboardInterrupt
        return {"square": cell["x"] ** 2 + 1.23456789e-7}

    cells = [{"x": 2}, {"x": 3}]
    with pytest.raises(KeyboardInterrupt):
        measured(path, "squares", {"seed": 1}, cells, square)
    found = measured(path, "squares", {"seed": 1}, cells, square)
    assert asked == [2, 3, 3] and [row["square"] for row in found] == [
        pytest.approx(4, abs=1e-6),
        pytest.approx(9, abs=1e-6),
    ]
    assert measured(path, "squares", {"seed": 1}, [{"x": 3}], square) == found[1:]
    assert stored(path, "squares", {"seed": 1}) == found and found[0]["square"] == 4.00000012


def test_rows_of_another_recipe_are_refused(tmp_path):
    path = tmp_path / "squares.json"
    measured(path, "squares", {"seed": 1}, [{"x": 2}], lambda cell: {})
    with pytest.raises(ValueError, match=r"holds squares of \{'seed': 1\}, not squares of \{'seed': 2\}: name another"):
        measured(path, "squares", {"seed": 2}, [{"x": 2}], lambda cell: {})
