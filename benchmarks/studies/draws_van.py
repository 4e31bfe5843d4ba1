"""Speed of draws of a variational autoregressive network against a plain Torch twin that evaluates the whole net for every site.

    python -m haarflow.benchmarks.studies.draws_van [--extents 8 16] [--batch 2000] [--pairs 5] [--json FILE]

A masked dense net of 4 units a site in float64, one thread, process CPU seconds, the same parameters and the same
uniform numbers: first the twin must give the library's spins and log q; then library (JAX, and Torch) and twin run in
turns. Medians of draws a CPU second, and the median of the ratios of JAX to the twin with its 95% interval.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import numpy
import torch

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.benchmarks.harness.meter import median_interval
from haarflow.benchmarks.harness.results import write
from haarflow.benchmarks.studies.flow_speed import cpu_seconds
from haarflow.benchmarks.twins import van_torch
from haarflow.core import random
from haarflow.flows.flow import Model
from haarflow.flows.spins.autoregressive import dense

SPREAD = 0.1  # of the parameters about their start, so that spins depend on one another


def inputs(model: Model, batch: int) -> tuple[dict[str, numpy.ndarray], numpy.ndarray]:
    """Parameters and angles on the host."""
    host, noise = backends.get("numpy"), numpy.random.default_rng(3)
    fresh = model.init(random.key(1, host))
    params = {name: leaf + SPREAD * noise.standard_normal(leaf.shape) for name, leaf in fresh.items()}
    return params, model.prior.sample(random.key(2, host), batch)


def library(name: str, model: Model, params: Any, angles: numpy.ndarray) -> Callable[[], Any]:
    """The library's draws on a backend, compiled where it compiles."""
    backend = backends.get(name)
    forward, arguments = backend.jit(model.flow.forward), tree_map(backend.asarray, (params, angles))
    return lambda: tree_map(backend.to_numpy, forward(*arguments))


def twin(params: Any, angles: numpy.ndarray) -> Callable[[], Any]:
    """The twin's draws."""
    torch.set_num_threads(1)
    sites = angles[0].size
    net = van_torch.masked({name: torch.tensor(leaf) for name, leaf in params.items()}, sites)
    uniforms = torch.tensor(0.5 + angles.reshape(len(angles), sites) / (2 * numpy.pi))

    def draw() -> Any:
        with torch.no_grad():
            return van_torch.sample(net, uniforms)

    return draw


def measure(extent: int, batch: int, pairs: int) -> dict[str, Any]:
    """Check the twin, then return its row: draws a CPU second of all, the ratio and its interval."""
    model = dense((extent, extent))
    params, angles = inputs(model, batch)
    works = {name: library(name, model, params, angles) for name in ("jax", "torch")}
    works["twin"] = twin(params, angles)
    spins, log_q = works["twin"]()
    for name in ("jax", "torch"):
        own, log_det = works[name]()
        assert numpy.array_equal(own.reshape(batch, -1), spins.numpy())
        numpy.testing.assert_allclose(-log_det, log_q.numpy(), rtol=1e-10)
    turns = [{name: cpu_seconds(work) for name, work in works.items()} for _ in range(pairs)]
    ratio, low, high = median_interval([turn["twin"] / turn["jax"] for turn in turns])
    rates = {name: batch / statistics.median(turn[name] for turn in turns) for name in works}
    return {"lattice": f"{extent}x{extent}", "batch": batch, **rates, "ratio": ratio, "interval": [low, high]}


def main() -> None:
    """Time and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--extents", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--batch", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    print(f"draws a CPU second, {options.batch} at once, float64, one thread")
    print(f"{'lattice':10}{'JAX':>10}{'Torch':>10}{'twin':>10}{'JAX/twin':>10}  95%")
    rows = []
    for extent in options.extents:
        row = measure(extent, options.batch, options.pairs)
        low, high = row["interval"]
        rates = "".join(f"{row[name]:10.0f}" for name in ("jax", "torch", "twin"))
        print(f"{row['lattice']:10}{rates}{row['ratio']:10.1f}  {low:.1f} to {high:.1f}", flush=True)
        rows.append(row)
    if options.json:
        write(options.json, "draws_van", {"batch": options.batch, "pairs": options.pairs}, rows)


if __name__ == "__main__":
    main()
