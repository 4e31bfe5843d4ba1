"""Two flavours of the Schwinger model by four samplers that share nothing but the action, and whether they agree.

    python -m haarflow.benchmarks.studies.schwinger_exactness [--lattices 4 8] [--betas 1 2] [--kappas 0.2 0.276]
        [--samplers hmc hmc-hits ...] [--draws 400] [--chains 32] [--exact 20000] [--prior BETA] [--backend jax] [--seed 2026]
        [--json FILE]

HMC with the exact determinant, with and without flux hits, HMC with pseudofermions and hits, and exact draws of pure gauge
theory with the weight det^2 (at the beta' of `--prior`, which need not be beta). Compared are plaquette, <Q^2>, p(Q = 0),
p(|Q| = 1), condensate, ln|det D| and, where it is not constant, the sign: pulls of pseudofermions and of reweighting against HMC
with hits, with both errors in quadrature. No pull may exceed 4, and the chi^2 of all must have p > 0.001. HMC without hits is
printed beside them and not judged: where it freezes its errors are not to be trusted. An estimate with a note, such as of too few
effective draws, supports no comparison: it is "not supported" and not judged. With `--json` every sampler is written when it is
measured, and a later call with the same options measures what is missing.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy

from haarflow import backends
from haarflow.benchmarks.harness import cells
from haarflow.benchmarks.harness.results import write
from haarflow.benchmarks.studies.exactness import judge
from haarflow.core import random, statistics
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.integrators import OMELYAN
from haarflow.core.chains.kernel import Cycle, Kernel, run
from haarflow.core.statistics import Estimate
from haarflow.theories.fermions.pseudofermions.pseudofermion_hmc import PseudofermionHMC
from haarflow.theories.gauge.flux_hit import FluxHits
from haarflow.theories.models.schwinger import Schwinger
from haarflow.theories.samplers.u1 import exact_sample

OBSERVABLES = ("plaquette", "Q2", "p_Q0", "p_Q1", "condensate", "log_det", "sign")
SAMPLERS = ("hmc", "hmc-hits", "pseudofermions-hits", "reweighting")
JUDGED, AGAINST = SAMPLERS[2:], "hmc-hits"
LENGTH, BLOCK, DRAWN = 1.2, 50, 4000  # of a trajectory; draws of a block; exact draws of a block
KIND = "schwinger_exactness"
STEPS = {4: 4, 8: 5, 16: 8}  # of a trajectory by the extent


def kernels(theory: Schwinger, couplings: dict[str, float], steps: int = 0) -> dict[str, Kernel]:
    """Return the Markov kernels by name, with `steps` of a trajectory or those of STEPS."""
    steps = steps or STEPS.get(theory.lattice[0], 10)
    values = {"couplings": couplings, "step_size": LENGTH / steps}
    exact = HMC(theory, OMELYAN, steps, values)
    hits = FluxHits(theory, 1, {"couplings": couplings})
    pseudo = PseudofermionHMC(theory, OMELYAN, steps + 2, values | {"step_size": LENGTH / (steps + 2)})
    return {"hmc": exact, "hmc-hits": Cycle((exact, hits)), "pseudofermions-hits": Cycle((pseudo, hits))}


def by_chain(
    kernel: Kernel, theory: Schwinger, couplings: dict[str, float], options: Any, number: int
) -> dict[str, Any]:
    """Return the estimates of a Markov chain, its warm-up a quarter of the draws."""
    backend, begun = backends.get(options.backend), time.process_time()
    key = random.fold_in(random.key(options.seed, backend), number)
    measure = partial(theory.observables, couplings=couplings)
    start = 0.3 * random.normal(random.fold_in(key, 1 << 20), (options.chains, *theory.field_shape))
    state, rows, accepted = kernel.init(start), [], []
    skipped = -(-options.draws // (4 * BLOCK))
    for block in range(skipped + -(-options.draws // BLOCK)):
        state, records = run(kernel, key, state, BLOCK, block * BLOCK, measure)
        if block >= skipped:
            rows.append({name: backend.to_numpy(records["observables"][name]) for name in OBSERVABLES})
            info = records["info"].get("0", records["info"])
            accepted.append(float(numpy.mean(backend.to_numpy(info["accepted"]).astype(float))))
    series = {name: numpy.concatenate([row[name] for row in rows]).T for name in OBSERVABLES}
    estimates = {name: statistics.gamma_method(values) for name, values in series.items()}
    return _row(estimates, begun, float(numpy.mean(accepted)))


def by_weights(theory: Schwinger, couplings: dict[str, float], options: Any, number: int) -> dict[str, Any]:
    """Return the estimates of exact pure gauge draws at `--prior` with the weight e^{-S} over theirs."""
    host, begun = backends.get("numpy"), time.process_time()
    key = random.fold_in(random.key(options.seed, host), number)
    prior = {"beta": couplings["beta"] if options.prior is None else options.prior}
    log_w, rows = [], []
    for block in range(-(-options.exact // DRAWN)):
        fields = exact_sample(theory.gauge, random.fold_in(key, block), DRAWN, prior).field
        values = theory.observables(fields, couplings)
        log_w.append(theory.gauge.action(fields, prior) - theory.action(fields, couplings))
        rows.append({name: values[name] for name in OBSERVABLES})
    weights = numpy.concatenate(log_w)[None]
    joined = {name: numpy.concatenate([row[name] for row in rows])[None] for name in OBSERVABLES}
    estimates = {name: statistics.reweight(weights, values) for name, values in joined.items()}
    return _row(estimates, begun, float(statistics.ess(weights[0])))


def _row(estimates: dict[str, Estimate], begun: float, quality: float) -> dict[str, Any]:
    """What is stored of a sampler: its estimates by name, and the acceptance or ESS of its draws."""
    numbers = {name: one._asdict() for name, one in estimates.items()}
    return {"cpu_s": time.process_time() - begun, "quality": quality, "estimates": numbers}


def measured(cell: cells.Cell, options: Any) -> dict[str, Any]:
    """Measure and print one sampler at one point; the number of a sampler sets its random numbers."""
    theory = Schwinger((cell["lattice"], cell["lattice"]))
    couplings, name = {"beta": cell["beta"], "kappa": cell["kappa"]}, cell["sampler"]
    if name == "reweighting":
        return by_weights(theory, couplings, options, 99)
    made = kernels(theory, couplings)
    return by_chain(made[name], theory, couplings, options, list(made).index(name))


def with_pulls(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the pulls of those that are judged, against HMC with hits at the same point."""
    known = {_point(row): row for row in rows if row["sampler"] == AGAINST}
    return [
        {**row, "pulls": pulls(row, known[_point(row)])} if row["sampler"] in JUDGED and _point(row) in known else row
        for row in rows
    ]


def _point(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["lattice"], row["beta"], row["kappa"]


def pulls(row: dict[str, Any], known: dict[str, Any]) -> dict[str, float]:
    """Return the pulls of a row against another by name, of estimates that both have with an error and without a note."""
    found = {}
    for name in OBSERVABLES:
        a, b = row["estimates"][name], known["estimates"][name]
        if a["error"] and b["error"] and not a["note"] and not b["note"]:
            found[name] = (a["value"] - b["value"]) / math.hypot(a["error"], b["error"])
    return found


def notes(row: dict[str, Any]) -> list[str]:
    """Return what is said of estimates that support no comparison, each once; a constant sign is none of them."""
    said = [one["note"] for one in row["estimates"].values() if one["note"] and not one["note"].startswith("constant")]
    return list(dict.fromkeys(said))


def shown(row: dict[str, Any]) -> str:
    """Return a row as text."""
    found = row["estimates"]
    numbers = [
        f"{name} {one['value']:.5f}" + (f"({one['error']:.5f})" if one["error"] else "") for name, one in found.items()
    ]
    tau = found["Q2"]["tau_int"]
    history = "" if tau is None or row["sampler"] == "reweighting" else f" | tau_int(Q^2) {tau:.2f}"
    said = "".join(f"\n    not supported: {note}" for note in notes(row))
    largest = max(row.get("pulls", {}).items(), key=lambda entry: abs(entry[1]), default=None)
    pull = f" | {largest[1]:+.2f} {largest[0]}" if largest else ""
    return f"  {row['sampler']:20s} {'  '.join(numbers)} | {row['quality']:.3f}{history}{pull} | {row['cpu_s']:.0f} CPU s{said}"


def asked() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lattices", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--betas", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--kappas", type=float, nargs="+", default=[0.2, 0.276])
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=list(SAMPLERS), metavar="NAME")
    parser.add_argument("--draws", type=int, default=400, help="draws of each chain after its warm-up")
    parser.add_argument("--chains", type=int, default=32)
    parser.add_argument("--exact", type=int, default=20_000, help="exact draws to reweight")
    parser.add_argument(
        "--prior", type=float, default=None, help="beta' of the exact draws; beta where it is not given"
    )
    parser.add_argument("--backend", default="jax" if backends.is_present("jax") else "numpy")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure and print all points, and judge their pulls together."""
    options = asked()
    recipe = {name: getattr(options, name) for name in ("draws", "chains", "exact", "prior", "backend", "seed")}
    rows: list[dict[str, Any]] = []
    for extent, beta, kappa in itertools.product(options.lattices, options.betas, options.kappas):
        print(f"{extent}x{extent}, beta {beta:g}, kappa {kappa:g}: value(error) | acceptance or ESS | ...", flush=True)
        point = {"lattice": extent, "beta": beta, "kappa": kappa}
        wanted = [{**point, "sampler": name} for name in options.samplers]
        found = cells.measured(options.json, KIND, recipe, wanted, partial(measured, options=options))
        found = with_pulls(found)
        print("\n".join(map(shown, found)), flush=True)
        rows += found
    every = [pull for row in rows for pull in row.get("pulls", {}).values()]
    if every:
        judge(every)
    if options.json:
        write(options.json, KIND, recipe, with_pulls(cells.stored(options.json, KIND, recipe)), cells.DIGITS)


if __name__ == "__main__":
    main()
