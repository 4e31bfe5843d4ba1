"""The memory of a test process, and how to free what compilation keeps.

JAX keeps every program it has compiled, and so do the bounded caches of the library (`lru_cache(maxsize=...)`): over
the whole suite that adds up to gigabytes of programs that are never run again. The unbounded caches (`@cache`: adapters,
Numba's kernels) are small, are used by all tests, and stay.
"""

import contextlib
import ctypes
import gc
import sys

from haarflow.benchmarks.harness.meter import resident

BAR = 1.2e9 / 2**20  # MiB per worker in the default run: three workers fit into 4 GB
CROWDED = 800.0  # MiB above which programs are dropped: the libraries take 500, and one test may take another 230
STEP = 50.0  # MiB that must have been added since the last time, since dropping takes 0.4 s


class Watch:
    """The peak memory of a process, and its memory after programs were last dropped, in MiB."""

    def __init__(self):
        self.peak = 0.0
        self.kept = 0.0

    def look(self):
        """Record the peak, and drop compiled programs if there are too many."""
        now, peak = resident()
        self.peak = max(self.peak, peak)
        if now > max(CROWDED, self.kept + STEP):
            drop_programs()
            self.kept = resident()[0]


def drop_programs():
    """Clear the caches of JAX, of PyTorch's compiler and the library's bounded ones; return free memory to the system."""
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
    """Whether the process may have loaded CUDA's libraries, which take gigabytes."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_available()
