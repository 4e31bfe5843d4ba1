"""Maps of U(1) between two couplings: replica swaps and correlated ensembles, plain, by one number, trained, in closed form.

    python -m haarflow.benchmarks.studies.correlated_ensembles [--lattice 16 16] [--betas 4 4.4] [--steps 200] [--pilot 600]
        [--maps plain ...] [--draws 20000] [--seed 2026] [--json FILE]

From exact configurations at both couplings: `plain`, the identity; `one number`, one sweep theta -> theta - c
dS_1/dtheta with the c of the largest ESS on draws of its own; `trained`, F_b o F_a^-1 of a sweep flow that is told
beta and convolves the learnt log-weight of one plaquette, nine numbers trained from nothing: at both couplings on
lattices of four columns, then as a map by the spread of log w on configurations there and on the whole lattice; and
`closed form`, the same of the exact conditional distributions, cut off at 16 harmonics. Printed are the ESS of the
pairs, the mean acceptance of a swap, the difference of plaquettes with its error and its distance from the exact one,
and the gain in variance over independent ensembles. CPU seconds are those of the process, in JAX for the training
(float32) and NumPy for all else.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.benchmarks.harness.results import write
from haarflow.benchmarks.studies.exactness import judge
from haarflow.core import random
from haarflow.core.chains.tempering import Replicas, Swap, joined
from haarflow.core.statistics import Difference, correlated_difference, ess
from haarflow.flows.between import Between
from haarflow.flows.flow import Model
from haarflow.flows.priors import UniformLinks
from haarflow.flows.stochastic.least_spread import least_spread
from haarflow.flows.training.coupling_plans import Cycled
from haarflow.flows.training.gradients import ReverseKL
from haarflow.flows.training.loop import Training, start, train
from haarflow.flows.training.optimisers import Adam
from haarflow.flows.training.schedules import Cosine, WarmUp
from haarflow.flows.u1.autoregressive import Autoregressive
from haarflow.flows.u1.gradient_sweep import GradientSweep
from haarflow.flows.u1.sweep import Sweep
from haarflow.theories import U1Gauge
from haarflow.theories.samplers.u1 import exact_sample

MAPS = ("plain", "one number", "trained", "closed form")
PILOT, BLOCK = 400, 500  # configurations that tune one number, and that are mapped at once


class ClosedForm:
    """F_b o F_a^-1 of the exact conditional distributions of the plane, cut off at 16 harmonics and 64 bins."""

    def __init__(self, start: float, end: float) -> None:
        options = {"bins": 64, "harmonics": 16, "waves": 1, "channels": 1, "hidden": 1, "kernel": 1}
        self.ends = [Autoregressive(beta, **options) for beta in (start, end)]
        key = random.key(0, backends.get("numpy"))
        self.params = [flow.init(key) for flow in self.ends]  # its nets, which start at zero

    def forward(self, params: Any, x: Any, condition: Any = None) -> Any:
        return self._mapped(x, 0, 1)

    def inverse(self, params: Any, y: Any, condition: Any = None) -> Any:
        return self._mapped(y, 1, 0)

    def _mapped(self, x: Any, start: int, end: int) -> Any:
        latent, down = self.ends[start].inverse(self.params[start], x)
        y, up = self.ends[end].forward(self.params[end], latent)
        return y, down + up


def log_weights(lattice: Any, betas: Any, flow: Any, params: Any, x: Any) -> tuple[Any, Any]:
    """Return f(x) and -S_b(f(x)) + S_a(x) + log_det."""
    theory = U1Gauge(lattice)
    y, log_det = (x, 0.0) if flow is None else flow.forward(params, x)
    return y, theory.action(x, {"beta": betas[0]}) - theory.action(y, {"beta": betas[1]}) + log_det


def best_number(lattice: Any, betas: Any, seed: int) -> dict[str, Any]:
    """Return the c of the largest ESS, by golden section."""
    x = exact_sample(U1Gauge(lattice), random.key(seed, backends.get("numpy")), PILOT, {"beta": betas[0]}).field
    quality = lambda c: float(ess(log_weights(lattice, betas, GradientSweep(), {"c": numpy.asarray(c)}, x)[1]))  # noqa: E731
    low, high, golden = 0.0, 0.1, (math.sqrt(5.0) - 1.0) / 2.0
    for _ in range(12):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if quality(left) > quality(right) else (left, high)
    return {"c": numpy.asarray(0.5 * (low + high))}


def trained(lattice: tuple[int, int], betas: tuple[float, float], options: Any) -> tuple[Any, Any]:
    """Return the map of a sweep flow that is told beta, and its parameters in double precision."""
    flow = Sweep(48, 12, condition=("beta",), stiffness=0.5 * sum(betas), plaquette=3, table=False)
    between = Between(flow, *((("beta", beta),) for beta in betas))
    narrow, host = (lattice[0], min(4, lattice[1])), backends.get("numpy")
    params = trained_at_both(flow, narrow, betas, options)
    for number, (extents, count) in enumerate(((narrow, options.pilot), (lattice, options.pilot // 2))):
        key = random.fold_in(random.key(options.seed + 2, host), number)
        x = exact_sample(U1Gauge(extents), key, count, {"beta": betas[0]}).field
        spread = lambda params, extents=extents, x=x: log_weights(extents, betas, between, params, x)[1]  # noqa: E731
        params = least_spread(spread, params, steps=5 - 3 * number)
        print(f"  fitted on {extents}: ESS {ess(spread(params)):.4f} of the pilot", flush=True)
    return between, params


def trained_at_both(flow: Sweep, lattice: tuple[int, int], betas: tuple[float, float], options: Any) -> Any:
    """Return the flow's parameters from a training at both couplings, the mean over its last quarter."""
    backend, late = backends.get("jax", dtype="float32"), []
    adam = Adam(WarmUp(Cosine(2e-2, options.steps - 20, 2e-4), 20), b2=0.95, clip=5.0)
    training = Training(Model(UniformLinks(lattice), flow), U1Gauge(lattice), adam, ReverseKL(), 128, ("beta",))
    state = start(training, random.key(options.seed, backend), None, "float32")
    for progress in train(training, state, options.steps, Cycled({"beta": betas}), every=10):
        late += [progress.state.params] if progress.step > 0.75 * options.steps else []
        if progress.step % 50 == 0:
            print(f"  step {progress.step} ESS {progress.records['ess'].mean():.3f}", flush=True)
    mean = tree_map(lambda *rows: sum(rows) / len(rows), *late)
    return tree_map(lambda leaf: backend.to_numpy(leaf).astype("float64"), mean)


def measured(lattice: Any, betas: Any, flow: Any, params: Any, draws: int, seed: int) -> tuple[Difference, float]:
    """Return the difference of plaquettes from pairs, and the mean acceptance of swaps of exact configurations."""
    theory, host, parts, odds = U1Gauge(lattice), backends.get("numpy"), [], []
    swap = Swap(theory, flow, {"couplings": {"beta": betas}, "params": params})
    for number in range(draws // BLOCK):
        keys = random.split(random.fold_in(random.key(seed, host), number), 2)
        x, z = (exact_sample(theory, keys[end], BLOCK, {"beta": betas[end]}).field for end in (0, 1))
        y, log_w = log_weights(lattice, betas, flow, params, x)
        parts.append([log_w, *(theory.observables(one, {"beta": betas[0]})["plaquette"] for one in (x, y))])
        both = joined(theory, [x, z])
        image = swap.involution(both, None)
        d_h = Replicas(theory).difference(image.field, both, {"beta": betas})
        odds.append(numpy.exp(numpy.minimum(0.0, (0.0 if image.log_det is None else image.log_det) - d_h)))
    columns = [numpy.concatenate(column) for column in zip(*parts, strict=True)]
    return correlated_difference(*columns), float(numpy.concatenate(odds).mean())


def rows_of(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each map, printed as it comes."""
    lattice, betas, rows = tuple(options.lattice), tuple(options.betas), list[dict[str, Any]]()
    exact = [U1Gauge(lattice).exact({"beta": beta})["plaquette"] for beta in betas]
    makers: dict[str, Callable[[], tuple[Any, Any]]] = {
        "plain": lambda: (None, {}),
        "one number": lambda: (GradientSweep(), best_number(lattice, betas, options.seed + 1)),
        "trained": partial(trained, lattice, betas, options),
        "closed form": lambda: (ClosedForm(*betas), {}),
    }
    for name, make in ((name, makers[name]) for name in options.maps):
        begun = time.process_time()
        flow, params = make()
        made = time.process_time()
        found, swaps = measured(lattice, betas, flow, params, options.draws, options.seed)
        value, error = (float(number or math.nan) for number in found.estimate[:2])
        pull = (value - (exact[1] - exact[0])) / error
        cost = {"cpu_s_made": made - begun, "cpu_s_measured": time.process_time() - made}
        rows.append(
            {"map": name, "ess": found.ess, "swaps": swaps, "gain": found.gain, "difference": value, "error": error}
        )
        rows[-1] |= {"pull": pull, **cost}
        print(
            f"{name:12} ESS {found.ess:.4f}  swaps {swaps:.3f}  gain {found.gain:.2f}  dP {value:.6f} +- {error:.6f} "
            f"({pull:+.1f})  CPU s {cost['cpu_s_made']:.1f} + {cost['cpu_s_measured']:.1f}",
            flush=True,
        )
    print(f"exact dP {exact[1] - exact[0]:.6f}")
    return rows


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Measure all maps, and judge the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lattice", type=int, nargs=2, default=[16, 16])
    parser.add_argument("--betas", type=float, nargs=2, default=[4.0, 4.4])
    parser.add_argument("--steps", type=int, default=200, help="of the training at both couplings")
    parser.add_argument("--pilot", type=int, default=600, help="configurations on which the map is fitted")
    parser.add_argument("--maps", nargs="+", choices=MAPS, default=list(MAPS))
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    rows = rows_of(options)
    judge([row["pull"] for row in rows])
    if options.json:
        recipe = {name: value for name, value in vars(options).items() if name != "json"}
        write(options.json, "correlated_ensembles", recipe, rows)
    return rows


if __name__ == "__main__":
    main()
