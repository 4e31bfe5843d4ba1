"""The cost of being array-agnostic: the library against hand-written code for one backend.

    python -m haarflow.benchmarks.studies.twin_ratios [flows hmc] [--engines jax torch] [--pairs 15] [--json FILE]

For flows (both published architectures, 8x8; a draw of 1,024, a train step of 64) and HMC (U(1) 16x16, 64 chains; SU(3)
4^4, 16 chains; 10 leapfrog steps) in float64 on one thread. First the twin must reproduce the library's numbers, then the
two take turns in one process; a ratio is the median of those within a turn, in process CPU seconds, with the 95% interval
of that median. JAX is jitted, Torch eager, in the library and in the twins.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

BARS = {"flows": 1.1, "hmc": 1.2}
STEPS, TOLERANCE = 10, 1e-9


class Pair(NamedTuple):
    """The same work twice: ours and the twin's, functions without arguments that return on the host."""

    name: str
    engine: str
    ours: Callable[[], Any]
    twin: Callable[[], Any]
    items: int
    unit: str


def flows(engines):
    """The pairs of both published flows on both backends, after the twins reproduced the library's numbers."""
    import numpy

    from haarflow import backends
    from haarflow.backends.tree import tree_map
    from haarflow.benchmarks.studies import flow_speed
    from haarflow.core import random

    for name in flow_speed.COUPLINGS:
        jax_backend, torch_backend = backends.get("jax"), backends.get("torch")
        model, theory = flow_speed.definition(name)
        params = model.init(random.key(1, jax_backend))
        flow_speed.check(name, model, theory, params, jax_backend)
        host = tree_map(numpy.array, params)
        for engine in engines:
            backend = jax_backend if engine == "jax" else torch_backend
            own = params if engine == "jax" else tree_map(backend.asarray, host)
            ours = flow_speed.library(name, model, theory, own, backend)
            native = (
                flow_speed.in_native_jax(name, params, backend)
                if engine == "jax"
                else flow_speed.in_torch(name, params)
            )
            for what, count, left, right in zip(
                ("train step", "draw"), (flow_speed.TRAINED, flow_speed.SAMPLED), ours, native, strict=True
            ):
                yield Pair(f"{name} {what}", engine, left, right, count, "samples")


def hmc(engines):
    """The pairs of U(1) and SU(3) HMC on both backends."""
    from haarflow import backends
    from haarflow.theories import SUNGauge, U1Gauge

    for engine in engines:
        backend = backends.get(engine)
        yield chains(backend, "u1", U1Gauge((16, 16)), 64, 2.0, 20 if engine == "jax" else 4)
        yield chains(backend, "su3", SUNGauge((4, 4, 4, 4), 3), 16, 5.7, 2 if engine == "jax" else 1)


def chains(backend, subject, theory, count, beta, draws):
    """One pair of chains from the same start, after checking that one trajectory of each agrees."""
    from haarflow.core import random
    from haarflow.core.chains.hmc import HMC
    from haarflow.core.chains.kernel import run

    key, step_size = random.key(1, backend), 0.1
    kernel = HMC(theory, steps=STEPS, values={"couplings": {"beta": beta}, "step_size": step_size})
    state = kernel.init(theory.group.haar(key, (count, *theory.field_shape), "float64"))
    twin, to_twin, to_library, momenta = TWINS[subject, backend.name]()
    agree(backend, kernel, state.field, (twin, to_twin, to_library, momenta), (beta, step_size))
    links = to_twin(state.field)

    def ours():
        return backend.to_numpy(run(kernel, key, state, draws)[1]["info"]["dH"])

    if backend.name == "torch":

        def native():
            x = links
            for _ in range(draws):
                x = twin.trajectory(x, beta, step_size, STEPS)[0]
            return backend.to_numpy(x)

    else:
        import jax

        compiled = jax.jit(twin.chain, static_argnums=(4, 5))

        def native():
            return backend.to_numpy(compiled(jax.random.key(1), links, beta, step_size, STEPS, draws)[1])

    return Pair(f"{subject} hmc", backend.name, ours, native, count * draws, "trajectories")


def agree(backend, kernel, field, twin, numbers):
    """Raise AssertionError unless a leapfrog trajectory of the twin ends where the library's does."""
    import numpy

    from haarflow.core import random

    module, to_twin, to_library, momenta = twin
    beta, step_size = numbers
    momentum = kernel.theory.group.algebra_normal(random.key(2, backend), tuple(field.shape), "float64")
    wanted = kernel.trajectory(field, momentum)[0]
    links = to_twin(field)
    end = module.leapfrog(links, momenta(kernel.theory.group, momentum), beta, step_size, STEPS)[0]
    ours, theirs = backend.to_numpy(wanted), backend.to_numpy(to_library(end))
    if ours.dtype.kind == "f":  # angles
        ours, theirs = numpy.exp(1j * ours), numpy.exp(1j * theirs)
    numpy.testing.assert_allclose(theirs, ours, rtol=0, atol=TOLERANCE)


def _u1_jax():
    from haarflow.benchmarks.twins import hmc_u1_jax

    return hmc_u1_jax, _same, _same, lambda group, w: w


def _u1_torch():
    from haarflow.benchmarks.twins import hmc_u1_torch

    return hmc_u1_torch, _same, _same, lambda group, w: w


def _su3_jax():
    from haarflow.benchmarks.twins import hmc_sun_jax

    return hmc_sun_jax, _same, _same, lambda group, w: 1j * group.algebra(w)


def _su3_torch():
    from haarflow.benchmarks.twins import hmc_sun_torch

    def to_twin(u):
        return u.permute(0, 1, *range(4, u.ndim), 2, 3).contiguous()

    def to_library(u):
        return u.permute(0, 1, u.ndim - 2, u.ndim - 1, *range(2, u.ndim - 2))

    return hmc_sun_torch, to_twin, to_library, lambda group, w: to_twin(1j * group.algebra(w))


def _same(x):
    return x


TWINS = {
    ("u1", "jax"): _u1_jax,
    ("u1", "torch"): _u1_torch,
    ("su3", "jax"): _su3_jax,
    ("su3", "torch"): _su3_torch,
}
GROUPS = {"flows": flows, "hmc": hmc}


def measure(group, engines, turns):
    """Return a row for each pair: seconds of both, their ratio with its interval, and the bar."""
    from haarflow.benchmarks.harness.meter import median_interval
    from haarflow.benchmarks.studies.flow_speed import cpu_seconds

    rows = []
    for pair in GROUPS[group](engines):
        cpu_seconds(pair.ours), cpu_seconds(pair.twin)
        seconds = [(cpu_seconds(pair.ours), cpu_seconds(pair.twin)) for _ in range(turns)]
        ratio, low, high = median_interval([ours / twin for ours, twin in seconds])
        row = {
            "work": pair.name,
            "engine": pair.engine,
            "ours_cpu_s": statistics.median(ours for ours, _ in seconds),
            "twin_cpu_s": statistics.median(twin for _, twin in seconds),
            "items": pair.items,
            "unit": pair.unit,
            "ratio": ratio,
            "interval": [low, high],
            "bar": BARS[group],
        }
        rows.append(row)
        print(line(row), flush=True)
    return rows


def line(row):
    """Return a row as a line of text."""
    low, high = row["interval"]
    met = "within" if row["ratio"] <= row["bar"] else "ABOVE"
    return (
        f"{row['work']:16}{row['engine']:7}ours {1e3 * row['ours_cpu_s']:9.2f} ms   twin {1e3 * row['twin_cpu_s']:9.2f} ms"
        f"   {row['items'] / row['ours_cpu_s']:10,.0f} {row['unit']} / CPU s   ratio {row['ratio']:.3f}"
        f" ({low:.3f} to {high:.3f}), {met} {row['bar']}"
    )


def main():
    """Measure, print, and store the results if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="*", default="all", choices=[*GROUPS, "all"])
    parser.add_argument("--engines", nargs="+", default=["jax", "torch"], choices=["jax", "torch"])
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    import jax
    import torch

    jax.config.update("jax_enable_x64", True)
    torch.set_num_threads(1)
    rows = []
    for group in GROUPS if "all" in options.groups else options.groups:
        rows += measure(group, options.engines, options.pairs)
    if options.json:
        from haarflow.benchmarks.harness.results import write

        write(options.json, "twins", {"pairs": options.pairs}, rows)


if __name__ == "__main__":
    main()
