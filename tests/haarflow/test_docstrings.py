"""Every example in a docstring runs as it is pasted, and everything public says what it is."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import haarflow

SKIPPED = (
    "haarflow.benchmarks",
    "haarflow.__main__",
)  # its twins and peers import engines; `__main__` is run, not read


def modules():
    """The names of all modules of the library."""
    found = [info.name for info in pkgutil.walk_packages(haarflow.__path__, "haarflow.")]
    return ["haarflow", *(name for name in found if not name.startswith(SKIPPED))]


def loaded(name):
    """The module, or a skip where it needs an engine that is not here."""
    try:
        return importlib.import_module(name)
    except ImportError as missing:
        if missing.name in ("jax", "torch", "cupy", "optax"):
            pytest.skip(f"{name} needs {missing.name}")
        raise


def test_every_layer_is_read():
    for layer in ("backends", "core", "theories", "flows", "verification"):
        assert any(name.startswith(f"haarflow.{layer}.") for name in modules()), layer


@pytest.mark.parametrize("name", modules())
def test_the_examples_run_as_pasted(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(loaded(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0, f"{failed} of {tried} examples of {name} fail: see the output above"


@pytest.mark.parametrize("name", modules())
def test_everything_public_says_what_it_is(name):
    module = loaded(name)
    own = [
        (word, thing)
        for word, thing in vars(module).items()
        if not word.startswith("_")
        and getattr(thing, "__module__", None) == name
        and inspect.isroutine(thing) | inspect.isclass(thing)
    ]
    bare = [word for word, thing in own if not inspect.getdoc(thing)]
    assert inspect.getdoc(module) or name.endswith((".recipes", ".models")) or not own, f"{name} has no docstring"
    assert not bare, f"without a docstring in {name}: {', '.join(bare)}"


def test_the_walk_sees_the_four_folders():
    seen = {name.split(".")[1] for name in modules() if name.count(".") > 1}
    assert {"core", "backends", "theories", "flows"} <= seen
