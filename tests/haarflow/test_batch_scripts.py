"""The batch scripts of docs/clusters: bash reads them, their options are those of Slurm and PBS, their commands are ours."""

import re
import shlex
import shutil
import subprocess

import pytest
import typer.main

from haarflow import cli
from haarflow.run.executors.table import EXECUTORS
from haarflow.run.stages.shards import shard_of
from haarflow.run.stops import CODE
from tests.support.runs import ROOT

SCRIPTS = {path.name: path for path in sorted((ROOT / "docs" / "clusters").glob("*.sh"))}
TEXTS = {name: path.read_text() for name, path in SCRIPTS.items()}
JOBS = [name for name in SCRIPTS if "submit" not in name]
MEMORY, TIME = r"\d+[KMGT]", r"(\d+-)?\d\d:\d\d:\d\d"
SBATCH = {"job-name": r"[\w-]+", "nodes": r"\d+", "ntasks": r"\d+", "ntasks-per-node": r"\d+", "cpus-per-task": r"\d+",
          "gres": r"gpu:\d+", "mem": MEMORY, "mem-per-cpu": MEMORY, "time": TIME, "signal": r"USR1@\d+", "requeue": "",
          "open-mode": "append", "output": r"%x-%(j|A-%a)\.out", "array": r"1-\d+"}  # fmt: skip
CHUNK = {"ncpus": r"\d+", "mpiprocs": r"\d+", "ngpus": r"\d+", "mem": r"\d+[kmgt]b"}
PBS = {"N": r"[\w-]+", "l": r"walltime=\d\d:\d\d:\d\d|select=.*", "j": "oe", "r": "y", "J": r"1-\d+"}
VALUES = {"RECIPE": "u1-tiny", "OUT": "runs/x", "BACKEND": "jax", "SHARD": "3/16", "SHARDS": "16", "PLACE": "/x/dask.json", "NCPUS": "16",
          "PBS_ARRAY_INDEX": "3", "SLURM_CPUS_PER_TASK": "16"}  # fmt: skip


def directives(name):
    """The options of a script, as its scheduler reads them: from comments above the first command."""
    head = re.split(r"^[^#\n]", TEXTS[name], maxsplit=1, flags=re.MULTILINE)[0]
    if name.startswith("slurm"):
        found = re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", head, flags=re.MULTILINE)
    else:
        found = re.findall(r"^#PBS -(\w) (\S+)$", head, flags=re.MULTILINE)
    assert len(found) == len(re.findall(r"^#(?:SBATCH|PBS)", TEXTS[name], flags=re.MULTILINE)), (
        "an option that is not read"
    )
    return found


def commands(name):
    """The haarflow commands of a script, variables filled in."""
    text = TEXTS[name].replace("\\\n", " ")
    lines = re.findall(r"^(?!#).*?\bhaarflow ((?:run|train|sample|gather) .*)$", text, flags=re.MULTILINE)
    return [re.sub(r"\$\{?(\w+)\}?", lambda variable: VALUES[variable[1]], line) for line in lines]


def seconds(words):
    """A time limit in seconds."""
    hours, minutes, rest = words.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + int(rest)


@pytest.mark.parametrize("name", SCRIPTS)
def test_bash_reads_it(name):
    done = subprocess.run(["bash", "-n", SCRIPTS[name]], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr and TEXTS[name].startswith("#!/bin/bash\n")


@pytest.mark.parametrize("name", JOBS)
def test_its_options_are_those_of_the_scheduler(name):
    known = SBATCH if name.startswith("slurm") else PBS
    found = directives(name)
    assert found and all(re.fullmatch(known[option], value) for option, value in found), found
    for value in (value for option, value in found if option == "l" and value.startswith("select")):
        count, *pairs = value.removeprefix("select=").split(":")
        assert count.isdecimal() and all(
            re.fullmatch(CHUNK[word], given) for word, given in (pair.split("=") for pair in pairs)
        )


@pytest.mark.parametrize("name", JOBS)
def test_its_commands_are_ours(name):
    found = commands(name)
    assert len(found) == 1
    verb, *rest = shlex.split(found[0])
    with typer.main.get_command(cli.app).commands[verb].make_context(verb, rest) as context:
        given = context.params
    if given.get("executor"):
        assert given["executor"].partition(":")[0] in EXECUTORS
    if given.get("shard"):
        assert shard_of(given["shard"]).count == 16


@pytest.mark.parametrize("name", [name for name in JOBS if "gather" not in name and "dask" not in name])
def test_the_run_is_told_before_the_time_limit_and_repeated(name):
    found, text = dict(directives(name)), TEXTS[name]
    if name.startswith("slurm"):
        assert 0 < int(found["signal"].partition("@")[2]) < seconds(found["time"]) and "requeue" in found
        assert f'[ "$code" -eq {CODE} ]' in text and "scontrol requeue" in text
        return
    limit = next(value for option, value in directives(name) if value.startswith("walltime"))
    early = int(re.search(r"timeout --preserve-status --signal=USR1 (\d+)m", text)[1])
    assert 0 < 60 * early < seconds(limit.partition("=")[2])
    assert "array" in name or "train" in name or (f'[ "$code" -eq {CODE} ]' in text and f"pbs_{name[4:]}" in text)


def test_arrays_have_as_many_shards_as_jobs():
    assert dict(directives("pbs_array.sh"))["J"] == "1-16" and "\nSHARDS=16\n" in TEXTS["pbs_array.sh"]
    assert dict(directives("slurm_array.sh"))["array"] == "1-16"
    assert "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" in TEXTS["slurm_array.sh"]


def test_ranks_of_pbs_are_those_of_its_nodes():
    select = next(value for _, value in directives("pbs_nodes.sh") if value.startswith("select"))
    nodes, each = int(select[7:].split(":")[0]), int(re.search(r"mpiprocs=(\d+)", select)[1])
    assert f"mpiexec -n {nodes * each} " in TEXTS["pbs_nodes.sh"]


@pytest.mark.parametrize("name", [name for name in SCRIPTS if "submit" in name])
def test_a_submission_names_scripts_that_are_there(name):
    found = re.findall(r'"\$here/(\w+\.sh)"', TEXTS[name])
    assert len(found) == 3 and set(found) <= set(SCRIPTS)


@pytest.mark.parametrize("name", [name for name in SCRIPTS if "submit" in name])
def test_a_submission_chains_its_jobs(name, tmp_path):
    """With a scheduler that prints what it is given: each job waits for the one before."""
    scheduler = tmp_path / ("sbatch" if name.startswith("slurm") else "qsub")
    scheduler.write_text(f'#!/bin/bash\necho "$@" >> {tmp_path}/said\nwc -l < {tmp_path}/said\n')
    scheduler.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["bash", SCRIPTS[name]], env=environment, capture_output=True, text=True)
    said = (tmp_path / "said").read_text().splitlines()
    assert done.stdout == "training 1, shards 2, gather 3\n" and len(said) == 3
    assert "afterok" not in said[0] and "afterok:1 " in said[1] and "afterok:2 " in said[2]


def test_the_page_shows_every_script():
    page = (ROOT / "docs" / "clusters.md").read_text()
    assert all(f"](clusters/{name})" in page for name in SCRIPTS) and str(CODE) in page


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say():
    done = subprocess.run(["shellcheck", *SCRIPTS.values()], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
