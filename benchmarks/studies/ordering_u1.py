"""Coarse-to-fine U(1) flows at strong ordering, with the start at the closed form of each division of flux and without.

    python -m haarflow.benchmarks.studies.ordering_u1 [--betas 4 5 7] [--starts closed-form fresh] [--json FILE]

U(1), 16x16, blocks of 8. A row is one flow, trained by reverse KL: from the closed form, to which each division was
fitted in --fit steps, or from fresh numbers, annealed from beta = 1 over two thirds of the steps. Training is in float32 on
one thread of JAX, weights in float64: acceptance and tau_int of Q of an independence Metropolis chain without its first
tenth, ESS, KL from the exact ln Z, and the mode-aware ESS Z / E_p[w] from exact configurations, before and after
training. CPU seconds are those of the process, compilation included.
"""

from __future__ import annotations

import argparse
import os
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np

from haarflow import backends
from haarflow.backends.tree import leaves, tree_map
from haarflow.benchmarks.harness.results import write
from haarflow.core import random, statistics
from haarflow.core.chains.metropolis import independence_chain
from haarflow.flows.flow import Model
from haarflow.flows.training.closed_form import closed_form_start
from haarflow.flows.training.coupling_plans import Annealed
from haarflow.flows.training.gradients import ReverseKL
from haarflow.flows.training.loop import Training, finish, start, train
from haarflow.flows.training.optimisers import Adam
from haarflow.flows.training.schedules import Cosine
from haarflow.flows.u1.architectures import convolutional
from haarflow.theories import U1Gauge, accelerated
from haarflow.theories.exact import u1_torus
from haarflow.theories.samplers.u1 import exact_sample

BLOCK = 500  # draws at a time
OPTIONS: dict[str, Any] = {"depth": 1, "map": "moebius_pairs", "pieces": 4, "hidden": (16, 16)}


def row_of(options: argparse.Namespace, beta: float, begin: str) -> dict[str, Any]:
    """Return what one flow reaches: before training, after it, and what it cost."""
    begun, single = time.process_time(), backends.get("jax", dtype="float32")
    model, closed = convolutional(tuple(options.lattice), options.block, **OPTIONS), begin == "closed-form"
    key = random.key(options.seed, single)
    left: dict[int, float] = {}
    if closed:
        params, left = closed_form_start(model.flow, key, beta, options.fit, dtype="float32")
    else:
        params = model.init(key, "float32")
    cost = {"start_cpu_s": time.process_time() - begun, "numbers": sum(leaf.size for leaf in leaves(params))}
    row: dict[str, Any] = {"beta": beta, "start": begin, "cap": u1_torus.ess_blocks(beta, _sites(model), options.block)}
    row |= {"kl_of_a_division": {str(area): kl for area, kl in left.items()}}
    row["before"] = weighed(model, params, beta, options)
    begun = time.process_time()
    params = trained(model, params, beta, options, closed)
    cost["train_cpu_s"] = time.process_time() - begun
    return row | cost | {"after": weighed(model, params, beta, options)}


def trained(model: Model, params: Any, beta: float, options: argparse.Namespace, closed: bool) -> Any:
    """Return the parameters after training at the end of which the coupling is beta."""
    single, theory = backends.get("jax", dtype="float32"), accelerated(U1Gauge(model.prior.lattice))
    steps, rate, first = (options.steps, options.rate, beta) if closed else (options.fresh_steps, 6e-3, 1.0)
    training = Training(model, theory, Adam(Cosine(rate, steps, 0.01 * rate), clip=10.0), ReverseKL(), options.batch)
    plan = Annealed({"beta": first}, {"beta": beta}, 2 * steps / 3)
    state = start(training, random.key(options.seed + 1, single), params, "float32")
    return finish(train(training, state, steps, plan, every=50)).params


@lru_cache(maxsize=1)
def programs(model: Model) -> tuple[Any, Any]:
    """Return the compiled functions that draw and weigh: (params, key, beta) to log w and Q, (params, links, beta) to log w."""
    double, theory = backends.get("jax", dtype="float64"), accelerated(U1Gauge(model.prior.lattice))

    def draw(params: Any, key: Any, beta: Any) -> Any:
        y, log_q = model.sample(params, key, BLOCK)
        return -theory.action(y, {"beta": beta}) - log_q, theory.charge(y)

    def weigh(params: Any, y: Any, beta: Any) -> Any:
        return -theory.action(y, {"beta": beta}) - model.log_density(params, y)

    return double.jit(draw), double.jit(weigh)


def weighed(model: Model, params: Any, beta: float, options: argparse.Namespace) -> dict[str, Any]:
    """Return acceptance, tau_int of Q, ESS, KL and mode-aware ESS, weighed in float64."""
    double, host, theory = backends.get("jax", dtype="float64"), backends.get("numpy"), U1Gauge(model.prior.lattice)
    params = tree_map(lambda x: double.asarray(np.asarray(x), dtype="float64"), params)
    (draw, weigh), key, coupling = programs(model), random.key(1000 + options.seed, double), double.asarray(beta)
    parts = [draw(params, random.fold_in(key, n), coupling) for n in range(options.draws // BLOCK)]
    log_w, charge = (np.concatenate([double.to_numpy(part) for part in column]) for column in zip(*parts, strict=True))
    uniforms = double.to_numpy(random.uniform(random.fold_in(key, 10**6), (len(log_w),)))
    index, accepted = (np.asarray(each)[len(log_w) // 10 :] for each in independence_chain(log_w, uniforms))
    exact = exact_sample(theory, random.key(77 + options.seed, host), options.targets, {"beta": beta}).field
    blocks = [double.asarray(block) for block in np.split(exact, options.targets // BLOCK)]
    target = np.concatenate([double.to_numpy(weigh(params, block, coupling)) for block in blocks])
    log_z = theory.exact({"beta": beta})["ln_Z"]
    aware = statistics.mode_aware_ess(target, log_z)
    return {
        "acceptance": float(np.mean(accepted)),
        "tau_int_Q": statistics.gamma_method(charge[index]).tau_int,
        "ess": statistics.ess(log_w),
        "kl": float(log_z - log_w.mean()),
        "mode_aware_ess": aware.value,
        "mode_aware_ess_error": aware.error,
    }


def _sites(model: Model) -> int:
    return int(np.prod(model.prior.lattice))


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Make, weigh, train and weigh again the flows asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lattice", type=int, nargs=2, default=[16, 16])
    parser.add_argument("--block", type=int, default=8)
    parser.add_argument("--betas", type=float, nargs="+", default=[7.0, 4.0, 5.0])
    parser.add_argument("--starts", nargs="+", choices=["closed-form", "fresh"], default=["closed-form", "fresh"])
    parser.add_argument("--fit", type=int, default=1500, help="steps of the fit of each division")
    parser.add_argument("--steps", type=int, default=1000, help="steps of training from the closed form")
    parser.add_argument("--rate", type=float, default=5e-5, help="first learning rate of these")
    parser.add_argument("--fresh-steps", type=int, default=2000, help="steps of training from fresh numbers")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--targets", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    import jax

    jax.config.update("jax_enable_x64", True)
    rows = []
    recipe = {name: value for name, value in vars(options).items() if name != "json"}
    for begin in options.starts:
        for beta in options.betas:
            rows.append(row_of(options, beta, begin))
            print(rows[-1], flush=True)
            if options.json:  # a run that is stopped keeps its rows
                write(options.json, "ordering_u1", recipe, rows)
    return rows


if __name__ == "__main__":
    main()
