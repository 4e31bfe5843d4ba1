"""Paths between couplings with and without a flow before each kernel: ESS, KL, ln Z and <Q^2> beside their exact values.

    python -m haarflow.benchmarks.studies.paths [CASE ...] [--draws 4096] [--seed 0] [--json FILE]

Cases are paths of a shipped recipe with other settings, see CASES. KL = ln Z - <log w> of the paths, with ln Z exact in
two dimensions and integrated over beta in four: dlnZ/dbeta = -<dS/dbeta> at Gauss-Legendre points, from heat-bath
chains. CPU seconds are of the process, those of compiling left out; `numbers` is how many numbers the layers have
(polynomials have fewer degrees of freedom).
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy

from haarflow import backends
from haarflow.benchmarks.harness import results
from haarflow.core import random, statistics
from haarflow.core.chains.heatbath_sun import SUNHeatBath
from haarflow.core.chains.kernel import run
from haarflow.flows.sampling.draws import draw
from haarflow.flows.stochastic.fitting import fitted
from haarflow.run.recipes import load
from haarflow.run.stages.paths import protocol
from haarflow.run.target import Target, measure_of, target_of

NODES, CHAINS, SWEEPS = 16, 16, 60  # of the integration over beta


class Case(NamedTuple):
    """A path: a recipe with overrides, the paths of one block, draws in units of the option's, and whether its layers are fitted."""

    recipe: str
    overrides: tuple[str, ...]
    block: int
    share: float = 1.0


SMALL = ("lattice=[8,8]", "theory.beta=2.0", "samplers.path.steps=64", 'samplers.path.kernels=["heatbath"]')
FITTED = ("samplers.path.pilot=1024", "samplers.path.degree=4")
PLAIN = ('samplers.path.layers="none"',)
FAST = (*SMALL[:3], "samplers.path.sweeps=2", "samplers.path.trajectory=4", "samplers.path.step_size=0.25")
CASES: dict[str, Case] = {
    "u1 8x8, heat bath": Case("u1-path", (*SMALL, *PLAIN), 1024),
    "u1 8x8, heat bath, flow": Case("u1-path", (*SMALL, *FITTED), 1024),
    "u1 8x8, HMC": Case("u1-path", (*FAST, *PLAIN), 1024),
    "u1 8x8, HMC, flow": Case("u1-path", (*FAST, *FITTED), 1024),
    "u1 16x16, beta 7, HMC, flow": Case("u1-path", (), 256, 0.5),
    "su3 4^4, heat bath": Case("su3-4d-path", PLAIN, 16, 1 / 64),
    "su3 4^4, heat bath, flow": Case("su3-4d-path", (), 16, 1 / 64),
}


def measured(name: str, case: Case, draws: int, seed: int) -> dict[str, Any]:
    """Return the figures of one case."""
    target, backend = target_of(load(case.recipe, [*case.overrides, "run.backend=jax"])), backends.get("jax")
    path, key = protocol(target, "path"), random.key(seed, backend)
    params, words, begun = path.init(key), target.recipe.samplers["path"], time.process_time()
    numbers = 0
    if words.layers != "none":
        params = fitted(path, params, random.fold_in(key, 0), words.pilot, words.degree)
        numbers = path.steps
    fit, measure = time.process_time() - begun, measure_of(target.theory, tuple(target.couplings.items()))
    blocks, found = max(1, round(case.share * draws / case.block)), []
    for block in range(blocks + 1):  # the first compiles
        begun = time.process_time() if block == 1 else begun
        one = draw(
            path, params, target.theory, random.fold_in(key, block + 1), case.block, target.couplings, measure=measure
        )
        found.append((backend.to_numpy(one.log_w), {k: backend.to_numpy(v) for k, v in one.observables.items()}))
    cpu_s = (time.process_time() - begun) / (blocks * case.block)
    log_w = numpy.concatenate([one for one, _ in found[1:]])
    values = {k: numpy.concatenate([table[k] for _, table in found[1:]]) for k in found[0][1]}
    return {"case": name, "steps": path.steps, "numbers": numbers, "draws": log_w.size} | figures(
        target, log_w, values, fit, cpu_s
    )


def figures(target: Target, log_w: Any, values: dict[str, Any], fit: float, cpu_s: float) -> dict[str, Any]:
    """Return what the draws of a path show."""
    exact = target.exact
    log_z, error = (exact["ln_Z"], 0.0) if "ln_Z" in exact else integrated(target)
    quality, z = statistics.ess_estimate(log_w), statistics.log_z(log_w)
    row = {
        "ess": quality.value,
        "ess_error": quality.error,
        "kl": float(log_z - log_w.mean()),
        "kl_error": math.hypot(float(log_w.std()) / math.sqrt(log_w.size), error),
        "ln_Z": z.value,
        "ln_Z_error": z.error,
        "ln_Z_known": log_z,
        "ln_Z_known_error": error,
        "fit_cpu_s": fit,
        "ms_a_path": 1e3 * cpu_s,
        "effective_per_cpu_s": (quality.value or 0.0) / cpu_s,
    }
    for name in ("plaquette", "Q2", "p_Q0"):
        if name in values:
            mean = statistics.reweight(log_w, values[name])
            row |= {name: mean.value, f"{name}_error": mean.error, f"{name}_exact": exact.get(name)}
    return row


def integrated(target: Target) -> tuple[float, float]:
    """Return ln Z(beta)/Z(0) with its error, by integration of -<dS/dbeta> over heat-bath chains."""
    beta, backend = target.couplings["beta"], backends.get("jax")
    ((name, factor),) = target.theory.conjugates["beta"].items()
    x, w = numpy.polynomial.legendre.leggauss(NODES)
    kernel, key = (
        SUNHeatBath(target.theory, overrelaxation=1, values={"couplings": {"beta": 0.0}}),
        random.key(1, backend),
    )
    links = target.hot_start(random.fold_in(key, NODES), CHAINS, "float64")
    value, variance = 0.0, 0.0
    for index, (place, weight) in enumerate(zip(x, w, strict=True)):
        at = {"couplings": {"beta": 0.5 * beta * (1.0 + place)}}
        kernel = kernel.with_values(at)
        measure = measure_of(target.theory, tuple(target.couplings.items()))
        state, records = run(kernel, random.fold_in(key, index), kernel.init(links), SWEEPS, measure=measure)
        links = state.field
        series = backend.to_numpy(records["observables"][name])[SWEEPS // 3 :].T
        mean = statistics.gamma_method(series)
        value += -0.5 * beta * weight * factor * mean.value
        variance += (0.5 * beta * weight * factor * mean.error) ** 2
    return float(value), math.sqrt(variance)


def main() -> None:
    """Print one line for each case, and write them with --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"of: {'; '.join(CASES)}; default: all")
    parser.add_argument("--draws", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    rows = []
    for name in options.cases or CASES:
        row = measured(name, CASES[name], options.draws, options.seed)
        rows.append(row)
        print("  ".join(f"{k} {v:.5g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
    if options.json:
        recipe = {
            "command": "python -m haarflow.benchmarks.studies.paths",
            "draws": options.draws,
            "seed": options.seed,
        }
        results.write(options.json, "paths", recipe, rows)


if __name__ == "__main__":
    main()
