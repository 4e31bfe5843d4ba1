"""Speed of U(1) HMC: 16x16, 64 chains, 10 leapfrog steps, in trajectories and forces per process CPU second.

    python -m haarflow.benchmarks.studies.hmc_u1 [--backend jax] [--dtype float32] [--pairs 15]

Library and native twin run in turns, so that both see the same machine; the figures are medians over the turns and
the factor the median of their ratios with the 95% interval of that median. Compilation is shown separately. One thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

LATTICE, CHAINS, STEPS, STEP_SIZE, BETA = (16, 16), 64, 10, 0.1, 2.0


def ours(backend, draws):
    """The library's chain as a function without arguments, and its start."""
    from haarflow.core import random
    from haarflow.core.chains.hmc import HMC
    from haarflow.core.chains.kernel import run
    from haarflow.theories import U1Gauge

    theory = U1Gauge(LATTICE)
    kernel = HMC(theory, steps=STEPS, values={"couplings": {"beta": BETA}, "step_size": STEP_SIZE})
    key = random.key(1, backend)
    state = kernel.init(theory.group.haar(key, (CHAINS, *theory.field_shape), backend.dtype))

    def work():
        return backend.to_numpy(run(kernel, key, state, draws)[1]["info"]["accepted"]).mean()

    return work


def native(dtype, draws):
    """The plain JAX twin of the same chain."""
    from functools import partial

    import jax
    import numpy

    from haarflow.benchmarks.twins import hmc_u1_jax

    links = jax.random.uniform(jax.random.key(0), (CHAINS, 2, *LATTICE), dtype, -3.14159, 3.14159)
    compiled = jax.jit(partial(hmc_u1_jax.chain, steps=STEPS, draws=draws))
    return lambda: numpy.asarray(compiled(jax.random.key(1), links, BETA, STEP_SIZE)[1]).mean()


def cpu_seconds(work):
    """Process CPU seconds of one call, and what it returned."""
    before = time.process_time()
    result = work()
    return time.process_time() - before, result


def median_interval(values):
    """Return the order statistics that enclose the median with 95% probability (normal approximation of the binomial)."""
    ordered, half = sorted(values), 0.98 * len(values) ** 0.5
    low, high = int(len(values) / 2 - half), int(len(values) / 2 + half)
    return ordered[max(low, 0)], ordered[min(high, len(values) - 1)]


def main():
    """Time and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="jax")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--draws", type=int, default=100)
    options = parser.parse_args()
    if options.backend == "jax" and options.dtype == "float64":
        import jax

        jax.config.update("jax_enable_x64", True)
    from haarflow import backends

    works = {"haarflow": ours(backends.get(options.backend, dtype=options.dtype), options.draws)}
    if options.backend == "jax":
        works["native JAX"] = native(options.dtype, options.draws)
    first = {name: cpu_seconds(work) for name, work in works.items()}
    turns = [{name: cpu_seconds(work)[0] for name, work in works.items()} for _ in range(options.pairs)]
    print(
        f"U(1) {LATTICE[0]}x{LATTICE[1]}, {CHAINS} chains, {STEPS} leapfrog steps of {STEP_SIZE}, beta = {BETA}, ",
        end="",
    )
    print(f"{options.backend} {options.dtype}, process CPU seconds")
    print(f"{'':12}{'trajectories/s':>16}{'forces/s':>12}{'acceptance':>12}{'first call s':>14}")
    for name in works:
        rate = CHAINS * options.draws / statistics.median(turn[name] for turn in turns)
        cost, acceptance = first[name]
        print(f"{name:12}{rate:16,.0f}{STEPS * rate:12,.0f}{acceptance:12.3f}{cost:14.2f}")
    if len(works) == 2:
        factors = [turn["native JAX"] / turn["haarflow"] for turn in turns]
        low, high = median_interval(factors)
        print(f"factor over the native twin: {statistics.median(factors):.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
