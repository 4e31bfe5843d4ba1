"""Training of the flow along loops for SU(3) on 4x4x4x4: Gauss-Newton steps on Var log w, from Luescher's series.

    python -m haarflow.benchmarks.studies.train_sun_4d --out FILE [--order 2] [--degree 3] [--betas 2 2.5 3 3.5] [--draws 32]
        [--rounds 3] [--steps 4] [--seed 0]

One flow for all couplings in `--betas`. A round takes `draws` at each for the step (flows/loops/newton.py) and half as many
new ones, the same for all, to choose between steps with several ridges and no step: the least sum of log Var log w wins.
Prints the spread of log w on these, then writes the model. Runs on JAX. The shipped su3-4d-loops was made by

    python -m haarflow.benchmarks.studies.train_sun_4d --betas 3 --degree 2 --draws 96 --rounds 2 --out FILE
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy

from haarflow import backends
from haarflow.core import random
from haarflow.flows.flow import Model
from haarflow.flows.loops import newton
from haarflow.flows.loops.flow import LoopFlow
from haarflow.flows.modelfile import save_model
from haarflow.flows.priors import HaarLinks
from haarflow.theories import SUNGauge, accelerated

LATTICE, BATCH = (4, 4, 4, 4), 16
TRIED = ((0.0, 0.0), (1e-3, 1.0), (1e-4, 0.5), (1e-4, 1.0))  # (ridge, part of the step)


def trained(flow: LoopFlow, numbers: numpy.ndarray, options: argparse.Namespace, backend: Any) -> numpy.ndarray:
    """The coefficients after the rounds."""
    theory, prior = accelerated(SUNGauge(LATTICE, n=3)), HaarLinks(LATTICE, 3)

    def action(y: Any, beta: Any) -> Any:
        return theory.action(y, {"beta": beta})

    derive, weigh = newton.derivatives(flow, action, backend), newton.weigher(flow, action, backend)
    root = random.key(options.seed, backend)

    def spreads(some: numpy.ndarray, key: Any) -> numpy.ndarray:
        blocks = [prior.sample(random.fold_in(key, k), BATCH) for k in range(max(1, options.draws // (2 * BATCH)))]
        coefficients = backend.asarray(some)
        log_w = [[backend.to_numpy(weigh(coefficients, x, backend.asarray(b))) for x in blocks] for b in options.betas]
        return numpy.asarray([numpy.std(numpy.concatenate(part)) for part in log_w])

    for turn in range(options.rounds):
        key, start, blocks = random.fold_in(root, turn), time.process_time(), []
        for index, beta in enumerate(options.betas):
            mine = random.fold_in(random.fold_in(key, 1), index)
            parts = [
                derive(numbers, prior.sample(random.fold_in(mine, k), BATCH), beta)
                for k in range(options.draws // BATCH)
            ]
            log_w, slopes = zip(*parts, strict=True)
            blocks.append((numpy.concatenate(log_w), numpy.concatenate(slopes)))
        steps = [part * newton.step(blocks, ridge) if part else 0.0 for ridge, part in TRIED]
        tried = [spreads(numbers + step, random.fold_in(key, 2)) for step in steps]
        best = int(numpy.argmin([numpy.log(spread).sum() for spread in tried]))
        numbers = numbers + steps[best]
        print(
            f"round {turn}: spread of log w {tried[0].round(2)} -> {tried[best].round(2)}, ridge and part {TRIED[best]}, "
            f"largest number {abs(numbers).max():.1f}, {time.process_time() - start:.0f} CPU s",
            flush=True,
        )
        save(options.out, flow, numbers, options)
    return numbers


def save(path: Path, flow: LoopFlow, numbers: numpy.ndarray, options: argparse.Namespace) -> None:
    """Write the model."""
    recipe = {name: value for name, value in vars(options).items() if name != "out"}
    card = {
        "theory": {"name": "su3", "lattice": list(LATTICE), "couplings": {"beta": flow.beta}},
        "condition": list(flow.condition),
        "training": {"command": "python -m haarflow.benchmarks.studies.train_sun_4d", **recipe},
    }
    save_model(path, Model(HaarLinks(LATTICE, 3), flow), {"coefficients": numbers}, card)


def main() -> None:
    """Train, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--order", type=int, default=2)
    parser.add_argument("--degree", type=int, default=3)
    parser.add_argument("--betas", type=float, nargs="+", default=[2.0, 2.5, 3.0, 3.5])
    parser.add_argument("--draws", type=int, default=32, help="at each coupling, for each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import jax

    jax.config.update("jax_enable_x64", True)
    backend = backends.get("jax")
    flow = LoopFlow(
        3, 4, options.order, max(options.betas), options.steps, options.degree, condition=("beta",), scheme="continuous"
    )
    start = backend.to_numpy(flow.init(random.key(0, backend))["coefficients"])
    trained(flow, start, options, backend)


if __name__ == "__main__":
    main()
