"""Where the blocks of a run are drawn: the executors of `--executor`, one row each.

    processes:N             N processes of this machine
    dask:ADDRESS            the workers of a dask scheduler, tcp://host:8786 or its scheduler file
    mpi                     the ranks of this MPI job but the first, which runs the rest: mpiexec -n 9 haarflow run ...
    slurm:KEY=VALUE,...     Slurm jobs of one block each by submitit, at most `jobs` at once; other keys are sbatch's

Scheduling, starting and moving data are left to these packages. The numbers do not depend on the executor, the number of
workers, their order or their deaths.
"""

from __future__ import annotations

import contextlib
import importlib
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from haarflow.flows.sampling.farm import processes
from haarflow.run.executors.identity import Identity, identity
from haarflow.run.executors.jobs import Jobs
from haarflow.run.executors.workers import Workers
from haarflow.run.stops import SIGNALS

Opened = AbstractContextManager[Executor | None]


class ExecutorError(ValueError):
    """An executor that is not known, not installed, or not there."""


class Served(Exception):
    """Raised in a rank that drew blocks for the first until the run was complete, and has nothing more to do."""


class Row(NamedTuple):
    """One executor: what `open` makes of the words after the colon, the package it needs and the extra that installs it."""

    words: str
    open: Callable[[str, Identity, Path], Opened]
    package: str = ""
    extra: str = ""


@contextlib.contextmanager
def _processes(words: str, own: Identity, folder: Path) -> Iterator[Executor | None]:
    count = _count(words, "processes:N")
    if count == 1:
        yield None
        return
    with processes(count) as pool:
        yield Workers(pool, count, own)


@contextlib.contextmanager
def _dask(words: str, own: Identity, folder: Path) -> Iterator[Executor | None]:
    from distributed import Client, KilledWorker
    from distributed.comm import CommClosedError

    place = {"scheduler_file": words} if Path(words).is_file() else {"address": words}
    try:
        client = Client(**place, timeout="30s", name="haarflow")
    except (OSError, ValueError) as absent:
        raise ExecutorError(f"there is no dask scheduler at {words or 'an empty address'} ({absent}): {DASK}") from None
    with client:
        if not (threads := client.nthreads()):
            raise ExecutorError(f"the dask scheduler at {words} has no workers: {DASK}")
        yield Workers(client.get_executor(pure=False), sum(threads.values()), own, (KilledWorker, CommClosedError))


DASK = "start `dask scheduler` and, once or more, `dask worker ADDRESS --nthreads 1`"


@contextlib.contextmanager
def _mpi(words: str, own: Identity, folder: Path) -> Iterator[Executor | None]:
    from mpi4py import MPI
    from mpi4py.futures import MPICommExecutor

    count = MPI.COMM_WORLD.Get_size() - 1
    if words or count < 1:
        raise ExecutorError(
            "mpi needs two ranks or more, and no words after it: mpiexec -n 3 haarflow run RECIPE --executor mpi"
        )
    with _deaf(MPI.COMM_WORLD.Get_rank()), MPICommExecutor(MPI.COMM_WORLD, root=0) as pool:
        if pool is not None:
            yield Workers(pool, count, own)
            return
    raise Served


@contextlib.contextmanager
def _slurm(words: str, own: Identity, folder: Path) -> Iterator[Executor | None]:
    chosen = options(words)
    if chosen.get("cluster", "slurm") == "slurm" and shutil.which("sbatch") is None:
        raise ExecutorError("there is no Slurm here: `sbatch` is not found; run the command where jobs are submitted")
    try:
        jobs = Jobs(folder / ".jobs", **chosen)
    except (NotImplementedError, TypeError, ValueError) as refused:
        raise ExecutorError(f"slurm:{words} is refused: {refused}") from None
    with jobs:
        yield Workers(jobs, jobs.count, own)


@contextlib.contextmanager
def _deaf(rank: int) -> Iterator[None]:
    """Leave the signals that end a run to the first rank: a launcher sends them to all."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS} if rank else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


EXECUTORS: dict[str, Row] = {
    "processes": Row("processes:N", _processes),
    "dask": Row("dask:ADDRESS", _dask, "distributed", "dask"),
    "mpi": Row("mpi", _mpi, "mpi4py", "mpi"),
    "slurm": Row("slurm:KEY=VALUE,...", _slurm, "submitit", "slurm"),
}


def refuse_unknown(words: str) -> None:
    """Raise ExecutorError for an executor that is not in the table, or whose package is not installed.

    >>> refuse_unknown("procesess:2")
    Traceback (most recent call last):
    haarflow.run.executors.table.ExecutorError: there is no executor 'procesess': choose processes:N, dask:ADDRESS, mpi or slurm:KEY=VALUE,...
    """
    name = words.partition(":")[0]
    if name not in EXECUTORS:
        *first, last = (row.words for row in EXECUTORS.values())
        raise ExecutorError(f"there is no executor {name!r}: choose {', '.join(first)} or {last}")
    package = EXECUTORS[name].package
    try:
        importlib.import_module(package or "concurrent.futures")
    except ImportError as missing:
        raise ExecutorError(
            f"--executor {name} needs the package {package} ({missing}): pip install 'haarflow[{EXECUTORS[name].extra}]'"
        ) from None


@contextlib.contextmanager
def opened(words: str, versions: Iterable[str], modules: Iterable[str], folder: Path) -> Iterator[Executor | None]:
    """Open the executor that `words` name; None is this process alone.

    `versions` are packages and `modules` a person's own ones that must be equal on all workers, `folder` one for what is
    exchanged by files. Raises ExecutorError for what cannot be opened, Served in a rank of MPI that only draws.

    >>> with opened("processes:1", [], [], Path(".")) as executor:
    ...     print(executor)
    None
    """
    refuse_unknown(words)
    name, _, rest = words.partition(":")
    with EXECUTORS[name].open(rest, identity(versions, modules), folder) as executor:
        yield executor


def _count(words: str, form: str) -> int:
    if not words.isdecimal() or int(words) < 1:
        raise ExecutorError(f"{form} wants a number of workers from 1, got {words!r}")
    return int(words)


def options(words: str) -> dict[str, Any]:
    """Return the options of slurm: `jobs` as "count", and "cluster"; all others are for sbatch.

    >>> options("jobs=8,partition=cpu,time=30")
    {'count': 8, 'partition': 'cpu', 'time': 30}
    """
    found: dict[str, Any] = {}
    for pair in filter(None, words.split(",")):
        name, equals, value = pair.partition("=")
        if not (equals and name and value):
            raise ExecutorError(f"slurm wants KEY=VALUE,... such as jobs=8,partition=cpu,time=30, got {pair!r}")
        found["count" if name == "jobs" else name] = int(value) if value.isdecimal() else value
    if not isinstance(found.get("count", 1), int) or found.get("count", 1) < 1:
        raise ExecutorError(f"slurm: jobs is a number from 1, got {found['count']!r}")
    return found
