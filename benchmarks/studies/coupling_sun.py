"""Speed of SU(N) gradient couplings against a plain Torch twin of the same layers.

    python -m haarflow.benchmarks.studies.coupling_sun [--groups 2 3] [--lattices 8x8 4x4x4x4] [--batch 64] [--steps 2] [--pairs 9]
        [--json FILE]

The flow is `architectures_sun.trivialising`: every link moves once per step. Forward with log_det, and the gradient of the
reverse Kullback-Leibler divergence with respect to all parameters. First the twin must give the library's links, log_det and gradient;
then library (JAX, complex128) and twin run in turns, one thread, process CPU seconds: medians over the turns, and the
median of their ratios with its 95% interval. Compilation is the first call.
"""

from __future__ import annotations

import argparse
import os
import statistics
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

from haarflow.benchmarks.harness.meter import median_interval
from haarflow.benchmarks.studies.flow_speed import cpu_seconds

BETA, TOLERANCE = {2: 2.2, 3: 5.0}, 1e-10


def ours(n, lattice, batch, steps):
    """The library's forward pass and gradient as functions without arguments, its links and its parameters."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from haarflow import backends
    from haarflow.core import random
    from haarflow.flows.sun.architectures import trivialising
    from haarflow.theories import SUNGauge, accelerated

    backend, model, theory = (
        backends.get("jax"),
        trivialising(lattice, n, steps, BETA[n]),
        accelerated(SUNGauge(lattice, n)),
    )
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

    numbers = [numpy.array(params[str(index)]["rho"])[..., 0] for index in range(2 * len(lattice))]
    return [
        (index // 2, index % 2, torch.tensor(rho[step], requires_grad=True))
        for step in range(len(numbers[0]))
        for index, rho in enumerate(numbers)
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


def check(result, wanted, lattice):
    """Raise AssertionError unless the twin gives the library's links, log_det and gradient."""
    import numpy

    (y, log_det), grads = result
    (y_twin, log_twin), grads_twin = wanted
    close = partial(numpy.testing.assert_allclose, rtol=TOLERANCE, atol=TOLERANCE)
    close(matrices_last(y, len(lattice)).numpy(), y_twin.numpy())
    close(numpy.array(log_det), log_twin.numpy())
    for (_, _, rho), theirs in zip(layers(grads, lattice), grads_twin, strict=True):
        close(rho.detach().numpy(), theirs.numpy())


def measure(n, lattice, batch, steps, pairs):
    """Check the twin, then return a row for the forward pass and one for the gradient: median seconds, first call, ratio, interval."""
    *library, x, params = ours(n, lattice, batch, steps)
    plain = twin(n, matrices_last(x, len(lattice)), layers(params, lattice))
    first = [cpu_seconds(work) for work in library]
    check([work() for work in library], [work() for work in plain], lattice)
    for what, compiled, mine, theirs in zip(("forward", "gradient"), first, library, plain, strict=True):
        turns = [(cpu_seconds(mine), cpu_seconds(theirs)) for _ in range(pairs)]
        fast, slow = (statistics.median(column) for column in zip(*turns, strict=True))
        ratio, low, high = median_interval([theirs / mine for mine, theirs in turns])
        yield {
            "group": f"SU({n})",
            "lattice": "x".join(map(str, lattice)),
            "work": what,
            "batch": batch,
            "ours_cpu_s": fast,
            "first_cpu_s": compiled,
            "twin_cpu_s": slow,
            "ratio": ratio,
            "interval": [low, high],
        }


def line(row):
    """Return a row as a line of text."""
    low, high = row["interval"]
    seconds = f"{1e3 * row['ours_cpu_s']:12.1f}{1e3 * row['twin_cpu_s']:11.1f}{row['first_cpu_s']:9.1f}"
    return f"{row['group']:8}{row['lattice']:10}{row['work']:10}{seconds}{row['ratio']:8.2f}  {low:.2f} to {high:.2f}"


def main():
    """Time and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--lattices", nargs="+", default=["8x8", "4x4x4x4"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"trivialising flow of {options.steps} steps, batch {options.batch}, complex128, one thread, process CPU")
    print(f"{'group':8}{'lattice':10}{'work':10}{'haarflow ms':>12}{'twin ms':>11}{'first s':>9}{'factor':>8}  95%")
    rows = []
    for n in options.groups:
        for name in options.lattices:
            lattice = tuple(int(part) for part in name.split("x"))
            for row in measure(n, lattice, options.batch, options.steps, options.pairs):
                rows.append(row)
                print(line(row), flush=True)
    if options.json:
        from haarflow.benchmarks.harness.results import write

        write(options.json, "coupling_sun", {"steps": options.steps, "pairs": options.pairs}, rows)


if __name__ == "__main__":
    main()
