"""Independent workers: numbered blocks through any `concurrent.futures.Executor`, handed back in order.

A task is a picklable function of the block's number that draws from its own key, `fold_in(key, number)`: who computes
a block, and how many workers there are, changes nothing in the answer. Workers get names, parameters and key words
(a `Backend` pickles as name, device, dtype) and start by spawn, so that no engine's threads are forked.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def farm(
    task: Callable[[int], Result], numbers: Iterable[int], executor: Executor | None = None, ahead: int = 4
) -> Iterator[tuple[int, Result]]:
    """Yield `(number, task(number))` in the order of `numbers`, computed by the executor's workers (None: here).

    At most `ahead` blocks are under way or waiting to be taken, so memory stays bounded. A task's exception is raised
    where its result is taken; blocks not yet begun are cancelled. Raises ValueError for ahead < 1.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> list(farm(abs, [-2, 3], ThreadPoolExecutor(2)))
    [(-2, 2), (3, 3)]
    """
    if ahead < 1:
        raise ValueError(f"at least one block must be under way, got ahead={ahead}")
    if executor is None:
        yield from ((number, task(number)) for number in numbers)
        return
    waiting: deque[tuple[int, Future[Result]]] = deque()
    try:
        for number in numbers:
            waiting.append((number, executor.submit(task, number)))
            if len(waiting) >= ahead:
                yield _take(waiting)
        while waiting:
            yield _take(waiting)
    finally:
        for _, future in waiting:
            future.cancel()


def _take(waiting: deque[tuple[int, Future[Result]]]) -> tuple[int, Result]:
    number, future = waiting.popleft()
    return number, future.result()


def processes(workers: int) -> ProcessPoolExecutor:
    """Return an executor of `workers` processes of this machine, started by spawn.

    A worker that computes in float64 on JAX reads JAX_ENABLE_X64 from the environment it inherits. Raises ValueError
    for workers < 1.

    >>> with processes(1) as executor:
    ...     executor.submit(abs, -3).result()
    3
    """
    if workers < 1:
        raise ValueError(f"at least one worker wanted, got {workers}")
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
