"""A run that is asked to end: SIGTERM and SIGUSR1 let it commit the block or checkpoint under way, then it exits with CODE.

Batch systems send one of them ahead of a job's time limit. A second signal ends the run at once, as it stands: finished
blocks and checkpoints are on the disk in any case.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
CODE = 75  # EX_TEMPFAIL of sysexits.h: the same command, repeated, goes on


class Stopped(Exception):
    """A run that was asked to end before it was complete."""


class Stop:
    """Whether the run has been asked to end: `asked` is the signal's name, empty if not."""

    def __init__(self) -> None:
        self.asked = ""

    def check(self) -> None:
        """Raise Stopped if the run has been asked to end."""
        if self.asked:
            raise Stopped(f"{self.asked}: finished blocks are kept, and the same command resumes the run")

    def until(self, numbers: Iterable[int]) -> Iterator[int]:
        """Yield numbers until the run is asked to end.

        >>> stop, taken = Stop(), []
        >>> for number in stop.until(range(5)):
        ...     taken.append(number)
        ...     stop.asked = "SIGUSR1" if number == 1 else ""
        >>> taken
        [0, 1]
        """
        for number in numbers:
            if self.asked:
                return
            yield number


@contextlib.contextmanager
def on_signals() -> Iterator[Stop]:
    """A `Stop` that SIGNALS ask to end while the block lasts; outside the main thread, which alone has signals, none do.

    >>> with on_signals() as stop:
    ...     signal.raise_signal(signal.SIGUSR1)
    >>> stop.asked
    'SIGUSR1'
    """
    stop = Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        stop.check()
        stop.asked = signal.Signals(number).name
        print(f"{stop.asked}: ending after the block or checkpoint under way", file=sys.stderr, flush=True)

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
