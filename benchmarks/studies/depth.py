"""Deep flows: time to compile, cost of scanning at run time, and memory of a training step.

    python -m haarflow.benchmarks.studies.depth [--layers 48] [--batch 64] [--engines jax torch] [--flow u1] [--json FILE]

The published U(1) layers on 8x8 in float64, one thread; with `--flow su3-4d` the spectral couplings of the recipe
su3-4d-spectral, 48 or a multiple of them in all planes of 4x4x4x4, any other number in one plane. Each variant runs in its own process, so that nothing
is compiled beforehand: forward and gradient of the reverse KL, the layers scanned (as the library has them) or written out
one after another, and the gradient with recomputation (`Repeat(..., recompute=True)`: a layer's intermediate values are
computed again in the backward pass). Compile: process CPU seconds of tracing and compiling. Memory: on JAX the temporaries that XLA
allocates for one call; on Torch the peak of its tensors during one, as its profiler counts. As malloc keeps freed memory,
the process itself grows by more ("process"); the MALLOC_ environment variables trade this for time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

ROUNDS = 7
BARS = {"forward scanned": 5.0, "gradient scanned": 15.0}
VARIANTS = {
    "jax": (
        "forward scanned",
        "forward written out",
        "gradient scanned",
        "gradient written out",
        "gradient recomputed",
    ),
    "torch": ("gradient scanned", "gradient recomputed"),
}


def u1(layers):
    """The published layers on 8x8, with theory and beta."""
    from haarflow.flows.u1 import architectures
    from haarflow.theories import U1Gauge

    return architectures.tutorial((8, 8), layers), U1Gauge((8, 8)), 2.0


def su3_4d(layers):
    """Spectral couplings on 4x4x4x4, with theory and beta."""
    from dataclasses import replace

    from haarflow.flows.flow import Repeat
    from haarflow.flows.sun import architectures
    from haarflow.theories import SUNGauge

    lattice, rounds = (4, 4, 4, 4), max(layers // 48, 1)
    model = architectures.spectral(
        lattice, 3, 1.0, rounds, extents=((1, 1),), hidden=(16,), kernel=(3, 1), separated=True, final_scale=0.0
    )
    if layers % 48:
        model = replace(model, flow=Repeat(model.flow.flow.flow.flows[0].flow, layers))
    return model, SUNGauge(lattice, n=3), 1.0


FLOWS = {"u1": u1, "su3-4d": su3_4d}


def work(variant, layers, batch, backend, kind):
    """Return the function of the parameters for a variant, with parameters and fields."""
    from dataclasses import replace

    from haarflow.backends.tree import tree_map
    from haarflow.core import random
    from haarflow.flows.flow import Chain
    from haarflow.theories import accelerated

    model, theory, beta = FLOWS[kind](layers)
    theory = accelerated(theory)
    params = model.init(random.key(1, backend))
    x = model.prior.sample(random.key(2, backend), batch)
    flow = model.flow
    if "recomputed" in variant:
        flow = replace(flow, recompute=True)
    if "written out" in variant:
        params = {str(index): tree_map(lambda p, row=index: p[row, ...], params) for index in range(flow.n)}
        flow = Chain((flow.flow,) * flow.n)

    def loss(params, x):
        y, log_det = flow.forward(params, x)
        return (theory.action(y, {"beta": beta}) - log_det).mean()

    return (flow.forward if "forward" in variant else backend.value_and_grad(loss)), params, x


def on_jax(variant, layers, batch, kind):
    """Compile seconds, run seconds and temporary MiB of a variant."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from haarflow import backends
    from haarflow.benchmarks.harness.meter import MIB, timed

    backend = backends.get("jax")
    function, params, x = work(variant, layers, batch, backend, kind)
    before = time.process_time()
    compiled = jax.jit(function).lower(params, x).compile()
    compiling = time.process_time() - before
    runs = [timed(lambda: compiled(params, x), backend)[0].cpu for _ in range(ROUNDS + 1)][1:]
    analysis = compiled.memory_analysis()
    memory = math.nan if analysis is None else analysis.temp_size_in_bytes / MIB
    return {"compile_cpu_s": compiling, "run_cpu_s": statistics.median(runs), "temporary_mib": memory}


def on_torch(variant, layers, batch, kind):
    """Run seconds of a variant, the most that its tensors hold, and the rise of the process's peak."""
    import torch

    torch.set_num_threads(1)
    from haarflow import backends
    from haarflow.benchmarks.harness.meter import resident, tensor_peak, timed

    backend = backends.get("torch")
    function, params, x = work(variant, layers, batch, backend, kind)
    small, *arguments = work(variant, 2, 1, backend, kind)
    small(*arguments)  # load what is imported on first use
    before = resident()[0]
    function(params, x)
    rise = resident()[1] - before
    runs = [timed(lambda: function(params, x), backend)[0].cpu for _ in range(ROUNDS)]
    return {
        "compile_cpu_s": 0.0,
        "run_cpu_s": statistics.median(runs),
        "temporary_mib": tensor_peak(lambda: function(params, x)),
        "process_mib": rise,
    }


def fresh(engine, variant, layers, batch, kind):
    """Return the figures of one variant, measured in a fresh process."""
    command = [sys.executable, "-m", "haarflow.benchmarks.studies.depth", "--flow", kind, "--one", engine, variant]
    done = subprocess.run(
        [*command, "--layers", str(layers), "--batch", str(batch)], capture_output=True, text=True, check=True
    )
    words = {"engine": engine, "flow": kind, "variant": variant, "layers": layers, "batch": batch}
    return {**words, **json.loads(done.stdout)}


def show(row):
    """A row as a line of text."""
    held = (row["engine"], row["flow"], row["layers"]) == ("jax", "u1", 48)
    bar = BARS.get(row["variant"]) if held else None
    met = "" if bar is None else f" ({'within' if row['compile_cpu_s'] <= bar else 'ABOVE'} {bar:g})"
    return (
        f"{row['engine']:6}{row['variant']:22}{row['layers']} layers, batch {row['batch']}: compile "
        f"{row['compile_cpu_s']:6.2f} CPU s{met}, run {1e3 * row['run_cpu_s']:8.2f} CPU ms, "
        f"memory {row['temporary_mib']:8.1f} MiB"
        + (f", process {row['process_mib']:8.1f}" if "process_mib" in row else "")
    )


def main():
    """Measure, print, and store the results if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=48)
    parser.add_argument("--batch", type=int, nargs="+", default=[64])
    parser.add_argument("--engines", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--flow", default="u1", choices=list(FLOWS))
    parser.add_argument("--variants", nargs="+", help="these alone, such as 'forward scanned'")
    parser.add_argument("--one", nargs=2, metavar=("ENGINE", "VARIANT"), help="this variant alone, in this process")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.one:
        engine, variant = options.one
        print(
            json.dumps(
                {"jax": on_jax, "torch": on_torch}[engine](variant, options.layers, options.batch[0], options.flow)
            )
        )
        return
    rows = []
    for engine in options.engines:
        for batch in options.batch:
            for variant in [name for name in VARIANTS[engine] if name in (options.variants or VARIANTS[engine])]:
                rows.append(fresh(engine, variant, options.layers, batch, options.flow))
                print(show(rows[-1]), flush=True)
    if options.json:
        from haarflow.benchmarks.harness.results import write

        words = {"flow": options.flow, "layers": options.layers, "batch": options.batch}
        write(options.json, "depth", words, rows)


if __name__ == "__main__":
    main()
