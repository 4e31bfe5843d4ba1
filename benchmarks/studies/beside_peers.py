"""The library beside other packages in one run: drawing with log q, and the gradient of the reverse KL.

    pip install -r benchmarks/peers/bijx.txt
    python -m haarflow.benchmarks.studies.beside_peers bijx [normflows zuko flowjax] [--pairs 7] [--json FILE]

phi^4 on 8x8 in float64, one thread: 1,024 draws with log q, and value and gradient of mean log q + S over 64. bijx and
normflows build the published architecture (16 affine couplings on a checkerboard, nets 8-8 with kernels 3 x 3; normflows
needs separate nets for s and t); zuko and flowjax have generic couplings with dense nets, here 16 layers of 64-64,
which take a fifth of the multiplications. Ours is the published architecture on JAX, and on Torch beside Torch packages.
JAX code is jitted, Torch is eager. Both sides take turns; a ratio is the median within a turn with its 95% interval.
"""

from __future__ import annotations

import argparse
import os
import statistics
from importlib import metadata
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

LATTICE, LAYERS, DRAWN, TRAINED = (8, 8), 16, 1024, 64
SITES = LATTICE[0] * LATTICE[1]
SAME, GENERIC = "published phi^4 flow", "16 generic couplings of 64 numbers"


def ours(engine):
    """The library's draw and gradient."""
    from haarflow import backends
    from haarflow.core import random
    from haarflow.flows.scalar import architectures
    from haarflow.theories import Phi4, accelerated

    backend, model, theory = (
        backends.get(engine),
        architectures.tutorial(LATTICE, LAYERS),
        accelerated(Phi4(LATTICE)),
    )
    key = random.key(1, backend)
    params = model.init(key)

    def loss(params, key):
        y, log_q = model.sample(params, key, TRAINED)
        return (log_q + theory.action(y, {"m2": -4.0, "lam": 8.0})).mean()

    draw, gradient = backend.jit(lambda p, k: model.sample(p, k, DRAWN)), backend.jit(backend.value_and_grad(loss))
    return lambda: backend.to_numpy(draw(params, key)[1]), lambda: float(gradient(params, key)[0])


def action_jax(x):
    """S of `(n, 8, 8)` in jnp."""
    from haarflow.benchmarks.twins import tutorial_jax

    return tutorial_jax.phi4_action(x.reshape(-1, *LATTICE))


def action_torch(x):
    """S of `(n, 8, 8)` in torch."""
    from haarflow.benchmarks.twins import tutorial_torch

    return tutorial_torch.phi4_action(x.reshape(-1, *LATTICE))


def on_jax(sample, params):
    """A JAX package's draw and gradient from `sample(params, key, n) -> (x, log_q)`."""
    import jax
    import numpy

    def loss(params, key):
        x, log_q = sample(params, key, TRAINED)
        return (log_q + action_jax(x)).mean()

    key = jax.random.key(1)
    draw, gradient = jax.jit(lambda p, k: sample(p, k, DRAWN)), jax.jit(jax.value_and_grad(loss))
    return lambda: numpy.asarray(draw(params, key)[1]), lambda: jax.block_until_ready(gradient(params, key))[0].item()


def on_torch(sample, parameters):
    """A Torch package's draw and gradient from `sample(n) -> (x, log_q)`."""
    import torch

    leaves = [p for p in parameters if p.requires_grad]

    def draw():
        with torch.no_grad():
            return sample(DRAWN)[1].numpy()

    def gradient():
        x, log_q = sample(TRAINED)
        value = (log_q + action_torch(x)).mean()
        torch.autograd.grad(value, leaves)
        return value.item()

    return draw, gradient


def bijx():
    """The published layers by bijx."""
    import bijx
    import jax.numpy as jnp
    from flax import nnx

    class Context(nnx.Module):
        """The package's convolutional net on fields without a channel."""

        def __init__(self, rngs):
            self.net = bijx.nn.nets.ConvNet(1, 2, hidden_channels=[8, 8], rngs=rngs)

        def __call__(self, x):
            return self.net(x[..., None])

    rngs = nnx.Rngs(0)
    template = bijx.ModuleReconstructor(bijx.AffineLinear((), rngs=rngs))
    layers = [
        bijx.GeneralCouplingLayer(Context(rngs), bijx.checker_mask(LATTICE, parity=bool(k % 2)), template, split=False)
        for k in range(LAYERS)
    ]
    flow = bijx.Transformed(bijx.IndependentNormal(LATTICE), bijx.Chain(*layers))
    graph, params, rest = nnx.split(flow, nnx.Param, ...)
    params = nnx.map_state(
        lambda _, p: jnp.asarray(p, dtype=float) if jnp.issubdtype(p.dtype, jnp.floating) else p, params
    )

    def sample(params, key, n):
        return nnx.merge(graph, params, rest).sample((n,), rng=key)

    return on_jax(sample, params)


def flowjax():
    """Generic couplings by flowjax."""
    import equinox
    import jax
    import jax.numpy as jnp
    from flowjax.distributions import Normal
    from flowjax.flows import coupling_flow
    from paramax import unwrap

    flow = coupling_flow(
        jax.random.key(0), base_dist=Normal(jnp.zeros(SITES)), flow_layers=LAYERS, nn_width=64, nn_depth=2, invert=False
    )
    params, rest = equinox.partition(flow, equinox.is_inexact_array)

    def sample(params, key, n):
        return unwrap(equinox.combine(params, rest)).sample_and_log_prob(key, (n,))

    return on_jax(sample, params)


def normflows():
    """The published layers by normflows."""
    import normflows
    import torch
    from torch import nn

    from haarflow.benchmarks.twins.tutorial_torch import checkerboard

    class Context(nn.Module):
        """A convolutional net with one output per site."""

        def __init__(self):
            super().__init__()
            channels = (1, 8, 8, 1)
            convs = [nn.Conv2d(channels[k], channels[k + 1], 3, padding=1, padding_mode="circular") for k in range(3)]
            self.net = nn.Sequential(convs[0], nn.LeakyReLU(), convs[1], nn.LeakyReLU(), convs[2], nn.Tanh())

        def forward(self, x):
            return self.net(x[:, None])[:, 0]

    layers = [
        normflows.flows.MaskedAffineFlow(checkerboard(LATTICE, k % 2), t=Context(), s=Context()) for k in range(LAYERS)
    ]
    model = normflows.NormalizingFlow(normflows.distributions.DiagGaussian(LATTICE, trainable=False), layers).double()
    assert next(model.parameters()).dtype == torch.float64
    return on_torch(model.sample, model.parameters())


def zuko():
    """Generic couplings by zuko."""
    import zuko

    flow = zuko.flows.RealNVP(SITES, transforms=LAYERS, hidden_features=(64, 64)).double()
    return on_torch(lambda n: flow().rsample_and_log_prob((n,)), flow.parameters())


# peer -> (how it is built, its work, the engines of ours that stand beside it)
PEERS = {
    "bijx": (bijx, SAME, ("jax",)),
    "normflows": (normflows, SAME, ("jax", "torch")),
    "zuko": (zuko, GENERIC, ("jax", "torch")),
    "flowjax": (flowjax, GENERIC, ("jax",)),
}


def measure(name, turns):
    """Return the rows of one package."""
    from haarflow.benchmarks.harness.meter import median_interval
    from haarflow.benchmarks.studies.flow_speed import cpu_seconds

    build, work, engines = PEERS[name]
    theirs, version = build(), metadata.version(name)
    for engine in engines:
        mine = ours(engine)
        for what, left, right in zip((f"draw {DRAWN}", f"gradient of {TRAINED}"), mine, theirs, strict=True):
            left(), right(), left(), right()
            seconds = [(cpu_seconds(left), cpu_seconds(right)) for _ in range(turns)]
            ratio, low, high = median_interval([a / b for a, b in seconds])
            yield {
                "work": f"{work}, {what}, ours on {engine}",
                "peer": f"{name} {version}",
                "ours_cpu_s": statistics.median(a for a, _ in seconds),
                "peer_cpu_s": statistics.median(b for _, b in seconds),
                "ratio": ratio,
                "interval": [low, high],
                "faster": "ours" if high < 1.0 else name if low > 1.0 else "neither",
            }


def main():
    """Measure, print, and store the results if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peers", nargs="+", choices=list(PEERS))
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    import jax
    import torch

    jax.config.update("jax_enable_x64", True)
    torch.set_num_threads(1)
    rows = []
    for name in options.peers:
        for row in measure(name, options.pairs):
            rows.append(row)
            low, high = row["interval"]
            print(
                f"{row['work']}: ours {1e3 * row['ours_cpu_s']:.1f} ms, {row['peer']} {1e3 * row['peer_cpu_s']:.1f} ms, "
                f"ratio {row['ratio']:.2f} ({low:.2f} to {high:.2f}): {row['faster']} faster",
                flush=True,
            )
    if options.json:
        from haarflow.benchmarks.harness.results import write

        write(options.json, "peers", {"pairs": options.pairs}, rows)


if __name__ == "__main__":
    main()
