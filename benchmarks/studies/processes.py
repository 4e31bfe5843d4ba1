"""Training with the batch split over processes by torch's own launcher, gradients averaged by torch.distributed (gloo).

    python -m torch.distributed.run --standalone --nproc-per-node 2 -m haarflow.benchmarks.studies.processes [--steps 5] [--json FILE]
    python -m haarflow.benchmarks.studies.processes        # one process, the same numbers to rounding

This needs no change in the library: a prior that keeps this process's share of the draws and an estimator that averages
over the processes are enough. Draws are keyed by the step, not by the worker: each process draws the whole batch from the
prior, which is cheap, and keeps its rows, so that the number of processes affects rounding only.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

LATTICE, COUPLINGS = (8, 8), {"beta": 2.0}


@dataclass(frozen=True)
class Share:
    """A prior of which this process keeps its share: rows rank n to (rank + 1) n of a batch of count x n."""

    prior: Any
    rank: int
    count: int

    @property
    def lattice(self):
        """The prior's lattice."""
        return self.prior.lattice

    def sample(self, key, n, dtype="float64"):
        """Return this process's rows of the whole batch."""
        return self.prior.sample(key, self.count * n, dtype)[self.rank * n : (self.rank + 1) * n, ...]

    def log_density(self, x):
        """Return the prior's log-density."""
        return self.prior.log_density(x)


@dataclass(frozen=True)
class Averaged:
    """An estimator over processes: gradients are averaged, the figures are those of all weights together."""

    estimator: Any

    def gradient(self, model, action, params, key, n, couplings=None, condition=None, samples=None):
        """Return what the estimator gives for the whole batch, on every process."""
        import torch
        from torch import distributed

        from haarflow.backends.tree import tree_map
        from haarflow.flows.training.gradients import report

        count = distributed.get_world_size()
        grads, info = self.estimator.gradient(model, action, params, key, n, couplings, condition, samples)

        def mean(x):
            total = x.clone()
            distributed.all_reduce(total)
            return total / count

        parts = [torch.empty_like(info["log_w"]) for _ in range(count)]
        distributed.all_gather(parts, info["log_w"].contiguous())
        return tree_map(mean, grads), report(mean(info["loss"]), torch.cat(parts))


def training(rank, count, batch):
    """The published U(1) flow's training in which each of `count` processes takes batch / count samples of a step."""
    from haarflow.flows.flow import Model
    from haarflow.flows.training.gradients import ReverseKL
    from haarflow.flows.training.loop import Training
    from haarflow.flows.training.optimisers import Adam
    from haarflow.flows.u1 import architectures
    from haarflow.theories import U1Gauge

    if batch % count:
        raise ValueError(f"a batch is split evenly: {count} processes want a multiple of {count} samples, got {batch}")
    model = architectures.tutorial(LATTICE)
    estimator = ReverseKL() if count == 1 else Averaged(ReverseKL())
    shared = Model(Share(model.prior, rank, count), model.flow)
    return Training(shared, U1Gauge(LATTICE), Adam(1e-3), estimator, batch // count)


def trained(rank, count, batch, steps):
    """Records of the steps, the sum of the parameters' magnitudes after them, and wall seconds of a step."""
    from haarflow.backends import torch as backend
    from haarflow.backends.tree import leaves
    from haarflow.core import random
    from haarflow.flows.training.loop import start, train

    work = training(rank, count, batch)
    state = start(work, random.key(1, backend))
    curves: dict[str, list[float]] = {"loss": [], "ess": [], "grad_norm": []}
    begin = time.perf_counter()
    for block in train(work, state, steps, COUPLINGS, every=1):
        state = block.state
        for name, values in curves.items():
            values.extend(float(value) for value in block.records[name])
    wall = (time.perf_counter() - begin) / steps
    size = sum(float(leaf.abs().sum()) for leaf in leaves(state.params))
    return {"processes": count, "batch": batch, **curves, "params": size, "wall_s_a_step": wall}


def main():
    """Train this process's share; the first process reports."""
    import json

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    rank, count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if count > 1:
        distributed.init_process_group("gloo")
    record = trained(rank, count, options.batch, options.steps)
    if rank == 0:
        print(json.dumps(record))
        if options.json:
            options.json.write_text(json.dumps(record))
    if count > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
