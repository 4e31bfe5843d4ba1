"""The effective sample size of a trained flow for the Schwinger model, from its draws and from those of HMC with flux hits.

    python -m haarflow.benchmarks.studies.schwinger_flow [--model schwinger-8x8] [--draws 4000] [--steps 1 0] [--reflected 0 1]
        [--chains 16] [--configurations 60] [--thin 5] [--trajectory 0] [--reference FILE] [--backend jax] [--seed 2026]
        [--json FILE]

`--steps` and `--reflected` give the images over which the density is averaged (flows/images.py), `--steps 0 0` the flow alone;
without them the model's own. Printed are the ESS of the draws, the mode-aware one Z/E_p[w] with the weights of configurations
of HMC with hits, which may lie where the flow never draws, the charge on both sides, and the price of a draw. Beside them
exact draws of pure gauge theory at the same beta, which is the flow before training. `--reference` keeps the configurations of
HMC, which are read from it where it exists: the price of several models beside the same chains is paid once.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy

from haarflow import backends, models
from haarflow.benchmarks.harness.results import write
from haarflow.benchmarks.studies.schwinger_exactness import kernels
from haarflow.core import random, statistics
from haarflow.core.chains.kernel import run
from haarflow.flows.images import Images
from haarflow.flows.proposals import Weighted
from haarflow.theories.models.schwinger import Schwinger
from haarflow.theories.samplers.u1 import exact_sample

BLOCK, WARMUP = 250, 60


def drawn(proposal: Weighted, params: Any, couplings: dict[str, float], options: Any) -> dict[str, numpy.ndarray]:
    """Return log w and the charge of the flow's draws, and the CPU seconds of a block after compilation."""
    backend, theory = backends.get(options.backend), cast("Schwinger", proposal.theory)

    def block(params: Any, key: Any) -> tuple[Any, Any]:
        draws = proposal.draw(params, key, BLOCK, couplings)
        return draws.log_w, theory.charge(draws.field)

    compiled, key, rows = backend.jit(block), random.key(options.seed, backend), []
    begun = time.process_time()
    for number in range(-(-options.draws // BLOCK)):
        rows.append([backend.to_numpy(part) for part in compiled(params, random.fold_in(key, number))])
        begun = time.process_time() if number == 0 else begun
    cpu = (time.process_time() - begun) / (BLOCK * max(len(rows) - 1, 1))
    log_w, charge = (numpy.concatenate(part)[: options.draws] for part in zip(*rows, strict=True))
    return {"log_w": log_w, "Q": numpy.rint(charge), "cpu_s": numpy.asarray(cpu)}


def reference(theory: Schwinger, couplings: dict[str, float], options: Any) -> numpy.ndarray:
    """Return configurations of HMC with hits, `(kept, chain, *field)`, from the file or written to it."""
    if options.reference and options.reference.exists():
        return cast("numpy.ndarray", numpy.load(options.reference)["fields"])
    backend, kernel = backends.get(options.backend), kernels(theory, couplings, options.trajectory)["hmc-hits"]
    key = random.key(options.seed + 1, backend)
    start = 0.3 * random.normal(random.fold_in(key, 1 << 20), (options.chains, *theory.field_shape))
    state, _ = run(kernel, key, kernel.init(start), WARMUP, 0, None)
    kept = []
    for number in range(options.configurations):
        state, _ = run(kernel, key, state, options.thin, WARMUP + options.thin * number, None)
        kept.append(backend.to_numpy(state.field))
    if options.reference:
        numpy.savez(options.reference, fields=numpy.stack(kept))
    return numpy.stack(kept)


def weighed(proposal: Weighted, params: Any, couplings: dict[str, float], options: Any) -> dict[str, numpy.ndarray]:
    """Return the flow's log weights of configurations of HMC with hits, and their charge, `(chain, draw)`."""
    backend, theory = backends.get(options.backend), cast("Schwinger", proposal.theory)
    compiled = backend.jit(partial(proposal.weigh, couplings=couplings))
    fields = [backend.asarray(field, dtype="float64") for field in reference(theory, couplings, options)]
    log_w = [backend.to_numpy(compiled(params, field)) for field in fields]
    charge = [numpy.rint(backend.to_numpy(theory.charge(field))) for field in fields]
    return {"log_w": numpy.stack(log_w, axis=1), "Q": numpy.stack(charge, axis=1)}


def pure_gauge(theory: Schwinger, couplings: dict[str, float], options: Any) -> float:
    """Return the ESS of exact draws of pure gauge theory."""
    key, prior = random.key(options.seed, backends.get("numpy")), {"beta": couplings["beta"]}
    fields = exact_sample(theory.gauge, key, options.draws, prior).field
    return float(statistics.ess(theory.gauge.action(fields, prior) - theory.action(fields, couplings)))


def main() -> None:
    """Draw, weigh and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="schwinger-8x8")
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--steps", type=int, nargs=2)
    parser.add_argument("--reflected", type=int, nargs="*", default=[])
    parser.add_argument("--chains", type=int, default=16)
    parser.add_argument("--configurations", type=int, default=60, help="of each chain; 0: no HMC")
    parser.add_argument("--thin", type=int, default=5, help="trajectories between two configurations")
    parser.add_argument("--trajectory", type=int, default=0, help="steps of a trajectory; 0: by the extent")
    parser.add_argument("--reference", type=Path, help="file of the configurations, read where it exists")
    parser.add_argument("--backend", default="jax" if backends.is_present("jax") else "numpy")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    opened = models.open_model(options.model, options.backend)
    model = opened.model
    if options.steps:
        model = replace(
            model, images=Images(tuple(options.steps), tuple(options.reflected)) if any(options.steps) else None
        )
    couplings, theory = opened.card["theory"]["couplings"], Schwinger(model.prior.lattice)
    proposal = Weighted(model, theory)
    images = model.images.count(model.prior.lattice) if model.images else 1
    flow = drawn(proposal, opened.params, couplings, options)
    found: dict[str, Any] = {"model": options.model, "images": images, "draws": options.draws}
    found |= {"ess": float(statistics.ess(flow["log_w"])), "cpu_s_per_draw": float(flow["cpu_s"])}
    w = numpy.exp(flow["log_w"] - flow["log_w"].max())
    found["Q2"] = float((w * flow["Q"] ** 2).sum() / w.sum())
    found["p_Q0"] = float((w * (flow["Q"] == 0)).sum() / w.sum())
    print(
        f"{options.model}, {images} images, {options.draws} draws: ESS {found['ess']:.3f}, <Q^2> {found['Q2']:.3f}, "
        f"p(Q = 0) {found['p_Q0']:.3f}, {1e3 * found['cpu_s_per_draw']:.2f} CPU ms a draw",
        flush=True,
    )
    if options.configurations:
        chains = weighed(proposal, opened.params, couplings, options)
        beside = statistics.coverage_of(flow["log_w"], chains["log_w"])
        found |= {"mode_aware_ess": beside.ess.value, "mode_aware_ess_error": beside.ess.error}
        found["hmc_Q2"] = float((chains["Q"] ** 2).mean())
        print(
            f"  {chains['Q'].size} configurations of HMC with hits: mode-aware ESS {beside.ess.value or 0:.3f}({beside.ess.error or 0:.3f}), "
            f"<Q^2> {found['hmc_Q2']:.3f}",
            flush=True,
        )
    found["pure_gauge_ess"] = pure_gauge(theory, couplings, options)
    print(f"  exact draws of pure gauge theory: ESS {found['pure_gauge_ess']:.3f}")
    if options.json:
        write(options.json, "schwinger_flow", {"seed": options.seed, "backend": options.backend}, [found])


if __name__ == "__main__":
    main()
