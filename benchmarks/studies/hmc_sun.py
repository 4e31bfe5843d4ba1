"""Speed of SU(N) HMC, 10 leapfrog steps, against a plain Torch twin: trajectories and forces per process CPU second.

    python -m haarflow.benchmarks.studies.hmc_sun [--lattices 4x4x4x4 8x8x8x8 16x16] [--batch 4096] [--engines jax numpy torch plain]
        [--n 3] [--pairs 9] [--draws 4] [--json FILE]

`--batch` is the number of sites of all chains together. Library (complex128) and twin run in turns, so that both see the
same machine; the figures are medians over the turns and the factor the median of their ratios with the 95% interval of that
median. Compilation is shown separately. One thread. The engine "plain" is JAX without the compiled kernels (package numba).
The last two columns are the minimal floating-point operations and bytes of the leapfrog steps per second, as fractions of
what the machine reaches in a product of large real matrices and in a copy of 64 MiB.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

from haarflow.benchmarks.studies.hmc_u1 import cpu_seconds, median_interval

STEPS, STEP_SIZE, BETA = 10, 0.1, 5.7


class Case(NamedTuple):
    """The timed run: `draws` trajectories of some chains on an engine."""

    lattice: tuple[int, ...]
    n: int
    chains: int
    draws: int
    engine: str


def ours(case):
    """The library's chain as a function without arguments, from the cold start."""
    if case.engine in ("jax", "plain"):
        import jax

        jax.config.update("jax_enable_x64", True)
    from haarflow import backends
    from haarflow.core import random
    from haarflow.core.chains.hmc import HMC, molecular_dynamics
    from haarflow.core.chains.kernel import run
    from haarflow.theories import SUNGauge

    backend = backends.get("jax" if case.engine == "plain" else case.engine)
    theory, evolve = SUNGauge(case.lattice, case.n), molecular_dynamics if case.engine == "plain" else None
    values = {"couplings": {"beta": BETA}, "step_size": STEP_SIZE}
    kernel = HMC(theory, steps=STEPS, values=values, evolve=evolve)
    shape = (case.chains, *theory.field_shape)
    state = kernel.init(theory.group.identity(backend.xp.zeros(shape, dtype=backend.xp.complex128)))
    key = random.key(1, backend)

    def work():
        return backend.to_numpy(run(kernel, key, state, case.draws)[1]["info"]["dH"]).mean()

    return work


def twin(case):
    """The plain Torch twin of the same chain."""
    import torch

    from haarflow.benchmarks.twins import hmc_sun_torch

    torch.set_num_threads(1)
    cold = torch.eye(case.n, dtype=torch.complex128)
    cold = cold.expand(case.chains, len(case.lattice), *case.lattice, case.n, case.n).contiguous()

    def work():
        links, energies = cold, []
        for _ in range(case.draws):
            links, _, d_h = hmc_sun_torch.trajectory(links, BETA, STEP_SIZE, STEPS)
            energies.append(d_h.mean().item())
        return sum(energies) / len(energies)

    return work


def least_work(case):
    """Floating-point operations and bytes of one leapfrog step of one chain, as counted.

    A product of complex N x N matrices costs 8 N^3 operations. Six for each plane, one for each link's force, one for
    its square in the exponential, one for the update; links are read and written once, momenta too.
    """
    d, n, sites = len(case.lattice), case.n, math.prod(case.lattice)
    products = sites * (6 * d * (d - 1) // 2 + 3 * d)
    return 8 * n**3 * products, sites * d * (2 * 16 * n**2 + 2 * 8 * (n**2 - 1))


def machine():
    """Return the bytes per second of a copy and the operations per second of a matrix product on one thread."""
    import numpy

    x, y, a = numpy.ones(2**23), numpy.empty(2**23), numpy.ones((1024, 1024))
    copy = min(cpu_seconds(lambda: numpy.copyto(y, x))[0] for _ in range(20))
    product = min(cpu_seconds(lambda: a @ a)[0] for _ in range(5))
    return 2 * 2**26 / copy, 2 * 1024**3 / product


def measure(case, turns):
    """Return the row of one lattice and engine."""
    works = {"ours": ours(case), "twin": twin(case)}
    first = {name: cpu_seconds(work) for name, work in works.items()}
    taken = [{name: cpu_seconds(work)[0] for name, work in works.items()} for _ in range(turns)]
    rates = {name: case.chains * case.draws / statistics.median(turn[name] for turn in taken) for name in works}
    factors = [turn["twin"] / turn["ours"] for turn in taken]
    (operations, data), (copy, product) = least_work(case), machine()
    return {
        "group": f"SU({case.n})",
        "lattice": "x".join(map(str, case.lattice)),
        "chains": case.chains,
        "engine": case.engine,
        "trajectories_a_second": rates["ours"],
        "forces_a_second": STEPS * rates["ours"],
        "twin_trajectories_a_second": rates["twin"],
        "factor": statistics.median(factors),
        "interval": list(median_interval(factors)),
        "mean_dH": first["ours"][1],
        "twin_mean_dH": first["twin"][1],
        "first_call_s": first["ours"][0],
        "flops_fraction": operations * STEPS * rates["ours"] / product,
        "copy_fraction": data * STEPS * rates["ours"] / copy,
    }


COLUMNS = "{group:7}{lattice:>10}{chains:>8}{engine:>7}"
NUMBERS = "{trajectories_a_second:16.1f}{forces_a_second:11.0f}{twin_trajectories_a_second:10.2f}{factor:9.2f}"
REST = "{mean_dH:12.3f}{twin_mean_dH:10.3f}{first_call_s:14.2f}{flops_fraction:10.1%}{copy_fraction:8.1%}"


def line(row):
    """A row as a line of the table."""
    low, high = row["interval"]
    return (COLUMNS + NUMBERS).format(**row) + f" ({low:.2f} to {high:.2f})" + REST.format(**row)


def main():
    """Measure, print, and store the results if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lattices", nargs="+", default=["4x4x4x4", "8x8x8x8", "16x16"])
    parser.add_argument("--batch", type=int, default=4096, help="sites of all chains together, at least one chain")
    parser.add_argument("--engines", nargs="+", choices=["jax", "numpy", "torch", "plain"], default=["jax"])
    parser.add_argument("--n", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"{STEPS} leapfrog steps of {STEP_SIZE}, beta = {BETA}, complex128, process CPU seconds")
    print(
        "group     lattice  chains engine  trajectories/s   forces/s    twin/s   factor       (95%)"
        "     mean dH   twin's  first call s     flops    copy",
        flush=True,
    )
    rows = []
    for name in options.lattices:
        lattice = tuple(map(int, name.split("x")))
        chains = max(1, options.batch // math.prod(lattice))
        for engine in options.engines:
            rows.append(measure(Case(lattice, options.n, chains, options.draws, engine), options.pairs))
            print(line(rows[-1]), flush=True)
    if options.json:
        from haarflow.benchmarks.harness.results import write

        write(options.json, "hmc_sun", {name: value for name, value in vars(options).items() if name != "json"}, rows)


if __name__ == "__main__":
    main()
