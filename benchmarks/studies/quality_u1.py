"""Quality of convolutional U(1) flows for their training cost: the effect of each idea (docs/ablation_u1.md).

    python -m haarflow.benchmarks.studies.quality_u1 convolutional tutorial --seed 0 [--steps 2000] [--out table.jsonl]

U(1), L = 8, beta = 2. Each entry of ENTRIES is trained in float32 on one thread of JAX (CPU seconds are stated,
compilation included), then evaluated in float64 on fresh draws: acceptance of a chain of 10^5 draws with its first tenth
dropped, ESS of the weights, KL = ln Z - E_q[log w] with the exact ln Z, and mode-aware ESS = Z / E_p[w] from 20,000
exact configurations.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np

from haarflow import backends
from haarflow.backends.tree import leaves, tree_map
from haarflow.benchmarks.harness.meter import known
from haarflow.core import random, statistics
from haarflow.core.chains.metropolis import independence_chain
from haarflow.flows.training.gradients import PathGradient, ReverseKL
from haarflow.flows.training.loop import Training, finish, start, train
from haarflow.flows.training.optimisers import Adam
from haarflow.flows.training.schedules import Constant, Cosine
from haarflow.flows.u1 import architectures
from haarflow.theories import U1Gauge, accelerated
from haarflow.theories.samplers.u1 import exact_sample

LATTICE, COUPLINGS = (8, 8), {"beta": 2.0}
PROPOSALS, TARGETS, BLOCK = 100_000, 20_000, 5_000


class Entry(NamedTuple):
    """One row of the table: a constructor with its options, and how it is trained; `path` steps by path gradient end it."""

    make: Callable
    options: dict = {}  # noqa: RUF012 (a constant, never written)
    rate: float = 5e-3
    batch: int = 256
    steps: int = 1500
    path: int = 0
    constant: bool = False


def small(**options) -> Entry:
    """The coarse-to-fine flow with one mixture for each split, and other options: the baseline for comparing ideas."""
    return Entry(architectures.convolutional, {"depth": 1, "harmonics": 2, "map": "moebius", "pieces": 4, **options})


ENTRIES = {
    "tutorial": Entry(architectures.tutorial, rate=1e-3, batch=64, steps=1000, constant=True),
    "stripes": Entry(architectures.stripes, steps=1000),
    "stripes-plaquettes": Entry(architectures.stripes, {"extents": ((1, 1),)}, steps=1000),
    "stripes-square": Entry(architectures.stripes, {"extents": ((1, 1),), "kernel": 3}, steps=600),
    "stripes-square-tied": Entry(architectures.stripes, {"extents": ((1, 1),), "kernel": 3, "tied": True}, steps=600),
    "convolutional": Entry(architectures.convolutional, rate=6e-3, steps=3000),
    "mixture": Entry(architectures.convolutional, {"map": "moebius", "pieces": 4}, rate=6e-3, steps=3000),
    "small": small(),
    "no-context": small(conditioned=False),
    "splines": small(map="spline", pieces=12),
    "noncompact": small(map="noncompact"),
    "one-harmonic": small(harmonics=1),
    "depth-2": small(depth=2, pieces=3),
    "eight-pieces": small(pieces=8, hidden=(24,), harmonics=3)._replace(steps=3000, rate=6e-3),
    "wide-start": small(final_scale=1.0),
    "noncompact-depth-4": small(map="noncompact", pieces=2, depth=4, harmonics=3),
    "block-8": small(block=8),
    "path-gradient": small()._replace(path=500),
}


def trained(row: Entry, seed: int, steps: int | None):
    """Return the model, its parameters and what the training cost."""
    begin, steps = time.process_time(), steps or row.steps
    backend = backends.get("jax", dtype="float32")
    model, theory = row.make(LATTICE, **row.options), accelerated(U1Gauge(LATTICE))
    schedule = Constant(row.rate) if row.constant else Cosine(row.rate, steps, 0.01 * row.rate)
    training = Training(model, theory, Adam(schedule), ReverseKL(), row.batch)
    state = _show(training, start(training, random.key(seed, backend), dtype="float32"), steps)
    if row.path:
        rate = Cosine(0.2 * row.rate, row.path, 0.002 * row.rate)
        training = Training(model, theory, Adam(rate), PathGradient(), row.batch)
        state = _show(training, start(training, random.key(seed + 1, backend), state.params, "float32"), row.path)
    cost = {
        "parameters": sum(int(np.prod(leaf.shape)) for leaf in leaves(state.params)),
        "batch": row.batch,
        "steps": steps + row.path,
        "cpu_s": round(time.process_time() - begin, 1),
    }
    return model, state.params, cost


def _show(training, state, steps: int):
    def told():
        for progress in train(training, state, steps, COUPLINGS, every=max(steps // 6, 1)):
            loss, ess = (float(np.mean(progress.records[name][-50:])) for name in ("loss", "ess"))
            print(f"  step {progress.step} loss {loss:.4f} ess {ess:.3f} cpu {progress.cpu_s:.0f} s", flush=True)
            yield progress

    return finish(told())


def weighed(model, params, seed: int, reference) -> dict[str, float]:
    """Return acceptance, ESS, KL and mode-aware ESS of a model, weighed in float64."""
    single, double = (backends.get("jax", dtype=dtype) for dtype in ("float32", "float64"))
    params, theory = (
        tree_map(lambda x: double.asarray(single.to_numpy(x).astype("float64")), params),
        accelerated(U1Gauge(LATTICE)),
    )

    def draw(key):
        y, log_q = model.sample(params, key, BLOCK)
        return -theory.action(y, COUPLINGS) - log_q

    draw, key = double.jit(draw), random.key(1000 + seed, double)
    log_w = np.concatenate([double.to_numpy(draw(random.fold_in(key, n))) for n in range(PROPOSALS // BLOCK)])
    uniforms = double.to_numpy(random.uniform(random.fold_in(key, 10**6), (PROPOSALS,)))
    _, accepted = independence_chain(log_w, uniforms)
    log_z = theory.exact(COUPLINGS)["ln_Z"]
    weigh = double.jit(lambda y: -theory.action(y, COUPLINGS) - model.log_density(params, y))
    target = np.concatenate([double.to_numpy(weigh(double.asarray(y))) for y in np.split(reference, TARGETS // BLOCK)])
    return {
        "acceptance": round(float(np.mean(np.asarray(accepted)[PROPOSALS // 10 :])), 4),
        "ess": round(float(statistics.ess(log_w)), 4),
        "mode_aware_ess": round(known(statistics.mode_aware_ess(target, log_z).value), 4),
        "kl": round(float(log_z - log_w.mean()), 4),
    }


def main() -> None:
    """Train and weigh the entries named on the command line, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(ENTRIES), help=", ".join(ENTRIES))
    parser.add_argument("--steps", type=int, default=None, help="training steps, instead of the entry's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default=None, help="JSON lines are added to this file")
    asked = parser.parse_args()
    import jax

    jax.config.update("jax_enable_x64", True)
    host = backends.get("numpy")
    reference = exact_sample(U1Gauge(LATTICE), random.key(77, host), TARGETS, COUPLINGS).field
    for name in asked.names:
        model, params, cost = trained(ENTRIES[name], asked.seed, asked.steps)
        row = {"name": name, "seed": asked.seed, **weighed(model, params, asked.seed, reference), **cost}
        print(json.dumps(row), flush=True)
        if asked.out:
            with open(asked.out, "a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
