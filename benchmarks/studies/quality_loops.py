"""Flows along Wilson loops on a square lattice: ESS and ln Z beside exact results, by coupling and seed.

    python -m haarflow.benchmarks.studies.quality_loops [--n 3] [--betas 4 5 6] [--extent 16] [--draws 256] [--seeds 0]
        [--scheme masked] [--steps 2] [--json FILE]

Without --fit the shipped coefficients are taken; with it they are fitted anew: exact samples at nine couplings on 6 x 6 and one
linear least-squares problem (flows/loops/fit.py) serve all couplings. --json keeps all log w, in batches, and an interrupted
command goes on from them. Errors are those of a jackknife over 16 blocks; where weights are heavy they are too small, as the
ESS is too large. A pull is (ln Z - exact)/error: the chi^2 of all must have p > 0.001, and none may be above 3.5 (nine pulls
exceed that by luck with a chance of 0.4%).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy
from scipy.stats import chi2

from haarflow import backends, models
from haarflow.core import random
from haarflow.core.files import write_bytes
from haarflow.core.statistics import Estimate, ess, jackknife, log_z
from haarflow.flows.loops import fit as loop_fit
from haarflow.flows.loops.flow import LoopFlow
from haarflow.flows.modelfile import open_model
from haarflow.flows.priors import HaarLinks
from haarflow.theories import SUNGauge, accelerated
from haarflow.theories.exact import sun_torus
from haarflow.theories.samplers.sun import exact_sample

SMALL, COUPLINGS, BATCH, BLOCKS, LARGEST = (6, 6), 9, 16, 16, 3.5
Case = tuple[float, int]  # coupling and seed


def fitted(flow: LoopFlow, samples: int, products: int, seed: int) -> loop_fit.Fit:
    """Return the fit of a flow in two dimensions to exact samples."""
    host, theory = backends.get("numpy"), accelerated(SUNGauge(SMALL, n=flow.n))
    found = [(0.0, HaarLinks(SMALL, flow.n).sample(random.key(seed, host), samples))]
    for number, b in enumerate(numpy.linspace(0.0, flow.beta, COUPLINGS)[1:], start=1):
        key = random.fold_in(random.key(seed, host), number)
        found.append((float(b), exact_sample(theory, key, samples, {"beta": float(b)})))
    return loop_fit.least_squares(flow, found, products)


def chosen(given: argparse.Namespace) -> tuple[LoopFlow, numpy.ndarray]:
    """Return the flow and its coefficients, shipped or fitted."""
    if not given.fit:
        model, params, _ = open_model(models.path_of(f"su{given.n}-2d-loops"))
        return model.flow, params["coefficients"]
    start = time.process_time()
    flow = LoopFlow(given.n, 2, given.order, max(given.betas), given.steps, given.degree, condition=("beta",))
    fit = fitted(flow, given.samples, given.products, given.seeds[0])
    print(
        f"{fit.coefficients.size} numbers fitted in {time.process_time() - start:.1f} CPU s; places {fit.flow.places}"
    )
    return fit.flow, fit.coefficients


class Kept(NamedTuple):
    """The batches of log w of each case, and the file that keeps them, if any, with the words that it is for."""

    path: Path | None
    words: dict[str, Any]
    found: dict[str, list[list[float]]]

    def batches(self, case: Case) -> list[list[float]]:
        """Return the batches of a case that there are."""
        return self.found.setdefault(f"beta={case[0]:g}, seed={case[1]}", [])

    def add(self, case: Case, log_w: numpy.ndarray) -> None:
        """Add a batch."""
        self.batches(case).append(log_w.tolist())
        if self.path:
            write_bytes(self.path, json.dumps({"words": self.words, "log_w": self.found}).encode())


def kept_in(path: str, words: dict[str, Any]) -> Kept:
    """Return what a file keeps, nothing where there is none yet; draws of another flow are refused."""
    if not path or not Path(path).exists():
        return Kept(Path(path) if path else None, words, {})
    stored = json.loads(Path(path).read_text())
    if stored["words"] != words:
        raise SystemExit(f"{path} holds draws of {stored['words']}, not of {words}: name another file")
    return Kept(Path(path), words, stored["log_w"])


def weigher(flow: LoopFlow, coefficients: Any, lattice: tuple[int, ...], backend: Any) -> Any:
    """Return the compiled log w of a batch of draws, of a key and the coupling."""
    theory, params = accelerated(SUNGauge(lattice, n=flow.n)), {"coefficients": backend.asarray(coefficients)}

    def log_w(key: Any, beta: Any) -> Any:
        y, log_det = flow.forward(params, HaarLinks(lattice, flow.n).sample(key, BATCH), {"beta": beta})
        return log_det - theory.action(y, {"beta": beta})

    return backend.jit(log_w)


def drawn(program: Any, kept: Kept, case: Case, draws: int, backend: Any) -> tuple[numpy.ndarray, float]:
    """Return log w of the draws of a case, those that are missing drawn now, and CPU seconds per new draw."""
    (beta, seed), batches, spent, new = case, kept.batches(case), 0.0, 0
    key = random.key(seed, backend)
    for number in range(len(batches), -(-draws // BATCH)):
        start = time.process_time()
        log_w = backend.to_numpy(program(random.fold_in(key, number), backend.asarray(beta)))
        spent, new = spent + time.process_time() - start, new + BATCH
        kept.add(case, log_w)
    return numpy.concatenate([numpy.asarray(b) for b in kept.batches(case)])[:draws], spent / new if new else math.nan


def parsed() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=3)
    parser.add_argument("--betas", type=float, nargs="+", default=[4.0, 5.0, 6.0])
    parser.add_argument("--extent", type=int, default=16)
    parser.add_argument("--draws", type=int, default=256)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--scheme", choices=("masked", "continuous"), default="masked")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--backend", default="jax")
    parser.add_argument("--json", default="", help="file that keeps all log w")
    parser.add_argument("--fit", action="store_true", help="fit the coefficients anew, with the options that follow")
    parser.add_argument("--order", type=int, default=3)
    parser.add_argument("--degree", type=int, default=2, help="of the polynomials in b")
    parser.add_argument("--products", type=int, default=20, help="0 keeps all")
    parser.add_argument("--samples", type=int, default=400, help="at each coupling of the fit")
    return parser.parse_args()


def _numbers(found: Estimate) -> tuple[float, float]:
    """Value and error of an estimate that has both."""
    assert found.value is not None and found.error is not None
    return found.value, found.error


def main() -> None:
    """Print one line for each coupling and seed, and the chi^2 of all ln Z."""
    given = parsed()
    if given.backend == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    flow, coefficients = chosen(given)
    flow = dataclasses.replace(flow, scheme=given.scheme, steps=given.steps)
    lattice, backend = (given.extent,) * 2, backends.get(given.backend)
    kept = kept_in(
        given.json, {"flow": repr(flow), "lattice": list(lattice), "backend": given.backend, "fit": given.fit}
    )
    program = weigher(flow, coefficients, lattice, backend)
    print(f"{'beta':>6}{'seed':>6}{'draws':>7}{'ESS':>8}{'error':>8}{'sigma':>8}{'ln Z':>11}{'- exact':>10}{'error':>8}"
          f"{'pull':>7}{'CPU s/draw':>12}")  # fmt: skip
    pulls = []
    for beta in given.betas:
        exact = sun_torus.log_z(flow.n, beta, math.prod(lattice))
        backend.to_numpy(program(random.key(0, backend), backend.asarray(beta)))  # compiled outside the clock
        for seed in given.seeds:
            log_w, spent = drawn(program, kept, (beta, seed), given.draws, backend)
            size, found = (_numbers(jackknife(f, log_w, blocks=BLOCKS)) for f in (ess, lambda part: log_z(part).value))
            off = found[0] - exact
            pulls.append(off / found[1])
            print(
                f"{beta:6.2f}{seed:6d}{len(log_w):7d}{size[0]:8.3f}{size[1]:8.3f}{log_w.std():8.3f}{found[0]:11.4f}{off:+10.4f}"
                f"{found[1]:8.4f}{pulls[-1]:+7.2f}{spent:12.4f}",
                flush=True,
            )
    total = float(numpy.sum(numpy.square(pulls)))
    print(f"chi^2 {total:.2f} of {len(pulls)}, p = {chi2.sf(total, len(pulls)):.3f}, largest pull {max(map(abs, pulls)):.2f}"
          f" (at most {LARGEST})")  # fmt: skip


if __name__ == "__main__":
    main()
