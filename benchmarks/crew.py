"""The processes that a bench gives its orders to, one for each engine (benchmarks/worker.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import TracebackType
from typing import Any


class Child:
    """A worker process: `ask` sends an order and returns the answer; it ends with the `with` block."""

    def __init__(self, threads: int = 1, quiet: bool = True):
        words = [sys.executable, "-m", "haarflow.benchmarks.worker"]
        errors = subprocess.DEVNULL if quiet else None
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
        self._process = subprocess.Popen(words, env=surroundings(threads), text=True, **pipes)  # type: ignore[call-overload]

    def ask(self, do: str, **words: Any) -> Any:
        """Return the answer to an order; a process that died says so as {"failed": ...}."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **words}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        return json.loads(line) if line else {"failed": f"its process ended with code {self._process.wait()}"}

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        if kind is not None:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()


def surroundings(threads: int) -> dict[str, str]:
    """Return the environment of a worker: 64-bit JAX by its own wish, this process's folder on the path."""
    found = {name: value for name, value in os.environ.items() if name not in ("JAX_ENABLE_X64",)}
    found["OMP_NUM_THREADS"] = str(threads)
    found["PYTHONPATH"] = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])
    if "XLA_PYTHON_CLIENT_PREALLOCATE" not in found:
        found["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # else a GPU's memory in use would be three quarters of it
    return found
