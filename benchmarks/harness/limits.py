"""The bytes, operations and sines that a workload needs at least, and the time they take at the machine's best rates.

Bytes: inputs read once, results written once (without parameters, which are few). Operations: a product of complex
N x N matrices costs 8 N^3 - 2 N^2. Sines: one for each sine, cosine, logarithm or inverse function. The largest of the
three times is the limit of the workload; divided by the measured time it is the fraction of the limit that was reached.
Workloads that fit into the caches can exceed the bandwidth of memory; flows and training are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from haarflow.benchmarks.harness.problems import Problem
from haarflow.benchmarks.harness.workloads import STEPS

TRIES = 8  # of the heat bath of U(1), each with two sines and two logarithms
SUBGROUP = 5  # of SU(N)'s, in one try of a subgroup: two logarithms and a cosine, the sine and cosine of the direction


class Least(NamedTuple):
    """The least that one item must move (bytes) and compute (operations, sines)."""

    bytes: float
    operations: float = 0.0
    sines: float = 0.0


class Limit(NamedTuple):
    """What limits a workload, the CPU seconds of one item at the machine's best rates, and the counts behind them."""

    bound: str
    seconds: float
    least: Least


def least(problem: Problem, work: str) -> Least | None:
    """Return the least work of one item, or None if it is not counted.

    >>> least(Problem("phi4", (4, 4)), "force")
    Least(bytes=256, operations=144, sines=0.0)
    """
    if ":" in problem.subject:
        return None
    counts = {"phi4": _phi4, "u1": _u1}.get(problem.subject, _sun)
    width = 8 if problem.dtype == "float64" else 4
    return counts(problem, width).get(work)


def _phi4(problem: Problem, width: int) -> dict[str, Least]:
    sites, d = math.prod(problem.lattice), len(problem.lattice)
    return {
        "action": Least(sites * width, sites * (3 * d + 5)),
        "force": Least(2 * sites * width, sites * (2 * d + 5)),
    }


def _u1(problem: Problem, width: int) -> dict[str, Least]:
    sites, d = math.prod(problem.lattice), len(problem.lattice)
    links, loops = sites * d, sites * d * (d - 1) // 2
    return {
        "action": Least(links * width, 4 * loops, loops),
        "force": Least(2 * links * width, 8 * loops, loops),
        "plaquette": Least((links + loops) * width, 3 * loops),
        "hmc": Least(2 * links * width * STEPS, STEPS * (8 * loops + 4 * links), STEPS * loops),
        "heatbath": Least(2 * links * width, 0.0, 4 * TRIES * links),
    }


def _sun(problem: Problem, width: int) -> dict[str, Least]:
    n, sites, d = problem.theory.n, math.prod(problem.lattice), len(problem.lattice)
    links, loops = sites * d, sites * d * (d - 1) // 2
    matrix, algebra, product = 2 * n * n * width, (n * n - 1) * width, 8 * n**3 - 2 * n**2
    force = Least(links * (matrix + algebra), (6 * loops + links) * product)
    return {
        "action": Least(links * matrix, loops * (2 * product + 4 * n * n)),
        "force": force,
        "plaquette": Least((links + loops) * matrix, 3 * loops * product),
        "product": Least(3 * matrix, product),
        "hmc": Least(STEPS * links * 2 * (matrix + algebra), STEPS * (force.operations + 2 * links * product)),
        "heatbath": Least(
            2 * links * matrix,
            links * (4 * (d - 1) + 1) * product,
            SUBGROUP * len(problem.theory.group.subgroups) * links,
        ),
    }


def limit(problem: Problem, work: str, rates: Mapping[str, float]) -> Limit | None:
    """Return the limit of a workload on a machine of these `rates` (see machine.rates), or None if it is not counted.

    >>> rates = {"copy": 1e9, "flops_float64": 1e10, "sines": 1e8}
    >>> limit(Problem("u1", (4, 4)), "action", rates).bound
    'memory'
    """
    needed = least(problem, work)
    if needed is None:
        return None
    times = {
        "memory": needed.bytes / rates["copy"],
        "flops": needed.operations / rates[f"flops_{problem.dtype}"],
        "sines": needed.sines / rates["sines"],
    }
    bound = max(times, key=lambda name: times[name])
    return Limit(bound, times[bound], needed)


def reached(problem: Problem, work: str, rates: Mapping[str, float], seconds: float) -> dict[str, Any] | None:
    """Return `{"bound", "fraction"}` of a workload that took `seconds` per item."""
    found = limit(problem, work, rates)
    return None if found is None else {"bound": found.bound, "fraction": found.seconds / seconds}
