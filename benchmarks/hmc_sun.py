"""Speed of SU(N) HMC, 10 leapfrog steps, against a plain Torch twin: trajectories and forces a process CPU second.

    python -m haarflow.benchmarks.hmc_sun [--lattice 4 4 4 4] [--chains 16] [--n 3] [--pairs 9] [--draws 4]
        [--backend jax] [--plain]

Library (complex128) and twin run in turns, so that both see the same machine; the figures are medians over the turns and
the factor the median of their ratios with the 95% interval of that median. Compilation is shown apart. One thread.
Trajectories run as compiled vector code where the package numba is there; `--plain` leaves it out. Beside it stand the bytes and floating-point operations that a leapfrog step cannot do without, over the time it
takes, and what the machine does in a copy of 64 MiB and in a product of large real matrices.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

from haarflow.benchmarks.hmc_u1 import cpu_seconds, median_interval

STEPS, STEP_SIZE, BETA = 10, 0.1, 5.7


def ours(options):
    """The library's chain as a function without arguments, from the cold start."""
    if options.backend == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    from haarflow import backends
    from haarflow.backends import simd
    from haarflow.core import random
    from haarflow.core.hmc import HMC
    from haarflow.core.kernels import run
    from haarflow.theories import Wilson

    if options.plain:
        simd.is_present = lambda: False
    backend, theory = backends.get(options.backend), Wilson(tuple(options.lattice), options.n)
    kernel = HMC(theory, steps=STEPS, values={"couplings": {"beta": BETA}, "step_size": STEP_SIZE})
    shape = (options.chains, *theory.field_shape)
    state = kernel.init(theory.group.identity(backend.xp.zeros(shape, dtype=backend.xp.complex128)))
    key = random.key(1, backend)

    def work():
        return backend.to_numpy(run(kernel, key, state, options.draws)[1]["info"]["dH"]).mean()

    return work


def twin(options):
    """The plain Torch twin of the same chain."""
    import torch

    from haarflow.benchmarks.twins import hmc_sun_torch

    torch.set_num_threads(1)
    cold = torch.eye(options.n, dtype=torch.complex128)
    cold = cold.expand(options.chains, len(options.lattice), *options.lattice, options.n, options.n).contiguous()

    def work():
        links, energies = cold, []
        for _ in range(options.draws):
            links, _, d_h = hmc_sun_torch.trajectory(links, BETA, STEP_SIZE, STEPS)
            energies.append(d_h.mean().item())
        return sum(energies) / len(energies)

    return work


def least_work(options):
    """Floating-point operations and bytes of one leapfrog step of one chain, as counted.

    A product of complex N x N matrices costs 8 N^3 operations. Six for each plane, one for each link's force, one for
    its square in the exponential, one for the update; links are read and written once, momenta too.
    """
    d, n, sites = len(options.lattice), options.n, math.prod(options.lattice)
    products = sites * (6 * d * (d - 1) // 2 + 3 * d)
    return 8 * n**3 * products, sites * d * (2 * 16 * n**2 + 2 * 8 * (n**2 - 1))


def machine():
    """Bytes a second of a copy and operations a second of a matrix product, one thread."""
    import numpy

    x, y, a = numpy.ones(2**23), numpy.empty(2**23), numpy.ones((1024, 1024))
    copy = min(cpu_seconds(lambda: numpy.copyto(y, x))[0] for _ in range(20))
    product = min(cpu_seconds(lambda: a @ a)[0] for _ in range(5))
    return 2 * 2**26 / copy, 2 * 1024**3 / product


def main():
    """Time and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lattice", type=int, nargs="+", default=[4, 4, 4, 4])
    parser.add_argument("--chains", type=int, default=16)
    parser.add_argument("--n", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--backend", choices=["numpy", "jax", "torch"], default="jax")
    parser.add_argument("--plain", action="store_true", help="by the engine's own operations, without compiled kernels")
    options = parser.parse_args()
    works = {"haarflow": ours(options), "plain Torch": twin(options)}
    first = {name: cpu_seconds(work) for name, work in works.items()}
    turns = [{name: cpu_seconds(work)[0] for name, work in works.items()} for _ in range(options.pairs)]
    size = "x".join(map(str, options.lattice))
    print(
        f"SU({options.n}) {size}, {options.chains} chains, {STEPS} leapfrog steps of {STEP_SIZE}, beta = {BETA}, ",
        end="",
    )
    print(f"{options.backend}, complex128, process CPU seconds")
    print(f"{'':12}{'trajectories/s':>16}{'forces/s':>12}{'mean dH':>12}{'first call s':>14}")
    rates = {}
    for name in works:
        rates[name] = options.chains * options.draws / statistics.median(turn[name] for turn in turns)
        cost, d_h = first[name]
        print(f"{name:12}{rates[name]:16,.2f}{STEPS * rates[name]:12,.1f}{d_h:12.3f}{cost:14.2f}")
    factors = [turn["plain Torch"] / turn["haarflow"] for turn in turns]
    low, high = median_interval(factors)
    print(f"factor over the twin: {statistics.median(factors):.2f} ({low:.2f} to {high:.2f})")
    (operations, data), (copy, product) = least_work(options), machine()
    rate = STEPS * rates["haarflow"]
    print(
        f"least work at this rate: {operations * rate / 1e9:.2f} Gflop/s of {product / 1e9:.1f} (matrix product), ",
        end="",
    )
    print(f"{data * rate / 1e9:.2f} GB/s of {copy / 1e9:.1f} (copy)")


if __name__ == "__main__":
    main()
