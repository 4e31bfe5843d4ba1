"""Clocks and memory of this process: CPU and wall seconds of a call that has really ended, and what it took."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from haarflow.backends.tree import leaves

MIB = 2**20


class Seconds(NamedTuple):
    """Process CPU (all threads) and wall seconds."""

    cpu: float
    wall: float


def timed(call: Callable[[], Any], backend: Any, calls: int = 1) -> tuple[Seconds, Any]:
    """Return the seconds of one of `calls` calls, waited for, and what the last returned.

    >>> from haarflow.backends import numpy as backend
    >>> seconds, found = timed(lambda: backend.xp.ones(3), backend, calls=5)
    >>> seconds.cpu >= 0.0, found.tolist()
    (True, [1.0, 1.0, 1.0])
    """
    cpu, wall, found = time.process_time(), time.perf_counter(), None
    for _ in range(calls):
        found = call()
        wait(found, backend)
    return Seconds((time.process_time() - cpu) / calls, (time.perf_counter() - wall) / calls), found


def wait(found: Any, backend: Any) -> None:
    """Return when the arrays of `found` are there: JAX, and every engine on a GPU, hand them out before."""
    if backend.name == "jax":
        for leaf in leaves(found):
            if hasattr(leaf, "block_until_ready"):
                leaf.block_until_ready()
    elif backend.name == "torch" and str(backend.device).startswith("cuda"):
        sys.modules["torch"].cuda.synchronize()
    elif backend.name == "cupy":
        sys.modules["cupy"].cuda.get_current_stream().synchronize()


def resident() -> tuple[float, float]:
    """Return this process's memory now and at its peak, in MiB (now is nan where the system does not tell)."""
    with contextlib.suppress(OSError):
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return tuple(float(lines[word].split()[0]) / 1024 for word in ("VmRSS", "VmHWM"))  # type: ignore[return-value]
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float("nan"), peak / (MIB if sys.platform == "darwin" else 1024)


def forget_peak() -> None:
    """Let the peak of `resident` begin anew, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def device_peak(backend: Any) -> float | None:
    """Return the peak memory on a GPU in MiB since the process began, None on the host or where it is not told."""
    if backend.name == "torch" and str(backend.device).startswith("cuda"):
        return sys.modules["torch"].cuda.max_memory_allocated() / MIB
    if backend.name == "cupy":
        return sys.modules["cupy"].get_default_memory_pool().total_bytes() / MIB
    if backend.name == "jax":
        found = backend.xp.zeros(1).devices().pop().memory_stats()
        return found["peak_bytes_in_use"] / MIB if found else None
    return None


def tensor_peak(call: Callable[[], Any]) -> float:
    """Return what the tensors that a call makes on the host hold at most at once, in MiB, by PyTorch's profiler.

    >>> import torch
    >>> tensor_peak(lambda: torch.ones(2**20, dtype=torch.float64)[:1])
    8.0
    """
    torch = sys.modules["torch"]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as found:
        call()
    events = [event for event in found.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    return max(held, default=0) / MIB


def known(figure: float | None) -> float:
    """Return a figure of an estimate as a float; raises ValueError where the estimate has none.

    >>> known(0.5)
    0.5
    """
    if figure is None:
        raise ValueError("the estimate has no such figure: its series is too short, or never changes")
    return float(figure)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile.

    >>> quartiles([4.0, 1.0, 3.0, 2.0, 5.0])
    (2.0, 3.0, 4.0)
    """
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median and the order statistics that hold it with 95% (normal approximation of the binomial).

    >>> median_interval(range(1, 101))
    (50.5, 41, 60)
    """
    ordered, half = sorted(values), 0.98 * len(values) ** 0.5
    low, high = int(len(values) / 2 - half), int(len(values) / 2 + half)
    return statistics.median(values), ordered[max(low, 0)], ordered[min(high, len(values) - 1)]
