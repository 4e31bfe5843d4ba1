"""Plaquettes of SU(N) by every sampler, beside the exact torus in two dimensions and known values in four.

    python -m haarflow.benchmarks.studies.exactness_sun [--groups 2 3 4 5] [--backend numpy] [--scale 1] [--seed 0] [--json FILE]

Markov chains start from unit links. A pull is (value - expected)/error, with both errors in quadrature; no pull may exceed 4
(one of 150 does by chance with probability 1%), and the chi^2 of all must have p > 0.001. In two dimensions the expected
value is that of the character expansion on the same lattice. In four it is a Monte Carlo value with its error, or at strong
coupling the series up to beta^3 for SU(2) and beta^2 for SU(3), whose next terms are 2e-6 and less at beta = 0.3.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy

from haarflow import backends
from haarflow.benchmarks.harness.meter import known
from haarflow.benchmarks.harness.results import write
from haarflow.benchmarks.studies.exactness import judge
from haarflow.core import random, statistics
from haarflow.core.chains.heatbath_sun import SUNHeatBath
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.integrators import LEAPFROG, OMELYAN, OMELYAN4
from haarflow.core.chains.kernel import run
from haarflow.core.chains.metropolis import LocalMetropolis
from haarflow.flows.modelfile import open_model
from haarflow.flows.sun.sweep import class_sweep
from haarflow.models import path_of
from haarflow.theories import SUNGauge, accelerated
from haarflow.theories.samplers.sun import exact_sample

WORDS = ("group", "lattice", "beta", "sampler")
SITES, UNCOMPILED, BLOCK = 2**15, 2**10, 20  # sites of all chains together, where there is no kernel; draws of a block


class Case(NamedTuple):
    """A theory at one coupling and its expected plaquette with an error."""

    n: int
    beta: float
    lattice: tuple[int, ...]
    expected: float
    error: float = 0.0

    @property
    def known(self) -> str:
        """The expected plaquette as text."""
        return f"{self.expected:.5f} ± {self.error:.5f}" if self.error else f"{self.expected:.6f}"


def torus(n: int, beta: float, *lattice: int) -> Case:
    """A case in two dimensions, solved exactly."""
    return Case(n, beta, lattice, SUNGauge(lattice, n).exact({"beta": beta})["plaquette"])


def strong(n: int, beta: float, *lattice: int) -> Case:
    """A case in four dimensions at strong coupling: beta/4 - beta^3/96 for SU(2), beta/18 + beta^2/216 for SU(3)."""
    return Case(n, beta, lattice, beta / 4 - beta**3 / 96 if n == 2 else beta / 18 + beta**2 / 216)


CASES = (
    *(torus(2, beta, *lattice) for beta in (1.8, 2.2, 2.7) for lattice in ((4, 4), (16, 16))),
    *(torus(3, beta, *lattice) for beta in (4.0, 5.0, 6.0) for lattice in ((4, 4), (16, 16))),
    *(torus(4, 8.0, *lattice) for lattice in ((4, 4), (16, 16))),
    torus(2, 1.1, 6, 10),
    torus(3, 7.5, 8, 6),
    torus(5, 11.0, 6, 4),
    Case(3, 1.0, (4, 4, 4, 4), 0.06027, 0.00008),
    Case(3, 5.7, (4, 4, 4, 4), 0.5597, 0.0003),
    Case(3, 6.0, (4, 4, 4, 4), 0.59680, 0.00017),
    Case(2, 2.3, (4, 4, 4, 4), 0.6092, 0.0002),
    Case(3, 5.7, (8, 8, 8, 8), 0.5495, 0.0003),
    Case(3, 6.0, (8, 8, 8, 8), 0.59390, 0.00015),
    strong(2, 0.3, 4, 4, 4, 4),
    strong(3, 0.3, 4, 4, 4, 4),
)


class Found(NamedTuple):
    """A mean with its error, and the effective number of independent draws."""

    value: float
    error: float
    effective: float


def chain(kernel: Any, draws: int, warmup: int) -> Callable[..., Found]:
    """Return the function that measures the plaquette along a Markov chain: `kernel(theory, couplings)` with its draws and warm-up."""

    def measured(case: Case, backend: Any, scale: float, seed: int) -> Found:
        theory, sites = accelerated(SUNGauge(case.lattice, case.n)), math.prod(case.lattice)
        chains = max(4, min(64, (SITES if case.n <= 3 else UNCOMPILED) // sites))
        moves, key = kernel(theory, {"beta": case.beta}), random.key(seed, backend)
        shape = (chains, *theory.field_shape)
        state = moves.init(theory.group.identity(backend.xp.zeros(shape, dtype=backend.xp.complex128)))
        rows = []
        for begin in range(0, warmup + max(2 * BLOCK, int(scale * draws)), BLOCK):
            state, records = run(moves, key, state, BLOCK, begin, measure(theory, case.beta))
            if begin >= warmup:
                rows.append(backend.to_numpy(records["observables"]))
        estimate = statistics.gamma_method(numpy.concatenate(rows))
        if estimate.value is None or estimate.error is None:
            raise RuntimeError(f"{moves} at {case}: no error of the mean, {estimate.note}")
        return Found(
            estimate.value, estimate.error, len(rows) * BLOCK * chains / (2.0 * (estimate.tau_int or math.nan))
        )

    return measured


@cache
def measure(theory: Any, beta: float) -> Callable:
    """Return `plaquette` of one theory and coupling; cached, so that it compiles once."""
    return partial(plaquette, theory, beta)


def plaquette(theory: Any, beta: float, field: Any) -> Any:
    """Return the mean plaquette of every configuration, by the action."""
    factor = theory.conjugates["beta"]["plaquette"]
    return theory.action(field, {"beta": beta}) / (beta * factor)


def exactly(case: Case, backend: Any, scale: float, seed: int) -> Found:
    """The plaquette of the exact sampler's draws."""
    theory, draws = accelerated(SUNGauge(case.lattice, case.n)), int(scale * 4000)
    field = exact_sample(theory, random.key(seed, backend), draws, {"beta": case.beta})
    values = backend.to_numpy(plaquette(theory, case.beta, field))
    return Found(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(draws), draws)


def weighed(open_flow: Callable[[Case, Any], tuple], draws: int, batch: int) -> Callable[..., Found]:
    """Return the function that measures the plaquette by reweighting a flow's draws."""

    def measured(case: Case, backend: Any, scale: float, seed: int) -> Found:
        theory, key = accelerated(SUNGauge(case.lattice, case.n)), random.key(seed, backend)
        model, params, condition = open_flow(case, backend)

        def block(key: Any) -> tuple[Any, Any]:
            y, log_q = model.sample(params, key, batch, condition)
            return -theory.action(y, {"beta": case.beta}) - log_q, plaquette(theory, case.beta, y)

        program = backend.jit(block)
        parts = [program(random.fold_in(key, index)) for index in range(-(-int(scale * draws) // batch))]
        log_w, values = (
            numpy.concatenate([backend.to_numpy(part) for part in one]) for one in zip(*parts, strict=True)
        )
        mean = statistics.reweight(log_w, values)
        return Found(known(mean.value), known(mean.error), len(log_w) * statistics.ess(log_w))

    return measured


def fitted(case: Case, backend: Any) -> tuple:
    """The shipped flow along loops."""
    opened = open_model(path_of(f"su{case.n}-{len(case.lattice)}d-loops"), backend=backend, lattice=case.lattice)
    return opened.model, opened.params, {"beta": case.beta}


def swept(case: Case, backend: Any) -> tuple:
    """The sweep flow, untrained."""
    model = class_sweep(case.lattice, case.n, case.beta)
    return model, model.init(random.key(0, backend)), None


def hmc(scheme: Any, least: int) -> Callable:
    """Return HMC with trajectories of length 1, with more steps where dH is larger."""

    def kernel(theory: Any, couplings: dict[str, float]) -> HMC:
        more = 1.0 if theory.d == 2 else 1.6 * (math.prod(theory.lattice) / 256) ** 0.25  # dH grows as V^1/2 h^2
        steps = round(least * more)
        return HMC(theory, scheme, steps, values={"couplings": couplings, "step_size": 1.0 / steps})

    return kernel


def heat_bath(overrelaxation: int) -> Callable:
    """Return the heat bath."""
    return lambda theory, couplings: SUNHeatBath(theory, overrelaxation=overrelaxation, values={"couplings": couplings})


def local(theory: Any, couplings: dict[str, float]) -> LocalMetropolis:
    """Local Metropolis."""
    return LocalMetropolis(theory, values={"couplings": couplings, "width": 0.5})


def everywhere(case: Case) -> bool:
    """Whether a sampler for any theory takes part."""
    return True


def in_two_dimensions(case: Case) -> bool:
    """Whether the exact sampler takes part."""
    return len(case.lattice) == 2 and case.n <= 4


SAMPLERS: dict[str, tuple[Callable[[Case], bool], Callable[..., Found]]] = {
    "HMC, leapfrog": (everywhere, chain(hmc(LEAPFROG, 12), 400, 100)),
    "HMC, Omelyan": (everywhere, chain(hmc(OMELYAN, 5), 400, 100)),
    "HMC, fourth order": (everywhere, chain(hmc(OMELYAN4, 3), 200, 100)),
    "heat bath": (everywhere, chain(heat_bath(0), 400, 100)),
    "heat bath, over-relaxed": (everywhere, chain(heat_bath(1), 300, 100)),
    "local Metropolis": (lambda case: math.prod(case.lattice) <= 16 and case.n <= 3, chain(local, 400, 100)),
    "exact sampler": (in_two_dimensions, exactly),
    "sweep flow": (lambda case: in_two_dimensions(case) and case.n <= 3, weighed(swept, 2048, 64)),
    "flow along loops": (
        lambda case: case.lattice == (16, 16) and case.n <= 3,
        weighed(fitted, 256, 16),
    ),
}


def rows_of(options: argparse.Namespace, done: dict[tuple, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Measure every case of the groups by every sampler that takes part; rows of an earlier run are yielded unchanged."""
    backend = backends.get(options.backend)
    for case in (case for case in CASES if case.n in options.groups):
        for name, (takes_part, measured) in SAMPLERS.items():
            key = f"SU({case.n})", "x".join(map(str, case.lattice)), case.beta, name
            if not takes_part(case):
                continue
            if key in done:
                yield done[key]
                continue
            begun = time.process_time()
            result = measured(case, backend, options.scale, options.seed)
            yield {
                **dict(zip(WORDS, key, strict=True)),
                "value": result.value,
                "error": result.error,
                "known": case.known,
                "expected": case.expected,
                "expected_error": case.error,
                "pull": (result.value - case.expected) / math.hypot(result.error, case.error),
                "effective": result.effective,
                "cpu_s": time.process_time() - begun,
            }


def key_of(row: dict[str, Any]) -> tuple:
    """Return the key of a row: group, lattice, beta and sampler."""
    return tuple(row[column] for column in WORDS)


def main() -> None:
    """Print all pulls, then the chi^2; store them if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, nargs="+", default=[2, 3, 4, 5], metavar="N")
    parser.add_argument("--backend", default="numpy")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="multiplies the number of draws; below 1 for a quick trial"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="results; rows already in the file are not measured again")
    options = parser.parse_args()
    if options.backend == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    recipe = {name: value for name, value in vars(options).items() if name != "json"}
    stored = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    rows = {key_of(row): row for row in stored["rows"]} if stored.get("recipe") == recipe else {}
    for row in rows_of(options, dict(rows)):
        print(
            "{group:6}{lattice:>9}{beta:6.2f}  {sampler:24}{value:10.6f} +-{error:9.6f}{expected:10.6f}{pull:+7.2f}"
            "  n_eff {effective:8.0f}{cpu_s:8.1f} s".format(**row),
            flush=True,
        )
        if key_of(row) in rows:
            continue
        rows[key_of(row)] = row
        if options.json:  # after each row: they take long
            write(options.json, "exactness_sun", recipe, list(rows.values()))
    judge([row["pull"] for row in rows.values()])


if __name__ == "__main__":
    main()
