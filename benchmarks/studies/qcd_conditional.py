"""Pseudofermions of QCD at fixed links: ESS of the hopping exponential by order, kappa and number of Hasenbusch's factors.

    python -m haarflow.benchmarks.studies.qcd_conditional [--extents 4 4 4 4] [--n 3] [--beta 1] [--kappas 0.1 0.12 0.14]
        [--orders 1 2 3 4] [--factors 1] [--configurations 1] [--draws 512] [--seed 1] [--summary FILE]

Links are draws of the flow of links at beta and kappa. With W = A^+ (Dhat Dhat^+)^-1 A of the map A of a field, the ESS is exactly
det(2 W - 1)/det(W)^2, and 0 where an eigenvalue of W is 1/2 or less, for then the variance of the weights is infinite; of several
factors it is the product. Beside it stands the ESS of --draws weighted draws at the first configuration, with the error of a jackknife
over 16 blocks. m factors take hopping parameters whose powers kappa^{2 (J + 1)}, the first that is cut off, are equally spaced.
Matrices have as many rows as there are components on the odd sites, 1,536 for SU(3) on 4^4.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy

from haarflow import backends
from haarflow.benchmarks.harness.results import write
from haarflow.core import random
from haarflow.core.spaces import Pair
from haarflow.core.statistics import ess, jackknife
from haarflow.flows.conditionals import Conditional
from haarflow.flows.fermions.factorised import FactorisedHopping
from haarflow.flows.fermions.hopping import HoppingExponential, Told
from haarflow.flows.pairs import conditional_of, loops_and_hops
from haarflow.flows.priors import Noise
from haarflow.theories.models.qcd import QCD

BATCH, BLOCKS = 128, 16  # fields at once; parts of a jackknife


def parsed() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extents", type=int, nargs="+", default=[4, 4, 4, 4])
    parser.add_argument("--n", type=int, default=3)
    parser.add_argument("--beta", type=float, default=1.0)
    parser.add_argument("--kappas", type=float, nargs="+", default=[0.1, 0.12, 0.14])
    parser.add_argument("--orders", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--factors", type=int, nargs="+", default=[1])
    parser.add_argument("--configurations", type=int, default=1)
    parser.add_argument("--draws", type=int, default=512)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--summary", type=Path, help="file for the table")
    return parser.parse_args()


def equal_parts(kappa: float, order: int, factors: int) -> tuple[float, ...]:
    """Return the hopping parameters between which kappa^{2 (order + 1)} is divided into equal parts.

    >>> equal_parts(0.2, 1, 1), round(equal_parts(1.0, 1, 2)[0] ** 4, 12)
    ((), 0.5)
    """
    return tuple(kappa * (1.0 - i / factors) ** (0.5 / (order + 1)) for i in range(1, factors))


def dense_of(linear: Callable[[Any], Any], shape: tuple[int, ...]) -> numpy.ndarray:
    """Return the matrix of a linear map of fields of a shape, by all unit vectors, BATCH at once."""
    size = math.prod(shape)
    units = numpy.eye(size, dtype=complex).reshape(size, *shape)
    columns = [linear(units[start : start + BATCH]) for start in range(0, size, BATCH)]
    return numpy.concatenate(columns).reshape(size, size).T


def exact_ess(flow: HoppingExponential, target: numpy.ndarray, links: numpy.ndarray) -> tuple[float, float]:
    """Return the ESS at fixed links of one field of weight e^{-|target^-1 phi|^2}, zero where it is infinitely bad, and the smallest
    eigenvalue of W.
    """
    coefficients = numpy.ones(flow.order)
    told = Told(flow.hops.prepare(links), numpy.zeros(flow.order))  # the matrix needs no traces
    a = dense_of(lambda x: flow.moved(coefficients, x, told, -1.0)[0], flow.shape)
    solved = numpy.linalg.solve(target, a)
    values = numpy.linalg.eigvalsh(solved.conj().T @ solved)
    if values.min() <= 0.5:
        return 0.0, float(values.min())
    return float(numpy.exp(numpy.sum(numpy.log(2 * values - 1) - 2 * numpy.log(values)))), float(values.min())


def of_factors(hops: Any, masses: tuple[float, ...], order: int, links: numpy.ndarray) -> tuple[float, float]:
    """Return the ESS of all factors' fields, the product, and the smallest eigenvalue of any W."""
    prepared, chain = hops.form.prepare(links), (hops.kappa, *masses)
    dense = [dense_of(partial(hops.form.schur, prepared, k), hops.shape) for k in chain]
    targets = [*[numpy.linalg.solve(heavy, light) for light, heavy in pairwise(dense)], dense[-1]]
    whole = conditional_of(hops, hops.kappa, order, masses)
    flows = whole.exponentials if isinstance(whole, FactorisedHopping) else (HoppingExponential(hops, order),)
    found = [exact_ess(flow, target, links) for flow, target in zip(flows, targets, strict=True)]
    return math.prod(size for size, _ in found), min(least for _, least in found)


def sampled_ess(theory: Any, kappa: float, order: int, links: numpy.ndarray, given: argparse.Namespace) -> Any:
    """Return the ESS of weighted draws at fixed links with its error."""
    host, log_w = backends.get("numpy"), []
    flow = conditional_of(theory.hops(kappa), kappa, order, theory.hasenbusch)
    one, params, key = (
        Conditional(Noise(flow.shape), flow),
        flow.init(random.key(0, host)),
        random.key(given.seed, host),
    )
    for number in range(-(-given.draws // BATCH)):
        repeated = numpy.broadcast_to(links, (BATCH, *links.shape))
        phi, log_q = one.sample(params, random.fold_in(key, number), BATCH, links)
        log_w.append(-theory.pseudofermion(Pair(repeated, phi), kappa)[0] - log_q)
    return jackknife(ess, numpy.concatenate(log_w)[: given.draws], blocks=BLOCKS)


def rows_of(given: argparse.Namespace, kappa: float) -> list[dict[str, Any]]:
    """Return the lines of one kappa, printed as they are found."""
    lattice, host, rows = tuple(given.extents), backends.get("numpy"), []
    hops = QCD(lattice, n=given.n).hops
    model = loops_and_hops(lattice, hops, given.n, given.beta, kappa)
    x = model.prior.sample(random.key(given.seed, host), given.configurations)
    links, _ = model.flow.marginal.forward(model.init(random.key(0, host))["marginal"], x.U)
    for order in given.orders:
        for factors in given.factors:
            start, masses = time.process_time(), equal_parts(kappa, order, factors)
            found = [of_factors(hops(kappa), masses, order, one) for one in links]
            row = {"kappa": kappa, "order": order, "factors": factors}
            row |= {"ess": float(numpy.mean([size for size, _ in found])), "least": min(least for _, least in found)}
            if given.draws:
                theory = QCD(lattice, n=given.n, hasenbusch=masses)
                drawn = sampled_ess(theory, kappa, order, links[0], given)
                row |= {"sampled": drawn.value, "sampled_error": drawn.error}
            rows.append(row | {"cpu_s": time.process_time() - start})
            print("".join(f"{x:14.4f}" if isinstance(x, float) else f"{x:>14}" for x in rows[-1].values()), flush=True)
    return rows


def main() -> None:
    """Print the table."""
    given = parsed()
    names = ("kappa", "order", "factors", "ESS", "least of W", *(("sampled", "error") if given.draws else ()), "CPU s")
    print("".join(f"{name:>14}" for name in names))
    rows = [row for kappa in given.kappas for row in rows_of(given, kappa)]
    if given.summary:
        write(given.summary, "qcd_conditional", {k: v for k, v in vars(given).items() if k != "summary"}, rows)


if __name__ == "__main__":
    main()
