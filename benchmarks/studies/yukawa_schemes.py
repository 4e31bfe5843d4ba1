"""The Yukawa model by the four exact schemes of arXiv:2106.05934, against quadrature on 2x2 and against HMC elsewhere.

    python -m haarflow.benchmarks.studies.yukawa_schemes [--lattices 2 8] [--lams 8 4] [--gs 0.3 0.8] [--steps 600]
        [--draws 400] [--chains 64] [--weighted 102400] [--estimates 4] [--two-wells 4] [--schemes NAME ...] [--backend jax]
        [--seed 2026] [--json FILE]

With `--json` every scheme is written when it is measured, and a later call with the same options measures what is missing.

At each point three flows are trained at m2 = -4. Of q(phi) q(chi|phi) the marginal factor with the exact determinant, the same
with an estimate of it (pseudo-marginal), Gibbs in the variables of the marginal flow, and the pair as a whole (autoregressive, by
Metropolis and by weights); of q(chi) q(phi|chi) the second factor, which proposes phi at chi drawn exactly (Gibbs, told); and a joint
flow of both, by Metropolis and by weights. They are compared with HMC, all started from chains that HMC has thermalised. No pull may exceed 3.5, and the
chi^2 of all must have p > 0.001; on 2x2 ln Z must be exact to 2e-3. The sign of det M is printed, and not judged. An estimate by
weights with a note, such as of too few effective draws, supports no comparison: it is printed as "not supported" and counted.

Where the field orders (`--two-wells` lam, beyond 2x2) a flow with the symmetry phi -> -phi cannot part its two wells: a bridge between
them keeps a quarter of its draws and its ESS below 0.01. There the flows that are weighed are made for one well and their density is
averaged over (phi, chi) -> (-phi, (-1)^x chi), in training too; chains start in the well of the flow, for all observables are even.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import time
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.benchmarks.harness import cells
from haarflow.benchmarks.harness.results import write
from haarflow.benchmarks.studies.exactness import judge
from haarflow.core import random, statistics
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.integrators import OMELYAN
from haarflow.core.chains.kernel import Kernel, run
from haarflow.core.chains.metropolis import IndependenceMetropolis
from haarflow.core.groups.additive import Real
from haarflow.core.spaces import Pair
from haarflow.core.statistics import Estimate
from haarflow.flows.conditionals import (
    links_given_pseudofermions,
    marginal_and_conditional,
    scalars_and_shears,
    scalars_and_shears_in_turn,
    shears_and_scalars,
)
from haarflow.flows.images import Images
from haarflow.flows.mixtures import symmetrised
from haarflow.flows.sampling.draws import draw
from haarflow.flows.training.loop import Training, start, train
from haarflow.flows.training.optimisers import Adam
from haarflow.flows.training.schedules import Cosine
from haarflow.theories.fermions.pseudofermions.pair_schemes import Gibbs, GibbsByFlow, PseudoMarginal, Refreshed
from haarflow.theories.models.yukawa import Yukawa, yukawa_pairs

OBSERVABLES = ("phi2", "chi2", "log_det", "phi_condensate", "sign")
JUDGED = OBSERVABLES[:-1]
MODELS: dict[str, Any] = {"pairs": scalars_and_shears, "told": shears_and_scalars, "joint": scalars_and_shears_in_turn}
FLOW_OF = {
    **dict.fromkeys(("marginal", "pseudo-marginal", "gibbs", "autoregressive"), "pairs"),
    "gibbs, told": "told",
    "joint": "joint",
}
SCHEMES = ("hmc", *FLOW_OF)
WEIGHTED = {f"{scheme} weights": scheme for scheme in ("autoregressive", "joint")}
KIND, BAR, M2 = "yukawa_schemes", 3.5, -4.0
MIRRORED = Images((0, 0), internal=("Z2",))
WELL = 0.7  # where the field of a flow of one well starts: phi^2 = -m2 / (2 lam) has 0.71 at lam = 4
WARMUP, WIDTH = 100, {2: 0.5, 8: 0.2}  # draws before a measurement; of Gibbs moves by the extent
LENGTH, STEPS = 0.45, 5  # of an HMC trajectory


class Trained(NamedTuple):
    """A model of pairs and its parameters on NumPy."""

    model: Any
    params: Any


class Point(NamedTuple):
    """Theories, couplings and a trained model at one lattice and one set of couplings."""

    pairs: Any
    alone: Yukawa
    couplings: dict[str, float]
    flows: dict[str, Trained]
    key: Any


def trained(extent: int, couplings: dict[str, float], options: Any) -> Point:
    """Return a point with its flows trained by the reverse Kullback-Leibler divergence of pairs; NumPy draws."""
    backend, lattice = backends.get(options.backend), (extent, extent)
    pairs, key, flows = yukawa_pairs(lattice), random.key(options.seed, backend), {}
    for name in dict.fromkeys(FLOW_OF[scheme] for scheme in options.schemes if scheme in FLOW_OF):
        model = _model(name, pairs, couplings, options)
        training = Training(model, pairs, Adam(Cosine(5e-3, options.steps), clip=1.0), batch=128)
        state = start(training, random.fold_in(key, 0))
        for progress in train(training, state, options.steps, couplings, every=100):
            state = progress.state
        flows[name] = Trained(model, tree_map(backend.to_numpy, state.params))
    return Point(pairs, Yukawa(lattice), couplings, flows, random.key(options.seed, backends.get("numpy")))


def _model(name: str, pairs: Any, couplings: dict[str, float], options: Any) -> Any:
    """An untrained model, where the field has two wells that of one of them, averaged over phi -> -phi."""
    given = (pairs.lattice, pairs.free, couplings["g"])
    if name == "told" or couplings["lam"] not in options.two_wells or max(pairs.lattice) == 2:
        return MODELS[name](*given)
    return symmetrised(MODELS[name](*given, shift=WELL), ("Z2",))


def kernel_of(point: Point, scheme: str, options: Any) -> Kernel:
    """Return the Markov kernel of a scheme."""
    if scheme == "hmc":
        values = {"couplings": point.couplings, "step_size": LENGTH / STEPS}
        return Refreshed(point.pairs, HMC(point.pairs.marginal, OMELYAN, STEPS, values))
    model, params = point.flows[FLOW_OF[scheme]]
    both = {"params": params, "couplings": point.couplings}
    if scheme in ("autoregressive", "joint"):
        return IndependenceMetropolis(model, point.pairs, values=both)
    if scheme == "gibbs, told":
        return GibbsByFlow(links_given_pseudofermions(model), point.pairs, both | {"params": params["1"]})
    marginal, conditional = marginal_and_conditional(model)
    if scheme == "pseudo-marginal":
        return PseudoMarginal(marginal, conditional, point.pairs, options.estimates, both)
    one = both | {"params": params["marginal"]}
    if scheme == "gibbs":
        return Gibbs(marginal, point.pairs, one | {"width": WIDTH.get(point.alone.lattice[0], 0.2)})
    return Refreshed(point.pairs, IndependenceMetropolis(marginal, point.pairs.marginal, values=one))


def thermalised(point: Point, options: Any) -> Pair:
    """Return pairs from HMC, in the well of positive fields: their mirror images are as likely."""
    kernel, key = kernel_of(point, "hmc", options), random.fold_in(point.key, 1)
    phi = 0.5 * random.normal(random.fold_in(key, 1 << 20), (options.chains, *point.alone.lattice))
    chi = point.pairs.refreshed(random.fold_in(key, 1 << 21), phi, point.couplings)
    field = run(kernel, key, kernel.init(Pair(phi, chi)), 3 * WARMUP)[0].field
    images = MIRRORED.of(field, Pair(Real(), Real()), point.alone.lattice)
    down = (numpy.mean(field.U, axis=(-2, -1)) < 0.0)[(slice(None), *(None,) * 3)]
    return Pair(numpy.where(down[..., 0], images.U[1], images.U[0]), numpy.where(down, images.phi[1], images.phi[0]))


def _company(point: Point, field: Pair, estimates: int) -> Pair:
    """A pair as one of several estimates, the others from the conditional flow."""
    model, params = point.flows["pairs"]
    conditional, params = marginal_and_conditional(model)[1], params["conditional"]
    xp = backends.of(field.U).xp
    keys = [random.fold_in(point.key, 100 + number) for number in range(estimates - 1)]
    others = [conditional.sample(params, key, field.U.shape[0], field.U)[0] for key in keys]
    return Pair(field.U, xp.stack([field.phi, *others], axis=1))


def by_chain(point: Point, name: str, field: Pair, options: Any) -> dict[str, Any]:
    """Return the estimates of a Markov chain."""
    begun, kernel, host = time.process_time(), kernel_of(point, name, options), backends.of(field.U).to_numpy
    number = SCHEMES.index(name)
    field = _company(point, field, options.estimates) if name == "pseudo-marginal" else field
    state, rows, accepted = kernel.init(field), [], []
    for block in range(1 + -(-options.draws // WARMUP)):
        key = random.fold_in(point.key, 10 + number)
        state, records = run(kernel, key, state, WARMUP, block * WARMUP, _measure(point))
        if block:
            rows.append({name: host(records["observables"][name]) for name in OBSERVABLES})
            accepted.append(float(numpy.mean(host(records["info"]["accepted"]).astype(float))))
    series = {name: numpy.concatenate([row[name] for row in rows]).T for name in OBSERVABLES}
    estimates = {name: _estimate(values) for name, values in series.items()}
    return _row(estimates, begun, float(numpy.mean(accepted)))


def _row(estimates: dict[str, Estimate], begun: float, quality: float) -> dict[str, Any]:
    """What is stored of a scheme: its estimates by name, and the acceptance or ESS of its draws."""
    numbers = {name: one._asdict() for name, one in estimates.items()}
    return {"cpu_s": time.process_time() - begun, "quality": quality, "estimates": numbers}


def _estimate(values: numpy.ndarray) -> Estimate:
    """The mean with the error of independent chains, whatever their correlation in time."""
    means = values.mean(axis=1)
    return Estimate(float(means.mean()), float(means.std(ddof=1)) / math.sqrt(len(means)))


_MEASURES: dict[Any, Any] = {}


def _measure(point: Point) -> Any:
    """The observables of a pair's scalar field, the same function for the same point."""
    key = (point.alone, tuple(point.couplings.items()))
    return _MEASURES.setdefault(key, partial(_observables, point.alone, point.couplings))


def _observables(theory: Yukawa, couplings: dict[str, float], pair: Pair) -> dict[str, Any]:
    return theory.observables(pair.U, couplings)


def by_weights(point: Point, scheme: str, options: Any) -> dict[str, Any]:
    """Return the estimates of weighted pairs, with ln Z without its factor pi^V."""
    model, params = point.flows[FLOW_OF[scheme]]
    begun, host = time.process_time(), backends.of(point.key).to_numpy
    log_w, rows, block = [], [], 4096
    for number in range(-(-options.weighted // block)):
        key = random.fold_in(point.key, 1000 + number)
        draws = draw(model, params, point.pairs, key, block, point.couplings, measure=_measure(point))
        log_w.append(host(draws.log_w))
        rows.append({name: host(draws.observables[name]) for name in OBSERVABLES})
    joined_log_w = numpy.concatenate(log_w)[None]
    weights = statistics.weights_of(joined_log_w)
    joined = {name: numpy.concatenate([row[name] for row in rows])[None] for name in OBSERVABLES}
    estimates = {name: statistics.reweight(weights, values) for name, values in joined.items()}
    found = statistics.log_z(joined_log_w[0])
    ln_z = found._replace(value=float(found.value or 0.0) - math.prod(point.alone.lattice) * math.log(math.pi))
    ess = float(statistics.ess(joined_log_w[0]))
    return _row(estimates | {"ln_Z": ln_z}, begun, ess)


class Bench:
    """What the schemes of one point share, made when a scheme first wants it: the trained flows, and thermalised pairs."""

    def __init__(self, extent: int, couplings: dict[str, float], options: Any) -> None:
        self.point = cache(partial(trained, extent, couplings, options))
        self.field = cache(lambda: thermalised(self.point(), options))
        self.options = options

    def measured(self, cell: cells.Cell) -> dict[str, Any]:
        """Measure one scheme."""
        name = cell["scheme"]
        if name in WEIGHTED:
            return by_weights(self.point(), WEIGHTED[name], self.options)
        return by_chain(self.point(), name, self.field(), self.options)


def with_pulls(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the pulls of those that are judged: HMC where there is quadrature, and all others."""
    plain = [{word: entry for word, entry in row.items() if word != "pulls"} for row in rows]
    hmc = {_point(row): row for row in plain if row["scheme"] == "hmc"}
    judged = [_point(row) in hmc and (row["scheme"] != "hmc" or "phi2" in exactly(row)) for row in plain]
    return [
        {**row, "pulls": pulls(row, hmc[_point(row)])} if wanted else row
        for row, wanted in zip(plain, judged, strict=True)
    ]


def _point(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["lattice"], row["lam"], row["g"]


def pulls(row: dict[str, Any], hmc: dict[str, Any]) -> dict[str, float]:
    """Return the pulls of a row by name, against quadrature where it is known, else against HMC: none of a row with a note."""
    exact = exactly(row)
    if notes(row):
        return {}
    known = {name: {"value": exact[name], "error": 0.0} if name in exact else hmc["estimates"][name] for name in JUDGED}
    return {name: _pull(row["estimates"][name], known[name]) for name in JUDGED}


def exactly(row: dict[str, Any]) -> dict[str, float]:
    """Return what is known at the point of a row."""
    theory = Yukawa((row["lattice"], row["lattice"]))
    return theory.exact({"m2": M2, "lam": row["lam"], "g": row["g"]})


def _pull(ours: dict[str, Any], known: dict[str, Any]) -> float:
    if None in (ours["value"], ours["error"], known["value"], known["error"]):
        raise ValueError(f"a scheme has no estimate with an error: {ours}, {known}")
    return float((ours["value"] - known["value"]) / math.hypot(ours["error"], known["error"]))


def shown(row: dict[str, Any]) -> str:
    """Return a row as text."""
    found = row["estimates"]
    numbers = [f"{name} {one['value']:.5f}({one['error'] or 0.0:.5f})" for name, one in found.items()]
    said = "".join(f"\n    not supported: {note}" for note in notes(row))
    largest = max(row.get("pulls", {}).items(), key=lambda entry: abs(entry[1]), default=None)
    pull = f" | {largest[1]:+.2f} {largest[0]}" if largest else ""
    exact = exactly(row).get("ln_Z") if "ln_Z" in found else None
    known = "" if exact is None else f" | ln Z exactly {exact:.5f}"
    return f"  {row['scheme']:16s} {'  '.join(numbers)} | {row['quality']:.3f}{pull}{known} | {row['cpu_s']:.0f} CPU s{said}"


def notes(row: dict[str, Any]) -> list[str]:
    """Why estimates of a row are not to be trusted, each once."""
    return list(dict.fromkeys(one["note"] for one in row["estimates"].values() if one["note"]))


def asked() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lattices", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--lams", type=float, nargs="+", default=[8.0, 4.0])
    parser.add_argument("--gs", type=float, nargs="+", default=[0.3, 0.8])
    parser.add_argument("--steps", type=int, default=600, help="steps of training")
    parser.add_argument("--draws", type=int, default=400, help="draws of each chain after its warm-up")
    parser.add_argument("--chains", type=int, default=64)
    parser.add_argument("--weighted", type=int, default=102_400, help="weighted draws of pairs")
    parser.add_argument("--estimates", type=int, default=4, help="pseudofermions of a pseudo-marginal weight")
    parser.add_argument(
        "--two-wells", type=float, nargs="*", default=[4.0], help="values of lam at which the field orders"
    )
    parser.add_argument(
        "--schemes", nargs="+", choices=SCHEMES, default=list(SCHEMES), metavar="NAME", help="hmc among them"
    )
    parser.add_argument("--backend", default="jax" if backends.is_present("jax") else "torch")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Train, measure and print all points, and judge their pulls together."""
    options = asked()
    words = ("steps", "draws", "chains", "weighted", "estimates", "two_wells", "backend", "seed")
    recipe = {name: getattr(options, name) for name in words}
    rows: list[dict[str, Any]] = []
    for extent, g, lam in itertools.product(options.lattices, options.gs, options.lams):
        print(f"{extent}x{extent}, lam {lam:g}, g {g:g}: value(error) | acceptance or ESS | ...", flush=True)
        schemes = [*options.schemes, *(name for name, scheme in WEIGHTED.items() if scheme in options.schemes)]
        wanted = [{"lattice": extent, "lam": lam, "g": g, "scheme": name} for name in schemes]
        bench = Bench(extent, {"m2": M2, "lam": lam, "g": g}, options)
        found = with_pulls(cells.measured(options.json, KIND, recipe, wanted, bench.measured))
        print("\n".join(map(shown, found)), flush=True)
        rows += found
    judge([pull for row in rows for pull in row.get("pulls", {}).values()], BAR)
    print(f"rows that are not supported: {sum(bool(notes(row)) for row in rows)}")
    if options.json:
        write(options.json, KIND, recipe, with_pulls(cells.stored(options.json, KIND, recipe)), cells.DIGITS)


if __name__ == "__main__":
    main()
