"""Quality of variational autoregressive networks of the Ising model for their training cost, and ln Z against Kaufman's.

    python -m haarflow.benchmarks.studies.quality_van [--extent 8] [--betas 0.2 0.3 0.4 0.4406867935097715 0.5 0.6]
        [--kind dense] [--hidden 4] [--kernel 7] [--steps 1000] [--batch 256] [--rate 1e-2] [--draws 40000] [--seed 1]
        [--anneal 0.5] [--dtype float64] [--samples 0] [--json FILE]

Each coupling is trained from scratch by the score function on the density averaged over the flip, beta rising from 0
over the first half of the steps (`--anneal`), on one thread of JAX; or with `--samples` by the likelihood of random
images of that many draws of Swendsen and Wang's chain. CPU seconds include the chain and compilation, which the first
coupling pays for all. Fresh draws in float64 then give ESS, the gap KL/V = (ln Z - E_q[log w])/V with the exact ln Z,
and ln Z by the weights with its deviation in standard errors; another chain gives ESS on the target's side, the share
of the target's mass that the network covers, and Bennett's ln Z. Seeds are fixed beforehand.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import numpy

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.benchmarks.harness.results import write
from haarflow.core import random, statistics
from haarflow.core.chains.cluster import SwendsenWang
from haarflow.core.chains.kernel import run
from haarflow.flows.mixtures import AnyModel, symmetrised
from haarflow.flows.proposals import Weighted
from haarflow.flows.spins.autoregressive import convolutional, dense
from haarflow.flows.training.coupling_plans import Annealed, Fixed
from haarflow.flows.training.gradients import Estimator, ForwardKL, Reinforce
from haarflow.flows.training.loop import Training, start, train
from haarflow.flows.training.optimisers import Adam
from haarflow.flows.training.schedules import Cosine
from haarflow.theories.exact.ising_torus import CRITICAL
from haarflow.theories.spins.ising import Ising

BLOCK, REPORTS = 2000, 10
CHAINS, WARMUP = 256, 60  # of Swendsen and Wang's chain, cold at first
TARGET = 8  # draws of each chain, four sweeps apart, that stand for the target


def model_of(options: Any) -> AnyModel:
    """The network of the options, its density averaged over the flip."""
    lattice, hidden = (options.extent,) * 2, tuple(options.hidden)
    made = dense(lattice, hidden) if options.kind == "dense" else convolutional(lattice, hidden, options.kernel)
    return symmetrised(made, ("Z2",))


def trained(training: Training, beta: float, options: Any) -> tuple[Any, float]:
    """The parameters on the host in double precision, and the CPU seconds of their training."""
    begin, backend = time.process_time(), backends.get("jax", dtype=options.dtype)
    state = start(training, random.key(options.seed, backend), dtype=options.dtype)
    plan: Any = Annealed({"beta": 0.0}, {"beta": beta}, float(max(options.anneal * options.steps, 1)))
    samples = None
    if options.samples:
        plan, key = Fixed({"beta": beta}), random.key(2000 + options.seed, backend)
        samples = flat(cluster_draws(training.theory, beta, key, -(-options.samples // CHAINS), 1, options.dtype))
    for progress in train(training, state, options.steps, plan, samples, max(options.steps // REPORTS, 1)):
        loss, ess = (float(numpy.mean(progress.records[name][-20:])) for name in ("loss", "ess"))
        print(f"  step {progress.step} loss {loss:.4f} ess {ess:.3f} cpu {progress.cpu_s:.0f} s", flush=True)
    params = tree_map(lambda x: backend.to_numpy(x).astype("float64"), progress.state.params)
    return params, time.process_time() - begin


def cluster_draws(theory: Any, beta: float, key: Any, draws: int, thin: int, dtype: str) -> Any:
    """Spins `(draw, chain, *lattice)` of Swendsen and Wang's chains after their warm-up."""
    backend, kernel = backends.of(key), SwendsenWang(theory, {"couplings": {"beta": beta}})
    cold = backend.asarray(numpy.ones((CHAINS, *theory.lattice)), dtype=getattr(backend.xp, dtype))
    warm, _ = run(kernel, random.fold_in(key, 0), kernel.init(cold), WARMUP)
    return run(kernel, random.fold_in(key, 1), warm, draws, 0, itself, thin)[1]["observables"]


def itself(field: Any) -> Any:
    """The field."""
    return field


def flat(draws: Any) -> Any:
    """Draws one behind the other."""
    return draws.reshape(-1, *draws.shape[2:])


def covered(model: AnyModel, params: Any, beta: float, key: Any, options: Any, log_w: Any) -> dict[str, float | None]:
    """What other cluster draws say: ESS on the target's side, the mass covered, and Bennett's ln Z."""
    backend, theory = backends.get("jax"), Ising((options.extent,) * 2)
    draws = cluster_draws(theory, beta, key, TARGET, 4, "float64")
    density = backend.jit(lambda x: -theory.action(x, {"beta": beta}) - model.log_density(params, x, None))
    target = numpy.stack([backend.to_numpy(density(row)) for row in draws], axis=1)  # (chain, draw)
    found, seen = statistics.free_energy(log_w, target), statistics.coverage_of(log_w, target)
    rows = {"ess_target": seen.ess, "covered": found.covered, "bridge": found.bridge}
    values = {name: one.value for name, one in rows.items() if one is not None}
    return values | {f"{name}_error": one.error for name, one in rows.items() if one is not None}


def weighed(model: AnyModel, params: Any, beta: float, number: int, options: Any) -> dict[str, float | None]:
    """ESS, KL/V and ln Z by the weights of fresh draws, other ones for every coupling, with its pull on the exact value."""
    backend, theory = backends.get("jax"), Ising((options.extent,) * 2)
    proposal, begin = Weighted(model, theory), time.process_time()
    draw = backend.jit(lambda params, key, beta: proposal.draw(params, key, BLOCK, {"beta": beta}).log_w)
    params = tree_map(backend.asarray, params)
    key = random.fold_in(random.key(1000 + options.seed, backend), number)
    blocks = [draw(params, random.fold_in(key, n), beta) for n in range(-(-options.draws // BLOCK))]
    log_w = numpy.concatenate([backend.to_numpy(block) for block in blocks])
    exact, found = theory.exact({"beta": beta})["ln_Z"], statistics.log_z(log_w)
    other = covered(model, params, beta, random.fold_in(key, 10**6), options, log_w) if options.samples else {}
    return {
        "ess": statistics.ess(log_w),
        "gap_per_site": float(exact - log_w.mean()) / options.extent**2,
        "ln_Z": found.value or 0.0,
        "error": found.error or 0.0,
        "exact": exact,
        "pull": ((found.value or 0.0) - exact) / (found.error or 1.0),
        "draw_cpu_s": time.process_time() - begin,
        **other,
    }


def measured(options: Any) -> Iterator[dict[str, Any]]:
    """A row for each coupling."""
    model = model_of(options)
    optimiser = Adam(Cosine(options.rate, options.steps), clip=10.0)
    estimator: Estimator = ForwardKL(images=True) if options.samples else Reinforce()
    training = Training(model, Ising((options.extent,) * 2), optimiser, estimator, options.batch)
    for number, beta in enumerate(options.betas):
        params, cpu = trained(training, beta, options)
        yield {"beta": beta, "train_cpu_s": cpu, **weighed(model, params, beta, number, options)}


def main() -> None:
    """Train, weigh and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extent", type=int, default=8)
    parser.add_argument("--betas", type=float, nargs="+", default=[0.2, 0.3, 0.4, CRITICAL, 0.5, 0.6])
    parser.add_argument("--kind", choices=("dense", "convolutional"), default="dense")
    parser.add_argument("--hidden", type=int, nargs="+", default=[4])
    parser.add_argument("--kernel", type=int, default=7)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=1e-2)
    parser.add_argument("--anneal", type=float, default=0.5, help="share of the steps over which beta rises from 0")
    parser.add_argument("--samples", type=int, default=0, help="cluster draws to learn from; 0: the score function")
    parser.add_argument("--draws", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    rows = []
    for row in measured(options):
        rows.append(row)
        print(
            f"beta {row['beta']:.4f}  ESS {row['ess']:.4f}  KL/V {row['gap_per_site']:.2e}  ln Z {row['ln_Z']:.5f} +- "
            f"{row['error']:.5f}, exact {row['exact']:.5f}, pull {row['pull']:+.2f}  training {row['train_cpu_s']:.1f} CPU s, "
            f"{options.draws} draws {row['draw_cpu_s']:.1f} CPU s",
            flush=True,
        )
        if options.samples:
            print(
                f"  other cluster draws: ESS {row['ess_target']:.4f} on the target's side, mass covered {row['covered']:.4f} +- "
                f"{row['covered_error']:.4f}, Bennett's ln Z {row['bridge']:.5f} +- {row['bridge_error']:.5f}",
                flush=True,
            )
    if options.json:
        write(options.json, "quality_van", {k: v for k, v in vars(options).items() if k != "json"}, rows)


if __name__ == "__main__":
    main()
