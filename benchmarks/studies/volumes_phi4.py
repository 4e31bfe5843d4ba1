r"""One continuous flow of phi^4 on several volumes: carried as it is, retuned and trained afresh; ESS, ln Z and CPU seconds.

    python -m haarflow.benchmarks.studies.volumes_phi4 [--extents 14 32 64] [--lams 5.113 4.572 4.398] \
        [--fresh 32] [--models FOLDER] [--json FILE]

The couplings are those of arXiv:1904.12072 and 2207.00283 at m2 = -4, where the correlation length is a quarter of the extent. The first
volume is trained from the free field, by least spread (flows/training/least_spread.py). Its parameters are carried to the next
volume and weighed there as they are, at their own coupling and at the new one; then tuned to the new coupling on a smaller one (--small),
carried and weighed again; then retuned on the volume itself, from which the third is reached, and so on. --fresh lists volumes
that are trained from the free field, too. CPU seconds of a row are all those spent since the volume before, compilation included. Training
is in float32 on one thread of JAX with --flow-steps steps of the flow, weights in float64 with twice as many; `integration` is
what is left of the error of integration from draw to draw, and ln Z is corrected for its mean. With --targets ln Z is also that of
Bennett's bridge over draws of the flow and of HMC.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Params
from haarflow.benchmarks.harness.results import write
from haarflow.core import random, statistics
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.kernel import run
from haarflow.core.statistics.effective import ess_estimate
from haarflow.flows.flow import Model
from haarflow.flows.modelfile import open_model, save_model
from haarflow.flows.sampling.draws import weigh
from haarflow.flows.sampling.integrated import IntegrationError, measured
from haarflow.flows.scalar.architectures import continuous
from haarflow.flows.training import least_spread
from haarflow.flows.training.loop import Training
from haarflow.theories import Phi4, accelerated

SITES = 100_000  # of a block of draws
CHECKED = 16  # draws on which the error of integration is measured
CHAINS = 32
M2 = -4.0

Rows = list[dict[str, Any]]


def model_of(extent: int, params: Params, options: argparse.Namespace) -> Model:
    """Return the flow of some parameters, or the first one where there are none, on one volume."""
    degree = options.degree[0] if params is None else params["1"]["C"].shape[0] - 1
    return continuous((extent, extent), tuple(options.smearings), options.terms, degree, options.flow_steps)


def grown(params: Params, degree: int) -> Params:
    """Return the parameters of the same flow with coefficients of a higher degree in time, at first zero."""
    numbers = np.asarray(params["1"]["C"])
    more = np.zeros((max(degree + 1 - len(numbers), 0), *numbers.shape[1:]), numbers.dtype)
    return params | {"1": params["1"] | {"C": np.concatenate([numbers, more])}}


def trained(
    extent: int, lam: float, begin: Params, steps: int, batch: int, options: argparse.Namespace
) -> tuple[Params, dict[str, float]]:
    """Return the parameters after some steps of least spread, from those given or from the free field, and what they cost.

    Beside the CPU seconds: ESS and variance of log w of the first step's draws, which are of the flow before it.
    """
    name = f"{extent}-{lam}-{'fresh' if begin is None else 'tuned'}.safetensors"
    file = options.models / name if options.models else None
    if file is not None and file.exists():
        opened = open_model(file, backend=backends.get("jax", dtype="float32"))
        return opened.params, dict(opened.card["cost"])
    begun, single = time.process_time(), backends.get("jax", dtype="float32")
    cost: dict[str, float] = {}
    model = model_of(extent, begin, options)
    begin = None if begin is None else tree_map(lambda x: single.asarray(np.asarray(x), dtype="float32"), begin)
    training = Training(model, accelerated(Phi4((extent, extent))), batch=batch)
    state = least_spread.start(training, random.key(options.seed + extent, single), begin, "float32")
    for progress in least_spread.train(training, state, steps, {"m2": M2, "lam": lam}):
        state, ess, spread = progress.state, *(float(progress.records[word][-1]) for word in ("ess", "spread"))
        cost = cost or {"ess_before": ess, "variance_before": spread}
        seen = f"ESS {ess:.4f}, variance {spread:.4f} before it, CPU {progress.cpu_s:.0f} s"
        print(f"  {name}: step {progress.step}, {seen}", flush=True)
    cost["train_cpu_s"] = time.process_time() - begun
    if file is not None:
        save_model(file, model, tree_map(single.to_numpy, state.params), {"cost": cost})
    return state.params, cost


def weighed(extent: int, lam: float, params: Params, draws: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return ESS, KL and ln Z of at least some draws, weighed in float64."""
    begun, double, couplings = time.process_time(), backends.get("jax", dtype="float64"), {"m2": M2, "lam": lam}
    model, theory = model_of(extent, params, options), accelerated(Phi4((extent, extent)))
    model = replace(model, flow=model.flow.refined(2))
    params = tree_map(lambda x: double.asarray(np.asarray(x), dtype="float64"), params)
    key, block = random.key(1000 + options.seed, double), min(max(SITES // extent**2, 1), draws)

    def log_w_of(key: Any) -> Any:
        y, log_q = model.sample(params, key, block)
        return -theory.action(y, couplings) - log_q

    program = double.jit(log_w_of)
    log_w = np.concatenate([double.to_numpy(program(random.fold_in(key, n))) for n in range(-(-draws // block))])
    x = model.prior.sample(random.fold_in(key, 10**6), CHECKED, "float64")
    off = measured(model, params, Phi4((extent, extent)), x, couplings)
    ess, log_z = ess_estimate(log_w), off.log_z(log_w)
    row = {
        "draws": len(log_w),
        "ess": ess.value,
        "ess_error": ess.error,
        "variance": float(np.var(log_w)),
        "integration": off.spread,
        "ln_z": log_z.value,
        "ln_z_error": log_z.error,
        "note": log_z.note,
        "weigh_cpu_s": time.process_time() - begun,
    }
    return row | (_bridged(model, lam, params, log_w, off, options) if options.targets else {})


def _bridged(
    model: Model, lam: float, params: Params, log_w: np.ndarray, off: IntegrationError, options: argparse.Namespace
) -> dict[str, Any]:
    """Return ln Z by Bennett's bridge over draws of the flow and of HMC, and by those of HMC alone, in continuous time."""
    begun, double, couplings = time.process_time(), backends.get("jax", dtype="float64"), {"m2": M2, "lam": lam}
    theory = Phi4(model.lattice)
    fields = hmc_draws(accelerated(theory), model.lattice, couplings, options)
    parts = [weigh(model, params, theory, double.asarray(part), couplings) for part in fields]
    found = statistics.free_energy(log_w + off.shift, np.stack([double.to_numpy(part) for part in parts], axis=1))
    named = {"bennett": found.bridge, "ln_z_target": found.target, "covered": found.covered}
    row: dict[str, Any] = {"targets": fields.shape[0] * fields.shape[1]}
    for name, estimate in named.items():
        row |= {name: estimate.value, f"{name}_error": estimate.error} if estimate else {}
    return row | {"bridge_cpu_s": time.process_time() - begun}


def hmc_draws(
    theory: Any, lattice: tuple[int, ...], couplings: dict[str, float], options: argparse.Namespace
) -> np.ndarray:
    """Return configurations `(draws, chains, *lattice)` of HMC, ten trajectories of length 1 apart."""
    double = backends.get("jax", dtype="float64")
    kernel = HMC(theory, steps=16, values={"couplings": couplings, "step_size": 1.0 / 16})
    key = random.key(77 + options.seed, double)
    shape = (CHAINS, *lattice)
    state = kernel.init(0.3 * random.normal(random.fold_in(key, 0), shape))
    state, _ = run(kernel, random.fold_in(key, 1), state, 40, thin=10)
    draws = -(-options.targets // CHAINS)
    _, records = run(kernel, random.fold_in(key, 2), state, draws, measure=lambda field: {"field": field}, thin=10)
    return double.to_numpy(records["observables"]["field"])


def rows_of(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a row for each way to come by a flow on each volume; ways that are to be weighed by no draws have none."""
    params: Params = None
    home = 0.0
    for number, (extent, lam) in enumerate(zip(options.extents, options.lams, strict=True)):
        steps, batch, draws = options.steps[number], options.batch[number], options.draws[number]

        def row(how: str, at: float, params: Params, draws: int, cost: Any = None, extent: int = extent) -> Rows:
            found = {"extent": extent, "lam": at, "how": how} | (cost or {"train_cpu_s": 0.0})
            return [found | weighed(extent, at, params, draws, options)] if draws else []

        if number:
            few = options.carried[number - 1]
            spent: dict[str, float] = {}
            yield from row("carried, at its own coupling", home, params, few)
            yield from row("carried", lam, params, few)
            begin = grown(params, options.degree[number])
            small, moves = options.small[number - 1], options.moves[number - 1]
            if moves:
                params, spent = trained(small, lam, begin, moves, options.batch[0], options)
                yield from row(f"carried, tuned on {small}x{small}", lam, params, few, spent)
            params, more = trained(extent, lam, params if moves else begin, steps, batch, options)
            total = more["train_cpu_s"] + spent.get("train_cpu_s", 0.0)
            yield from row("retuned", lam, params, draws, more | {"train_cpu_s": total})
        if not number or extent in options.fresh:
            fresh, spent = trained(extent, lam, None, options.steps[0], batch, options)
            yield from row("fresh", lam, fresh, draws, spent)
            params = params or fresh
        home = lam


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Train, carry, retune and weigh on the volumes asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extents", type=int, nargs="+", default=[14, 32, 64])
    parser.add_argument("--lams", type=float, nargs="+", default=[5.113, 4.572, 4.398])
    parser.add_argument("--fresh", type=int, nargs="*", default=[], help="volumes trained from the free field too")
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[10, 3, 2], help="steps on each volume, fresh: the first"
    )
    parser.add_argument("--small", type=int, nargs="+", default=[20, 32], help="extents of tuning to a new coupling")
    parser.add_argument("--moves", type=int, nargs="+", default=[5, 3], help="steps of that; 0: none")
    parser.add_argument(
        "--batch", type=int, nargs="+", default=[1000, 1000, 400], help="draws of a step on each volume"
    )
    parser.add_argument(
        "--draws", type=int, nargs="+", default=[20_000, 10_000, 2000], help="draws that are weighed; 0: none"
    )
    parser.add_argument(
        "--carried", type=int, nargs="+", default=[500, 100], help="before retuning, on further volumes"
    )
    parser.add_argument("--targets", type=int, default=0, help="configurations of HMC for Bennett's bridge; 0: none")
    parser.add_argument("--smearings", type=float, nargs="+", default=[0.3, 1.0, 3.0, 10.0, 30.0])
    parser.add_argument("--terms", type=int, default=4)
    parser.add_argument("--degree", type=int, nargs="+", default=[2, 2, 2], help="in time, of the flow for each volume")
    parser.add_argument("--flow-steps", type=int, default=6)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--models", type=Path, help="folder of model files: those there are used, others are written")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    import jax

    jax.config.update("jax_enable_x64", True)
    recipe = {name: value for name, value in vars(options).items() if name not in ("json", "models")}
    rows = []
    for row in rows_of(options):
        rows.append(row)
        print(row, flush=True)
        if options.json:  # a run that is stopped keeps its rows
            write(options.json, "volumes_phi4", recipe, rows)
    return rows


if __name__ == "__main__":
    main()
