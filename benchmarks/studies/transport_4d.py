"""Parallel-transport couplings in four dimensions beside the hopping exponential, at the parameters of arXiv:2208.03832.

    python -m haarflow.benchmarks.studies.transport_4d [--extent 4] [--beta 1] [--kappa 0.1] [--repeats 1] [--orders 1 2]
        [--batch 8] [--links 32] [--minutes 8] [--draws 64] [--seed 1] [--json FILE]

Links are those of pure SU(3) gauge theory by heat bath, half to train on, half to test on. The loop that trains recipes trains pairs
(U, phi) of which phi alone moves: reverse KL, the links drawn from those kept, until the CPU minutes are spent. A row for each flow:
its numbers, the divergence from e^{-phi^+ (Dhat Dhat^+)^-1 phi} at links kept for the test, with its error, the ESS at fixed links of
so many draws, CPU milliseconds a draw and, of divergences small enough to have one, -1/ln ESS for each number and CPU second.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy

from haarflow import backends
from haarflow.backends.tree import leaves, tree_map
from haarflow.backends.types import Array, Key
from haarflow.benchmarks.harness.results import write
from haarflow.core import random, statistics
from haarflow.core.chains.heatbath_sun import SUNHeatBath
from haarflow.core.chains.kernel import run
from haarflow.core.spaces import Pair
from haarflow.flows.fermions.hopping import HoppingExponential
from haarflow.flows.fermions.transport import transport_layers
from haarflow.flows.flow import Chain, Model
from haarflow.flows.pairs import Moves, PairPrior
from haarflow.flows.priors import HaarLinks, Noise
from haarflow.flows.training.loop import Training, start, train
from haarflow.flows.training.optimisers import Adam
from haarflow.theories.fermions.pseudofermions.pairs import WithPseudofermions
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.gauge.sun import SUNGauge

SWEEPS, RATE, BLOCK = 20, 0.01, 10


@dataclass(frozen=True, eq=False)
class Kept:
    """A prior of links that draws from those that are kept: what flows of phi alone are trained on."""

    fields: Any

    group = property(lambda self: HaarLinks(self.lattice, 3).group)
    lattice = property(lambda self: tuple(self.fields.shape[-4:]))
    field_shape = property(lambda self: tuple(self.fields.shape[1:]))
    symmetries = ()

    def sample(self, key: Key, n: int, dtype: str = "float64") -> Array:
        """Return n of the links."""
        backend = backends.of(key)
        number = random.uniform(key, (n,), dtype) * len(self.fields)
        return backend.xp.take(backend.asarray(self.fields), backend.xp.astype(number, backend.xp.int32), axis=0)

    def log_density(self, x: Array) -> Array:
        """Return 0: links do not move."""
        return 0.0 * backends.of(x).xp.real(x[(..., *(0,) * 7)])


def parsed() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extent", type=int, default=4)
    parser.add_argument("--beta", type=float, default=1.0)
    parser.add_argument("--kappa", type=float, default=0.1)
    parser.add_argument("--repeats", type=int, nargs="*", default=[1], help="rounds of the masks, 16 layers each")
    parser.add_argument("--orders", type=int, nargs="*", default=[1, 2], help="hopping orders")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--links", type=int, default=32, help="gauge fields to train on, and as many for the test")
    parser.add_argument("--minutes", type=float, default=8.0, help="CPU minutes of training for each flow")
    parser.add_argument("--draws", type=int, default=64, help="draws at each of four gauge fields of the test")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def gauge_fields(given: argparse.Namespace) -> numpy.ndarray:
    """Return independent chains of the heat bath after SWEEPS sweeps from Haar: far beyond its memory at small beta."""
    gauge, key = SUNGauge((given.extent,) * 4, n=3), random.key(given.seed, backends.get("numpy"))
    kernel = SUNHeatBath(gauge, values={"couplings": {"beta": given.beta}})
    start_field = HaarLinks(gauge.lattice, 3).sample(random.fold_in(key, 0), 2 * given.links)
    return run(kernel, random.fold_in(key, 1), kernel.init(start_field), SWEEPS)[0].field


def trained(flow: Any, theory: Any, links: numpy.ndarray, given: argparse.Namespace) -> tuple[Any, int]:
    """Return the parameters after the CPU minutes of training, on NumPy, and the number of steps."""
    backend, couplings = backends.get("jax"), {"beta": given.beta, "kappa": given.kappa}
    model = Model(PairPrior(Kept(links), Noise(theory.form.packed_shape)), Moves("phi", flow))
    training = Training(model, theory, Adam(RATE, clip=1.0), batch=given.batch)
    state, number = start(training, random.key(given.seed, backend)), 0
    for progress in train(training, state, 10**6, couplings, every=BLOCK):
        state, number = progress.state, progress.step
        if progress.cpu_s > 60.0 * given.minutes:
            break
    return tree_map(backend.to_numpy, state.params), number


def measured(flow: Any, params: Any, theory: Any, links: numpy.ndarray, given: argparse.Namespace) -> tuple[Any, ...]:
    """Return the divergence with its error, the mean ESS at fixed links, and CPU seconds a draw without its weight."""
    noise, key, kappa = Noise(theory.form.packed_shape), random.key(given.seed + 1, backends.get("numpy")), given.kappa
    found, spent = [], 0.0
    for number, field in enumerate(links[:4]):
        chi = noise.sample(random.fold_in(key, number), given.draws)
        told, begun = numpy.broadcast_to(field, (given.draws, *field.shape)), time.process_time()
        phi, log_det = flow.forward(params, chi, {"links": told})
        spent += time.process_time() - begun
        action = theory.pseudofermion(Pair(told, phi), kappa)[0]
        found.append(-action - noise.log_density(chi) + log_det - _log_z(theory, field, kappa))
    minus = -numpy.stack(found)
    ess = numpy.mean([statistics.ess(-row) for row in minus])
    return minus.mean(), minus.std(ddof=1) / math.sqrt(minus.size), float(ess), spent / minus.size


def _log_z(theory: Any, field: numpy.ndarray, kappa: float) -> float:
    """ln of the integral of e^{-S_pf} at fixed links, pi^n det(Dhat Dhat^+)."""
    two = -float(theory.marginal.terms[1].action(field, {"kappa": kappa}))
    return math.prod(theory.form.packed_shape) * math.log(math.pi) + two


def main() -> None:
    """Train, measure and print the rows."""
    given = parsed()
    lattice = (given.extent,) * 4
    theory = WithPseudofermions(SUNGauge(lattice, n=3), Wilson(lattice, n=3))
    links, record = gauge_fields(given), []
    fit, test = links[: given.links], links[given.links :]
    hops = theory.hops(given.kappa)
    flows: list[tuple[str, Any, bool]] = [
        (f"exponential, J = {order}", HoppingExponential(hops, order), False) for order in given.orders
    ]
    for r in given.repeats:
        layers = Chain(transport_layers(lattice, 3, r))
        flows += [(f"transport, {16 * r} layers", layers, learnt) for learnt in (False, True)]
    print(
        f"{'':>24}{'numbers':>8}{'steps':>7}{'KL':>10}{'+-':>7}{'ESS':>10}{'ms a draw':>11}{'merit a number':>16}{'a CPU ms':>10}"
    )
    for name, flow, learnt in flows:
        params, steps = flow.init(random.key(given.seed, backends.get("numpy"))), 0
        if learnt:
            params, steps = trained(flow, theory, fit, given)
        kl, error, ess, seconds = measured(flow, params, theory, test, given)
        count = sum(math.prod(x.shape) for x in leaves(params))
        merit = -1.0 / math.log(ess) if given.draws * ess > statistics.ENOUGH / 10 else 0.0
        row = f"{name:>24}{count:8d}{steps:7d}{kl:10.3f}{error:7.3f}{ess:10.4f}{1e3 * seconds:11.3f}"
        print(f"{row}{merit / count:16.3f}{merit / (1e3 * seconds):10.3f}", flush=True)
        record.append(
            {"flow": name, "numbers": count, "steps": steps, "kl": kl, "kl_error": error, "ess": ess, "s": seconds}
        )
    if given.json:
        write(given.json, "transport_4d", {"beta": given.beta, "kappa": given.kappa, "seed": given.seed}, record)


if __name__ == "__main__":
    main()
