"""QCD with two flavours from a flow that nobody trained: ESS of pairs (U, phi), and of the conditional flow at fixed links.

    python -m haarflow.benchmarks.studies.qcd_joint [--extents 4 4 4 4] [--beta 1] [--kappa 0.1] [--hasenbusch] [--order 2] [--hop-order 2]
        [--steps 1] [--degree 1] [--fit 0] [--draws 2048] [--seed 1] [--dense 0] [--no-lines] [--json FILE] [--summary FILE]

Links come from loops of `--order` of Luescher's series at the coupling that the leading term of two flavours makes of beta,
pseudofermions from a hopping exponential. A line for every ESS: of the pairs, of the links alone by their own effective action
(what the marginal flow would have without fermions, at the shifted coupling and with lines), errors by a jackknife over 16 blocks. --json keeps the log weights of all
batches, and an interrupted command goes on from them; --summary writes the table with machine and versions.

--fit N moves the coefficients of the links' flow, some 28 numbers, by one Gauss-Newton step on the variance of the links' log w
(flows/loops/newton.py) over N draws, with slopes by differences; of several ridges the one with the least spread on N/2 further
draws is kept, and no step if none helps.

--dense N prints, for N of the configurations, the exact ESS of the conditional flow at fixed links for hopping orders 1, 2, 3:
with W = A^+ (Dhat Dhat^+)^-1 A it is det(2 W - 1)/det(W)^2, if no eigenvalue of W is 1/2 or less: else the variance of the
weights is infinite. It takes dense matrices of the odd sites, 768 components at 4^4.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy

from haarflow import backends
from haarflow.backends.tree import flatten, tree_map
from haarflow.benchmarks.harness.results import write
from haarflow.benchmarks.studies.qcd_conditional import of_factors
from haarflow.core import random
from haarflow.core.files import write_bytes
from haarflow.core.lattice import loops
from haarflow.core.spaces import Pair
from haarflow.core.statistics import ess, jackknife, log_z
from haarflow.flows.loops import newton
from haarflow.flows.pairs import loops_and_hops
from haarflow.theories.models.qcd import QCD

BATCH, BLOCKS, ORDERS = 8, 16, (1, 2, 3)
STEP, RIDGES, FITTING = (
    1e-4,
    (1e-3, 1e-2, 1e-1),
    1_000_000,
)  # of differences; of Gauss-Newton steps; added to the seed for them


def parsed() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extents", type=int, nargs="+", default=[4, 4, 4, 4])
    parser.add_argument("--n", type=int, default=3)
    parser.add_argument("--beta", type=float, default=1.0)
    parser.add_argument("--kappa", type=float, default=0.1)
    parser.add_argument(
        "--hasenbusch", type=float, nargs="*", default=[], help="hopping parameters below kappa, of factors"
    )
    parser.add_argument("--order", type=int, default=2, help="of Luescher's series")
    parser.add_argument("--hop-order", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1, help="of the links' flow")
    parser.add_argument("--degree", type=int, default=1, help="power of b up to which its coefficients are polynomials")
    parser.add_argument("--fit", type=int, default=0, help="draws for a Gauss-Newton step of its coefficients")
    parser.add_argument("--draws", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--no-lines", dest="lines", action="store_false", help="links without the lines around the lattice"
    )
    parser.add_argument("--backend", default="jax")
    parser.add_argument("--dense", type=int, default=0, help="configurations with the exact ESS at fixed links")
    parser.add_argument("--json", default="", help="file that keeps all log weights")
    parser.add_argument("--summary", type=Path, help="file for the table")
    return parser.parse_args()


def set_up(given: argparse.Namespace) -> tuple[Any, Any]:
    """Return the theory and the model."""
    theory = QCD(tuple(given.extents), n=given.n, hasenbusch=tuple(given.hasenbusch))
    model = loops_and_hops(
        tuple(given.extents),
        theory.hops,
        given.n,
        given.beta,
        given.kappa,
        given.hop_order,
        given.order,
        given.degree,
        given.steps,
        lines=given.lines,
        hasenbusch=theory.hasenbusch,
    )
    return theory, model


def weigher(given: argparse.Namespace, backend: Any) -> Any:
    """Return the compiled weights of a batch: log w of the pairs, log w of the links by the gauge action, of parameters and key."""
    theory, model = set_up(given)
    couplings = {"beta": given.beta, "kappa": given.kappa}

    def weights(params: Any, key: Any) -> tuple[Any, Any]:
        x = model.prior.sample(key, BATCH)
        links, log_det = model.flow.marginal.forward(params["marginal"], x.U)
        phi, further = model.flow.conditional.forward(params["conditional"], x.phi, {"links": links})
        log_q = model.prior.log_density(x) - log_det - further
        gauge = log_det - effective_action(theory, model.flow.marginal, links)
        return -theory.action(Pair(links, phi), couplings) - log_q, gauge

    return backend.jit(weights)


def effective_action(theory: Any, flow: Any, links: Any) -> Any:
    """Return what the links' flow aims at: the gauge action at the shifted coupling, and the lines."""
    action = theory.gauge.action(links, {"beta": flow.beta})
    for axis, strength in enumerate(flow.lines):
        line = theory.group.trace(loops.polyakov(links, axis, theory.lattice, theory.group)).real
        action = action - strength * line.sum(axis=tuple(range(-theory.gauge.d, 0))) / theory.lattice[axis]
    return action


def fitted(given: argparse.Namespace, params: Any, backend: Any) -> Any:
    """Return the parameters after the Gauss-Newton step on the links' log w."""
    theory, model = set_up(given)
    leaves, rebuild = flatten(tree_map(backend.to_numpy, params["marginal"]))
    start = numpy.concatenate([leaf.ravel() for leaf in leaves])
    places = numpy.cumsum([leaf.size for leaf in leaves])[:-1]

    def tree(numbers: numpy.ndarray) -> Any:
        parts = zip(numpy.split(numbers, places), leaves, strict=True)
        return rebuild([backend.asarray(part.reshape(leaf.shape)) for part, leaf in parts])

    def weights(marginal: Any, key: Any) -> Any:
        links, log_det = model.flow.marginal.forward(marginal, model.prior.sample(key, BATCH).U)
        return log_det - effective_action(theory, model.flow.marginal, links)

    program, root = backend.jit(weights), random.key(given.seed + FITTING, backend)

    def log_w(numbers: numpy.ndarray, batches: range) -> numpy.ndarray:
        marginal = tree(numbers)
        return numpy.concatenate([backend.to_numpy(program(marginal, random.fold_in(root, k))) for k in batches])

    learnt, tested = range(given.fit // BATCH), range(given.fit // BATCH, 3 * given.fit // (2 * BATCH))
    here, sizes = log_w(start, learnt), STEP * (numpy.abs(start) + numpy.abs(start).mean())
    slopes = [
        (log_w(start + size * unit, learnt) - here) / size
        for size, unit in zip(sizes, numpy.eye(len(start)), strict=True)
    ]
    block = (here, numpy.stack(slopes, axis=1)[:, None, :])
    choices = [start, *[start + newton.step([block], ridge)[0] for ridge in RIDGES]]
    spreads = [log_w(numbers, tested).std() for numbers in choices]
    print(
        f"{len(start)} numbers fitted: spread of the links' log w {spreads[0]:.3f}, by ridge {numpy.round(spreads[1:], 3)}"
    )
    return {**params, "marginal": tree(choices[int(numpy.argmin(spreads))])}


def drawn(program: Any, params: Any, given: argparse.Namespace, backend: Any) -> tuple[numpy.ndarray, float]:
    """Return both log weights `(2, draws)`, those that are missing drawn now, and CPU seconds for each new draw."""
    words = {name: value for name, value in vars(given).items() if name not in ("draws", "json", "dense", "summary")}
    path, kept = Path(given.json), []
    if given.json and path.exists():
        stored = json.loads(path.read_text())
        if stored["words"] != words:
            raise SystemExit(f"{path} holds draws of {stored['words']}, not of {words}: name another file")
        kept = stored["log_w"]
    key, spent, new = random.key(given.seed, backend), 0.0, 0
    for number in range(len(kept), -(-given.draws // BATCH)):
        start = time.process_time()
        kept.append([backend.to_numpy(part).round(9).tolist() for part in program(params, random.fold_in(key, number))])
        spent, new = spent + time.process_time() - start, new + BATCH
        if given.json:
            write_bytes(path, json.dumps({"words": words, "log_w": kept}).encode())
    both = numpy.concatenate([numpy.asarray(batch) for batch in kept], axis=1)[:, : given.draws]
    return both, spent / new if new else math.nan


def row(name: str, log_w: numpy.ndarray) -> dict[str, Any]:
    """Return a line of the table."""
    size, free = (jackknife(f, log_w, blocks=BLOCKS) for f in (ess, lambda part: log_z(part).value))
    found = {"field": name, "draws": len(log_w), "ess": size.value, "ess_error": size.error}
    return found | {"sigma": float(log_w.std()), "log_z": free.value, "log_z_error": free.error}


def main() -> None:
    """Print the table."""
    given = parsed()
    if given.backend == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    backend = backends.get(given.backend)
    program, params = weigher(given, backend), set_up(given)[1].init(random.key(0, backend))
    params = fitted(given, params, backend) if given.fit else params
    backend.to_numpy(program(params, random.key(0, backend))[0])  # compiled outside the clock
    both, seconds = drawn(program, params, given, backend)
    rows = [row(name, log_w) for name, log_w in zip(("(U, phi)", "U alone"), both, strict=True)]
    print("".join(f"{name:>14}" for name in rows[0]))
    for one in rows:
        print("".join(f"{value:14.4f}" if isinstance(value, float) else f"{value:>14}" for value in one.values()))
    print(f"{seconds:.3f} CPU s a draw, {1 / seconds:.1f} draws a CPU second" if seconds == seconds else "no new draws")
    if given.summary:
        words = {name: value for name, value in vars(given).items() if name not in ("json", "summary")}
        write(given.summary, "qcd_joint", words | {"cpu_s_a_draw": seconds}, rows)
    host = backends.get("numpy")
    if given.dense:
        _, model = set_up(given)
        x = model.prior.sample(random.key(given.seed, host), given.dense)
        links, _ = model.flow.marginal.forward(model.init(random.key(0, host))["marginal"], x.U)
        print(f"{'hop order':>12}{'ESS at fixed U':>16}{'min':>8}{'max':>8}{'least eigenvalue of W':>24}")
        for order in ORDERS:
            found = [of_factors(set_up(given)[0].hops(given.kappa), (), order, one) for one in links]
            sizes = [one for one, _ in found]
            print(
                f"{order:12d}{numpy.mean(sizes):16.4f}{min(sizes):8.4f}{max(sizes):8.4f}{min(least for _, least in found):24.4f}"
            )


if __name__ == "__main__":
    main()
