"""Effect on ESS and speed of nets in single precision, with fields and log-determinants in double.

    python -m haarflow.benchmarks.studies.net_precision [phi4 u1 phi4-convolutional u1-convolutional] [--engines jax torch]
        [--steps 1000] [--pairs 9] [--json FILE]

Each flow on 8x8, the published ones ("phi4", "u1") and the library's own, is trained for some steps in double precision; the
same parameters then give weights of the same draws (same keys) with `net_precision` "field" and "float32". Speed: a draw of
1,024 and a train step of 64 for both, in turns, in process CPU seconds of one thread; a ratio is the median of those within a turn, with its 95% interval.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

FLOWS = ("phi4", "u1", "phi4-convolutional", "u1-convolutional")
WORDS, BLOCKS, DRAWS = ("field", "float32"), 8, 1024


def definitions(name):
    """A model with its nets in each precision, and the theory."""
    from haarflow.benchmarks.studies import flow_speed
    from haarflow.flows.scalar import architectures as architectures_phi4
    from haarflow.flows.u1 import architectures as architectures_u1

    theory_name, _, architecture = name.partition("-")
    build = getattr({"phi4": architectures_phi4, "u1": architectures_u1}[theory_name], architecture or "tutorial")
    theory = flow_speed.definition(theory_name)[1]
    return {precision: build(flow_speed.LATTICE, net_precision=precision) for precision in WORDS}, theory


def trained(model, theory, couplings, steps):
    """Parameters after some steps in double precision on JAX, on the host."""
    import numpy

    from haarflow import backends
    from haarflow.backends.tree import tree_map
    from haarflow.benchmarks.studies.flow_speed import TRAINED
    from haarflow.core import random
    from haarflow.flows.training.loop import Training, start, train
    from haarflow.flows.training.optimisers import Adam
    from haarflow.flows.training.schedules import Cosine

    backend = backends.get("jax")
    training = Training(model, theory, Adam(Cosine(5e-3, steps), clip=1.0), batch=2 * TRAINED)
    state = start(training, random.key(3, backend))
    for block in train(training, state, steps, couplings, every=steps):
        state = block.state
    return tree_map(numpy.array, state.params)


def weights(model, theory, couplings, params, backend):
    """log w of the draws under fixed keys, on the host, and the worst |x - inverse(forward(x))| of the last block."""
    import numpy

    from haarflow.core import random

    @backend.jit
    def block(params, key):
        y, log_q = model.sample(params, key, DRAWS)
        return y, -theory.action(y, couplings) - log_q

    blocks = [block(params, random.fold_in(random.key(7, backend), index)) for index in range(BLOCKS)]
    y = blocks[-1][0]
    x, log_det = backend.jit(model.flow.inverse)(params, y)
    again, back = backend.jit(model.flow.forward)(params, x)
    turn = backend.to_numpy(again) - backend.to_numpy(y)
    turn = turn - 2 * numpy.pi * numpy.round(turn / (2 * numpy.pi)) if theory.group.name == "U1" else turn
    off = max(numpy.abs(turn).max(), numpy.abs(backend.to_numpy(log_det) + backend.to_numpy(back)).max())
    return numpy.concatenate([backend.to_numpy(log_w) for _, log_w in blocks]), float(off)


def measure(name, engines, steps, pairs):
    """Return a row for each engine: ESS of both precisions, the largest change of a weight, and ratios of time."""
    import numpy

    from haarflow import backends
    from haarflow.backends.tree import tree_map
    from haarflow.benchmarks.harness.meter import median_interval
    from haarflow.benchmarks.studies import flow_speed
    from haarflow.core.statistics import ess

    (models, theory), subject = definitions(name), name.partition("-")[0]
    couplings, rows = flow_speed.COUPLINGS[subject], []
    host = trained(models["field"], theory, couplings, steps)
    for engine in engines:
        backend = backends.get(engine)
        params = tree_map(backend.asarray, host)
        weighed = {precision: weights(models[precision], theory, couplings, params, backend) for precision in WORDS}
        works = {
            precision: flow_speed.library(subject, models[precision], theory, params, backend) for precision in WORDS
        }
        row = {"work": name, "engine": engine, "draws": BLOCKS * DRAWS}
        row |= {f"ess_{precision}": float(ess(weighed[precision][0])) for precision in WORDS}
        row |= {f"round_trip_{precision}": weighed[precision][1] for precision in WORDS}
        row["log_w_change"] = float(numpy.abs(weighed["float32"][0] - weighed["field"][0]).max())
        for index, what in enumerate(("train step", "draw")):
            field, single = (works[precision][index] for precision in WORDS)
            for work in (field, single):
                flow_speed.cpu_seconds(work)
            turns = [(flow_speed.cpu_seconds(single), flow_speed.cpu_seconds(field)) for _ in range(pairs)]
            row[f"{what} ratio"] = median_interval([one / two for one, two in turns])
        rows.append(row)
        print(line(row), flush=True)
    return rows


def line(row):
    """Return a row as a line of text."""
    times = "   ".join(
        "{} {:.2f} ({:.2f} to {:.2f})".format(what, *row[f"{what} ratio"]) for what in ("train step", "draw")
    )
    return (
        f"{row['work']:19}{row['engine']:7}ESS {row['ess_field']:.6f} in double, {row['ess_float32']:.6f} mixed; |d log w| <= "
        f"{row['log_w_change']:.1e}; round trip {row['round_trip_field']:.1e} and {row['round_trip_float32']:.1e}; "
        f"time, mixed over double: {times}"
    )


def main():
    """Measure, print, and store the results if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("flows", nargs="*", default=list(FLOWS), metavar="FLOW", help=", ".join(FLOWS))
    parser.add_argument("--engines", nargs="+", default=["jax", "torch"], choices=["jax", "torch"])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    import jax
    import torch

    jax.config.update("jax_enable_x64", True)
    torch.set_num_threads(1)
    rows = [row for name in options.flows for row in measure(name, options.engines, options.steps, options.pairs)]
    if options.json:
        from haarflow.benchmarks.harness.results import write

        write(options.json, "net_precision", {"pairs": options.pairs, "steps": options.steps}, rows)


if __name__ == "__main__":
    main()
