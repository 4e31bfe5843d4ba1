"""The processes to which a bench sends orders, one per backend (benchmarks/harness/worker.py)."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any


class Child:
    """A worker process: `ask` sends an order and returns the answer; it ends with the `with` block."""

    def __init__(self, threads: int = 1, quiet: bool = True, checkout: Path | None = None):
        command = [sys.executable, "-m", worker_module(checkout)]
        errors = subprocess.DEVNULL if quiet else None
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors, "cwd": checkout}
        self._process = subprocess.Popen(command, env=surroundings(threads, checkout), text=True, **pipes)  # type: ignore[call-overload]

    def ask(self, do: str, **words: Any) -> Any:
        """Return the answer to an order; a process that died says so as {"failed": ...}."""
        self.send(do, **words)
        return self.answer()

    def send(self, do: str, **words: Any) -> None:
        """Give an order; the process works on it while others get theirs."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": do, **words}) + "\n")
            self._process.stdin.flush()

    def answer(self) -> Any:
        """Return the answer to the order sent last."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else {"failed": f"its process ended with code {self._process.wait()}"}

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        if kind is not None:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()


def worker_module(checkout: Path | None = None) -> str:
    """Return the worker's module in another checkout of this project, which may have it elsewhere, or in this one."""
    if checkout is not None and (checkout / "benchmarks" / "harness" / "worker.py").is_file():
        return "haarflow.benchmarks.harness.worker"
    if checkout is not None:
        return "haarflow.benchmarks.worker"
    return __name__.rpartition(".")[0] + ".worker"


def surroundings(threads: int, checkout: Path | None = None) -> dict[str, str]:
    """Return the environment of a worker, which enables 64-bit JAX itself; the current folder is on its path.

    For another checkout only the folder of that checkout is on the path.
    """
    variables = {name: value for name, value in os.environ.items() if name not in ("JAX_ENABLE_X64",)}
    variables["OMP_NUM_THREADS"] = str(threads)
    path = [os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])] if checkout is None else [str(checkout)]
    variables["PYTHONPATH"] = os.pathsep.join(path)
    if "XLA_PYTHON_CLIENT_PREALLOCATE" not in variables:
        variables["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # else a GPU's memory in use would be three quarters of it
    return variables
