"""A Slurm cluster of one node on the loopback interface, for tests and figures: Debian's slurmctld, slurmd and slurm-client.

It has no authentication (auth/none), no accounting, and a port of its own choice; it lives in a folder and ends with its block.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")
PATHS = f"{os.environ.get('PATH', '')}:/usr/sbin"
CONF = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SchedulerParameters=batch_sched_delay=0,sched_interval=1
KillWait=5
MinJobAge=2
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def absent() -> str:
    """Why there can be no cluster here, empty if there can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATHS) is None]
    if missing:
        return f"{missing[0]} is not installed (Debian: slurmctld, slurmd, slurm-client)"
    return "" if os.geteuid() == 0 else "slurmctld and slurmd are started by root"


@contextlib.contextmanager
def cluster(folder: Path, cpus: int = 2) -> Iterator[dict[str, str]]:
    """Start the cluster and yield the environment in which its commands work; all its jobs end with the block.

    Raises RuntimeError, with the end of its log, if the node does not come up.
    """
    for inner in ("state", "spool"):
        (folder / inner).mkdir(parents=True)
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=platform.node(), folder=folder, cpus=cpus, ports=_free_ports(2)))
    environment = {**os.environ, "SLURM_CONF": str(conf), "PATH": PATHS}
    with contextlib.ExitStack() as stack:
        for daemon in ("slurmctld", "slurmd"):
            stack.enter_context(_running([daemon, "-D"], environment))
        _wait_for_node(folder, environment)
        stack.callback(_cancel_all, environment)
        yield environment


@contextlib.contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    daemon = subprocess.Popen(command, env=environment, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        daemon.terminate()
        daemon.wait()


def _wait_for_node(folder: Path, environment: dict[str, str]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        state = subprocess.run(
            ["sinfo", "--noheader", "--format", "%T"], env=environment, capture_output=True, text=True
        )
        if state.stdout.strip() == "idle":
            return
        time.sleep(0.2)
    logs = [path.read_text()[-500:] for path in sorted(folder.glob("*.log"))]
    raise RuntimeError(f"the node of the loopback cluster did not come up in 30 s: {' '.join(logs)}")


def _cancel_all(environment: dict[str, str]) -> None:
    subprocess.run(["scancel", "--user", "root"], env=environment, check=False)
    end = time.monotonic() + 20
    while time.monotonic() < end and queue(environment):
        time.sleep(0.2)


def queue(environment: dict[str, str]) -> list[str]:
    """Return the jobs that are waiting or running."""
    found = subprocess.run(
        ["squeue", "--noheader", "--format", "%i %T"], env=environment, capture_output=True, text=True
    )
    return [line for line in found.stdout.splitlines() if line.strip()]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
