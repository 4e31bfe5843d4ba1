"""Record which test runs which line, and how long each test takes: tests of the three packages and the laws, under coverage.

    python -m tests.mutation.reached [--jobs 2] [tests/flows tests/laws/test_flows.py] [-k "not jax"]

Takes two or three times as long as the tests themselves; adds to .mutation/reached.json, which is not committed. Fewer tests
can only catch fewer mutants.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import coverage

from tests.mutation.sample import PACKAGES, ROOT, SAMPLE, read

FOLDER = ROOT / ".mutation"
REACHED = FOLDER / "reached.json"
TESTS = ("tests/laws", "tests/backends/compiled", *(f"tests/{package}" for package in PACKAGES))


def measure(tests: list[str], words: str, jobs: int) -> int:
    """Run the tests under coverage, each as a context of its own; return pytest's exit code."""
    FOLDER.mkdir(exist_ok=True)
    packages = [package for package in PACKAGES if any(test.startswith(f"tests/{package}") for test in tests)]
    options = [f"--cov=haarflow.{package}" for package in packages]
    command = [
        sys.executable,
        "-m",
        "pytest",
        *tests,
        "-k",
        words,
        "-q",
        "-n",
        str(jobs),
        "--dist",
        "worksteal",
        *options,
    ]
    command += ["--cov-context=test", "--cov-report=", f"--junitxml={FOLDER / 'tests.xml'}"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def seconds() -> dict[str, float]:
    """Return the time of every test by its node id."""
    times = {}
    for case in ElementTree.parse(FOLDER / "tests.xml").iter("testcase"):
        file = case.attrib["classname"].replace(".", "/") + ".py"
        times[f"{file}::{case.attrib['name']}"] = float(case.attrib["time"])
    return times


def by_line() -> dict[str, dict[int, list[str]]]:
    """Return the tests that run each line of the files of the sample."""
    data = coverage.CoverageData(str(ROOT / ".coverage"))
    data.read()
    wanted = {mutant.file for mutant in read()}
    lines = {}
    for path in data.measured_files():
        file = str(Path(path).resolve().relative_to(ROOT.resolve()))
        if file in wanted:
            contexts = data.contexts_by_lineno(path)
            tests = {line: {name.split("|")[0] for name in names if name} for line, names in contexts.items()}
            lines[file] = {line: sorted(names) for line, names in tests.items() if names}
    return lines


def stored() -> tuple[dict[str, float], dict[str, dict[str, list[str]]]]:
    """Return the record: the time of each test, and by file and line the tests that run it."""
    table = json.loads(REACHED.read_text(encoding="utf-8")) if REACHED.exists() else {"seconds": {}, "lines": {}}
    return table["seconds"], table["lines"]


def join(old: dict[str, dict[str, list[str]]], new: dict[str, dict[int, list[str]]]) -> None:
    """Add what is reached to a record."""
    for file, lines in new.items():
        known = old.setdefault(file, {})
        for line, tests in lines.items():
            known[str(line)] = sorted({*known.get(str(line), ()), *tests})


def main() -> None:
    """Run the tests and write what they reach."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tests", nargs="*", default=list(TESTS))
    parser.add_argument("-k", dest="words", default="", help="names of tests, as pytest takes them")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    if measure(options.tests, options.words, options.jobs):
        sys.exit("tests fail without any mutant: mend them first")
    times, lines = stored()
    times |= seconds()
    join(lines, by_line())
    REACHED.write_text(json.dumps({"seconds": times, "lines": lines, "sample": SAMPLE.name}), encoding="utf-8")
    print(f"{len(times)} tests, {len(lines)} files in {REACHED}")


if __name__ == "__main__":
    main()
