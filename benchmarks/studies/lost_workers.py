"""Workers, shards and gatherers that are killed at random: does a run still end with the numbers of an undisturbed one?

    python -m haarflow.benchmarks.studies.lost_workers [COUNT] [--seed 0] [--json FILE]

Half of the rounds draw on two worker processes, of which some are killed, and at times the run itself, which is then repeated;
the other half draw by three shards at once, of which some are killed and repeated, and gather them with a gatherer that is killed
once or twice. Every kill is SIGKILL at a time uniform over most of the length of the undisturbed process. All processes are forks of one
process, so that a run takes about a second and any moment of it is likely to be hit.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

RECIPE = """
name = "lost"
lattice = [4, 4]
fields_every = 5
model = "{model}"
theory = {{ name = "u1", beta = 0.5 }}
[samplers]
flow-metropolis = {{ draws = 1950, warmup = 50, chains = 2, block = 100 }}
flow-reweighting = {{ draws = 2000, block = 100 }}
hmc = {{ chains = 4, draws = 25, warmup = 5, steps = 3, step_size = 0.3, block = 5 }}
"""
SHARDS = 3


def recipe_in(folder: Path) -> Path:
    """Write the recipe, and the model of uniform links that it draws from."""
    from haarflow.flows.flow import Model, Translate
    from haarflow.flows.modelfile import save_model
    from haarflow.flows.priors import UniformLinks

    card = {"theory": {"name": "u1", "lattice": [4, 4], "couplings": {"beta": 0.5}}}
    save_model(folder / "uniform.safetensors", Model(UniformLinks((4, 4)), Translate((0, 0), internal=1)), {}, card)
    path = folder / "recipe.toml"
    path.write_text(RECIPE.format(model=folder / "uniform.safetensors"))
    return path


def numbers(folder: Path) -> tuple[str, str]:
    """The ensemble as a hash, and the summary without times."""
    summary = json.loads((folder / "summary.json").read_text())
    summary.pop("provenance")
    for sampler in summary["samplers"].values():
        for name in [name for name in sampler if "cpu_s" in name]:
            sampler.pop(name)
    return hashlib.sha256((folder / "ensemble.h5").read_bytes()).hexdigest(), json.dumps(summary)


class Fork:
    """A piece of work in a fork of this process."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            with contextlib.suppress(BaseException):
                work()
                os._exit(0)
            os._exit(1)

    def ended(self) -> bool:
        """Whether it has ended; `code` is then its exit code, negative for a signal."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def wait(self) -> int:
        """Return its exit code."""
        while not self.ended():
            time.sleep(0.005)
        return int(self.code or 0)

    def kill(self) -> bool:
        """Kill it unless it has ended; return whether it was killed."""
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
        return self.wait() == -signal.SIGKILL


def workers_of(pid: int) -> list[int]:
    """The worker processes of a run: its children that multiprocessing has spawned."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"spawn_main" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
    return found


def alive(pid: int) -> bool:
    """Whether a process is there and does not only wait to be reaped."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


class Rounds:
    """The rounds of a study: what they run, how long it takes undisturbed, and what was killed."""

    def __init__(self, folder: Path, seed: int) -> None:
        from haarflow.run.recipes import load

        self.rng, self.killed, self.out = random.Random(seed), Counter[str](), folder / "run"
        self.recipe = load(recipe_in(folder), run__backend="numpy")
        self.workers: set[int] = set()
        self.lengths: dict[str, float] = {}

    def alone(self, executor: str = "") -> None:
        """The run in one process, or on an executor."""
        from haarflow.pipeline import run

        run(self.recipe, self.out, report=False, executor=executor)

    def spread(self) -> None:
        """The run on two workers."""
        self.alone("processes:2")

    def shard(self, number: int) -> Callable[[], Any]:
        """One of the shards."""
        from haarflow.pipeline import run_shard
        from haarflow.run.stages.shards import Shard

        return functools.partial(run_shard, self.recipe, self.out, Shard(number + 1, SHARDS))

    def gather(self) -> None:
        """The run of all shards."""
        from haarflow.pipeline import gather

        gather(self.out, report=False)

    def undisturbed(self) -> tuple[str, str]:
        """The numbers of one process; the lengths of all kinds of process are measured beside it."""
        self.alone()  # what the forks would import and compile
        shutil.rmtree(self.out)
        self._timed("alone", self.alone)
        whole = numbers(self.out)
        shutil.rmtree(self.out)
        self._timed("workers", self.spread)
        shutil.rmtree(self.out)
        for number in range(SHARDS):
            self._timed("shard", self.shard(number))
        self._timed("gatherer", self.gather)
        shutil.rmtree(self.out)
        return whole

    def _timed(self, kind: str, work: Callable[[], Any]) -> None:
        begun = time.monotonic()
        assert Fork(work).wait() == 0, kind
        self.lengths[kind] = time.monotonic() - begun

    def _moment(self, kind: str) -> float:
        return self.rng.uniform(0.0, 0.8 * self.lengths[kind])  # or most are too late

    def by_workers(self) -> int:
        """A run on two workers; return the exit code of the last one."""
        while True:
            run, dies = Fork(self.spread), self.rng.random() < 0.5
            for _ in range(self.rng.randint(1, 3)):
                time.sleep(self._moment("workers") / 3)
                here = workers_of(run.pid)
                self.workers |= set(here)
                if here:
                    os.kill(self.rng.choice(here), signal.SIGKILL)
                    self.killed["worker"] += 1
            if not dies:
                return run.wait()
            self.killed["run"] += run.kill()

    def by_shards(self) -> int:
        """Three shards at once and a gatherer; return the exit code of the last one."""
        for again in range(8):
            shards = {number: Fork(self.shard(number)) for number in range(SHARDS)}
            time.sleep(self._moment("shard"))
            if again < 2:
                for number in self.rng.sample(range(SHARDS), self.rng.randint(1, 2)):
                    self.killed["shard"] += shards[number].kill()
            if {fork.wait() for fork in shards.values()} == {0}:
                break
        for _ in range(self.rng.randint(1, 2)):
            gatherer = Fork(self.gather)
            time.sleep(self._moment("gatherer"))
            self.killed["gatherer"] += gatherer.kill()
        return Fork(self.gather).wait()


def rounds(count: int, seed: int) -> Iterator[tuple[str, bool, Rounds]]:
    """The way of each round, whether its numbers are those of the undisturbed run, and what has been killed so far."""
    with tempfile.TemporaryDirectory() as name:
        work = Rounds(Path(name), seed)
        whole = work.undisturbed()
        for number in range(count):
            way = ("workers", "shards")[number % 2]
            code = work.by_workers() if way == "workers" else work.by_shards()
            yield way, code == 0 and numbers(work.out) == whole, work
            shutil.rmtree(work.out)


def main() -> None:
    """Print how many of the rounds end with the undisturbed numbers; exit with 1 if some do not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int, nargs="?", default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    equal, made = Counter[str](), Counter[str]()
    for way, same, work in rounds(asked.count, asked.seed):
        made[way] += 1
        equal[way] += same
        print(
            f"{sum(equal.values())} of {sum(made.values())} so far, killed {dict(work.killed)}",
            file=sys.stderr,
            flush=True,
        )
    left = sum(alive(pid) for pid in work.workers)
    rows = [{"way": way, "rounds": made[way], "equal": equal[way]} for way in made]
    kills = ", ".join(f"{number} {kind}s" for kind, number in work.killed.items())
    print(
        f"{sum(equal.values())} of {asked.count} runs end with the numbers of the undisturbed one; killed: {kills}; workers left: {left}"
    )
    if asked.json:
        from haarflow.benchmarks.harness.results import write

        write(
            asked.json,
            "lost_workers",
            {"count": asked.count, "seed": asked.seed, "killed": dict(work.killed), "left": left},
            rows,
        )
    sys.exit(sum(equal.values()) < asked.count or left > 0)


if __name__ == "__main__":
    main()
