"""The cost of a flow's inverse relative to its forward pass: jitted JAX, float64, one thread, 256 configurations.

    python -m haarflow.benchmarks.studies.flow_speed --inverse [--pairs 30]

The flows: both published architectures, our convolutional ones and the sweep on 8 x 8 with parameters perturbed by
normal noise, and the two trained models shipped with the library, on 16 x 16. Forward and inverse take turns on the same
configurations; a factor is the median of the ratios within a turn, in process CPU seconds, with the 95% interval of
that median. The inverse must reproduce the configurations.
"""

from __future__ import annotations

import statistics

BATCH, NOISE, TOLERANCE = 256, 0.1, 1e-8


def flows(lattice, backend):
    """Name, model and parameters of every flow."""
    from haarflow import models
    from haarflow.flows.modelfile import open_model
    from haarflow.flows.scalar import architectures
    from haarflow.flows.u1 import architectures as architectures_u1
    from haarflow.flows.u1 import sweep

    untrained = {
        "phi4 tutorial": architectures.tutorial(lattice),
        "phi4 convolutional": architectures.convolutional(lattice),
        "u1 tutorial": architectures_u1.tutorial(lattice),
        "u1 convolutional": architectures_u1.convolutional(lattice),
        "u1 sweep": sweep.sweep(lattice),
    }
    for index, (name, model) in enumerate(untrained.items()):
        yield name, model, shaken(model, index, backend)
    for name in ("u1-freezing-convolutional", "u1-freezing"):
        opened = open_model(models.path_of(name), backend)
        yield f"{name}, trained", opened.model, opened.params


def shaken(model, seed, backend):
    """Return fresh parameters plus normal noise, as a new flow is often the identity."""
    from haarflow.backends.tree import flatten
    from haarflow.core import random

    leaves, rebuild = flatten(model.init(random.key(seed, backend)))
    keys = random.split(random.key(100 + seed, backend), len(leaves))
    noise = [random.normal(keys[row, :], leaf.shape) for row, leaf in enumerate(leaves)]
    return rebuild([leaf + NOISE * part for leaf, part in zip(leaves, noise, strict=True)])


def inverse_ratio(model, params, backend, pairs, cpu_seconds, median_interval):
    """Return the seconds of both directions, their ratio with its interval, and the error of the round trip."""
    from haarflow.core import random
    from haarflow.core.groups.additive import wrap

    x = model.prior.sample(random.key(9, backend), BATCH)
    forward, inverse = backend.jit(model.flow.forward), backend.jit(model.flow.inverse)
    y, _ = forward(params, x)
    back, _ = inverse(params, y)
    missed = float(abs(wrap(back - x) if x.ndim > len(model.prior.lattice) + 1 else back - x).max())
    works = [
        lambda f=f, z=z: [backend.to_numpy(part) for part in f(params, z)] for f, z in ((forward, x), (inverse, y))
    ]
    turns = [[cpu_seconds(work) for work in works] for _ in range(pairs)]
    return {
        "forward": statistics.median(forth for forth, _ in turns),
        "inverse": statistics.median(back for _, back in turns),
        "ratio": median_interval([back / forth for forth, back in turns]),
        "missed": missed,
    }


def measure_inverses(lattice, pairs, cpu_seconds, median_interval):
    """Print and return the figures of all flows; raises AssertionError if an inverse is wrong."""
    from haarflow import backends

    backend, ratios = backends.get("jax"), {}
    print(f"inverse over forward, batch {BATCH}, float64, one thread, process CPU, {pairs} interleaved pairs")
    for name, model, params in flows(lattice, backend):
        ratios[name] = figures = inverse_ratio(model, params, backend, pairs, cpu_seconds, median_interval)
        middle, low, high = figures["ratio"]
        print(
            f"  {name:36}{1e3 * figures['forward']:8.1f} ms there{1e3 * figures['inverse']:8.1f} ms back   "
            f"ratio {middle:.3f} ({low:.3f} to {high:.3f})   missed by {figures['missed']:.0e}",
            flush=True,
        )
        assert figures["missed"] < TOLERANCE, f"the inverse of {name} misses by {figures['missed']}"
    return ratios
