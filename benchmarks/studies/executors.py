"""What a second worker costs: CPU seconds of a run's draws on one worker and on two, by every executor that runs here.

    python -m haarflow.benchmarks.studies.executors [processes shards dask mpi slurm] [--draws 48000] [--json FILE]

The run draws 8 blocks of a Metropolis chain from the shipped U(1) flow on 16x16 in NumPy. The CPU seconds are those of all
processes together, with their imports and the package's own (schedulers, nannies, launchers, Slurm's daemons): whatever a run
leaves behind is waited for here. Wall seconds stand beside the load of the machine. All numbers are compared, bit for bit, with
those of one process.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import importlib.util
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BLOCKS = 8
RECIPE = """
name = "executors"
lattice = [16, 16]
model = "u1-freezing-convolutional"
theory = {{ name = "u1", beta = 7.0 }}
[samplers]
flow-metropolis = {{ draws = {draws}, warmup = 0, block = {block} }}
"""
HAARFLOW = (sys.executable, "-m", "haarflow")
PR_SET_CHILD_SUBREAPER = 36


def command(folder: Path, out: str, *words: str) -> list[str]:
    """The words of a run of the recipe in `folder`."""
    return [
        *HAARFLOW,
        "run",
        str(folder / "recipe.toml"),
        "-b",
        "numpy",
        "--out",
        str(folder / out),
        "--no-report",
        "--quiet",
        *words,
    ]


def quiet(words: list[str], **variables: str) -> None:
    """Run a command to its end; raises CalledProcessError if it fails."""
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **variables})


def background(words: list[str]) -> subprocess.Popen[bytes]:
    """Start a command whose words nobody reads."""
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def processes(folder: Path, out: str, count: int) -> None:
    """Processes of this machine."""
    quiet(command(folder, out, "--executor", f"processes:{count}"))


def by_shards(folder: Path, out: str, count: int) -> None:
    """Shards at the same time, then `gather`."""
    shards = [
        subprocess.Popen(command(folder, out, "--shard", f"{i + 1}/{count}"), stdout=subprocess.DEVNULL)
        for i in range(count)
    ]
    assert [shard.wait() for shard in shards] == [0] * count
    quiet([*HAARFLOW, "gather", str(folder / out), "--no-report", "--quiet"])


def dask(folder: Path, out: str, count: int) -> None:
    """A scheduler of dask and its workers, each a process of one thread."""
    file = folder / f"{out}.json"
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    start = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", *common]
    work = [sys.executable, "-m", "dask", "worker", "--nthreads", "1", "--host", "127.0.0.1", *common]
    with contextlib.ExitStack() as stack:
        stack.enter_context(ended(background(start)))
        wait_for(file.exists)
        for _ in range(count):
            stack.enter_context(ended(background(work)))
        time.sleep(5)  # both workers have registered
        quiet(command(folder, out, "--executor", f"dask:{file}"))


def mpi(folder: Path, out: str, count: int) -> None:
    """Ranks of an MPI job, one more than there are workers."""
    quiet(["mpiexec", "-n", str(count + 1), *command(folder, out, "--executor", "mpi")])


def by_slurm(folder: Path, out: str, count: int) -> None:
    """Jobs of a Slurm cluster on the loopback interface."""
    from haarflow.benchmarks.harness import slurm

    with slurm.cluster(folder / f"{out}-slurm") as environment:
        quiet(command(folder, out, "--executor", f"slurm:jobs={count},time=60"), **environment)


def missing(name: str) -> str:
    """Why a way cannot be tried here, empty if it can."""
    from haarflow.benchmarks.harness import slurm

    package = {"dask": "distributed", "mpi": "mpi4py", "slurm": "submitit"}.get(name)
    if package and importlib.util.find_spec(package) is None:
        return f"the package {package} is not installed"
    if name == "mpi" and shutil.which("mpiexec") is None:
        return "mpiexec is not installed"
    return slurm.absent() if name == "slurm" else ""


WAYS: dict[str, Callable[[Path, str, int], None]] = {
    "processes": processes,
    "shards": by_shards,
    "dask": dask,
    "mpi": mpi,
    "slurm": by_slurm,
}


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a process with the block."""
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def wait_for(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something is so; raises TimeoutError."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"{true} is not so after {seconds:g} s")
        time.sleep(0.1)


def cpu_of_children() -> float:
    """CPU seconds of all descendants that have ended, waited for until none is left."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(way: Callable[[Path, str, int], None], folder: Path, out: str, count: int) -> dict[str, Any]:
    """CPU seconds of a run by one way and those of its draws, wall seconds, the load, and a hash of its ensemble."""
    before, begin = cpu_of_children(), time.perf_counter()
    way(folder, out, count)
    wall = time.perf_counter() - begin
    found = hashlib.sha256((folder / out / "ensemble.h5").read_bytes()).hexdigest()
    draws = sum(json.loads(line)["cpu_s"] for line in (folder / out / "metrics.jsonl").read_text().splitlines())
    return {
        "cpu_s": cpu_of_children() - before,
        "draws_s": draws,
        "wall_s": wall,
        "load": os.getloadavg()[0],
        "numbers": found,
    }


def compared(names: list[str], folder: Path) -> Iterator[dict[str, Any]]:
    """A row for every way that there is: one worker, two workers, their ratio, and whether all numbers are those of one process."""
    alone = measured(processes, folder, "alone", 1)
    for name in names:
        if reason := missing(name):
            yield {"executor": name, "note": reason}
            continue
        one, two = (measured(WAYS[name], folder, f"{name}-{count}", count) for count in (1, 2))
        equal = {one["numbers"], two["numbers"]} == {alone["numbers"]}
        figures = {
            f"{word}_{count}": one_of[word]
            for count, one_of in ((1, one), (2, two))
            for word in ("cpu_s", "draws_s", "wall_s", "load")
        }
        ratios = {"ratio": two["cpu_s"] / one["cpu_s"], "ratio_of_draws": two["draws_s"] / one["draws_s"]}
        yield {"executor": name, **figures, **ratios, "equal": equal}


def shown(row: dict[str, Any]) -> str:
    """A row in words."""
    if "note" in row:
        return f"{row['executor']}: not measured, {row['note']}"
    return (
        "{executor}: {cpu_s_1:.1f} CPU s on one worker ({draws_s_1:.1f} of them draws), {cpu_s_2:.1f} ({draws_s_2:.1f}) on two, ratio "
        "{ratio:.3f} (draws {ratio_of_draws:.3f}); wall {wall_s_1:.0f} s and {wall_s_2:.0f} s "
        "at a load of {load_1:.1f} and {load_2:.1f}; numbers {same}"
    ).format(**row, same="equal" if row["equal"] else "DIFFERENT")


def main() -> None:
    """Measure, print, and store the results if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ways", nargs="*", metavar="way", help=f"{', '.join(WAYS)}; without: all")
    parser.add_argument("--draws", type=int, default=48_000)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if unknown := [name for name in asked.ways if name not in WAYS]:
        parser.error(f"a way is one of {', '.join(WAYS)}, got {unknown[0]!r}")
    os.environ["OMP_NUM_THREADS"] = "1"
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # what daemons leave behind is waited for here
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "recipe.toml").write_text(RECIPE.format(draws=asked.draws, block=asked.draws // BLOCKS))
        for row in compared(asked.ways or list(WAYS), folder):
            rows.append(row)
            print(shown(row), flush=True)
    if asked.json:
        from haarflow.benchmarks.harness.results import write

        write(asked.json, "executors", {"draws": asked.draws, "blocks": BLOCKS}, rows)


if __name__ == "__main__":
    main()
