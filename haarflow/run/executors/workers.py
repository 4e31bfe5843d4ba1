"""Blocks on the workers of another package's executor: each worker says what it is before it draws, and its failures come back.

A block is sent as bytes and opened once the worker is known to have the same code; a worker that was lost is a
`BrokenExecutor`, whatever its package calls it, so that `farm` draws its block again.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from functools import lru_cache
from typing import Any, NamedTuple

from haarflow.run.executors.identity import Identity, identity


class WorkerError(ValueError):
    """Workers that must not, or cannot, draw blocks of this run."""


class Answer(NamedTuple):
    """What a worker sends back: a result, or an exception with the text of its traceback."""

    result: Any = None
    error: Exception | None = None
    trace: str = ""


class _RemoteTraceback(Exception):
    """The traceback of an exception on a worker, as its cause."""


def answer(asked: Identity, task: bytes, *arguments: Any) -> Answer:
    """Run on a worker: compare what it is with the process that asks, then open the task and compute.

    >>> answer(identity(["numpy"]), pickle.dumps(abs), -3).result
    3
    >>> print(answer(Identity({"haarflow": "other"}, {}, "here"), b"", 0).error)  # doctest: +ELLIPSIS
    a worker does not have the code and versions of this run: haarflow code other on here, code ... the same on both
    """
    try:
        _agree(pickle.dumps(asked))
        return Answer(pickle.loads(task)(*arguments))
    except Exception as error:
        return Answer(None, _sendable(error), "".join(traceback.format_exception(error)))


@lru_cache(maxsize=4)
def _agree(asked: bytes) -> None:
    """Refuse to draw unless this process is as the one that asks; float64 on JAX is then what it is there, as on the command line."""
    wanted: Identity = pickle.loads(asked)
    own = [name for name in wanted.code if name != "haarflow"]
    if unlike := wanted.unlike(identity(wanted.versions, own)):
        raise WorkerError(
            f"a worker does not have the code and versions of this run: {'; '.join(unlike)}; install the same on both"
        )
    os.environ.setdefault("JAX_ENABLE_X64", "1")
    if sys.modules.get("jax") is not None:
        sys.modules["jax"].config.update("jax_enable_x64", True)


def _sendable(error: Exception) -> Exception:
    """The exception, or its words where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


class Workers(Executor):
    """`count` workers of another executor, which are refused if they are not as `own`.

    `lost` are the exceptions by which that executor says that a worker is gone.
    """

    def __init__(self, inner: Any, count: int, own: Identity, lost: tuple[type[BaseException], ...] = ()) -> None:
        self.workers, self._inner, self._own = count, inner, own
        self._lost: tuple[type[BaseException], ...] = (BrokenExecutor, *lost)
        self._task: tuple[Any, bytes] = (None, b"")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Give a picklable task to a worker; raises BrokenExecutor where there are none any more."""
        try:
            inner = self._inner.submit(answer, self._own, self._pickled(fn), *args, **kwargs)
        except self._lost as loss:
            raise BrokenExecutor(str(loss)) from loss
        outer: Future[Any] = Future()
        inner.add_done_callback(lambda done: self._pass_on(done, outer))
        outer.add_done_callback(lambda done: done.cancelled() and inner.cancel())
        return outer

    def _pickled(self, task: Any) -> bytes:
        """The bytes of a task, made once for all its blocks."""
        if task is not self._task[0]:
            self._task = (task, pickle.dumps(task))
        return self._task[1]

    def _pass_on(self, done: Future[Any], outer: Future[Any]) -> None:
        if not outer.set_running_or_notify_cancel():
            return
        failure = BrokenExecutor("the block was cancelled") if done.cancelled() else done.exception()
        if isinstance(failure, self._lost):
            outer.set_exception(BrokenExecutor(str(failure)))
        elif isinstance(failure, ImportError):
            outer.set_exception(WorkerError(f"a worker cannot import haarflow ({failure}): install it where it runs"))
        elif failure is not None:
            outer.set_exception(failure)
        elif (found := done.result()).error is not None:
            found.error.__cause__ = _RemoteTraceback(f"\n{found.trace}")
            outer.set_exception(found.error)
        else:
            outer.set_result(found.result)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the workers to whoever has started them."""
