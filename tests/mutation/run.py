"""Run the tests that reach each mutant, in a copy of the checkout, the quickest first, until one fails.

    python -m tests.mutation.run [--shard 0/2] [--limit 200] [--longest 150]

Every bundle of tests is a fork of this process, in which the array libraries are imported and haarflow is not. A test that
fails is tried once without the mutant too: what fails there tells nothing, and the mutant goes on without it. Resumable:
results.jsonl has a line for each mutant that has been tried; `--again` tries those that survived once more.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.mutation.reached import REACHED
from tests.mutation.sample import COMPILED, ROOT, SAMPLES, Mutant, mutated, read, sample_of

RESULTS = Path(__file__).parent / "results.jsonl"
EQUIVALENT = Path(__file__).parent / "equivalent.toml"
BUNDLES = (4.0, 30.0)  # seconds of tests in the first and the second process; the rest goes into a third
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".mutation", "__pycache__", "runs", "*.egg-info")
IMPORTED = ("pytest", "hypothesis", "numpy", "scipy.special", "numba", "h5py", "torch", "jax")
LAWS_ON_COMPILED = ("tests/laws/test_theories.py", "tests/core/chains", "tests/core/test_random.py")
ON_DEFINITIONS = ("tests/laws/test_values.py",)  # for lines that run when a module is imported
LOST = ("ERROR: not found: ", "ERROR: file or directory not found: ")
FAULTS = ("FAILED ", "ERROR ")
USAGE, NONE = 4, 5  # pytest's exit codes for a test that it does not find, and where no test was chosen
WAIT = 20  # seconds of the clock for each second of processor time that a process may take


class Result(NamedTuple):
    """What became of a mutant: caught, survived, timeout or unreached, by which test, after how many tests and seconds."""

    name: str
    outcome: str
    test: str
    tests: int
    seconds: float


class Reach(NamedTuple):
    """The tests that run each line, and the time of each test."""

    lines: dict[str, dict[str, list[str]]]
    seconds: dict[str, float]

    def tests(self, mutant: Mutant, longest: float) -> list[str]:
        """Return the examples in a mutant's file and the tests that reach it, the quickest first, of `longest` seconds in
        all; of a line run at import, those of its folder."""
        timed = [test for test in self.seconds if test.startswith(_mirrors(mutant.file))]
        mirrored = [*(timed or _files(mutant.file)), *ON_DEFINITIONS]
        reached = self.lines.get(mutant.file, {}).get(str(mutant.line), mirrored)
        ranked, total = [f"haarflow/{mutant.file}"], 0.0
        for test in sorted(reached, key=self._time):
            total += self._time(test)
            if len(ranked) > 1 and total > longest:
                break
            ranked.append(test)
        return ranked

    def _time(self, test: str) -> float:
        return self.seconds.get(test, 0.0)


def _mirrors(file: str) -> tuple[str, ...]:
    """The folder of the tests that mirror a file's; for compiled code, in which no line is seen, the laws on it too."""
    folder = Path("tests") / Path(file).parent
    if sample_of(file) == COMPILED:
        return f"{folder}/", *LAWS_ON_COMPILED
    while not (ROOT / folder).is_dir():
        folder = folder.parent
    return ("tests/laws" if folder.name == "laws" else str(folder),)


def _files(file: str) -> list[str]:
    """The test files of the folder that mirrors a file's, those first with whose names its own begins, then those that name it."""
    stem = Path(file).stem

    def order(path: Path) -> tuple[bool, bool, Path]:
        return not stem.startswith(path.stem.removeprefix("test_")), stem not in path.read_text(encoding="utf-8"), path

    paths = sorted((ROOT / _mirrors(file)[0]).glob("test_*.py"), key=order)
    return [str(path.relative_to(ROOT)) for path in paths]


def bundles(tests: list[str], seconds: dict[str, float]) -> Iterator[list[str]]:
    """Yield the tests in bundles of a few seconds, then of more, then the rest."""
    limits, bundle, total = list(BUNDLES), [], 0.0
    for test in tests:
        bundle.append(test)
        total += seconds.get(test, 0.0)
        if limits and total > limits[0]:
            yield bundle
            limits, bundle, total = limits[1:], [], 0.0
    if bundle:
        yield bundle


class Checkout(NamedTuple):
    """A copy of the checkout in which the tests run, the processor seconds that one process of tests may take, and words
    that choose among the tests."""

    folder: Path
    limit: int
    words: str = ""

    def failing(self, tests: list[str], *options: str) -> tuple[str, str]:
        """Return (outcome, failing test) of a process of tests: survived, caught, timeout, or missing for a test that pytest
        does not find, as under a name that changes from process to process."""
        printed = self.folder / ".printed"
        child = os.fork()
        if child == 0:
            self._test([*options, *tests], printed)
        code = _wait(child, time.monotonic() + WAIT * self.limit)
        if code is None:
            return "timeout", ""
        if code in (0, NONE):
            return "survived", ""
        lines = printed.read_text(encoding="utf-8", errors="replace").splitlines()
        if code == USAGE:
            lost = next((line for line in lines if line.startswith(LOST)), "").partition("not found: ")[2]
            return "missing", lost.removeprefix(f"{self.folder.resolve()}/").removeprefix(f"{self.folder}/")
        failed = [line for line in lines if line.startswith(FAULTS)]
        return "caught", failed[0].split(" - ")[0] if failed else (lines or ["it crashed"])[-1]

    def _test(self, arguments: list[str], printed: Path) -> None:
        """Run the tests in this process, a fork, and end it."""
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (self.limit, self.limit + 5))
        file = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.chdir(self.folder)
        os.environ |= {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        sys.dont_write_bytecode = True
        for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "haarflow")]:
            del sys.modules[name]
        sys.path[:] = [str(self.folder), *(path for path in sys.path if Path(path).resolve() != ROOT.resolve())]
        import pytest

        options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "--doctest-modules", "-k", self.words]
        code = pytest.main([*options, *arguments])
        sys.stdout.flush()
        os._exit(int(code))


def _wait(child: int, until: float) -> int | None:
    """Return the exit code of a fork, None where it took too long; end whatever it has started."""
    code: int | None = None
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            break
        time.sleep(0.02)
    else:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return None if code in (-signal.SIGXCPU, -signal.SIGKILL) else code


def tried(mutant: Mutant, tests: list[str], seconds: dict[str, float], checkout: Checkout) -> Result:
    """Return what became of a mutant."""
    path, begun = checkout.folder / mutant.file, time.monotonic()
    source, left, outcome, test = path.read_text(encoding="utf-8"), list(tests), "unreached", ""
    spoilt: list[str] = []
    change = mutated(mutant, source)
    for bundle in bundles(tests, seconds):
        while bundle := [test for test in bundle if test in left]:
            path.write_text(change, encoding="utf-8")
            try:
                outcome, test = checkout.failing(bundle, *spoilt)
            finally:
                path.write_text(source, encoding="utf-8")
            if outcome == "missing":
                lost = [one for one in left if not test or one.startswith(test)]
                outcome, left = "unreached", [one for one in left if one not in lost]
                continue
            blamed = test.partition(" ")[2] if test.startswith(FAULTS) else ""
            if outcome != "caught" or not blamed or passes(checkout, blamed):
                break
            spoilt.append(f"--deselect={blamed}")
            outcome, test = "survived", ""
            left = [one for one in left if "::" in blamed or not one.startswith(blamed)]
        if outcome in ("caught", "timeout"):
            break
    return Result(mutant.name, outcome, test, len(left), round(time.monotonic() - begun, 1))


@cache
def passes(checkout: Checkout, test: str) -> bool:
    """Whether a test passes here without any mutant, a file whether it can be imported."""
    return checkout.failing([test], *([] if "::" in test else ["--collect-only"]))[0] == "survived"


def results() -> list[Result]:
    """Return what has been found so far."""
    if not RESULTS.exists():
        return []
    lines = RESULTS.read_text(encoding="utf-8").splitlines()
    return [Result(**json.loads(line)) for line in lines]


def equivalent() -> dict[str, str]:
    """Return the reasons why mutants compute the same, by name."""
    return tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))


def latest() -> dict[str, Result]:
    """Return the newest result of each mutant."""
    return {result.name: result for result in results()}


def main() -> None:
    """Try every mutant of a shard that has no result yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shard", default="0/1", help="i/N: every N-th mutant, from the i-th on")
    parser.add_argument("--limit", type=int, default=200, help="processor seconds for each process of tests")
    parser.add_argument("--longest", type=float, default=150.0, help="seconds of tests for one mutant")
    parser.add_argument("--samples", nargs="+", default=list(SAMPLES), help="core, theories, flows, compiled, laws")
    parser.add_argument("--files", default="", help="files whose path begins so")
    parser.add_argument("--also", nargs="+", default=[], help="tests that are tried first, such as new ones")
    parser.add_argument("-k", dest="words", default="", help="names of tests, as pytest takes them")
    parser.add_argument("--again", action="store_true", help="try what survived once more")
    options = parser.parse_args()
    index, count = map(int, options.shard.split("/"))
    table: dict[str, Any] = json.loads(REACHED.read_text(encoding="utf-8"))
    reach, known = Reach(table["lines"], table["seconds"]), latest()
    done = {name for name, result in known.items() if not options.again or result.outcome in ("caught", "timeout")}
    os.environ.setdefault("JAX_ENABLE_X64", "1")  # as tests/conftest.py, before JAX is imported
    done |= equivalent().keys()
    for name in IMPORTED:
        __import__(name)
    with tempfile.TemporaryDirectory() as folder:
        checkout = Checkout(Path(folder) / "checkout", options.limit, options.words)
        shutil.copytree(ROOT, checkout.folder, symlinks=True, ignore=LEFT_OUT)
        wanted = [mutant for mutant in read() if sample_of(mutant.file) in options.samples]
        wanted = [mutant for mutant in wanted if mutant.file.startswith(options.files)]
        waiting = sorted(wanted, key=lambda mutant: SAMPLES.index(sample_of(mutant.file)))
        for mutant in [mutant for mutant in waiting if mutant.name not in done][index::count]:
            tests = [*options.also, *reach.tests(mutant, options.longest)]
            result = tried(mutant, tests, reach.seconds, checkout)
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result._asdict()) + "\n")
            print(f"{result.outcome:9s} {result.seconds:6.1f} s  {result.name}  {result.test}", flush=True)


if __name__ == "__main__":
    main()
