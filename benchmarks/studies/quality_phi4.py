"""Quality of phi^4 flows for their training cost: the effect of each idea (docs/ablation_phi4.md).

    python -m haarflow.benchmarks.studies.quality_phi4 convolutional tutorial --seed 0 [--steps 1500] [--out table.jsonl]

phi^4, L = 8, m2 = -4, lam = 8. Each entry of ENTRIES is trained by reverse KL in float32 on one thread of JAX (CPU
seconds are stated, compilation included), then evaluated in float64 on fresh draws: acceptance of a chain of 10^5 draws
with its first tenth dropped, ESS of the weights, KL = ln Z - E_q[log w] with ln Z from the weights, and mode-aware
ESS = Z / E_p[w] from 51,200 HMC configurations.
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
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.kernel import run
from haarflow.core.chains.metropolis import independence_chain
from haarflow.flows.scalar import architectures
from haarflow.flows.training.gradients import Estimator, PathGradient, ReverseKL
from haarflow.flows.training.loop import Training, start, train
from haarflow.flows.training.optimisers import Adam
from haarflow.flows.training.schedules import Constant, Cosine, WarmUp
from haarflow.theories import Phi4, accelerated

LATTICE, COUPLINGS = (8, 8), {"m2": -4.0, "lam": 8.0}
PROPOSALS, BLOCK = 100_000, 5_000


class Entry(NamedTuple):
    """One row of the table: a constructor with its options, and how it is trained."""

    make: Callable
    options: dict = {}  # noqa: RUF012 (a constant, never written)
    rate: float = 5e-3
    batch: int = 256
    steps: int = 1500
    estimator: Estimator = ReverseKL()
    constant: bool = False


def conv(**options) -> Entry:
    """The convolutional flow with other options."""
    return Entry(architectures.convolutional, options)


def affine(pairs=2, **options) -> Entry:
    """The convolutional flow with affine couplings."""
    return conv(pairs=pairs, bins=0, **options)


ENTRIES = {
    "tutorial": Entry(architectures.tutorial, rate=1e-3, batch=64, steps=2500, constant=True),
    "free-tail": Entry(architectures.copula, {"rounds": 0}, rate=1e-2),
    "copula": Entry(architectures.copula, rate=1e-2),
    "copula-2": Entry(architectures.copula, {"rounds": 2}, rate=1e-2),
    "convolutional": conv(),
    "two-pairs": conv(pairs=2, bins=8),
    "affine": affine(),
    "affine-one-pair": affine(pairs=1),
    "affine-no-copula": affine(rounds=0),
    "affine-not-symmetric": affine(symmetric=False),
    "affine-tied": affine(tied=True),
    "affine-reach-3": affine(reach=3),
    "affine-reach-5-3": affine(reach=5, kernel=3),
    "affine-wide": affine(hidden=(24, 24)),
    "affine-shallow": affine(hidden=(16,)),
    "affine-silu": affine(activation="silu"),
    "rate-2e-3": conv()._replace(rate=2e-3),
    "batch-128": conv()._replace(batch=128),
    "path-gradient": conv()._replace(estimator=PathGradient()),
    "long": conv()._replace(steps=10000),
}


def trained(name: str, seed: int, steps: int | None):
    """Return the model, its parameters and what the training cost."""
    begin, row = time.process_time(), ENTRIES[name]
    steps = steps or row.steps
    backend = backends.get("jax", dtype="float32")
    model, theory = row.make(LATTICE, **row.options), accelerated(Phi4(LATTICE))
    schedule = Constant(row.rate) if row.constant else WarmUp(Cosine(row.rate, steps - 50), 50)
    training = Training(model, theory, Adam(schedule, b2=0.99, clip=1.0), row.estimator, row.batch)
    first = 0.0
    for progress in train(training, start(training, random.key(seed, backend), dtype="float32"), steps, COUPLINGS, 50):
        first = first or progress.cpu_s
        if progress.step % max(50 * (steps // 250), 50) == 0:
            loss, ess = (float(np.mean(progress.records[name])) for name in ("loss", "ess"))
            print(f"  step {progress.step} loss {loss:.4f} ess {ess:.3f} cpu {progress.cpu_s:.0f} s", flush=True)
    cost = {
        "parameters": sum(int(np.prod(leaf.shape)) for leaf in leaves(progress.state.params)),
        "batch": row.batch,
        "steps": steps,
        "ms_a_step": round(1e3 * (progress.cpu_s - first) / max(steps - 50, 1), 2),
        "cpu_s": round(time.process_time() - begin, 1),
    }
    return model, progress.state.params, cost


def weighed(model, params, seed: int, reference) -> dict[str, float]:
    """Return acceptance, ESS, KL and mode-aware ESS of a model, weighed in float64."""
    double = backends.get("jax", dtype="float64")
    single = backends.get("jax", dtype="float32")
    params, theory = (
        tree_map(lambda x: double.asarray(single.to_numpy(x).astype("float64")), params),
        accelerated(Phi4(LATTICE)),
    )

    def draw(key):
        y, log_q = model.sample(params, key, BLOCK)
        return -theory.action(y, COUPLINGS) - log_q

    draw, key = double.jit(draw), random.key(1000 + seed, double)
    log_w = np.concatenate([double.to_numpy(draw(random.fold_in(key, n))) for n in range(PROPOSALS // BLOCK)])
    uniforms = double.to_numpy(random.uniform(random.fold_in(key, 10**6), (PROPOSALS,)))
    _, accepted = independence_chain(log_w, uniforms)
    log_z = known(statistics.log_z(log_w).value)
    weigh = double.jit(lambda y: -theory.action(y, COUPLINGS) - model.log_density(params, y))
    target = np.concatenate([double.to_numpy(weigh(double.asarray(y))) for y in np.split(reference, 8)])
    return {
        "acceptance": round(float(np.mean(np.asarray(accepted)[PROPOSALS // 10 :])), 4),
        "ess": round(float(statistics.ess(log_w)), 4),
        "mode_aware_ess": round(known(statistics.mode_aware_ess(target, log_z).value), 4),
        "kl": round(float(log_z - log_w.mean()), 4),
        "log_z": round(log_z, 4),
    }


def hmc_reference() -> np.ndarray:
    """Return 51,200 nearly independent configurations: 256 chains, each 200 times 20 trajectories of length 1."""
    backend = backends.get("jax", dtype="float64")
    kernel = HMC(Phi4(LATTICE), steps=14, values={"couplings": COUPLINGS, "step_size": 1.0 / 14})
    key = random.key(77, backend)
    state = kernel.init(0.3 * random.normal(random.fold_in(key, 0), (256, *LATTICE)))
    state, _ = run(kernel, random.fold_in(key, 1), state, 20, thin=20)
    _, records = run(kernel, random.fold_in(key, 2), state, 200, measure=lambda field: {"field": field}, thin=20)
    return backend.to_numpy(records["observables"]["field"]).reshape(-1, *LATTICE)


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
    reference = hmc_reference()
    print(f"HMC reference: <phi^2> = {np.mean(reference**2):.5f}, exact to 1e-5: 0.14343", flush=True)
    for name in asked.names:
        model, params, cost = trained(name, asked.seed, asked.steps)
        row = {"name": name, "seed": asked.seed, **weighed(model, params, asked.seed, reference), **cost}
        print(json.dumps(row), flush=True)
        if asked.out:
            with open(asked.out, "a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
