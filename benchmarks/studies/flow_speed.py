"""Speed of the two published flows on JAX beside twins of the same layers in plain Torch and in native JAX.

    python -m haarflow.benchmarks.studies.flow_speed [phi4 u1] [--inverse] [--pairs 30] [--json FILE]

First the twins must give the library's numbers (field, log-determinant, gradient), then all of them take turns in one
process with one thread, in float64; figures are medians of process CPU seconds, factors the median of the ratios within
a turn with the 95% interval of that median. A train step is batch 64: draw, reverse KL, gradient, Adam 1e-3.
With --inverse, the cost of each flow's inverse relative to its forward pass (flow_inverse.py) instead.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

LATTICE, TRAINED, SAMPLED, RATE = (8, 8), 64, 1024, 1e-3
COUPLINGS = {"phi4": {"m2": -4.0, "lam": 8.0}, "u1": {"beta": 2.0}}
TOLERANCE = 1e-9


def definition(name):
    """The library's model and theory."""
    from haarflow.flows.scalar import architectures
    from haarflow.flows.u1 import architectures as architectures_u1
    from haarflow.theories import Phi4, U1Gauge, accelerated

    if name == "phi4":
        return architectures.tutorial(LATTICE), accelerated(Phi4(LATTICE))
    return architectures_u1.tutorial(LATTICE), accelerated(U1Gauge(LATTICE))


def layers(params):
    """The library's parameters as host arrays [w0, b0, w1, b1, w2, b2] for each of the 16 layers."""
    import numpy

    names = [f"{kind}{layer}" for layer in range(3) for kind in "wb"]
    return [[numpy.array(params[str(k % 2)]["net"][entry][k // 2]) for entry in names] for k in range(16)]


def native_layers(host):
    """The same for the native JAX twin, stacked over pairs of layers."""
    import jax.numpy as jnp

    return [[jnp.stack([layer[entry] for layer in host[parity::2]]) for entry in range(6)] for parity in (0, 1)]


def check(name, model, theory, params, backend):
    """Raise AssertionError unless both twins give the library's field, log-determinant and gradient."""
    import jax
    import numpy
    import torch

    from haarflow.benchmarks.twins import tutorial_jax, tutorial_torch
    from haarflow.core import random

    host = layers(params)
    x = model.prior.sample(random.key(11, backend), 16)
    flow_torch, action_torch = (getattr(tutorial_torch, f"{name}_{part}") for part in ("flow", "action"))
    flow_jax, action_jax = (getattr(tutorial_jax, f"{name}_{part}") for part in ("flow", "action"))

    def loss(params):
        y, log_det = model.flow.forward(params, x)
        return (theory.action(y, COUPLINGS[name]) - log_det).mean(), (y, log_det)

    (_, (y, log_det)), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    weights, links = tutorial_torch.parameters(host), torch.tensor(numpy.array(x))
    y_torch, log_torch = flow_torch(weights, links)
    (action_torch(y_torch) - log_torch).mean().backward()
    native = native_layers(host)

    def loss_native(weights):
        y, log_det = flow_jax(weights, x)
        return (action_jax(y) - log_det).mean(), (y, log_det)

    (_, (y_jax, log_jax)), grads_jax = jax.jit(jax.value_and_grad(loss_native, has_aux=True))(native)
    wanted = layers(grads)
    from_jax = jax.tree.leaves(grads_jax)
    for mine, theirs in [
        (y, y_torch.detach().numpy()),
        (log_det, log_torch.detach().numpy()),
        (y, y_jax),
        (log_det, log_jax),
        *zip([a for layer in wanted for a in layer], [a.grad.numpy() for layer in weights for a in layer], strict=True),
        *zip(jax.tree.leaves(native_layers(wanted)), from_jax, strict=True),
    ]:
        numpy.testing.assert_allclose(numpy.array(mine), numpy.array(theirs), rtol=TOLERANCE, atol=TOLERANCE)


def library(name, model, theory, params, backend):
    """The library's train step and sampler as functions without arguments."""
    from haarflow.core import random
    from haarflow.flows.training.loop import Training, start, train
    from haarflow.flows.training.optimisers import Adam

    training = Training(model, theory, Adam(RATE), batch=TRAINED)
    held = [start(training, random.key(3, backend), params)]

    def step():
        for block in train(training, held[0], int(held[0].step) + 1, COUPLINGS[name], every=1):
            held[0] = block.state

    return step, _sampler(
        lambda params, key: model.sample(params, key, SAMPLED), params, random.key(5, backend), backend
    )


def _sampler(sample, params, key, backend):
    compiled = backend.jit(sample)
    return lambda: [backend.to_numpy(part) for part in compiled(params, key)]


def in_torch(name, params):
    """The plain Torch twin's."""
    import torch

    from haarflow.benchmarks.twins import tutorial_torch as twin

    torch.set_num_threads(1)
    weights = twin.parameters(layers(params))
    flow, action, prior = (getattr(twin, f"{name}_{part}") for part in ("flow", "action", "prior"))
    optimiser = torch.optim.Adam([array for layer in weights for array in layer], lr=RATE)

    def step():
        return float(twin.train_step(flow, action, weights, optimiser, *prior(TRAINED, LATTICE)))

    frozen = [[array.detach().clone() for array in layer] for layer in weights]

    def sample():
        with torch.no_grad():
            x, log_r = prior(SAMPLED, LATTICE)
            y, log_det = flow(frozen, x)
            return y.numpy(), (log_r - log_det).numpy()

    return step, sample


def in_native_jax(name, params, backend):
    """The native JAX twin's."""
    import jax
    import optax

    from haarflow.benchmarks.twins import tutorial_jax as twin

    weights = native_layers(layers(params))
    flow, action, prior = (getattr(twin, f"{name}_{part}") for part in ("flow", "action", "prior"))
    optimiser = optax.adam(RATE)
    compiled = twin.train_step(flow, action, prior, optimiser, TRAINED, LATTICE)
    held = [(weights, optimiser.init(weights), jax.random.key(3))]

    def step():
        *state, value = compiled(*held[0])
        held[0] = tuple(state)
        return float(value)

    return step, _sampler(twin.sampler(flow, prior, SAMPLED, LATTICE), weights, jax.random.key(5), backend)


def cpu_seconds(work):
    """Process CPU seconds of one call."""
    before = time.process_time()
    work()
    return time.process_time() - before


def median_interval(values):
    """Return the median and the order statistics that enclose it with 95% probability (normal approximation of the binomial)."""
    ordered, half = sorted(values), 0.98 * len(values) ** 0.5
    low, high = int(len(values) / 2 - half), int(len(values) / 2 + half)
    return statistics.median(values), ordered[max(low, 0)], ordered[min(high, len(values) - 1)]


def measure(name, pairs):
    """All figures of one architecture."""
    from haarflow import backends
    from haarflow.core import random

    backend = backends.get("jax")
    model, theory = definition(name)
    params = model.init(random.key(1, backend))
    check(name, model, theory, params, backend)
    works = {
        "haarflow": library(name, model, theory, params, backend),
        "torch": in_torch(name, params),
        "native JAX": in_native_jax(name, params, backend),
    }
    first = {(who, what): cpu_seconds(work[what]) for who, work in works.items() for what in (0, 1)}
    turns = [{(who, what): cpu_seconds(works[who][what]) for who, what in first} for _ in range(pairs)]
    figures = {}
    for what, verb in enumerate(("train", "sample")):
        figures[verb] = {who: statistics.median(turn[who, what] for turn in turns) for who in works}
        figures[f"{verb} first call"] = {who: first[who, what] for who in works}
        for who in ("torch", "native JAX"):
            ratios = [turn["haarflow", what] / turn[who, what] for turn in turns]
            figures[f"{verb} time over {who}"] = median_interval(ratios)
    return figures


def show(name, figures, pairs):
    """Print one architecture's table."""
    print(f"{name} {LATTICE[0]}x{LATTICE[1]}, 16 layers, float64, one thread, process CPU, {pairs} interleaved pairs")
    for verb, count in (("train", TRAINED), ("sample", SAMPLED)):
        print(f"  {verb}, batch {count}")
        for who, seconds in figures[verb].items():
            start = figures[f"{verb} first call"][who]
            print(f"    {who:11}{1e3 * seconds:9.1f} ms{count / seconds:11,.0f} samples/s   first call {start:6.2f} s")
        for who in ("torch", "native JAX"):
            middle, low, high = figures[f"{verb} time over {who}"]
            print(f"    time over {who}: {middle:.3f} ({low:.3f} to {high:.3f})")


def main():
    """Measure, print, and store the results if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("flows", nargs="*", default="all", choices=[*COUPLINGS, "all"])
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--inverse", action="store_true", help="inverse over forward of every flow, nothing else")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    import jax

    from haarflow.benchmarks.studies.flow_inverse import measure_inverses

    jax.config.update("jax_enable_x64", True)
    stored = {}
    if options.inverse:
        stored = measure_inverses(LATTICE, options.pairs, cpu_seconds, median_interval)
    else:
        for name in COUPLINGS if "all" in options.flows else options.flows:
            stored[name] = measure(name, options.pairs)
            show(name, stored[name], options.pairs)
    if options.json:
        from haarflow.core.files import write_json

        write_json(options.json, stored)


if __name__ == "__main__":
    main()
