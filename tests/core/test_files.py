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
    with pytest.raises(OSError, match="No space left") as raised:
        files.write_text(tmp_path / "a", "new")
    assert raised.value.filename == str(tmp_path / "a")
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


@pytest.mark.parametrize("mode", [0o640, 0o444, 0o200])
def test_a_replaced_file_keeps_its_permissions_and_attributes(tmp_path, mode):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(mode)
    attributes = hasattr(os, "setxattr")
    if attributes:
        try:
            os.setxattr(path, "user.origin", b"run 7")
        except OSError:  # a file system without extended attributes
            attributes = False
    files.write_text(path, "new")
    assert path.stat().st_mode & 0o777 == mode
    path.chmod(0o600)
    assert path.read_text() == "new" and (not attributes or os.getxattr(path, "user.origin") == b"run 7")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
def test_a_replaced_file_keeps_its_owner(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    os.chown(path, 12345, 54321)
    files.write_text(path, "new")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


def test_permissions_that_cannot_be_kept_are_no_error(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    for name in ("chown", "chmod"):
        monkeypatch.setattr(os, name, refused)
    files.write_text(tmp_path / "a", "old")
    files.write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path):
    files.write_text(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "a")
    with pytest.raises(OSError, match="only a regular file"):
        files.write_text(tmp_path / "a", "x")
    assert (tmp_path / "a").is_fifo()


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_stays_one(tmp_path, exists):
    """What it points to is replaced, in its own folder, also through a second link."""
    (tmp_path / "disk").mkdir()
    target, link, second = tmp_path / "disk" / "a", tmp_path / "link", tmp_path / "second"
    if exists:
        target.write_text("old")
    link.symlink_to(os.path.join("disk", "a"))
    second.symlink_to(link)
    files.write_text(second, "new")
    assert second.is_symlink() and link.is_symlink() and target.read_text() == "new"
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["a"]
