"""A farm of independent workers: blocks computed by any `concurrent.futures.Executor` and returned in order.

A task is a picklable function of the block index which draws with the key `fold_in(key, index)`: the result depends
neither on which worker computes a block nor on their number. Workers receive names, parameters and the integers of the key
(a `Backend` pickles as name, device, dtype) and are started by spawn, so that no array library's threads are forked.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")
RENEWALS = 8  # of the workers of a run: more deaths are no accidents


def farm(
    task: Callable[[int], Result], indices: Iterable[int], executor: Executor | None = None, ahead: int = 4
) -> Iterator[tuple[int, Result]]:
    """Yield `(index, task(index))` in the order of `indices`, computed by the executor's workers (None: in this process).

    At most `ahead` blocks are being computed or waiting to be consumed, so memory stays bounded. An exception in a task is
    raised when its result is due; blocks not yet started are cancelled. If a worker dies, the block that is due is computed
    in this process, with the same result, and the others that are lost with it are given to the executor again; one that
    takes no more leaves them to this process too. Raises ValueError for ahead < 1.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> list(farm(abs, [-2, 3], ThreadPoolExecutor(2)))
    [(-2, 2), (3, 3)]
    """
    if ahead < 1:
        raise ValueError(f"at least one block must be under way, got ahead={ahead}")
    if executor is None:
        yield from ((index, task(index)) for index in indices)
        return
    waiting: deque[tuple[int, Future[Result] | None]] = deque()
    try:
        for index in indices:
            waiting.append((index, _submitted(executor, task, index)))
            if len(waiting) >= ahead:
                yield _take(executor, task, waiting)
        while waiting:
            yield _take(executor, task, waiting)
    finally:
        for _, future in waiting:
            if future is not None:
                future.cancel()


def _submitted(executor: Executor, task: Callable[[int], Result], index: int) -> Future[Result] | None:
    """The future of a block, None from executors that have lost a worker."""
    try:
        return executor.submit(task, index)
    except BrokenExecutor:
        return None


def _take(
    executor: Executor, task: Callable[[int], Result], waiting: deque[tuple[int, Future[Result] | None]]
) -> tuple[int, Result]:
    index, future = waiting.popleft()
    try:
        return index, task(index) if future is None else future.result()
    except BrokenExecutor:
        for place, (later, lost) in enumerate(waiting):
            if lost is not None and _is_lost(lost):
                waiting[place] = (later, _submitted(executor, task, later))
        return index, task(index)


def _is_lost(future: Future[Result]) -> bool:
    return future.done() and isinstance(future.exception(), BrokenExecutor)


class Processes(Executor):
    """`workers` processes on this machine, replaced by new ones when one of them dies, at most RENEWALS times."""

    def __init__(self, workers: int) -> None:
        self.workers, self.renewals, self._pool = workers, RENEWALS, _spawned(workers)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Give a task to a worker; raises BrokenExecutor after too many deaths."""
        try:
            return self._pool.submit(fn, *args, **kwargs)
        except BrokenExecutor:
            if not self.renewals:
                raise
        self.renewals -= 1
        self._pool.shutdown()
        self._pool = _spawned(self.workers)
        return self._pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers, after their tasks unless those are cancelled."""
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


def _spawned(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin)


def _begin() -> None:
    """Leave SIGUSR1, which batch systems send to all processes of a job, to the parent, and end with it even if it is killed."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def processes(workers: int) -> Processes:
    """Return an executor of `workers` processes on this machine, started by spawn, which outlives the death of a worker.

    A worker that computes in float64 on JAX takes JAX_ENABLE_X64 from the environment it inherits. Raises ValueError
    for workers < 1.

    >>> with processes(1) as executor:
    ...     executor.submit(abs, -3).result()
    3
    """
    if workers < 1:
        raise ValueError(f"at least one worker wanted, got {workers}")
    return Processes(workers)
