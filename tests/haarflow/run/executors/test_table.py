"""Executors: each opens what its package offers, a worker of other code is refused, a lost one's block is drawn again."""

import contextlib
import functools
import signal
import sys
import types
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor

import pytest

from haarflow.flows.sampling.farm import farm
from haarflow.run.executors import table as executors
from haarflow.run.executors.identity import Identity, identity
from haarflow.run.executors.table import EXECUTORS, ExecutorError, Served, opened, options
from haarflow.run.executors.workers import WorkerError, Workers, answer
from haarflow.run.faults import raised_on_purpose
from tests.support.runs import haarflow, uniform_recipe

OWN = identity(["numpy"])


class Lost(RuntimeError):
    """What a package says when a worker is gone."""


class Forgetful(Executor):
    """Threads of which those of the given blocks are lost, or cancelled."""

    def __init__(self, lost=(), cancelled=()):
        self.pool, self.lost, self.cancelled = ThreadPoolExecutor(2), lost, cancelled

    def submit(self, fn, *args):
        if args[-1] in self.cancelled:
            future = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future
        return self.pool.submit(self.lose if args[-1] in self.lost else fn, *args)

    def lose(self, *args):
        raise Lost("a worker is gone")


def reciprocal(number):
    """A task that fails on 0 as no code of ours does, and on 13 on purpose."""
    if number == 13:
        raise ValueError("13 is refused")
    return 1 / number


def test_blocks_of_workers_that_are_lost_or_cancelled_are_drawn_again():
    workers = Workers(Forgetful(lost=[2, 5], cancelled=[3]), 2, OWN, (Lost,))
    assert list(farm(reciprocal, range(1, 9), workers, ahead=3)) == [(n, 1 / n) for n in range(1, 9)]


def test_an_executor_that_takes_nothing_more_leaves_the_blocks_to_the_caller():
    class Closed(Executor):
        def submit(self, *args):
            raise Lost("closed")

    workers = Workers(Closed(), 2, OWN, (Lost,))
    with pytest.raises(BrokenExecutor, match="closed"):
        workers.submit(reciprocal, 1)
    assert list(farm(reciprocal, [4, 5], workers)) == [(4, 0.25), (5, 0.2)]


def test_a_loss_that_the_package_does_not_name_is_an_error():
    workers = Workers(Forgetful(lost=[1]), 2, OWN)
    with pytest.raises(Lost):
        list(farm(reciprocal, [1, 2], workers))


@pytest.mark.parametrize(("number", "error", "purpose"), [(0, ZeroDivisionError, False), (13, ValueError, True)])
def test_what_a_task_raises_comes_back_with_its_traceback(number, error, purpose):
    future = Workers(ThreadPoolExecutor(1), 1, OWN).submit(reciprocal, number)
    with pytest.raises(error) as raised:
        future.result()
    assert "in reciprocal" in str(raised.value.__cause__) and raised_on_purpose(raised.value) is purpose


def test_a_task_is_pickled_once_and_sent_only_to_equals():
    sent = []

    class Listening(ThreadPoolExecutor):
        def submit(self, fn, own, task, *args):
            sent.append((fn, own, task, args))
            return super().submit(fn, own, task, *args)

    workers = Workers(Listening(1), 1, OWN)
    task = functools.partial(pow, 2)
    assert [workers.submit(task, n).result() for n in (2, 3)] == [4, 8]
    assert sent[0][:3] == (answer, OWN, sent[0][2]) and sent[0][2] is sent[1][2] and sent[1][3] == (3,)


def test_a_worker_of_other_code_or_versions_is_refused_with_both_named():
    other = Identity({"haarflow": "abc", "mine": "def"}, {"numpy": "1.0", "jax": "0.1"}, "node7")
    with pytest.raises(WorkerError) as refused:
        Workers(ThreadPoolExecutor(1), 1, other).submit(reciprocal, 2).result()
    said = str(refused.value)
    assert "haarflow code abc on node7, code " in said and "numpy 1.0 on node7, " in said
    assert "mine code def on node7, code missing on" in said and raised_on_purpose(refused.value)


class Unsendable(Exception):
    """An exception that no pickle holds."""

    def __reduce__(self):
        raise TypeError("not to be sent")


def unsendable(number):
    """A task that raises it."""
    raise Unsendable(f"in block {number}")


def test_an_exception_that_cannot_be_pickled_comes_back_as_words():
    with pytest.raises(RuntimeError, match="Unsendable: in block 4"):
        Workers(ThreadPoolExecutor(1), 1, OWN).submit(unsendable, 4).result()


def test_a_worker_without_haarflow_is_told_so():
    class Bare(Executor):
        def submit(self, *args):
            future = Future()
            future.set_exception(ModuleNotFoundError("No module named 'haarflow'"))
            return future

    with pytest.raises(WorkerError, match=r"a worker cannot import haarflow \(No module named 'haarflow'\)"):
        Workers(Bare(), 1, OWN).submit(reciprocal, 1).result()


@pytest.mark.parametrize(("words", "said"), [
    ("proceses:2", r"no executor 'proceses': choose processes:N, dask:ADDRESS, mpi or slurm:KEY=VALUE"),
    ("processes:0", "processes:N wants a number of workers from 1, got '0'"),
    ("processes", "processes:N wants a number of workers from 1, got ''"),
])  # fmt: skip
def test_senseless_words_are_refused(words, said, tmp_path):
    with pytest.raises(ExecutorError, match=said), opened(words, [], [], tmp_path):
        pass


@pytest.mark.parametrize("name", [name for name, row in EXECUTORS.items() if row.package])
def test_a_package_that_is_absent_is_named_with_its_extra(name, tmp_path, monkeypatch):
    row = EXECUTORS[name]
    monkeypatch.setitem(sys.modules, row.package, None)
    said = rf"--executor {name} needs the package {row.package} .*pip install 'haarflow\[{row.extra}\]'"
    with pytest.raises(ExecutorError, match=said), opened(name, [], [], tmp_path):
        pass


def test_options_of_slurm():
    assert options("jobs=3,cluster=local,gres=gpu:1,time=30") == {
        "count": 3,
        "cluster": "local",
        "gres": "gpu:1",
        "time": 30,
    }
    assert options("") == {}
    for words in ("partition", "=3", "a=", "jobs=0", "jobs=many"):
        with pytest.raises(ExecutorError, match="slurm"):
            options(words)


def test_slurm_that_is_absent_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", types.ModuleType("submitit"))
    monkeypatch.setattr(executors.shutil, "which", lambda name: None)
    with (
        pytest.raises(ExecutorError, match="no Slurm here: `sbatch` is not found"),
        opened("slurm:jobs=2", [], [], tmp_path),
    ):
        pass


class Ranks(types.ModuleType):
    """mpi4py of `size` ranks as this process, `rank`, sees it; the first has threads for the others."""

    def __init__(self, rank, size):
        super().__init__("mpi4py")
        world = types.SimpleNamespace(Get_rank=lambda: rank, Get_size=lambda: size)
        self.MPI = types.SimpleNamespace(COMM_WORLD=world)
        self.futures = types.ModuleType("mpi4py.futures")
        self.futures.MPICommExecutor = self.communicator
        self.rank, self.signals = rank, None

    @contextlib.contextmanager
    def communicator(self, comm, root):
        self.signals = signal.getsignal(signal.SIGUSR1)
        yield ThreadPoolExecutor(2) if self.rank == root else None


def by_mpi(monkeypatch, rank, size):
    """Such a package in place of mpi4py."""
    package = Ranks(rank, size)
    monkeypatch.setitem(sys.modules, "mpi4py", package)
    monkeypatch.setitem(sys.modules, "mpi4py.futures", package.futures)
    return package


def test_the_first_rank_of_mpi_runs_and_the_others_serve(monkeypatch, tmp_path):
    package = by_mpi(monkeypatch, 0, 3)
    with opened("mpi", ["numpy"], [], tmp_path) as executor:
        assert executor.workers == 2 and list(farm(reciprocal, [2, 4], executor)) == [(2, 0.5), (4, 0.25)]
    assert package.signals is not signal.SIG_IGN
    package, before = by_mpi(monkeypatch, 1, 3), signal.getsignal(signal.SIGUSR1)
    with pytest.raises(Served), opened("mpi", ["numpy"], [], tmp_path):
        pytest.fail("a rank that serves runs nothing")
    assert package.signals is signal.SIG_IGN and signal.getsignal(signal.SIGUSR1) is before
    by_mpi(monkeypatch, 0, 1)
    with pytest.raises(ExecutorError, match="mpi needs two ranks or more"), opened("mpi", [], [], tmp_path):
        pass


class Clients(types.ModuleType):
    """dask's `distributed` with the threads that its workers have, or the failure to connect."""

    def __init__(self, threads):
        super().__init__("distributed")
        self.comm = types.ModuleType("distributed.comm")
        self.comm.CommClosedError, self.KilledWorker, self.threads = OSError, Lost, threads

    def Client(self, **place):
        if isinstance(self.threads, Exception):
            raise self.threads
        self.place, client = place, contextlib.nullcontext()
        client.nthreads = lambda: self.threads
        client.get_executor = lambda pure: Forgetful(lost=[3])
        client.__class__ = type("Client", (contextlib.nullcontext,), {"__enter__": lambda self: self})
        return client


def by_dask(monkeypatch, threads):
    """Such a package in place of dask's."""
    package = Clients(threads)
    monkeypatch.setitem(sys.modules, "distributed", package)
    monkeypatch.setitem(sys.modules, "distributed.comm", package.comm)
    return package


def test_the_workers_of_dask_draw_and_those_it_gives_up_are_replaced(monkeypatch, tmp_path):
    package = by_dask(monkeypatch, {"a": 1, "b": 2})
    with opened("dask:tcp://node1:8786", ["numpy"], [], tmp_path) as executor:
        assert executor.workers == 3 and package.place["address"] == "tcp://node1:8786"
        assert list(farm(reciprocal, [1, 2, 3, 4], executor)) == [(n, 1 / n) for n in (1, 2, 3, 4)]
    file = tmp_path / "scheduler.json"
    file.write_text("{}")
    with opened(f"dask:{file}", ["numpy"], [], tmp_path):
        assert package.place["scheduler_file"] == str(file)


@pytest.mark.parametrize(
    ("threads", "said"),
    [(OSError("timed out"), "no dask scheduler at tcp://x:1 .timed out."), ({}, "has no workers: start")],
)
def test_dask_that_is_absent_is_named(threads, said, monkeypatch, tmp_path):
    by_dask(monkeypatch, threads)
    with pytest.raises(ExecutorError, match=said), opened("dask:tcp://x:1", [], [], tmp_path):
        pass


def test_workers_and_executor_are_one_choice(tmp_path, capsys):
    recipe = uniform_recipe(tmp_path)
    words = ("run", recipe, "-b", "numpy", "--out", tmp_path / "run", "--workers", 2, "--executor", "mpi")
    assert haarflow(*words) == 1
    assert "give one of --workers 2 and --executor mpi" in capsys.readouterr().err and not (tmp_path / "run").exists()
