"""Several workers on one task: JAX devices that share a batch, and processes that draw blocks of a farm.

    python -m haarflow.benchmarks.studies.workers [devices farm dask] [--workers 1 2] [--json FILE]

Devices: the published U(1) flow draws and trains with its batch spread over JAX devices; on a machine with a single
device the host is split into that many (XLA_FLAGS=--xla_force_host_platform_device_count), which shows that it works and
that the numbers agree, not what an accelerator would gain. This needs no change in the library: a prior that places its
draws is enough, and the compiler follows. Farm: blocks of the same flow on NumPy by `haarflow.flows.sampling.farm` on processes,
every block from its own key; dask: the same on the workers of dask, if installed (benchmarks/peers/dask.txt). Times are
wall seconds; efficiency is the speed-up over one worker divided by the number of workers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LATTICE, COUPLINGS = (8, 8), {"beta": 2.0}
BLOCKS, DRAWS, ROUNDS = 12, 256, 5


@dataclass(frozen=True)
class Spread:
    """A prior whose draws are spread over the devices of a JAX mesh along the batch."""

    prior: Any
    sharding: Any

    @property
    def lattice(self):
        """The prior's lattice."""
        return self.prior.lattice

    def sample(self, key, n, dtype="float64"):
        """Return the prior's draws, placed on the devices."""
        import jax

        return jax.lax.with_sharding_constraint(self.prior.sample(key, n, dtype), self.sharding)

    def log_density(self, x):
        """Return the prior's log-density."""
        return self.prior.log_density(x)


def on_devices(count, batch):
    """Return the wall seconds of a draw and a train step on `count` devices, and figures that must not depend on it."""
    import jax
    import numpy
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    jax.config.update("jax_enable_x64", True)
    from haarflow import backends
    from haarflow.benchmarks.harness.meter import timed
    from haarflow.core import random
    from haarflow.flows.flow import Model
    from haarflow.flows.training.loop import Training, start, train_step
    from haarflow.flows.training.optimisers import Adam
    from haarflow.flows.u1 import architectures
    from haarflow.theories import U1Gauge

    assert len(jax.devices()) >= count, f"{count} devices wanted, JAX sees {jax.devices()}"
    sharding = NamedSharding(Mesh(numpy.asarray(jax.devices()[:count]), ("batch",)), PartitionSpec("batch"))
    backend, plain = backends.get("jax"), architectures.tutorial(LATTICE)
    model = Model(Spread(plain.prior, sharding), plain.flow)
    key = random.key(1, backend)
    params = plain.init(key)
    draw = jax.jit(lambda params, key: model.sample(params, key, batch))
    training = Training(model, U1Gauge(LATTICE), Adam(1e-3), batch=batch)
    state = start(training, key, params)
    record = {}
    for name, call in (
        ("draw", lambda: draw(params, key)),
        ("train step", lambda: train_step(training, state, COUPLINGS)),
    ):
        _, result = timed(call, backend)
        record[name] = min(timed(call, backend)[0].wall for _ in range(ROUNDS))
        if name == "draw":
            record["devices"] = len(result[0].sharding.device_set)
            record["log_q"] = float(result[1].sum())
        else:
            record["grad_norm"] = float(result[1]["grad_norm"])
    return record


def devices(counts, batch):
    """A row for drawing and one for training on each number of devices."""
    records = {}
    for count in counts:
        flags = f"--xla_force_host_platform_device_count={count} --xla_cpu_multi_thread_eigen=false"
        command = [
            sys.executable,
            "-m",
            "haarflow.benchmarks.studies.workers",
            "--one",
            str(count),
            "--batch",
            str(batch),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, "XLA_FLAGS": flags}
        )
        records[count] = json.loads(done.stdout)
        assert records[count]["devices"] == count
    for what, figure in (("draw", "log_q"), ("train step", "grad_norm")):
        first = records[counts[0]]
        for count in counts:
            apart = abs(records[count][figure] / first[figure] - 1.0)
            equal = f"equal to {apart:.0e}" if apart < 1e-9 else f"DIFFERENT by {apart:.0e}"
            yield row(
                f"u1 {what}, batch {batch}, JAX devices", count, records[count][what], first[what] * counts[0], equal
            )


@dataclass(frozen=True)
class Task:
    """Block n: `draws` configurations of the U(1) flow on NumPy from key n; returns their log densities."""

    draws: int = DRAWS

    def __call__(self, index):
        from haarflow.backends import numpy as backend
        from haarflow.core import random
        from haarflow.flows.u1 import architectures

        model, key = architectures.tutorial(LATTICE), random.key(1, backend)
        return model.sample(model.init(key), random.fold_in(key, index), self.draws)[1]


def farm(counts, batch):
    """A row for each number of processes."""
    from haarflow.flows.sampling.farm import processes

    yield from farmed(processes, "NumPy processes", counts, batch)


def on_dask(counts, batch):
    """A row for each number of dask's workers on this machine: its client provides an executor."""
    yield from farmed(dask_workers, "dask workers", counts, batch)


@contextmanager
def dask_workers(count):
    """An executor of `count` processes of dask, of one thread each (benchmarks/peers/dask.txt)."""
    from distributed import Client

    options = {"n_workers": count, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with Client(**options) as client, client.get_executor() as executor:
        yield executor


def farmed(executors, name, counts, batch):
    """A row for each number of workers of `executors(count)`; they are started before the timing."""
    import time

    import numpy

    from haarflow.flows.sampling.farm import farm as share

    results, first = {}, None
    for count in counts:
        with executors(count) as executor:
            list(share(Task(1), range(4 * count), executor, ahead=4 * count))
            begin = time.perf_counter()
            results[count] = numpy.stack([part for _, part in share(Task(batch), range(BLOCKS), executor, 2 * count)])
            wall = time.perf_counter() - begin
        first = first or wall * count
        equal = "equal" if numpy.array_equal(results[count], results[counts[0]]) else "DIFFERENT"
        yield row(f"u1 farm of {BLOCKS} blocks of {batch}, {name}", count, wall, first, equal)


def row(work, workers, wall, one, equal):
    """Return the figures for one number of workers; `one` is the wall time of a single one."""
    speedup = one / wall
    return {
        "work": work,
        "workers": workers,
        "wall_s": wall,
        "speedup": speedup,
        "efficiency": speedup / workers,
        "equal": equal,
    }


PARTS = {"devices": devices, "farm": farm, "dask": on_dask}
DEFAULT = ("devices", "farm")


def main():
    """Measure, print, and store the results if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; without: devices and farm")
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--one", type=int, help="so many JAX devices, in this process")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"a part is one of {', '.join(PARTS)}, got {unknown[0]!r}")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if options.one:
        print(json.dumps(on_devices(options.one, options.batch)))
        return
    rows = []
    for part in options.parts or DEFAULT:
        for row in PARTS[part](options.workers, options.batch):
            rows.append(row)
            print(
                f"{row['work']}: {row['workers']} workers, {row['wall_s']:.3g} s, speed-up {row['speedup']:.2f}, "
                f"efficiency {row['efficiency']:.0%}, {row['equal']}",
                flush=True,
            )
    if options.json:
        from haarflow.benchmarks.harness.results import write

        write(options.json, "workers", {"workers": options.workers, "batch": options.batch}, rows)


if __name__ == "__main__":
    main()
