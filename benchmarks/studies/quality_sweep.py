"""Quality of the sweep flow for its training cost; also makes the shipped 16x16 model.

    python -m haarflow.benchmarks.studies.quality_sweep u1-2d u1-freezing --seed 0 [--save FOLDER] [--out table.jsonl]
    python -m haarflow.benchmarks.studies.quality_sweep --file haarflow/models/u1-freezing.safetensors

Each entry of ENTRIES is trained in float32 on one thread of JAX in stages, the first ones on fewer columns: the flow is
the same on every volume. A stage's result is the mean of the parameters over its last quarter. It is evaluated in
float64 by NumPy on 10^5 fresh draws: ESS, acceptance and tau_int(Q) of the Metropolis chain through them with its first tenth dropped, ln Z against the exact one, and mode-aware ESS = Z / E_p[w]
from exact samples. CPU seconds are those of the process, compilation included.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np

from haarflow import backends
from haarflow.backends.tree import leaves, tree_map
from haarflow.benchmarks.harness.meter import known
from haarflow.core import random, statistics
from haarflow.core.chains.metropolis import independence_chain
from haarflow.flows.modelfile import open_model, save_model
from haarflow.flows.training.gradients import Estimator, PathGradient, ReverseKL
from haarflow.flows.training.loop import Training, start, train
from haarflow.flows.training.optimisers import Adam
from haarflow.flows.training.schedules import Cosine, WarmUp
from haarflow.flows.u1.sweep import sweep
from haarflow.theories import U1Gauge, accelerated
from haarflow.theories.exact import u1_torus
from haarflow.theories.samplers.u1 import exact_sample

PROPOSALS, BLOCK, EXACT = 100_000, 500, 5_000


class Stage(NamedTuple):
    """One stage of a training: the lattice, and how many steps of what."""

    lattice: tuple[int, int]
    steps: int
    batch: int
    rate: float
    estimator: Estimator = ReverseKL()


class Entry(NamedTuple):
    """One row of the table: the coupling, the flow's options and the stages; the last one's lattice is the target's."""

    beta: float
    options: dict
    stages: tuple[Stage, ...]


ENTRIES = {
    "u1-2d": Entry(2.0, {"stiffness": 2.0}, (Stage((8, 8), 300, 128, 2e-2),)),
    "u1-freezing": Entry(
        7.0,
        {"bins": 32, "harmonics": 8, "stiffness": 7.0},
        (
            Stage((16, 4), 600, 128, 2e-2),
            Stage((16, 16), 600, 64, 4e-3, PathGradient()),
        ),
    ),
}


def trained(name: str, seed: int):
    """Return the model, its parameters in float64 on the host, and what the training cost."""
    begin, row = time.process_time(), ENTRIES[name]
    backend, params = backends.get("jax", dtype="float32"), None
    for index, stage in enumerate(row.stages):
        model = sweep(stage.lattice, **row.options)
        rise = min(20, stage.steps // 10)
        adam = Adam(
            WarmUp(Cosine(stage.rate, stage.steps - rise, 0.01 * stage.rate), rise), b2=0.95, clip=5.0
        )  # b2: the gradient falls by orders
        action = accelerated(U1Gauge(stage.lattice)).action
        training = Training(model, action, adam, stage.estimator, stage.batch)
        state = start(training, random.fold_in(random.key(seed, backend), index), params, "float32")
        late = []
        for progress in train(training, state, stage.steps, {"beta": row.beta}, every=10):
            late += [progress.state.params] if progress.step > 0.75 * stage.steps else []
            if progress.step % 50 == 0:
                loss, ess = (float(np.mean(progress.records[name])) for name in ("loss", "ess"))
                kl = loss + u1_torus.log_z(row.beta, math.prod(stage.lattice))
                print(f"  {stage.lattice} step {progress.step} KL {kl:.4f} ESS {ess:.3f}", flush=True)
        params = tree_map(lambda *rows: sum(rows) / len(rows), *late)
    cost = {"train_cpu_s": round(time.process_time() - begin, 1), "steps": [stage.steps for stage in row.stages]}
    return model, tree_map(lambda leaf: backend.to_numpy(leaf).astype("float64"), params), cost


def weighed(model, params, beta: float, seed: int) -> dict:
    """Return the figures of a model on its own lattice, drawn and weighed by NumPy."""
    begin, host, theory = time.process_time(), backends.get("numpy"), accelerated(U1Gauge(model.prior.lattice))
    couplings, sites = {"beta": beta}, math.prod(model.prior.lattice)
    key, weights, charges = random.key(1000 + seed, host), [], []
    for index in range(PROPOSALS // BLOCK):
        y, log_q = model.sample(params, random.fold_in(key, index), BLOCK)
        weights.append(-theory.action(y, couplings) - log_q)
        charges.append(theory.charge(y))
    log_w, charge = np.concatenate(weights), np.concatenate(charges)
    draw_cpu_s = time.process_time() - begin
    indices, accepted = independence_chain(log_w, random.uniform(random.fold_in(key, 10**6), (PROPOSALS,)))
    kept = slice(PROPOSALS // 10, None)
    history = statistics.gamma_method(charge[indices][kept])
    exact = exact_sample(theory, random.key(2000 + seed, host), EXACT, couplings)
    target = [-theory.action(y, couplings) - model.log_density(params, y) for y in np.array_split(exact.field, 10)]
    aware = statistics.mode_aware_ess(np.concatenate(target), u1_torus.log_z(beta, sites))
    return {
        "lattice": model.prior.lattice,
        "beta": beta,
        "ess": round(statistics.ess(log_w), 4),
        "acceptance": round(float(np.mean(accepted[kept])), 4),
        "mode_aware_ess": round(known(aware.value), 4),
        "tau_int_Q": round(known(history.tau_int), 3),
        "Q2": round(float(np.mean(charge[indices][kept] ** 2)), 4),
        "exact_Q2": round(u1_torus.charge_squared(beta, sites), 4),
        "kl": round(u1_torus.log_z(beta, sites) - float(np.mean(log_w)), 4),
        "log_z_pull": round(_pull(statistics.log_z(log_w), u1_torus.log_z(beta, sites)), 2),
        "untrained_ess": round(u1_torus.ess_sweep(beta, sites), 4),
        "parameters": sum(leaf.size for leaf in leaves(params)),
        "numpy_us_a_draw": round(1e6 * draw_cpu_s / PROPOSALS),
    }


def _pull(estimate: statistics.Estimate, exact: float) -> float:
    return (known(estimate.value) - exact) / known(estimate.error)


def card(name: str, seed: int, row: dict) -> dict:
    """Return the model card: what was trained, how, and the result."""
    entry = ENTRIES[name]
    stages = [
        f"{s.steps} steps of {s.batch} on {s.lattice}, {type(s.estimator).__name__}, rate {s.rate}"
        for s in entry.stages
    ]
    return {
        "name": name,
        "kind": "sweep flow",
        "theory": {"name": "u1", "lattice": list(entry.stages[-1].lattice), "couplings": {"beta": entry.beta}},
        "training": {"stages": stages, "cpu_s": row["train_cpu_s"], "seed": seed},
        "measured": {key: row[key] for key in ("ess", "acceptance", "mode_aware_ess", "tau_int_Q", "kl")},
        "ess": row["ess"],
        "made_by": f"python -m haarflow.benchmarks.studies.quality_sweep {name} --seed {seed} --save haarflow/models",
    }


def main() -> None:
    """Train, weigh and save the entries named on the command line, or weigh a model file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=list(ENTRIES), help="entries to train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", default=None, help="a folder for the trained models")
    parser.add_argument("--out", default=None, help="JSON lines are added to this file")
    parser.add_argument("--file", default=None, help="a model file to weigh, without training")
    asked = parser.parse_args()
    if asked.file:
        opened = open_model(asked.file)
        beta = opened.card["theory"]["couplings"]["beta"]
        print(json.dumps(weighed(opened.model, opened.params, beta, asked.seed)))
    for name in asked.names:
        model, params, cost = trained(name, asked.seed)
        row = {"name": name, "seed": asked.seed, **weighed(model, params, ENTRIES[name].beta, asked.seed), **cost}
        print(json.dumps(row), flush=True)
        if asked.out:
            with open(asked.out, "a") as file:
                file.write(json.dumps(row) + "\n")
        if asked.save:
            save_model(Path(asked.save) / f"{name}.safetensors", model, params, card(name, asked.seed, row))


if __name__ == "__main__":
    main()
