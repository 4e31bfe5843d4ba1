"""How many threads the array libraries use, set in the environment before any of them is loaded."""

from __future__ import annotations

import os
import sys

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC")
ONE_XLA_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def use_threads(threads: int | None) -> None:
    """Limit the threads of all array libraries that are loaded later; None changes nothing."""
    if threads is None:
        return
    for variable in VARIABLES:
        os.environ[variable] = str(threads)
    if threads == 1:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {ONE_XLA_THREAD}".strip()
    if sys.platform == "linux":  # where a process can choose its cores
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))


def one_thread_each() -> None:
    """Limit each process to one thread, unless the environment says otherwise: workers share the cores by processes."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("XLA_FLAGS", ONE_XLA_THREAD)
