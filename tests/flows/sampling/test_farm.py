"""The farm: the answer is that of one worker, whoever computes the blocks."""

import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.flows.flow import Model, Translate
from haarflow.flows.priors import UniformLinks
from haarflow.flows.sampling import farm as farm_module
from haarflow.flows.sampling.draws import DrawBlock, draw, farmed_chain, metropolis
from haarflow.flows.sampling.farm import farm, processes
from haarflow.theories import U1Gauge
from tests.support.runs import ROOT

LATTICE = (4, 4)
MODEL = Model(UniformLinks(LATTICE), Translate((0, 0), internal=1))
BLOCKS = range(5)


def task(backend="numpy", n=40):
    """Uniform links weighed by U(1) at beta = 0.5."""
    return DrawBlock(MODEL, U1Gauge(LATTICE), n, backends.get(backend), {}, (5, 6), {"beta": 0.5})


def negative_root(number):
    """A task that fails on block 2."""
    if number == 2:
        raise ArithmeticError("block 2 has no root")
    return -number


@pytest.fixture(scope="module")
def alone():
    return farmed_chain(task(), BLOCKS)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_answer_does_not_depend_on_the_number_of_processes(alone, workers):
    with processes(workers) as executor:
        chain = farmed_chain(task(), BLOCKS, executor)
    for here, there in zip(alone, chain, strict=True):
        assert numpy.array_equal(here, there)


def test_any_executor_will_do(alone):
    with ThreadPoolExecutor(2) as executor:
        chain = farmed_chain(task(), BLOCKS, executor)
    assert numpy.array_equal(alone.field, chain.field)


def test_blocks_come_from_keys_of_their_own():
    first, second = (task()(number) for number in (0, 1))
    assert not numpy.allclose(first["field"], second["field"])
    key = random.fold_in(backends.get("numpy").asarray([5, 6], dtype="int32"), 1)
    again = draw(MODEL, {}, U1Gauge(LATTICE), key, 40, {"beta": 0.5})
    assert numpy.array_equal(second["field"], again.field) and numpy.array_equal(second["log_w"], again.log_w)


def test_blocks_have_the_key_of_seed_zero_unless_another_is_given():
    host = backends.get("numpy")
    found = DrawBlock(MODEL, U1Gauge(LATTICE), 3, host, {})(2)["field"]
    wanted = draw(MODEL, {}, U1Gauge(LATTICE), random.fold_in(random.key(0, host), 2), 3)
    assert numpy.array_equal(found, wanted.field)


def test_the_chain_is_the_plain_metropolis_loop(alone):
    coins = random.uniform(random.fold_in(backends.get("numpy").asarray([5, 6], dtype="int32"), -1), alone.log_w.shape)
    fields = numpy.concatenate([task()(number)["field"] for number in BLOCKS])
    now = 0
    for step, coin in enumerate(coins):
        if step and coin < math.exp(min(0.0, alone.log_w[step] - alone.log_w[now])):
            now = step
        assert alone.accepted[step] == (now == step)
        assert numpy.array_equal(alone.field[step], fields[now])


def test_several_chains_are_independent_columns():
    log_w = numpy.random.default_rng(1).normal(size=(30, 3))
    indices, accepted = metropolis(log_w, (1, 2))
    assert indices.shape == accepted.shape == (30, 3) and accepted[0].all()
    assert len({tuple(column) for column in indices.T}) == 3


def test_weights_are_the_same_on_every_backend(backend, alone):
    if backend.name == "standard":
        pytest.skip("a farm names its backend, and this member has no name of its own")
    block = DrawBlock(MODEL, U1Gauge(LATTICE), 40, backends.get(backend.name), {}, (5, 6), {"beta": 0.5})(0)
    numpy.testing.assert_allclose(block["log_w"], alone.log_w[:40], rtol=0, atol=1e-12)
    assert block["cpu_s"] >= 0


def test_order_is_kept_and_few_blocks_wait():
    taken = []
    with ThreadPoolExecutor(3) as executor:
        for number, value in farm(lambda n: n * n, range(20), executor, ahead=3):
            taken.append((number, value))
    assert taken == [(n, n * n) for n in range(20)]


def test_a_failed_block_raises_where_it_is_taken():
    with ThreadPoolExecutor(2) as executor:
        blocks = farm(negative_root, range(10), executor, ahead=2)
        assert next(blocks) == (0, 0) and next(blocks) == (1, -1)
        with pytest.raises(ArithmeticError, match="block 2"):
            next(blocks)


def dies(index):
    """A block and the process that computes it; the worker of the third block is killed, as for want of memory."""
    if index == 2 and multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return index**2, os.getpid()


def test_the_blocks_of_a_worker_that_dies_are_computed_again_and_later_ones_by_a_new_worker():
    with processes(1) as executor:
        found = dict(farm(dies, range(5), executor, ahead=3))
        found |= farm(dies, range(5, 7), executor)  # the next sampler's
    assert [found[index][0] for index in range(7)] == [0, 1, 4, 9, 16, 25, 36]
    first, here, last = found[0][1], os.getpid(), found[6][1]
    assert found[1][1] == first and found[2][1] == here and found[5][1] == last
    assert len({first, here, last}) == 3 and {found[3][1], found[4][1]} <= {here, last}


class Mortal(ThreadPoolExecutor):
    """Workers that die at their first task."""

    died = False

    def submit(self, fn, /, *args, **kwargs):
        if self.died:
            raise BrokenExecutor("a worker has died")
        self.died, future = True, Future()
        future.set_exception(BrokenExecutor("a worker died"))
        return future


def test_workers_that_always_die_are_not_started_for_ever(monkeypatch):
    started = []
    monkeypatch.setattr(farm_module, "RENEWALS", 3)
    monkeypatch.setattr(farm_module, "_spawned", lambda workers: started.append(workers) or Mortal(workers))
    with processes(2) as executor:
        assert list(farm(math.sqrt, range(9), executor, ahead=2)) == [(index, math.sqrt(index)) for index in range(9)]
    assert started == [2] * 4


class Held(Executor):
    """Computes block 0 alone, takes no block 2, and keeps all others waiting."""

    def __init__(self):
        self.given = []

    def submit(self, task, index):
        if index == 2:
            raise BrokenExecutor
        self.given.append(Future())
        if index == 0:
            self.given[0].set_result(task(index))
        return self.given[-1]


def test_blocks_that_nobody_waits_for_any_more_are_cancelled():
    held = Held()
    blocks = farm(abs, range(4), held, ahead=4)
    assert next(blocks) == (0, 0)
    blocks.close()
    assert [future.cancelled() for future in held.given] == [False, True, True]


def test_senseless_numbers_are_refused():
    with pytest.raises(ValueError, match="at least one worker"):
        processes(0)
    with pytest.raises(ValueError, match="under way"):
        list(farm(abs, [1], ahead=0))
    with pytest.raises(ValueError, match="at least one draw"):
        draw(MODEL, {}, U1Gauge(LATTICE), random.key(0, backends.get("numpy")), 0)


ORPHANED = """
import os, pathlib, signal, sys
from haarflow.flows.sampling.farm import processes

if __name__ == "__main__":
    with processes(1) as executor:
        pathlib.Path(sys.argv[1]).write_text(str(executor.submit(os.getpid).result()))
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "orphaned.py").write_text(ORPHANED)
    command = [sys.executable, str(tmp_path / "orphaned.py"), str(tmp_path / "worker")]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60)
    assert done.returncode == -signal.SIGKILL
    worker, end = int((tmp_path / "worker").read_text()), time.monotonic() + 30
    try:
        while alive(worker):
            assert time.monotonic() < end, f"the worker {worker} has outlived its parent"
            time.sleep(0.05)
    finally:
        if alive(worker):
            os.kill(worker, signal.SIGKILL)


def alive(number):
    """Whether a process is there and not only waiting to be reaped."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_leave_the_signal_of_batch_systems_to_their_parent():
    with processes(1) as executor:
        assert executor.submit(os.kill, executor.submit(os.getpid).result(), signal.SIGUSR1).result() is None
        assert executor.submit(abs, -3).result() == 3 and executor.renewals == farm_module.RENEWALS
