"""What a process is: any change of a source changes its hash, wherever links lead, and hosts may differ."""

import sys

import pytest

from haarflow.run.executors import identity as module
from haarflow.run.executors.identity import Identity, identity
from haarflow.run.own import Own


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of two files, one behind a link to a folder."""
    (tmp_path / "package" / "benchmarks").mkdir(parents=True)
    (tmp_path / "core").mkdir()
    (tmp_path / "package" / "core").symlink_to(tmp_path / "core")
    for name in ("package/one.py", "core/two.py", "package/benchmarks/three.py", "package/page.html"):
        (tmp_path / name).write_text("x = 1\n")
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "package")
    return tmp_path


def code():
    """The hash of the package as it is now."""
    return module._of_package.__wrapped__()


@pytest.mark.parametrize(("name", "changes"), [
    ("package/one.py", True), ("core/two.py", True), ("package/benchmarks/three.py", False), ("package/page.html", False),
])  # fmt: skip
def test_what_draws_is_in_the_hash_and_what_does_not_is_not(name, changes, package):
    before = code()
    (package / name).write_text("x = 2\n")
    assert (code() != before) is changes


def test_a_file_that_moves_changes_the_hash(package):
    before = code()
    (package / "package" / "one.py").rename(package / "package" / "two.py")
    assert code() != before


def test_a_persons_own_module_is_part_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    own = tmp_path / "own_action_of_a_person.py"
    own.write_text("class XY: pass\n")
    modules = Own("own_action_of_a_person:XY").modules
    before = identity(["numpy"], modules)
    assert not before.unlike(identity(["numpy"], modules)._replace(host="elsewhere"))
    own.write_text("class XY: beta = 1\n")
    (said,) = before.unlike(identity(["numpy"], modules))
    assert said.startswith("own_action_of_a_person code ")
    assert identity([], ["no_such_module"]).code["no_such_module"] == "missing"
    sys.modules.pop("own_action_of_a_person")


def test_all_that_differs_is_named_with_its_host():
    one = Identity({"haarflow": "a"}, {"numpy": "2", "jax": "1"}, "n1")
    two = Identity({"haarflow": "a"}, {"numpy": "3"}, "n2")
    assert one.unlike(two) == ["jax 1 on n1, missing on n2", "numpy 2 on n1, 3 on n2"] and not one.unlike(one)
