"""Runs a kind of damaged files through its readers, within bounds of time and memory, and counts how each ends.

A file must be read or be refused with one sentence, in under SECONDS, with at most MEMORY more bytes of address space.
"""

import resource
import signal
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, given, seed, settings

from haarflow.run.faults import raised_on_purpose

SECONDS, MEMORY = 10.0, 1 << 30


class TookTooLong(BaseException):
    """The alarm that ends a reader."""


class Tally(NamedTuple):
    """How `count` files ended: the failures by kind, and for each kind its first file."""

    count: int
    read: int
    refused: int
    failures: Counter
    examples: dict


def tally(kind, count, folder, start=0):
    """Read `count` damaged files of one kind, those of the seed `start`."""
    ends, examples = Counter(), {}

    @seed(start)
    @settings(max_examples=count, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(kind.files)
    def each(data):
        path = Path(folder) / f"damaged{kind.suffix}"
        path.write_bytes(data)
        end = ending(kind, path)
        ends[end] += 1
        examples.setdefault(end, data)

    each()
    failures = Counter({end: number for end, number in ends.items() if end not in ("read", "refused")})
    return Tally(sum(ends.values()), ends["read"], ends["refused"], failures, {end: examples[end] for end in failures})


def ending(kind, path):
    """How reading one file ends: "read", "refused", or what went wrong."""
    before = time.monotonic()
    try:
        with _bounded():
            kind.read(path)
    except TookTooLong:
        return f"took more than {SECONDS:.0f} s"
    except Exception as error:
        return _refusal(kind, error)
    return "read" if time.monotonic() - before < SECONDS else f"took more than {SECONDS:.0f} s"


def _refusal(kind, error):
    if isinstance(error.__cause__, MemoryError) or isinstance(error, MemoryError):
        return "needs too much memory"
    if not isinstance(error, kind.refusals) and not (isinstance(error, ValueError) and raised_on_purpose(error)):
        return f"{type(error).__name__}: {error}"[:120]
    said = str(error)
    return "refused" if said and len(said) < 5000 and "Traceback" not in said else f"no sentence: {said[:80]!r}"


class _bounded:
    """Bounds of time and memory for the block."""

    def __enter__(self):
        self.limits = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, self.limits[1]))
        self.handler = signal.signal(signal.SIGALRM, self._late)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)

    def __exit__(self, *error):
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, self.handler)
        resource.setrlimit(resource.RLIMIT_AS, self.limits)

    @staticmethod
    def _late(number, frame):
        raise TookTooLong
