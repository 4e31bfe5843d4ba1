"""ESS against beta of Luescher's trivialising flow for SU(3) in four dimensions: its series, and trained flows.

    python -m haarflow.benchmarks.studies.curve_sun_4d [--orders 1 2] [--models su3-4d-loops ...] [--betas 1 1.5 2 ...] [--only 3]
        [--draws 256] [--batch 16] [--steps 4] [--seed 0] [--backend jax] [--json FILE]

`--models`: names of shipped models or files, for one coupling (give it by `--only`) or conditioned on beta; they are
evaluated on the same draws as the series of their order. A curve ends where the ESS has fallen below 0.01. Errors are by the
jackknife over the draws. With n draws the ESS is never below 1/n and is optimistic unless n ESS is large; beside it stands
exp(-Var log w), its value for normal log w. "integration" is the spread, over 8 draws, of the change of log w when the steps
are doubled: a part of the error of each weight, to be compared with sigma, the spread of log w. The time of the first
point includes compilation.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy

from haarflow import backends
from haarflow.core import random
from haarflow.core.statistics import ess, jackknife
from haarflow.flows.loops import newton
from haarflow.flows.loops.flow import LoopFlow
from haarflow.flows.modelfile import open_model
from haarflow.flows.priors import HaarLinks
from haarflow.models import path_of
from haarflow.theories import SUNGauge, accelerated

LATTICE, END, CHECKED = (4, 4, 4, 4), 0.01, 8


def weigher(flow: LoopFlow, params: Any, backend: Any) -> Any:
    """A function of (Haar links, beta) that returns log w `(batch,)`; one program for all beta."""
    theory = accelerated(SUNGauge(LATTICE, 3))
    program = newton.weigher(flow, lambda y, beta: theory.action(y, {"beta": beta}), backend)
    return lambda x, beta: backend.to_numpy(program(params["coefficients"], x, backend.asarray(beta)))


def series(order: int, backend: Any) -> tuple[LoopFlow, Any]:
    """Luescher's series."""
    flow = LoopFlow(3, 4, order, degree=order - 1, condition=("beta",))
    return flow, flow.init(random.key(0, backend))


def opened(name: str, backend: Any) -> tuple[LoopFlow, Any]:
    """A trained flow and its parameters."""
    loaded = open_model(path_of(name), backend=backend, lattice=LATTICE)
    return loaded.model.flow, loaded.params


def curve(name: str, flow: LoopFlow, params: Any, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The curve's points, up to the first below END."""
    backend, flow = backends.get(options.backend), dataclasses.replace(flow, steps=options.steps, scheme=options.scheme)
    weigh, finer = weigher(flow, params, backend), weigher(flow.refined(2), params, backend)
    root, prior = random.fold_in(random.key(options.seed, backend), flow.order), HaarLinks(LATTICE, 3)
    for index, beta in enumerate(options.betas):
        if options.only and beta not in options.only:
            continue
        key, blocks, start = random.fold_in(root, index), [], time.process_time()
        for block in range(-(-options.draws // options.batch)):
            x = prior.sample(random.fold_in(key, block), options.batch)
            blocks.append(weigh(x, beta))
        log_w, cost = numpy.concatenate(blocks), time.process_time() - start
        change = finer(x[:CHECKED], beta) - blocks[-1][:CHECKED]
        yield {
            "flow": name,
            "order": flow.order,
            "beta": beta,
            "ess": ess(log_w),
            "error": jackknife(ess, log_w, blocks=len(log_w)).error,
            "draws": len(log_w),
            "spread": float(numpy.std(log_w, ddof=1)),
            "if_normal": float(numpy.exp(-numpy.var(log_w, ddof=1))),
            "integration": float(numpy.std(change)),
            "cpu_s_a_draw": cost / len(log_w),
        }
        if ess(log_w) < END:
            return


def main() -> None:
    """Measure, print, and store the results if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--models", nargs="*", default=[])
    parser.add_argument("--betas", type=float, nargs="+", default=[1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0])
    parser.add_argument("--only", type=float, nargs="*", help="run only these of --betas, on the same draws")
    parser.add_argument("--draws", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument(
        "--scheme", choices=("masked", "continuous"), default="continuous", help="that of the table in the docs"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", default="jax")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.backend == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    print(
        f"SU(3) 4x4x4x4, {options.steps} {options.scheme} steps, {options.backend}, float64, seed {options.seed}\n"
        f"{'flow':16}{'beta':>6}{'ESS':>9}{'error':>8}{'draws':>7}{'sigma':>8}{'normal':>9}{'integration':>13}{'CPU s/draw':>12}",
        flush=True,
    )
    rows = []
    backend = backends.get(options.backend)
    flows = {f"series {order}": series(order, backend) for order in options.orders}
    flows |= {name: opened(name, backend) for name in options.models}
    for name, flow in flows.items():
        for row in curve(Path(name).stem, *flow, options):
            rows.append(row)
            print(
                "{flow:16}{beta:6.2f}{ess:9.4f}{error:8.4f}{draws:7d}{spread:8.3f}{if_normal:9.4f}{integration:13.5f}"
                "{cpu_s_a_draw:12.3f}".format(**row),
                flush=True,
            )
    if options.json:
        from haarflow.benchmarks.harness.results import write

        recipe = {name: value for name, value in vars(options).items() if name != "json"}
        write(options.json, "curve_sun_4d", recipe, rows)


if __name__ == "__main__":
    main()
