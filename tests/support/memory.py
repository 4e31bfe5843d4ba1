"""What a test process holds in memory, and how it gives back what compilation keeps.

JAX keeps every program it has compiled, and so do the bounded caches of the library (`lru_cache(maxsize=...)`): over
the whole suite that is gigabytes of programs that no other test runs again. The unbounded caches (`@cache`: adapters,
Numba's kernels) are small, are used by all tests, and stay.
"""

import contextlib
import ctypes
import gc
import sys

from haarflow.benchmarks.harness.meter import resident

BAR = 1.2e9 / 2**20  # MiB of a worker in the default run: three workers fit where 4 GB are free
CROWDED = 800.0  # MiB from which programs are dropped: 500 are the libraries, and one test may take another 230
STEP = 50.0  # MiB that must have been added since the last time: dropping takes 0.4 s


class Watch:
    """The peak of a process, and what it held after programs were dropped for the last time, in MiB."""

    def __init__(self):
        self.peak = 0.0
        self.kept = 0.0

    def look(self):
        """Note the peak, and drop compiled programs where they have become many."""
        now, peak = resident()
        self.peak = max(self.peak, peak)
        if now > max(CROWDED, self.kept + STEP):
            drop_programs()
            self.kept = resident()[0]


def drop_programs():
    """Clear the caches of JAX, of PyTorch's compiler and the library's bounded ones; give free memory to the system."""
    for cache in bounded_caches():
        cache.cache_clear()
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
    if "torch._dynamo" in sys.modules:
        sys.modules["torch._dynamo"].reset()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def bounded_caches():
    """Return the `lru_cache(maxsize=...)` functions of the library's modules imported so far."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("haarflow.")]
    found = [value for module in modules for value in vars(module).values() if hasattr(value, "cache_parameters")]
    return [cache for cache in found if cache.cache_parameters()["maxsize"] is not None]


def sees_gpu():
    """Whether CUDA's libraries, gigabytes of them, may be part of what the process holds."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_available()
