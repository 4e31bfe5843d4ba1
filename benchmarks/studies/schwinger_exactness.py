"""Two flavours of the Schwinger model by four samplers that share nothing but the action, and whether they agree.

    python -m haarflow.benchmarks.studies.schwinger_exactness [--lattices 4 8] [--betas 1 2] [--kappas 0.2 0.276]
        [--samplers hmc pseudofermions reweighting] [--draws 400] [--chains 32] [--backend jax] [--seed 2026] [--json FILE]

HMC with the exact determinant, with and without flux hits, HMC with pseudofermions and hits, and exact draws of pure gauge
theory with the weight det^2 (at the beta' of `--prior`, which need not be beta). Compared are plaquette, <Q^2>, p(Q = 0),
condensate, ln|det D| and, where it is not constant, the sign: pulls of pseudofermions and of reweighting against HMC with
hits, with both errors in quadrature. No pull may exceed 4, and the chi^2 of all must have p > 0.001. HMC without hits is
printed beside them and not judged: where it freezes its errors are not to be trusted.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy

from haarflow import backends
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

OBSERVABLES = ("plaquette", "Q2", "p_Q0", "condensate", "log_det", "sign")
LENGTH, BLOCK, DRAWN = 1.2, 50, 4000  # of a trajectory; draws of a block; exact draws of a block
STEPS = {4: 4, 8: 5, 16: 8}  # of a trajectory by the extent


class Row(NamedTuple):
    """One sampler at one point: its estimates by name, CPU seconds, and the acceptance or ESS of its draws."""

    sampler: str
    estimates: dict[str, Estimate]
    cpu_s: float
    quality: float


def kernels(theory: Schwinger, couplings: dict[str, float], steps: int = 0) -> dict[str, Kernel]:
    """Return the Markov kernels by name, with `steps` of a trajectory or those of STEPS."""
    steps = steps or STEPS.get(theory.lattice[0], 10)
    values = {"couplings": couplings, "step_size": LENGTH / steps}
    exact = HMC(theory, OMELYAN, steps, values)
    hits = FluxHits(theory, 1, {"couplings": couplings})
    pseudo = PseudofermionHMC(theory, OMELYAN, steps + 2, values | {"step_size": LENGTH / (steps + 2)})
    return {"hmc": exact, "hmc-hits": Cycle((exact, hits)), "pseudofermions-hits": Cycle((pseudo, hits))}


def by_chain(kernel: Kernel, theory: Schwinger, couplings: dict[str, float], options: Any, number: int) -> Row:
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
    return Row("", estimates, time.process_time() - begun, float(numpy.mean(accepted)))


def by_weights(theory: Schwinger, couplings: dict[str, float], options: Any, number: int) -> Row:
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
    return Row("reweighting", estimates, time.process_time() - begun, float(statistics.ess(weights[0])))


def measured(theory: Schwinger, couplings: dict[str, float], options: Any) -> Iterator[Row]:
    """Yield the rows of a point; the number of a sampler sets its random numbers."""
    for number, (name, kernel) in enumerate(kernels(theory, couplings).items()):
        if name in options.samplers:
            yield by_chain(kernel, theory, couplings, options, number)._replace(sampler=name)
    if "reweighting" in options.samplers:
        yield by_weights(theory, couplings, options, 99)


def pulls(rows: list[Row]) -> list[tuple[str, float]]:
    """Return the pulls of pseudofermions and of the weighted draws against HMC with hits."""
    known = {row.sampler: row for row in rows}
    pairs = [(known[name], known.get("hmc-hits")) for name in ("pseudofermions-hits", "reweighting") if name in known]
    found = []
    for one, other in pairs:
        if other is None:
            continue
        for name in OBSERVABLES:
            a, b = one.estimates[name], other.estimates[name]
            if a.error and b.error and a.value is not None and b.value is not None:
                pull = (a.value - b.value) / math.hypot(a.error, b.error)
                found.append((f"{name}: {one.sampler} - {other.sampler}", pull))
    return found


def shown(row: Row) -> str:
    """Return a row as text."""
    cells = []
    for name in OBSERVABLES:
        value, error = row.estimates[name].value, row.estimates[name].error
        cells.append(f"{name} {value:.5f}" + (f"({error:.5f})" if error else ""))
    tau = row.estimates["Q2"].tau_int
    history = "" if tau is None or row.sampler == "reweighting" else f" | tau_int(Q^2) {tau:.2f}"
    return f"  {row.sampler:20s} {'  '.join(cells)}  | {row.quality:.3f}{history} | {row.cpu_s:.0f} CPU s"


def main() -> None:
    """Measure and print all points, and judge their pulls together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lattices", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--betas", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--kappas", type=float, nargs="+", default=[0.2, 0.276])
    parser.add_argument("--samplers", nargs="+", default=["hmc", "hmc-hits", "pseudofermions-hits", "reweighting"])
    parser.add_argument("--draws", type=int, default=400, help="draws of each chain after its warm-up")
    parser.add_argument("--chains", type=int, default=32)
    parser.add_argument("--exact", type=int, default=20_000, help="exact draws to reweight")
    parser.add_argument(
        "--prior", type=float, default=None, help="beta' of the exact draws; beta where it is not given"
    )
    parser.add_argument("--backend", default="jax" if backends.is_present("jax") else "numpy")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    every: list[tuple[str, float]] = []
    record = []
    for extent, beta, kappa in itertools.product(options.lattices, options.betas, options.kappas):
        theory, couplings = Schwinger((extent, extent)), {"beta": beta, "kappa": kappa}
        print(f"{extent}x{extent}, beta {beta:g}, kappa {kappa:g}: value(error) | acceptance or ESS | ...", flush=True)
        rows = []
        for row in measured(theory, couplings, options):
            print(shown(row), flush=True)
            rows.append(row)
        found = pulls(rows)
        every += found
        for name, pull in sorted(found, key=lambda entry: -abs(entry[1]))[:2]:
            print(f"    {pull:+.2f}  {name}", flush=True)
        record.append({"lattice": extent, **couplings, "rows": [_plain(row) for row in rows]})
    if every:
        judge([pull for _, pull in every])
    if options.json:
        write(options.json, "schwinger_exactness", {"seed": options.seed}, record)


def _plain(row: Row) -> dict[str, Any]:
    numbers = {name: [estimate.value, estimate.error, estimate.tau_int] for name, estimate in row.estimates.items()}
    return {"sampler": row.sampler, "cpu_s": row.cpu_s, "quality": row.quality, "estimates": numbers}


if __name__ == "__main__":
    main()
