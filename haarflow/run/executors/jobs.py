"""Slurm jobs by submitit as an executor: one job a task, at most `count` at once; tasks and results travel by a folder."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

LOOKS, ASKS = 0.5, 20.0  # seconds between looks for a result, and between questions to the scheduler


class JobsFailed(ValueError):
    """Jobs of which none has ever given a result."""


class Jobs:
    """An executor whose tasks are jobs of the `cluster` "slurm", or processes of this machine by submitit where it is "local".

    `parameters` are sbatch's, such as partition and time. Jobs that an earlier process left in the queue are cancelled, and
    at the end of a `with` block those of this one; the folder is removed with them. A job that ends without a result is a
    BrokenExecutor; raises JobsFailed if it is so before any has given one.
    """

    def __init__(self, folder: Path, count: int = 4, cluster: str = "slurm", **parameters: Any) -> None:
        import submitit

        self.count, self.folder, self._cluster, self._answered = count, folder.resolve(), cluster, False
        self._inner = submitit.AutoExecutor(self.folder, cluster=cluster)
        self._inner.update_parameters(**{f"slurm_{name}": value for name, value in parameters.items()})
        self._pool, self._begun = ThreadPoolExecutor(count), False
        self._lock, self._ended = threading.Lock(), threading.Event()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Give a task to a job as soon as fewer than `count` are under way."""
        return self._pool.submit(self._by_job, fn, *args, **kwargs)

    def __enter__(self) -> Jobs:
        return self

    def __exit__(self, *failure: Any) -> None:
        self._ended.set()
        self._pool.shutdown(cancel_futures=True)
        if self._begun:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _by_job(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            if not self._begun:
                self._cancel_left()
            self._begun = True
            job = self._submitted(fn, *args, **kwargs)
        self._wait(job)
        if self._ended.is_set() and not job.paths.result_pickle.exists():
            job.cancel(check=False)
            raise BrokenExecutor(f"job {job.job_id} was cancelled")
        return self._result(job)

    def _submitted(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A new job, whose refusal comes with the scheduler's own words."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            return self._inner.submit(fn, *args, **kwargs)
        except (FailedJobError, FailedSubmissionError) as refused:
            raise JobsFailed(f"the scheduler takes no job: {str(refused).strip()}") from None

    def _wait(self, job: Any) -> None:
        """Return when the result is there, the job is gone, or all jobs are to end."""
        asked = time.monotonic()
        while not (job.paths.result_pickle.exists() or self._ended.wait(LOOKS)):
            if time.monotonic() - asked > ASKS:
                asked = time.monotonic()
                if self._gone(job):
                    return

    def _gone(self, job: Any) -> bool:
        """Whether the scheduler does not know the job any more; that a file may be seen later than its job's end is allowed for."""
        if self._cluster != "slurm":
            return bool(job.done())
        known = subprocess.run(["squeue", "--noheader", "--job", job.job_id], capture_output=True, text=True)
        refused = known.returncode != 0 and "Invalid job id" not in known.stderr
        return not refused and not known.stdout.strip()

    def _result(self, job: Any) -> Any:
        from submitit.core.utils import FailedJobError, UncompletedJobError

        try:
            found = job.result()
        except FailedJobError as failure:
            raise JobsFailed(f"job {job.job_id} failed: {_last_line(str(failure))}; see {job.paths.stderr}") from None
        except UncompletedJobError as failure:
            if self._answered:
                raise BrokenExecutor(f"job {job.job_id} has ended without a result") from failure
            raise JobsFailed(
                f"job {job.job_id} has ended without a result, and none has given one yet: see {job.paths.stderr}, and check "
                f"that {self.folder} is on a file system which the nodes share"
            ) from None
        self._answered = True
        return found

    def _cancel_left(self) -> None:
        """Cancel the jobs that a process which was killed has left in this folder."""
        import submitit

        for path in self.folder.glob("*_submitted.pkl") if self._cluster == "slurm" else ():
            submitit.SlurmJob(self.folder, path.name.split("_")[0]).cancel(check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)


def _last_line(text: str) -> str:
    """The exception of a traceback in submitit's words."""
    lines = [line for line in text.splitlines() if line and not line.startswith((" ", "-", "You can", "or at"))]
    return lines[-1] if lines else text
