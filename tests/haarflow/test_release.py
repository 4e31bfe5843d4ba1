"""What `make release` and `make coverage` say before and after their work."""

import subprocess
import sys

import pytest

from tests import release
from tests.support import covered


def test_a_version_that_differs_somewhere_is_refused(monkeypatch):
    read = release.read
    monkeypatch.setattr(release, "read", lambda name: read(name).replace("version: ", "version: 9."))
    with pytest.raises(ValueError, match=r"not the same everywhere: .*'CITATION.cff': '9\."):
        release.version()


def test_this_python_is_found_and_one_that_does_not_run_is_not(tmp_path, monkeypatch):
    name = f"3.{sys.version_info.minor}"
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    here, broken = tmp_path / "versions" / "here" / "bin", tmp_path / "versions" / "broken" / "bin"
    for folder, target in ((here, f"exec {sys.executable} "), (broken, "exit 1 #")):
        folder.mkdir(parents=True)
        file = folder / (f"python{name}" if folder is here else f"python3.{release.NEWEST}")
        file.write_text(f'#!/bin/sh\n{target}"$@"\n')
        file.chmod(0o755)
    found = release.pythons(sys.version_info.minor)
    assert found[name] == str(here / f"python{name}") and f"3.{release.NEWEST}" not in found
    assert name not in release.pythons(sys.version_info.minor + 1)


def test_a_command_that_fails_says_its_last_lines():
    assert release.run(sys.executable, "-c", "print(2)") == "2\n"
    with pytest.raises(RuntimeError, match=r"failed:(?s:.*)no such luck"):
        release.run(sys.executable, "-c", "raise SystemExit('no such luck')")


def test_what_is_left_to_do_ends_with_the_next_version(monkeypatch):
    monkeypatch.setattr(release, "run", lambda *words: " M README.md\n" if "status" in words else "")
    steps = release.left_to_do("1.2.3")
    assert (
        "commit" in steps[0] and any("git tag -a v1.2.3" in step for step in steps) and "raise the version" in steps[-1]
    )
    monkeypatch.setattr(release, "run", lambda *words: "")
    assert "commit" not in release.left_to_do("1.2.3")[0]


def test_files_belong_to_packages_whichever_way_they_are_reached():
    root = covered.ROOT
    assert covered.package(root / "core" / "chains" / "hmc.py") == "haarflow.core.chains"
    assert covered.package(root / "haarflow" / "core" / "chains" / "hmc.py") == "haarflow.core.chains"
    assert covered.package(root / "core" / "random.py") == "haarflow.core"
    assert covered.package(root / "haarflow" / "run" / "stages" / "paths.py") == "haarflow.run"
    assert covered.package(root / "haarflow" / "cli.py") == "haarflow"
    assert covered.package(root / "tests" / "kill.py") is None and covered.package("/elsewhere/x.py") is None


def test_compiled_packages_stand_apart_in_the_table():
    rows = {"haarflow.core": (100, 10), "haarflow.theories.compiled": (300, 300), "haarflow.models": (0, 0)}
    lines = covered.table(rows)
    assert [line.split()[-2:] for line in lines[1:]] == [["100", "90.0%"], ["300", "0.0%"], ["100", "90.0%"]]


def test_coverage_is_read_from_the_data_of_a_run(tmp_path, monkeypatch):
    coverage = pytest.importorskip("coverage")
    monkeypatch.chdir(tmp_path)
    code = "from haarflow.core.lattice.geometry import check_lattice; check_lattice((2, 2))"
    (tmp_path / "used.py").write_text(code)
    words = [sys.executable, "-m", "coverage", "run", "--source", str(covered.ROOT / "core" / "lattice"), "used.py"]
    subprocess.run(words, check=True, capture_output=True)
    measured = coverage.Coverage()
    measured.load()
    statements, missed = covered.by_package(measured)["haarflow.core.lattice"]
    assert 0 < missed < statements
