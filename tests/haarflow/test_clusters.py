"""Runs by dask, MPI, submitit and Slurm as they are, where they are installed: the numbers are those of one process.

pip install 'haarflow[dask,mpi,slurm]' mpich; apt-get install slurmctld slurmd slurm-client
python -m pytest -m slow tests/haarflow/test_clusters.py
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from haarflow.benchmarks.harness import slurm
from haarflow.benchmarks.studies.executors import ended, wait_for
from tests.support.runs import ROOT, numbers, uniform_recipe

pytestmark = pytest.mark.slow
FEW = ("samplers.heatbath=false", "samplers.mixture=false", "samplers.flow-reweighting.block=5")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
HAARFLOW = (sys.executable, "-m", "haarflow")
NO_SLURM = slurm.absent()
needs_slurm = pytest.mark.skipif(bool(NO_SLURM), reason=NO_SLURM)


def needs(package):
    """A skip where a package is not installed."""
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None, reason=f"the package {package} is not installed"
    )


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return uniform_recipe(tmp_path_factory.mktemp("recipe"))


def words(recipe, out, *more):
    """The command of a run."""
    return [str(word) for word in ("run", recipe, *FEW, "-b", "numpy", "--no-report", "--quiet", "--out", out, *more)]


def done(command, environment=ENVIRONMENT):
    """Run a command to its end."""
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert found.returncode == 0, found.stderr
    return found


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    """The numbers of one process."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done([*HAARFLOW, *words(recipe, out)])
    return numbers(out)


@needs("distributed")
def test_dask_draws_the_same_even_if_a_worker_dies(recipe, whole, tmp_path):
    file, nothing = (
        tmp_path / "scheduler.json",
        {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": ENVIRONMENT},
    )
    dask, common = (
        (sys.executable, "-m", "dask"),
        ("--scheduler-file", str(file), "--no-dashboard", "--host", "127.0.0.1"),
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(ended(subprocess.Popen([*dask, "scheduler", "--port", "0", *common], **nothing)))
        wait_for(file.exists)
        workers = [
            subprocess.Popen([*dask, "worker", "--nthreads", "1", "--no-nanny", *common], **nothing) for _ in range(2)
        ]
        for worker in workers:
            stack.enter_context(ended(worker))
        time.sleep(10)
        run = subprocess.Popen(
            [*HAARFLOW, *words(recipe, tmp_path / "run", "--executor", f"dask:{file}")], env=ENVIRONMENT
        )
        wait_for(lambda: list(tmp_path.glob("run/blocks/*")), 300)
        workers[0].send_signal(signal.SIGKILL)
        assert run.wait(300) == 0
    assert numbers(tmp_path / "run") == whole


@needs("distributed")
def test_a_scheduler_that_is_absent_is_named(recipe, tmp_path):
    command = [*HAARFLOW, *words(recipe, tmp_path / "run", "--executor", "dask:tcp://127.0.0.1:1")]
    found = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert found.returncode == 1 and "there is no dask scheduler at tcp://127.0.0.1:1" in found.stderr.splitlines()[-1]


@needs("mpi4py")
@pytest.mark.skipif(shutil.which("mpiexec") is None, reason="mpiexec is not installed")
def test_ranks_of_mpi_draw_the_same(recipe, whole, tmp_path):
    found = done(["mpiexec", "-n", "3", *HAARFLOW, *words(recipe, tmp_path / "run", "--executor", "mpi")])
    assert found.stdout.count("ensemble.h5") == 1 and numbers(tmp_path / "run") == whole


@needs("submitit")
def test_jobs_of_submitit_on_this_machine_draw_the_same(recipe, whole, tmp_path):
    few = ("samplers.flow-reweighting.block=50", "--executor", "slurm:cluster=local,jobs=2")
    done([*HAARFLOW, *words(recipe, tmp_path / "run", *few)])
    done([*HAARFLOW, *words(recipe, tmp_path / "alone", few[0])])
    assert numbers(tmp_path / "run") == numbers(tmp_path / "alone")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The environment of a cluster of one node, in which jobs find `haarflow`."""
    folder = tmp_path_factory.mktemp("cluster")
    program = folder / "bin" / "haarflow"
    program.parent.mkdir()
    program.write_text(f'#!/bin/bash\nexec {sys.executable} -m haarflow "$@"\n')
    program.chmod(0o755)
    with slurm.cluster(folder / "slurm") as environment:
        yield environment | ENVIRONMENT | {"PATH": f"{program.parent}:{environment['PATH']}"}


def submitted(environment, script, folder, *options, **variables):
    """The number of a job of docs/clusters, for the machine at hand."""
    here = ("--parsable", "--mem=0", "--cpus-per-task=1", f"--chdir={folder}")
    script = ROOT / "docs" / "clusters" / script
    return done(["sbatch", *here, *options, str(script)], environment | variables).stdout.strip()


def ran(environment, job, seconds=600):
    """Wait until a job is over."""
    wait_for(lambda: not any(line.split("_")[0].split()[0] == job for line in slurm.queue(environment)), seconds)


@needs("submitit")
@needs_slurm
def test_jobs_of_slurm_draw_the_same(recipe, whole, cluster, tmp_path):
    few = "samplers.flow-reweighting.block=50"
    done(
        [*HAARFLOW, *words(recipe, tmp_path / "run", few, "--executor", "slurm:jobs=2,time=5,cpus_per_task=1")], cluster
    )
    done([*HAARFLOW, *words(recipe, tmp_path / "alone", few)])
    assert numbers(tmp_path / "run") == numbers(tmp_path / "alone") and not slurm.queue(cluster)


@needs_slurm
def test_a_run_that_is_requeued_five_times_ends_with_the_same_numbers(recipe, cluster, tmp_path):
    table = (
        recipe.read_text()
        .replace("draws = 25", "draws = 3000")
        .replace("\nmixture", "\n#")
        .replace("\nheatbath", "\n#")
    )
    long = tmp_path / "long.toml"
    long.write_text(table + '[run]\nbackend = "numpy"\n')
    out = tmp_path / "run"
    job = submitted(cluster, "slurm_node.sh", tmp_path, RECIPE=str(long), OUT=str(out))
    for life in range(1, 6):
        before = len(list(out.glob("blocks/*")))
        wait_for(lambda before=before: len(list(out.glob("blocks/*"))) > before + 2, 300)
        done(["scancel", "--signal=USR1", job], cluster)
        wait_for(lambda life=life: f"Restarts={life} " in done(["scontrol", "show", "job", job], cluster).stdout, 300)
    ran(cluster, job)
    said = next(tmp_path.glob("*.out")).read_text()
    assert said.count("ending after the block") == 5
    done([*HAARFLOW, "run", str(long), "--out", str(tmp_path / "alone"), "--no-report", "--quiet", "--workers", "1"])
    assert numbers(out) == numbers(tmp_path / "alone")


@needs_slurm
def test_an_array_of_shards_is_gathered(recipe, whole, cluster, tmp_path):
    told = {"RECIPE": str(tmp_path / "recipe.toml"), "OUT": str(tmp_path / "run"), "BACKEND": "numpy"}
    table = recipe.read_text().replace("\nmixture", "\n#").replace("\nheatbath", "\n#")
    (tmp_path / "recipe.toml").write_text(table.replace("draws = 100, block = 40", "draws = 100, block = 5"))
    array = submitted(cluster, "slurm_array.sh", tmp_path, "--array=1-3", "--gres=none", **told)
    job = submitted(cluster, "slurm_gather.sh", tmp_path, f"--dependency=afterok:{array}", **told)
    ran(cluster, job)
    logs = [path.read_text() for path in tmp_path.glob("*.out")]
    assert (tmp_path / "run" / "summary.json").exists(), logs
    assert numbers(tmp_path / "run") == whole
