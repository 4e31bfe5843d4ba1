"""The machine: its kind in words, and what it does at best on this process's threads."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy

from haarflow.benchmarks.harness.meter import timed

COPIED = 2**23  # doubles: 64 MiB, beyond the caches that one thread commands
ORDER = 1024
PACKAGES = (
    "haarflow",
    "numpy",
    "jax",
    "jaxlib",
    "torch",
    "cupy",
    "numba",
    "array-api-compat",
    "array-api-strict",
    "optax",
)


def kind() -> dict[str, Any]:
    """Return the processor's model, the cores, the memory in GiB and the system.

    >>> sorted(kind())
    ['cores', 'cpu', 'memory_gib', 'python', 'system']
    """
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    found = dict([part.strip() for part in line.split(":", 1)] for line in lines if ":" in line)
    family = f"family {found['cpu family']} model {found['model']}" if "cpu family" in found else platform.machine()
    return f"{found.get('model name', 'unknown')} ({family})"


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    except (ValueError, OSError, AttributeError):
        return None


def free_mib() -> float:
    """Return the memory that programs can still have, in MiB: as Linux tells it, else all that there is.

    >>> free_mib() > 1.0
    True
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 1024
    except (OSError, StopIteration):
        return 1024.0 * (_memory() or 4.0)


def versions() -> dict[str, str]:
    """Return the versions of the packages that take part and are here."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def rates(repeats: int = 5) -> dict[str, float]:
    """Return bytes a CPU second of a copy (read and written), operations a second of real matrix products, and sines.

    A copy of 64 MiB, products of order 1,024, sines of 2^18 numbers, each at its best of `repeats`.
    """
    x, y = numpy.ones(COPIED), numpy.empty(COPIED)
    a, b = numpy.ones((ORDER, ORDER)), numpy.ones((ORDER, ORDER), dtype=numpy.float32)
    angles = numpy.linspace(-3.0, 3.0, 2**18)
    return {
        "copy": 2 * x.nbytes / _best(lambda: numpy.copyto(y, x), repeats),
        "flops_float64": 2 * ORDER**3 / _best(lambda: a @ a, repeats),
        "flops_float32": 2 * ORDER**3 / _best(lambda: b @ b, repeats),
        "sines": angles.size / _best(lambda: numpy.sin(angles), repeats),
    }


def _best(call: Callable[[], Any], repeats: int) -> float:
    from haarflow import backends

    backend = backends.get("numpy")
    return min(timed(call, backend)[0].cpu for _ in range(repeats))
