"""Paths between couplings with and without a flow before each kernel: ESS, KL, ln Z and <Q^2> beside their exact values.

    python -m haarflow.benchmarks.studies.paths [CASE ...] [--draws 4096] [--seed 0] [--json FILE]

Cases are paths of a shipped recipe with other settings, see CASES. KL = ln Z - <log w> of the paths (None where they are
resampled), with ln Z exact in two dimensions and integrated over beta in four: dlnZ/dbeta = -<dS/dbeta> at
Gauss-Legendre points, from chains of heat bath and over-relaxation, which have a row of their own. CPU seconds are of
the process, those of compiling left out; `numbers` is how many numbers the layers have (polynomials have fewer
degrees of freedom). The error bars of resampled paths are those of their populations.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy

from haarflow import backends
from haarflow.benchmarks.harness import results
from haarflow.core import random, statistics
from haarflow.core.chains.heatbath_sun import SUNHeatBath
from haarflow.core.chains.kernel import run
from haarflow.core.parts import described
from haarflow.flows.sampling.draws import draw
from haarflow.flows.stochastic.fitting import fitted
from haarflow.results import populations
from haarflow.results.ensemble import Sampled
from haarflow.run.recipes import load
from haarflow.run.stages.paths import protocol
from haarflow.run.target import Target, measure_of, target_of

# of the integration over beta: Gauss-Legendre points between these shares of beta, the crossover in the last part
PARTS = ((0.0, 2.0 / 3.0, 8), (2.0 / 3.0, 1.0, 16))
CHAINS, WARMUP, SWEEPS = 16, 50, 250


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
LONG = (
    "samplers.path.steps=256",
    "samplers.path.overrelaxation=1",
    "samplers.path.power=0.75",
    "samplers.path.degree=4",
)
SWEPT = ("samplers.path.steps=64", "samplers.path.sweeps=4", *LONG[1:])
RESAMPLED = ("samplers.path.population=48", "samplers.path.resample=0.5")
CASES: dict[str, Case] = {
    "u1 8x8, heat bath": Case("u1-path", (*SMALL, *PLAIN), 1024),
    "u1 8x8, heat bath, flow": Case("u1-path", (*SMALL, *FITTED), 1024),
    "u1 8x8, HMC": Case("u1-path", (*FAST, *PLAIN), 1024),
    "u1 8x8, HMC, flow": Case("u1-path", (*FAST, *FITTED), 1024),
    "u1 16x16, beta 7, HMC, flow": Case("u1-path", (), 256, 0.5),
    "su3 4^4, heat bath": Case("su3-4d-path", (*LONG, *PLAIN), 16, 32 / 4096),
    "su3 4^4, heat bath, flow": Case("su3-4d-path", LONG, 16, 32 / 4096),
    "su3 4^4, four heat baths": Case("su3-4d-path", (*SWEPT, *PLAIN), 32, 64 / 4096),
    "su3 4^4, four heat baths, flow": Case("su3-4d-path", SWEPT, 32, 64 / 4096),
    "su3 4^4, four heat baths, flow, resampled": Case("su3-4d-path", (*SWEPT, *RESAMPLED), 48, 576 / 4096),
}
INTEGRATION = "su3 4^4, integration over beta"


def measured(name: str, case: Case, draws: int, seed: int) -> dict[str, Any]:
    """Return the figures of one case."""
    target, backend = _target(case), backends.get("jax")
    path, key = protocol(target, "path"), random.key(seed, backend)
    params, words, begun = path.init(key), target.recipe.samplers["path"], time.process_time()
    numbers = 0
    if words.layers != "none":
        alone = dataclasses.replace(path, population=1, resample=0.0)  # the same layers, from a smaller pilot
        params = fitted(alone, params, random.fold_in(key, 0), words.pilot, words.degree)
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
    draws = log_w.size
    if path.resample:
        units = populations.independent(
            Sampled("path", {k: _by_population(v, path) for k, v in values.items()}, _by_population(log_w, path), None)
        )
        log_w, values = numpy.asarray(units.log_w)[0], {k: v[0] for k, v in units.observables.items()}
    return {"case": name, "steps": path.steps, "numbers": numbers, "draws": draws} | figures(
        target, log_w, values, fit, cpu_s, bool(path.resample)
    )


def _by_population(values: Any, path: Any) -> Any:
    """Values `(path, ...)` as `(member, population, ...)`."""
    return values.reshape(-1, path.population, *values.shape[1:]).swapaxes(0, 1)


def figures(
    target: Target, log_w: Any, values: dict[str, Any], fit: float, cpu_s: float, resampled: bool = False
) -> dict[str, Any]:
    """Return what independent draws of a path, or its populations, show."""
    exact = target.exact
    log_z, error = (exact["ln_Z"], 0.0) if "ln_Z" in exact else _known(target).log_z
    quality, z = statistics.ess_estimate(log_w), statistics.log_z(log_w)
    row = {
        "ess": quality.value,
        "ess_error": quality.error,
        "kl": None if resampled else float(log_z - log_w.mean()),
        "kl_error": None if resampled else math.hypot(float(log_w.std()) / math.sqrt(log_w.size), error),
        "ln_Z": z.value,
        "ln_Z_error": z.error,
        "ln_Z_known": log_z,
        "ln_Z_known_error": error,
        "ln_Z_off": None if z.value is None else z.value - log_z,
        "fit_cpu_s": fit,
        "ms_a_path": 1e3 * cpu_s,
        "effective_per_cpu_s": (quality.value or 0.0) / cpu_s,
    }
    for name in ("plaquette", "Q2", "p_Q0"):
        if name in values:
            mean = statistics.reweight(log_w, values[name])
            row |= {name: mean.value, f"{name}_error": mean.error, f"{name}_exact": exact.get(name)}
    return row


class Known(NamedTuple):
    """A value with its error."""

    value: float
    error: float


class Integral(NamedTuple):
    """ln Z(beta)/Z(0) by integration, <dS/dbeta> at beta, and the CPU seconds of all chains."""

    log_z: Known
    slope: Known
    cpu_s: float


@lru_cache(maxsize=1)
def integrated(theory: Any, beta: float) -> Integral:
    """Return ln Z(beta)/Z(0) by integration of -<dS/dbeta> over chains of heat bath and over-relaxation."""
    begun, space = time.process_time(), described(theory).spaces
    points = [(beta * place, beta * weight) for part in PARTS for place, weight in _legendre(*part)]
    kernel = SUNHeatBath(theory, overrelaxation=1, values={"couplings": {"beta": 0.0}})
    key, slopes = random.key(1, backends.get("jax")), []
    links = space.group.haar(random.fold_in(key, len(points) + 1), (CHAINS, *space.shape), "float64")
    for index, (at, _) in enumerate([*points, (beta, 0.0)]):
        links, slope = _slope(kernel, random.fold_in(key, index), links, at)
        slopes.append(slope)
    pairs = list(zip(slopes[:-1], points, strict=True))
    value = -math.fsum(weight * slope.value for slope, (_, weight) in pairs)
    error = math.hypot(*(weight * slope.error for slope, (_, weight) in pairs))
    return Integral(Known(value, error), slopes[-1], time.process_time() - begun)


def _legendre(low: float, high: float, count: int) -> list[tuple[float, float]]:
    """Points and weights of Gauss and Legendre between two bounds."""
    x, w = numpy.polynomial.legendre.leggauss(count)
    half = 0.5 * (high - low)
    return [(low + half * (1.0 + float(place)), half * float(weight)) for place, weight in zip(x, w, strict=True)]


def _slope(kernel: Any, key: Any, links: Any, beta: float) -> tuple[Any, Known]:
    """The links after more sweeps at a coupling, and <dS/dbeta> there."""
    kernel = kernel.with_values({"couplings": {"beta": beta}})
    state, records = run(kernel, key, kernel.init(links), WARMUP + SWEEPS, measure=_unit_action(kernel.theory))
    series = backends.get("jax").to_numpy(records["observables"])[WARMUP:].T
    mean = statistics.gamma_method(series)
    if mean.value is None or mean.error is None:
        raise ArithmeticError(f"<dS/dbeta> at beta = {beta:g} has no error: {mean.note}; take more sweeps")
    return state.field, Known(mean.value, mean.error)


@lru_cache(maxsize=2)
def _unit_action(theory: Any) -> Any:
    """The function that measures dS/dbeta, the action at beta = 1; the same object for the same theory, so that it compiles once."""
    return lambda field: theory.action(field, {"beta": 1.0})


def _known(target: Target) -> Integral:
    return integrated(target.theory, target.couplings["beta"])


def integration(target: Target) -> dict[str, Any]:
    """Return the row of the integration over beta."""
    found = _known(target)
    ((_, factor),) = target.theory.conjugates["beta"].items()
    return {
        "case": INTEGRATION,
        "points": sum(count for *_, count in PARTS),
        "sweeps": CHAINS * SWEEPS,
        "ln_Z": found.log_z.value,
        "ln_Z_error": found.log_z.error,
        "plaquette": found.slope.value / factor,
        "plaquette_error": abs(found.slope.error / factor),
        "cpu_s": found.cpu_s,
    }


def _row(name: str, draws: int, seed: int) -> dict[str, Any]:
    if name == INTEGRATION:
        return integration(_target(CASES["su3 4^4, heat bath"]))
    return measured(name, CASES[name], draws, seed)


def _target(case: Case) -> Target:
    return target_of(load(case.recipe, [*case.overrides, "run.backend=jax"]))


def main() -> None:
    """Print one line for each case, and write them with --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"of: {'; '.join([INTEGRATION, *CASES])}; default: all")
    parser.add_argument("--draws", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    recipe = {"command": "python -m haarflow.benchmarks.studies.paths", "draws": options.draws, "seed": options.seed}
    rows = []
    for name in options.cases or [INTEGRATION, *CASES]:
        row = _row(name, options.draws, options.seed)
        rows.append(row)
        print("  ".join(f"{k} {v:.5g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
        if options.json:
            results.write(options.json, "paths", recipe, rows)


if __name__ == "__main__":
    main()
