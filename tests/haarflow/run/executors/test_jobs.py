"""Jobs as an executor, with submitit's published interface played by files and threads."""

import pickle
import sys
import threading
import types
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from haarflow.flows.sampling.farm import farm
from haarflow.run.executors import jobs
from haarflow.run.executors.jobs import Jobs, JobsFailed
from haarflow.run.executors.table import ExecutorError, opened


class Uncompleted(RuntimeError):
    """submitit's UncompletedJobError."""


class Failed(Uncompleted):
    """submitit's FailedJobError, whose message holds the traceback."""


class Refused(RuntimeError):
    """submitit's FailedSubmissionError."""


class Job:
    """A job that has run at once, or never gives a result where its argument is `lost`."""

    def __init__(self, number, folder, fn, argument, lost):
        self.job_id, self.argument, self.cancelled = str(number), argument, False
        self.paths = types.SimpleNamespace(
            result_pickle=folder / f"{number}_result.pkl", stderr=folder / f"{number}_log.err"
        )
        (folder / f"{number}_submitted.pkl").write_bytes(b"")
        if argument not in lost:
            self.paths.result_pickle.write_bytes(pickle.dumps(fn(argument) if argument != "fails" else Failed))

    def done(self):
        return True

    def result(self):
        if not self.paths.result_pickle.exists():
            raise Uncompleted("no output")
        found = pickle.loads(self.paths.result_pickle.read_bytes())
        if found is Failed:
            raise Failed(
                "Job failed during processing with trace:\n---\n  File x\nKeyError: 'b'\n---\nYou can check full logs"
            )
        return found

    def cancel(self, check=True):
        self.cancelled = True


class Submitit(types.ModuleType):
    """The package: its executor, its job class, its exceptions."""

    def __init__(self, lost=()):
        super().__init__("submitit")
        self.core, self.utils = types.ModuleType("submitit.core"), types.ModuleType("submitit.core.utils")
        self.utils.FailedJobError, self.utils.UncompletedJobError = Failed, Uncompleted
        self.utils.FailedSubmissionError, self.closed = Refused, False
        self.lost, self.jobs, self.swept, self.parameters = lost, [], [], {}

    def AutoExecutor(self, folder, cluster):
        def submit(fn, argument):
            if self.closed:
                raise Refused("sbatch: error: invalid partition specified: gpu\n")
            self.jobs.append(Job(len(self.jobs) + 1, Path(folder), fn, argument, self.lost))
            return self.jobs[-1]

        return types.SimpleNamespace(submit=submit, update_parameters=self.update)

    def update(self, **parameters):
        if "slurm_colour" in parameters:
            raise NotImplementedError("Unavailable arguments: colour")
        self.parameters = parameters

    def SlurmJob(self, folder, number):
        return types.SimpleNamespace(cancel=lambda check: self.swept.append(number))


@pytest.fixture
def submitit(monkeypatch):
    """The package in the place of the real one; looks and questions take no time."""
    package = Submitit()
    for name, module in (("", package), (".core", package.core), (".core.utils", package.utils)):
        monkeypatch.setitem(sys.modules, f"submitit{name}", module)
    monkeypatch.setattr(jobs, "LOOKS", 0.001)
    monkeypatch.setattr(jobs, "ASKS", 0.002)
    return package


def queue(monkeypatch, code, out="", error=""):
    """What squeue says."""
    said = types.SimpleNamespace(returncode=code, stdout=out, stderr=error)
    monkeypatch.setattr(jobs.subprocess, "run", lambda command, **how: said)


def test_every_block_is_a_job_with_the_parameters_of_sbatch(submitit, tmp_path):
    with Jobs(tmp_path / "jobs", 2, "local", partition="cpu", time=30) as executor:
        assert list(farm(abs, [-3, -4, -5], executor)) == [(-3, 3), (-4, 4), (-5, 5)]
    assert len(submitit.jobs) == 3 and submitit.parameters == {"slurm_partition": "cpu", "slurm_time": 30}
    assert not (tmp_path / "jobs").exists()


def test_the_block_of_a_job_that_is_lost_is_drawn_again(submitit, tmp_path):
    submitit.lost = (-4,)
    with Jobs(tmp_path / "jobs", 1, "local") as executor:
        assert executor.submit(abs, -3).result() == 3
        with pytest.raises(BrokenExecutor, match="job 2 has ended without a result"):
            executor.submit(abs, -4).result()
        assert list(farm(abs, [-4, -5], executor)) == [(-4, 4), (-5, 5)]


@pytest.mark.parametrize("said", [(0, "", ""), (1, "", "slurm_load_jobs error: Invalid job id specified")])
def test_a_job_that_slurm_has_forgotten_is_lost_and_the_first_names_the_folder(said, submitit, tmp_path, monkeypatch):
    queue(monkeypatch, *said)
    submitit.lost = (-3,)
    with Jobs(tmp_path / "jobs", 1) as executor, pytest.raises(JobsFailed) as failure:
        executor.submit(abs, -3).result()
    words = f"none has given one yet: see {tmp_path}/jobs/1_log.err, and check that {tmp_path}/jobs is on a file system which"
    assert words in str(failure.value)


@pytest.mark.parametrize("said", [(0, "1 RUNNING", ""), (1, "", "Unable to contact slurm controller")])
def test_a_job_that_is_waiting_or_not_to_be_asked_for_is_waited_for_and_cancelled_at_the_end(
    said, submitit, tmp_path, monkeypatch
):
    queue(monkeypatch, *said)
    submitit.lost = (-3,)
    with Jobs(tmp_path / "jobs", 1) as executor:
        future = executor.submit(abs, -3)
        with pytest.raises(TimeoutError):
            future.result(timeout=0.05)
    assert submitit.jobs[0].cancelled
    with pytest.raises(BrokenExecutor, match="job 1 was cancelled"):
        future.result()


def test_a_job_that_fails_before_it_draws_is_named_with_its_last_line(submitit, tmp_path):
    with (
        Jobs(tmp_path / "jobs", 1, "local") as executor,
        pytest.raises(JobsFailed, match=r"job 1 failed: KeyError: 'b'; see .*1_log"),
    ):
        executor.submit(abs, "fails").result()


def test_jobs_that_a_killed_process_left_in_the_queue_are_cancelled(submitit, tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "41_submitted.pkl").write_bytes(b"")
    with Jobs(tmp_path / "jobs", 1) as executor:
        assert not submitit.swept  # nothing is touched before the run has locked its folder and draws
        assert executor.submit(abs, -3).result() == 3
    assert submitit.swept == ["41"]


def test_at_most_so_many_jobs_are_under_way_at_once(submitit, tmp_path):
    running, most, gate = [], [], threading.Event()

    def held(number):
        running.append(number)
        most.append(len(running))
        gate.wait(0.02)
        running.remove(number)
        return number

    with Jobs(tmp_path / "jobs", 2, "local") as executor:
        assert [number for number, _ in farm(held, range(6), executor, ahead=6)] == list(range(6))
    assert max(most) <= 2


def test_parameters_that_sbatch_does_not_have_are_refused(submitit, tmp_path):
    words, said = "slurm:cluster=local,colour=red", "colour=red is refused: Unavailable arguments: colour"
    with pytest.raises(ExecutorError, match=said), opened(words, [], [], tmp_path):
        pass


def test_the_words_of_a_scheduler_that_takes_no_job_are_passed_on(submitit, tmp_path):
    submitit.closed = True
    with (
        Jobs(tmp_path / "jobs", 1, "local") as executor,
        pytest.raises(JobsFailed, match="no job: sbatch: error: invalid part"),
    ):
        executor.submit(abs, -3).result()
