"""One backend in a separate process, with its own threads, memory and JAX mode.

Orders come as lines of JSON on standard input, answers go as lines of JSON to what was standard output:

    {"do": "discover", "names": [...]}        -> {name: {"devices": [...], "remedy": ...}}
    {"do": "prepare", "engine": ..., "work": ..., "problem": {...}, "threads": 1, "answer": PATH}
                                              -> first call, calls per round, items, or {"absent" | "skipped" | "failed"}
    {"do": "round"}                           -> {"cpu": s, "wall": s} of one call
    {"do": "memory"}                          -> peaks in MiB
    {"do": "machine"}                         -> copy bandwidth and matrix rates

It ends with its input. Orders and answers keep their names, because benchmarks/studies/checkouts.py sends them to older
checkouts too.
"""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
from typing import Any

ROUND_S = 0.05  # minimal CPU seconds of a round, so that the resolution of the clock does not matter


class Worker:
    """The state of one process between two orders."""

    def __init__(self) -> None:
        self.backend: Any = None
        self.job: Any = None
        self.calls = 1
        self.before = 0.0

    def discover(self, names: list[str]) -> dict[str, Any]:
        """Return the devices of every backend, or how to install it if it is missing."""
        from haarflow.results.info import backends_here

        found = backends_here()
        return {name: {word: found[name][word] for word in ("devices", "remedy", "version")} for name in names}

    def machine(self) -> dict[str, Any]:
        """Return the best rates of this machine on one thread."""
        from haarflow.benchmarks.harness.machine import rates

        return rates()

    def prepare(self, engine: str, work: str, problem: dict[str, Any], threads: int, answer: str) -> dict[str, Any]:
        """Build a workload, call it for the first time, store its result in a file, and return what it cost."""
        from haarflow import backends

        try:
            self.backend = engine_of(engine, problem["dtype"], threads)
        except (backends.MissingBackend, ValueError) as missing:
            return {"absent": str(missing)}
        from haarflow.benchmarks.harness.problems import DoesNotApply, Problem
        from haarflow.benchmarks.harness.workloads import work as named

        try:
            self.job = named(work)(Problem(**problem), self.backend)
            return self._first_call(answer)
        except (DoesNotApply, backends.NoAutodiff) as reason:
            return {"skipped": str(reason)}

    def _first_call(self, answer: str) -> dict[str, Any]:
        from haarflow.benchmarks.harness.agreement import store
        from haarflow.benchmarks.harness.meter import forget_peak, resident, timed

        self.before = resident()[0]
        first, found = timed(self.job.call, self.backend)
        store(answer, self.job.answer(found), self.backend)
        forget_peak()
        warm, _ = timed(self.job.call, self.backend)
        self.calls = max(1, math.ceil(ROUND_S / max(warm.cpu, 1e-6)))
        return {
            "first": first._asdict(),
            "warm": warm._asdict(),
            "calls": self.calls,
            "items": self.job.items,
            "unit": self.job.unit,
            "version": self.backend.version,
        }

    def round(self) -> dict[str, float]:
        """Return the seconds of one call, averaged over a round."""
        from haarflow.benchmarks.harness.meter import timed

        return timed(self.job.call, self.backend, self.calls)[0]._asdict()

    def memory(self) -> dict[str, Any]:
        """Return in MiB the peak memory of the warm calls beyond the inputs, that of the process, and that of the GPU."""
        from haarflow.benchmarks.harness.meter import device_peak, resident

        peak = resident()[1]
        return {"work_mib": max(0.0, peak - self.before), "process_mib": peak, "device_mib": device_peak(self.backend)}


def engine_of(engine: str, dtype: str, threads: int) -> Any:
    """Return the backend for a name such as "jax", "torch:cuda" or "cupy:cuda:1", bound to `threads` threads."""
    from haarflow.backends import members

    name, _, device = engine.partition(":")
    if name == "jax" and dtype == "float64":
        import jax

        jax.config.update("jax_enable_x64", True)
    if name == "torch":
        import torch

        torch.set_num_threads(threads)
    if not device and name not in ("numpy", "cupy", "jax", "torch"):
        return members.member(name)
    from haarflow import backends

    return backends.get(name, device or None, dtype)


def main() -> None:
    """Execute orders until there are no more; what backends print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from haarflow.backends.threads import use_threads
    from haarflow.run.faults import fault, in_users_code

    worker = Worker()
    for line in sys.stdin:
        order = json.loads(line)
        if "threads" in order:
            use_threads(order["threads"])
        try:
            found = getattr(worker, order.pop("do"))(**order)
        except Exception as error:
            traceback.print_exc()
            found = {"failed": fault(error) if in_users_code(error) else f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(found) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
