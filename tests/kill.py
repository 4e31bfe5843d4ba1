"""`python -m tests.kill [COUNT] [SEED]`: kill a run at random times, resume it, and compare every number; print k of COUNT.

Half of the runs train a flow first (where torch is installed), half sample with a model that is there. Each is killed by
SIGKILL once to three times, at times uniform over the length of the uninterrupted run, and then left to end. The commands run in
forks of one process, so that a run takes a second and any moment of it is likely to be hit.
"""

import contextlib
import importlib.util
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.support.runs import haarflow, numbers, uniform_recipe

TRAINED = ("u1-tiny", "train.steps=12", "train.checkpoint=2", "train.batch=16", "samplers.heatbath=false",
           "samplers.flow-metropolis.draws=400", "samplers.flow-metropolis.warmup=40", "samplers.flow-metropolis.block=50",
           "samplers.hmc.chains=4", "samplers.hmc.draws=20", "samplers.hmc.warmup=5", "samplers.hmc.block=5",
           "--backend", "torch")  # fmt: skip


def commands(folder):
    """The commands whose runs are killed, without their folder."""
    sampled = (uniform_recipe(folder), "--backend", "numpy", "--no-report", "--quiet")
    if importlib.util.find_spec("torch") is None:
        return [sampled]
    importlib.import_module("torch")  # once for all forks
    return [sampled, (*TRAINED, "--no-report", "--quiet")]


def forked(words, out, delay=None):
    """Run a command in a fork and return its exit code; kill it after `delay` seconds, unless it has ended before."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(haarflow("run", *words, "--out", out))
    end = None if delay is None else time.monotonic() + delay
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if end is not None and time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            end = None
        time.sleep(0.002)


def main(count=100, seed=0):
    """Print how many of `count` killed and resumed runs equal the uninterrupted one; return whether some do not."""
    rng, same, kills = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wholes = []
        with contextlib.redirect_stdout(io.StringIO()):  # what the forks would import and compile
            haarflow("run", *commands(folder)[0], "--out", folder / "warm")
        for index, words in enumerate(commands(folder)):
            begun = time.monotonic()
            assert forked(words, folder / f"whole{index}") == 0
            wholes.append((words, time.monotonic() - begun, numbers(folder / f"whole{index}")))
        for number in range(count):
            words, length, whole = wholes[number % len(wholes)]
            out = folder / "run"
            while forked(words, out, rng.uniform(0.0, length)) != -signal.SIGKILL:
                shutil.rmtree(out)  # it was too quick
            kills += 1
            for _ in range(rng.randint(0, 2)):
                kills += forked(words, out, rng.uniform(0.0, length)) == -signal.SIGKILL
            same += forked(words, out) == 0 and numbers(out) == whole
            shutil.rmtree(out)
            print(f"{same} of {number + 1} so far, killed {kills} times", file=sys.stderr)
    print(f"{same} of {count} runs, killed {kills} times, end with the numbers of the uninterrupted run")
    return same < count


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
