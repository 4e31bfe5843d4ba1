"""Damaged files of every kind are read or refused with one sentence, in bounded time and memory (FUZZ files of each, 500)."""

import os

import pytest

from tests.fuzz.kinds import KINDS
from tests.fuzz.tally import ending, tally

COUNT = int(os.environ.get("FUZZ", "500"))


@pytest.mark.parametrize("name", KINDS)
def test_damaged_files_end_well(name, tmp_path):
    found = tally(KINDS[name], COUNT, tmp_path)
    assert not found.failures, (found.failures, found.examples)
    assert found.count >= 0.9 * COUNT and found.read and found.refused


def test_a_reader_that_fails_is_counted(tmp_path):
    """The judge itself: a mistake, a sentence of another package, too much memory and too much time are all seen."""
    path = tmp_path / "x"
    path.write_bytes(b"x")

    def reader(read):
        return KINDS["logs"]._replace(read=read)

    assert ending(reader(lambda path: {}["a"]), path).startswith("KeyError")
    assert ending(reader(lambda path: float("x")), path).startswith("ValueError")
    assert ending(reader(lambda path: bytearray(1 << 40)), path) == "needs too much memory"
    assert ending(reader(lambda path: None), path) == "read"
