"""Run the tests that reach each mutant, in a copy of the checkout, the quickest first, until one fails.

    python -m tests.mutation.run [--shard 0/2] [--limit 300]

Resumable: results.jsonl has a line for each mutant that has been tried.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.mutation.reached import REACHED, TESTS
from tests.mutation.sample import ROOT, Mutant, mutated, read

RESULTS = Path(__file__).parent / "results.jsonl"
BUNDLES = (4.0, 30.0)  # seconds of tests in the first and the second process; the rest goes into a third
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".mutation", "__pycache__", "runs", "*.egg-info")


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

    def tests(self, mutant: Mutant) -> list[str]:
        """Return the tests that reach a mutant, the quickest first; of a line run at import, those of its folder."""
        lines = self.lines.get(mutant.file, {})
        reached = lines.get(str(mutant.line)) or [
            test for test in self.seconds if test.startswith(_mirror(mutant.file))
        ]
        return sorted(reached, key=lambda test: self.seconds.get(test, 0.0))


def _mirror(file: str) -> str:
    """The folder of the tests that mirror a file's."""
    folder = Path("tests") / Path(file).parent
    while not any(str(folder).startswith(known) for known in TESTS):
        folder = folder.parent
    return f"{'tests/laws' if folder.name == 'laws' else folder}"


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


def failing(tests: list[str], checkout: Path, limit: float) -> tuple[str, str]:
    """Return (outcome, failing test) of a pytest process."""
    listed = checkout / ".tests"
    listed.write_text("\n".join(tests), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", f"@{listed}"]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=checkout, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        output = process.communicate(timeout=limit)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "timeout", ""
    if process.returncode == 0:
        return "survived", ""
    failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return "caught", failed[0].split(" - ")[0] if failed else output.strip().splitlines()[-1]


def tried(mutant: Mutant, reach: Reach, checkout: Path, limit: float) -> Result:
    """Return what became of a mutant; `limit` seconds for each process of tests."""
    path, begun, tests = checkout / mutant.file, time.monotonic(), reach.tests(mutant)
    source, outcome, test = path.read_text(encoding="utf-8"), "unreached", ""
    try:
        path.write_text(mutated(mutant, source), encoding="utf-8")
        for bundle in bundles(tests, reach.seconds):
            outcome, test = failing(bundle, checkout, limit)
            if outcome != "survived":
                break
    finally:
        path.write_text(source, encoding="utf-8")
    return Result(mutant.name, outcome, test, len(tests), round(time.monotonic() - begun, 1))


def results() -> list[Result]:
    """Return what has been found so far."""
    if not RESULTS.exists():
        return []
    lines = RESULTS.read_text(encoding="utf-8").splitlines()
    return [Result(**json.loads(line)) for line in lines]


def main() -> None:
    """Try every mutant of a shard that has no result yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shard", default="0/1", help="i/N: every N-th mutant, from the i-th on")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for each process of tests")
    options = parser.parse_args()
    index, count = map(int, options.shard.split("/"))
    table: dict[str, Any] = json.loads(REACHED.read_text(encoding="utf-8"))
    reach, done = Reach(table["lines"], table["seconds"]), {result.name for result in results()}
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "checkout"
        shutil.copytree(ROOT, checkout, symlinks=True, ignore=LEFT_OUT)
        for mutant in read()[index::count]:
            if mutant.name not in done:
                result = tried(mutant, reach, checkout, options.limit)
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(result._asdict()) + "\n")
                print(f"{result.outcome:9s} {result.seconds:6.1f} s  {result.name}  {result.test}", flush=True)


if __name__ == "__main__":
    main()
