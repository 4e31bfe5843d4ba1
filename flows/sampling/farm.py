"""A farm of independent workers: blocks computed by any `concurrent.futures.Executor` and returned in order.

A task is a picklable function of the block index which draws with the key `fold_in(key, index)`: the result depends
neither on which worker computes a block nor on their number. Workers receive names, parameters and the integers of the key
(a `Backend` pickles as name, device, dtype) and are started by spawn, so that no array library's threads are forked.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def farm(
    task: Callable[[int], Result], indices: Iterable[int], executor: Executor | None = None, ahead: int = 4
) -> Iterator[tuple[int, Result]]:
    """Yield `(index, task(index))` in the order of `indices`, computed by the executor's workers (None: in this process).

    At most `ahead` blocks are being computed or waiting to be consumed, so memory stays bounded. An exception in a task is
    raised when its result is due; blocks not yet started are cancelled. If a worker dies, the blocks that are lost with it and
    all later ones are computed in this process, with the same results. Raises ValueError for ahead < 1.

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
                yield _take(task, waiting)
        while waiting:
            yield _take(task, waiting)
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


def _take(task: Callable[[int], Result], waiting: deque[tuple[int, Future[Result] | None]]) -> tuple[int, Result]:
    index, future = waiting.popleft()
    try:
        return index, task(index) if future is None else future.result()
    except BrokenExecutor:
        return index, task(index)


def processes(workers: int) -> ProcessPoolExecutor:
    """Return an executor of `workers` processes on this machine, started by spawn.

    A worker that computes in float64 on JAX takes JAX_ENABLE_X64 from the environment it inherits. Raises ValueError
    for workers < 1.

    >>> with processes(1) as executor:
    ...     executor.submit(abs, -3).result()
    3
    """
    if workers < 1:
        raise ValueError(f"at least one worker wanted, got {workers}")
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
