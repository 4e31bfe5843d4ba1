"""Speed of SU(N) couplings by the gradient of loops against a plain Torch twin of the same layers.

    python -m haarflow.benchmarks.coupling_sun [--groups 2 3] [--lattices 8x8 4x4x4x4] [--batch 64] [--steps 2] [--pairs 9]

The flow is `architectures_sun.trivialising`: every link moves once a step. Forward with log_det, and the gradient of the
reverse Kullback-Leibler divergence by all parameters. First the twin must give the library's links, log_det and gradient;
then library (JAX, complex128) and twin run in turns, one thread, process CPU seconds: medians over the turns, and the
median of their ratios with its 95% interval. Compilation is the first call.
"""

from __future__ import annotations

import argparse
import os
import statistics

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

from haarflow.benchmarks.flow_speed import cpu_seconds
from haarflow.benchmarks.meter import median_interval

BETA, TOLERANCE = {2: 2.2, 3: 5.0}, 1e-10


def ours(n, lattice, batch, steps):
    """The library's forward pass and gradient as functions without arguments, its links and its parameters."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from haarflow import backends
    from haarflow.core import random
    from haarflow.flows.architectures_sun import trivialising
    from haarflow.theories import Wilson

    backend, model, theory = backends.get("jax"), trivialising(lattice, n, steps, BETA[n]), Wilson(lattice, n)
    params, x = model.init(random.key(1, backend)), model.prior.sample(random.key(2, backend), batch)

    def loss(params, x):
        y, log_det = model.flow.forward(params, x)
        return (theory.action(y, {"beta": BETA[n]}) - log_det).mean()

    forward, gradient = jax.jit(model.flow.forward), jax.jit(jax.grad(loss))
    return (
        lambda: jax.block_until_ready(forward(params, x)),
        lambda: jax.block_until_ready(gradient(params, x)),
        x,
        params,
    )


def layers(params, lattice):
    """The library's parameters as the twin's layers (mu, colour, rho), in the order of the steps."""
    import numpy
    import torch

    numbers = [numpy.array(params[str(place)]["rho"])[..., 0] for place in range(2 * len(lattice))]
    return [
        (place // 2, place % 2, torch.tensor(rho[step], requires_grad=True))
        for step in range(len(numbers[0]))
        for place, rho in enumerate(numbers)
    ]


def matrices_last(x, d):
    """The library's links `(n, d, N, N, *lattice)` as the twin's `(n, d, *lattice, N, N)`."""
    import numpy
    import torch

    return torch.tensor(numpy.moveaxis(numpy.array(x), (2, 3), (-2, -1)).copy())


def twin(n, links, layers):
    """The twin's forward pass and gradient as functions without arguments."""
    import torch

    from haarflow.benchmarks.twins import coupling_sun_torch

    torch.set_num_threads(1)
    weights = [rho for _, _, rho in layers]

    def forward():
        with torch.no_grad():
            return coupling_sun_torch.flow(layers, links)

    return forward, lambda: torch.autograd.grad(coupling_sun_torch.loss(layers, links, BETA[n]), weights)


def check(found, wanted, lattice):
    """Raise AssertionError unless the twin gives the library's links, log_det and gradient."""
    import numpy

    (y, log_det), grads = found
    (y_twin, log_twin), grads_twin = wanted
    close = {"rtol": TOLERANCE, "atol": TOLERANCE}
    numpy.testing.assert_allclose(matrices_last(y, len(lattice)).numpy(), y_twin.numpy(), **close)
    numpy.testing.assert_allclose(numpy.array(log_det), log_twin.numpy(), **close)
    for (_, _, rho), theirs in zip(layers(grads, lattice), grads_twin, strict=True):
        numpy.testing.assert_allclose(rho.detach().numpy(), theirs.numpy(), **close)


def measure(n, lattice, batch, steps, pairs):
    """Check, then the median seconds, first calls, and ratios of forward pass and gradient."""
    *library, x, params = ours(n, lattice, batch, steps)
    plain = twin(n, matrices_last(x, len(lattice)), layers(params, lattice))
    check([work() for work in library], [work() for work in plain], lattice)
    for what, mine, theirs in zip(("forward", "gradient"), library, plain, strict=True):
        turns = [(cpu_seconds(mine), cpu_seconds(theirs)) for _ in range(pairs)]
        seconds = [statistics.median(column) for column in zip(*turns, strict=True)]
        yield what, seconds, median_interval([slow / fast for fast, slow in turns])


def main():
    """Time and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--lattices", nargs="+", default=["8x8", "4x4x4x4"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=9)
    options = parser.parse_args()
    print(f"trivialising flow of {options.steps} steps, batch {options.batch}, complex128, one thread, process CPU")
    print(f"{'group':8}{'lattice':10}{'work':10}{'haarflow ms':>12}{'twin ms':>11}{'factor':>8}  95%")
    for n in options.groups:
        for word in options.lattices:
            lattice = tuple(int(part) for part in word.split("x"))
            for what, (fast, slow), (factor, low, high) in measure(
                n, lattice, options.batch, options.steps, options.pairs
            ):
                row = f"SU({n})   {word:10}{what:10}{1e3 * fast:12.1f}{1e3 * slow:11.1f}{factor:8.2f}"
                print(f"{row}  {low:.2f} to {high:.2f}", flush=True)


if __name__ == "__main__":
    main()
