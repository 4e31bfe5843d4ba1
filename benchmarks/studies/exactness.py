"""Exactness on every backend: each sampler against the exact results, all pulls printed.

    python benchmarks/studies/exactness.py [--theories u1 phi4] [--backends numpy jax torch] [--seeds 0 1 2] [--model u1=FILE]

U(1) at L = 8, beta = 2: plaquette, <Q>, <Q^2>, p(Q = 0), p(|Q| = 1) and p(|Q| = 2) of the two-dimensional torus.
phi^4 at L = 8, m2 = -4, lam = 8: the identity 2 (4 + m2) <phi^2> + 4 lam <phi^4> - 8 E = 1. One model is trained for
each theory (recipes `u1-2d`, `phi4-2d`) unless `--model` names one, and every backend draws with it. A pull is
(value - exact)/error; no pull may exceed 4 and the chi^2 of all must have p > 0.001. The charges of one run are
correlated, which widens the chi^2 of correct samplers a little.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import numpy

from haarflow import backends
from haarflow.core import random, statistics
from haarflow.flows.priors import UniformLinks
from haarflow.pipeline import run, train_only
from haarflow.results import ensemble
from haarflow.run import recipes
from haarflow.theories import U1Gauge, accelerated
from haarflow.theories.exact import u1_torus

RECIPES = {"u1": "u1-2d", "phi4": "phi4-2d"}
DRAWS: dict[str, dict[str, dict[str, float]]] = {
    "u1": {
        "flow-metropolis": {"draws": 60_000, "warmup": 6_000},
        "flow-reweighting": {"draws": 40_000},
        "hmc": {"chains": 64, "draws": 4000, "warmup": 200},
        "heatbath": {"chains": 64, "draws": 1500, "warmup": 100},
    },
    "phi4": {
        "flow-metropolis": {"draws": 120_000, "warmup": 10_000},
        "flow-reweighting": {"draws": 60_000},
        "hmc": {"chains": 64, "draws": 2000, "warmup": 200, "step_size": 0.06},
        "metropolis": {"chains": 64, "draws": 8000, "warmup": 200},
    },
}


def main() -> None:
    """Print all pulls, then the chi^2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--theories", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument(
        "--backends", nargs="+", default=[n for n in ("numpy", "jax", "torch") if backends.is_present(n)]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument(
        "--model", nargs="*", default=[], metavar="THEORY=FILE", help="use these models instead of training"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="multiplies the number of draws; below 1 for a quick trial"
    )
    options = parser.parse_args()
    models = dict(model.split("=", 1) for model in options.model)
    untrained()
    pulls: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for theory in options.theories:
            model = models.get(theory) or _trained(theory, Path(folder) / theory)
            for backend in options.backends:
                for seed in options.seeds:
                    out = Path(folder) / f"{theory}-{backend}-{seed}"
                    pulls += _one(theory, backend, seed, model, out, options.scale)
    judge(pulls)


def untrained() -> None:
    """Uniform links as a model: the measured ESS and ln Z beside the exact ones (2 x 10^6 draws on NumPy)."""
    host = backends.get("numpy")
    for lattice, beta in (((4, 4), 0.5), ((2, 2), 1.0)):
        theory, prior, sites = accelerated(U1Gauge(lattice)), UniformLinks(lattice), math.prod(lattice)
        keys = random.split(random.key(0, host), 20)
        log_w = numpy.concatenate([-theory.action(prior.sample(key, 100_000), {"beta": beta}) for key in keys])
        ess, log_z = statistics.ess(log_w), math.log(numpy.mean(numpy.exp(log_w)))
        print(
            f"untrained {lattice} beta={beta}: ESS {ess:.6f} (exact {u1_torus.ess_uniform(beta, sites):.6f}), "
            f"ln Z {log_z:.5f} +- {1 / math.sqrt(ess * log_w.size):.5f} (exact {u1_torus.log_z(beta, sites):.5f})"
        )


def _trained(theory: str, folder: Path) -> str:
    figures = train_only(recipes.load(RECIPES[theory]), folder)
    print(f"{theory}: trained {figures['steps']} steps in {figures['cpu_s']:.0f} CPU s, ESS {figures['ess']:.3f}")
    return str(folder / "model.safetensors")


def _one(theory: str, backend: str, seed: int, model: str, out: Path, scale: float) -> list[float]:
    """Run every sampler once; print and return the pulls."""
    table = recipes.read(RECIPES[theory]) | {"model": model, "seed": seed, "fields_every": 0}
    table.pop("flow"), table.pop("train")
    table["samplers"] = {
        name: knobs | {"draws": max(int(knobs["draws"] * scale), 100)} for name, knobs in DRAWS[theory].items()
    }
    table["run"] = {"backend": backend}
    summary = run(recipes.check(table), out)
    sampled = ensemble.read(out / "ensemble.h5")
    pulls: list[float] = []
    for name, result in summary["samplers"].items():
        rows = {
            label: (o["value"], o["error"], o["exact"])
            for label, o in result["observables"].items()
            if o["exact"] is not None
        }
        if theory == "u1":
            rows |= charges(sampled.samplers[name], sampled.lattice, sampled.couplings["beta"])
        effective = result["samples"] * (result["ess"] or 0.0)
        pull_of = {label: (value - exact) / error for label, (value, error, exact) in rows.items()}
        pulls += pull_of.values()
        shown = " ".join(f"{label} {pull:+.2f}" for label, pull in pull_of.items())
        print(f"{theory:5} {backend:6} seed {seed} {name:17} n_eff {effective:8.0f}  {shown}", flush=True)
    return pulls


def charges(sampled: ensemble.Sampled, lattice: tuple[int, ...], beta: float) -> dict[str, tuple]:
    """Return p(|Q| = 1) and p(|Q| = 2) of a sampler with errors, beside the exact values."""
    exact = u1_torus.charge_distribution(beta, math.prod(lattice))
    rows: dict[str, tuple] = {}
    for charge in (1, 2):
        hit = (numpy.abs(numpy.rint(sampled.observables["Q"])) == charge).astype(float)
        if sampled.kind == "flow-reweighting" and sampled.log_w is not None:
            estimate = statistics.reweight(sampled.log_w, hit)
        else:
            estimate = statistics.gamma_method(hit)
        rows[f"p_|Q|={charge}"] = (estimate.value, estimate.error, 2 * exact[charge])
    return rows


def judge(pulls: list[float], bar: float = 4.0) -> None:
    """Print the largest pull, which may not exceed `bar`, and the chi^2 of all with its p."""
    from scipy.stats import chi2

    total = float(numpy.sum(numpy.square(pulls)))
    p, largest = float(chi2.sf(total, len(pulls))), float(numpy.max(numpy.abs(pulls)))
    verdict = "passed" if largest <= bar and p > 0.001 else "FAILED"
    print(f"{len(pulls)} pulls, largest {largest:.2f}, chi^2 {total:.1f}, p = {p:.3f}: {verdict}")


if __name__ == "__main__":
    main()
