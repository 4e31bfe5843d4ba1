"""Files are whole or old: the law of atomic writes."""

import errno
import json
import math
import os
import signal
import subprocess
import sys

import numpy
import pytest

from haarflow.core import files


def test_writes_and_leaves_nothing_else(tmp_path):
    files.write_bytes(tmp_path / "a", b"one")
    files.write_text(tmp_path / "a", "zwei ü")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "zwei ü"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_error_keeps_the_old_file(tmp_path):
    files.write_text(tmp_path / "a", "old")
    with pytest.raises(RuntimeError), files.replacing(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_keeps_the_old_file(tmp_path, monkeypatch):
    files.write_text(tmp_path / "a", "old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_flushes_before_it_renames(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("fsync"), fsync(descriptor))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("rename"), replace(a, b))[1])
    files.write_text(tmp_path / "a", "x")
    assert order == ["fsync", "rename", "fsync"]


def test_json_has_no_nan_and_takes_numpy(tmp_path):
    value = {"a": [math.nan, math.inf, 1.5], "b": numpy.float64(2.0), "c": numpy.asarray([1, 2]), 3: (True, None, "x")}
    files.write_json(tmp_path / "a.json", value)
    found = json.loads((tmp_path / "a.json").read_text())
    assert found == {"a": [None, None, 1.5], "b": 2.0, "c": [1, 2], "3": [True, None, "x"]}


def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    script = (
        "import sys; from haarflow.core import files\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1; files.write_bytes(sys.argv[1], bytes([n % 251]) * 100_000)\n"
        "    if n == 5: print('ready', flush=True)\n"
    )
    path = tmp_path / "a"
    writer = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
    writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    data = path.read_bytes()
    assert len(data) == 100_000
    assert len(set(data)) == 1
    files.remove_leftovers(tmp_path)
    assert [found.name for found in tmp_path.iterdir()] == ["a"]
