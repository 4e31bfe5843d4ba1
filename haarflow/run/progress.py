"""Progress of a run on standard error: bars on a terminal, plain lines in a batch log."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from haarflow.run.stops import Stop

_LINE_EVERY = 10.0  # seconds between plain lines


def duration(seconds: float) -> str:
    """Return a duration in short form.

    >>> duration(5), duration(125), duration(7300)
    ('5s', '2m05s', '2h01m')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def figures(values: Mapping[str, float]) -> str:
    """Return named figures in a row.

    >>> figures({"loss": -13.25, "ess": 0.5})
    'loss -13.25  ess 0.5'
    """
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


class Task:
    """One line of progress: `advance` it by the units done, with current values; until the first it is `waiting`."""

    def __init__(self, name: str, total: int, done: int = 0, waiting: str = ""):
        self.name, self.total, self.done, self.waiting = name, total, done, waiting
        self.since: tuple[int, float] | None = None  # units done and the time, once the first are

    def advance(self, values: Mapping[str, float], units: int = 1) -> None:
        """Count units and show the values."""
        self.done += units
        self.since = self.since or (self.done, time.monotonic())
        self.show(values)

    def left(self) -> str:
        """The time left, estimated from all but the first units, which include compilation."""
        done, since = self.since or (self.done, 0.0)
        if self.done == done or self.done >= self.total:
            return ""
        return f"{duration((time.monotonic() - since) * (self.total - self.done) / (self.done - done))} left"

    def show(self, values: Mapping[str, float]) -> None:
        """Show nothing."""


class PlainTask(Task):
    """Prints a line every ten seconds."""

    shown = 0.0

    @contextlib.contextmanager
    def clock(self) -> Iterator[None]:
        """Say at once, and every ten seconds, what is waited for, until the first unit is done."""
        begun, stop = time.monotonic(), threading.Event()

        def tick() -> None:
            while self.since is None:
                print(f"{self.name}: {self.waiting}, {duration(time.monotonic() - begun)}", file=sys.stderr, flush=True)
                if stop.wait(_LINE_EVERY):
                    return

        if self.waiting and self.done < self.total:
            threading.Thread(target=tick, daemon=True).start()
        try:
            yield
        finally:
            stop.set()

    def show(self, values: Mapping[str, float]) -> None:
        now = time.monotonic()
        if now - self.shown < _LINE_EVERY and self.done < self.total:
            return
        self.shown = now
        parts = [f"{self.name}: {self.done}/{self.total}", figures(values), self.left()]
        print("  ".join(part for part in parts if part), file=sys.stderr, flush=True)


class BarTask(Task):
    """A progress bar of rich."""

    def attach(self, bars: Any) -> BarTask:
        """Add this task to the bars."""
        self.bars = bars
        self.number = bars.add_task(self.name, total=self.total, completed=self.done, figures="", left=self.waiting)
        return self

    def show(self, values: Mapping[str, float]) -> None:
        words = {"figures": figures(values), "left": self.left()}
        self.bars.update(self.number, description=self.name, completed=self.done, **words)


class Progress:
    """Progress that shows nothing; the two kinds below do. `stop` says whether the run has been asked to end."""

    def __init__(self, stop: Stop | None = None) -> None:
        self.stop = stop or Stop()

    def say(self, text: str) -> None:
        """Show a sentence."""

    @contextlib.contextmanager
    def task(self, name: str, total: int, done: int = 0, waiting: str = "") -> Iterator[Task]:
        """One stage of the run; `waiting`, such as "compiling", stands until its first unit is done."""
        yield Task(name, total, done)


class PlainProgress(Progress):
    """Lines for a batch log."""

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def task(self, name: str, total: int, done: int = 0, waiting: str = "") -> Iterator[Task]:
        task = PlainTask(name, total, done, waiting)
        with task.clock():
            yield task


class BarProgress(Progress):
    """Bars for a terminal."""

    def __init__(self, stop: Stop | None = None) -> None:
        from rich.console import Console

        super().__init__(stop)
        self.console = Console(stderr=True)

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)

    @contextlib.contextmanager
    def task(self, name: str, total: int, done: int = 0, waiting: str = "") -> Iterator[Task]:
        from rich import progress as rich

        columns = (
            rich.TextColumn("{task.description:<18}"),
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TimeElapsedColumn(),
            rich.TextColumn("{task.fields[figures]}  {task.fields[left]}"),
        )
        with rich.Progress(*columns, console=self.console) as bars:
            yield BarTask(name, total, done, waiting).attach(bars)


def progress(quiet: bool = False, stop: Stop | None = None) -> Progress:
    """Return bars if standard error is a terminal, else plain lines, or nothing if `quiet`."""
    if quiet:
        return Progress(stop)
    return BarProgress(stop) if sys.stderr.isatty() else PlainProgress(stop)
