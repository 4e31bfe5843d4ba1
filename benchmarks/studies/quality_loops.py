"""ESS of flows along Wilson loops on 16 x 16, fitted by least squares with a few products of loops, or all.

    python -m haarflow.benchmarks.studies.quality_loops [--n 3] [--beta 4 5 6] [--products 20] [--degree 2] [--draws 256]

One fit serves all couplings: exact samples at nine couplings on 6 x 6 and one linear least-squares problem (flows/loops/fit.py).
The error of the ESS is that of a jackknife over 16 blocks; for heavy-tailed weights it is too small, and the ESS too large.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy

from haarflow import backends
from haarflow.core import random
from haarflow.core.statistics import ess, jackknife
from haarflow.flows.loops import fit as loop_fit
from haarflow.flows.loops.flow import LoopFlow
from haarflow.flows.priors import HaarLinks
from haarflow.theories import SUNGauge, accelerated
from haarflow.theories.samplers.sun import exact_sample

LATTICE, SMALL, COUPLINGS, BATCH, BLOCKS = (16, 16), (6, 6), 9, 16, 16


def fitted(flow: LoopFlow, samples: int, products: int, seed: int) -> loop_fit.Fit:
    """Return the fit of a flow in two dimensions to exact samples."""
    host, theory = backends.get("numpy"), accelerated(SUNGauge(SMALL, n=flow.n))
    samples_at = [(0.0, HaarLinks(SMALL, flow.n).sample(random.key(seed, host), samples))]
    for index, b in enumerate(numpy.linspace(0.0, flow.beta, COUPLINGS)[1:], start=1):
        key = random.fold_in(random.key(seed, host), index)
        samples_at.append((float(b), exact_sample(theory, key, samples, {"beta": float(b)})))
    return loop_fit.least_squares(flow, samples_at, products)


def weights(flow: LoopFlow, coefficients: Any, beta: float, draws: int, seed: int, backend: Any) -> numpy.ndarray:
    """Return log w of independent draws."""
    theory, params = accelerated(SUNGauge(LATTICE, n=flow.n)), {"coefficients": backend.asarray(coefficients)}

    def log_w(key: Any) -> Any:
        y, log_det = flow.forward(params, HaarLinks(LATTICE, flow.n).sample(key, BATCH), {"beta": beta})
        return log_det - theory.action(y, {"beta": beta})

    program, key = backend.jit(log_w), random.key(seed, backend)
    parts = [backend.to_numpy(program(random.fold_in(key, index))) for index in range(-(-draws // BATCH))]
    return numpy.concatenate(parts)


def main() -> None:
    """Print the cost of the fit and one line for each coupling."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=3)
    parser.add_argument("--beta", type=float, nargs="+", default=[4.0, 5.0, 6.0])
    parser.add_argument("--order", type=int, default=3)
    parser.add_argument("--degree", type=int, default=2, help="of the polynomials in b")
    parser.add_argument("--products", type=int, default=20, help="0 keeps all")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--samples", type=int, default=400, help="at each coupling of the fit")
    parser.add_argument("--draws", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", default="jax")
    options = parser.parse_args()
    if options.backend == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    flow = LoopFlow(options.n, 2, options.order, max(options.beta), options.steps, options.degree, condition=("beta",))
    start = time.process_time()
    fit = fitted(flow, options.samples, options.products, options.seed)
    cost = time.process_time() - start
    print(
        f"SU({options.n}), {len(fit.flow.products)} products of loops x {options.degree + 1} powers = {fit.coefficients.size} "
        f"numbers, fitted in {cost:.1f} CPU s; places {fit.flow.places}"
    )
    print(f"{'beta':>6}{'ESS':>9}{'error':>8}{'sigma log w':>13}{'ms/draw':>9}")
    for beta in options.beta:
        start = time.process_time()
        log_w = weights(fit.flow, fit.coefficients, beta, options.draws, options.seed, backends.get(options.backend))
        spent = 1e3 * (time.process_time() - start) / len(log_w)
        print(
            f"{beta:6.2f}{float(ess(log_w)):9.3f}{jackknife(ess, log_w, blocks=BLOCKS).error:8.3f}{log_w.std():13.3f}{spent:9.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
