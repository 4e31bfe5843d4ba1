"""Whether fine-tuning made a flow better: both parameters on the same draws."""

from __future__ import annotations

import math

import numpy

from haarflow.backends.types import Params
from haarflow.core.statistics import ess, ess_difference
from haarflow.flows.mixtures import AnyModel
from haarflow.flows.sampling.draws import draw
from haarflow.run.build import Setup
from haarflow.run.records import FineTuneLine

DRAWS = 2048  # at each coupling, or fewer on large lattices


def compared(setup: Setup, model: AnyModel, begin: Params, end: Params) -> FineTuneLine:
    """Return the ESS of a flow before and after fine-tuning, from the same random numbers, and which parameters to keep.

    It is that at the theory's couplings, or for training on ranges of them the mean over their ends and their middle.
    """
    points = _couplings(setup)
    before, after = ([_log_w(setup, model, params, at) for at in points] for params in (begin, end))
    draws = sum(map(len, after))
    if any(numpy.isnan(one).any() for one in (*before, *after)):
        return FineTuneLine(draws, None, None, None, None, "start")
    found = [ess_difference(*pair) for pair in zip(after, before, strict=True)]
    difference = float(numpy.mean([one.value for one in found]))
    error = math.sqrt(sum((one.error or 0.0) ** 2 for one in found)) / len(found)
    start, last = (float(numpy.mean([ess(one) for one in each])) for each in (before, after))
    return FineTuneLine(draws, start, last, difference, error, "end" if difference >= 0.0 else "start")


def _couplings(setup: Setup) -> list[dict[str, float]]:
    target, ranges = setup.target.couplings, setup.recipe.train.between if setup.recipe.train else {}
    shares = (0.0, 0.5, 1.0) if ranges else (0.0,)
    return [target | {name: low + share * (high - low) for name, (low, high) in ranges.items()} for share in shares]


def _log_w(setup: Setup, model: AnyModel, params: Params, couplings: dict[str, float]) -> numpy.ndarray:
    train = setup.recipe.train
    condition = {name: couplings[name] for name in sorted(train.between)} if train and train.between else None
    n = max(16, min(DRAWS, 2**18 // math.prod(setup.recipe.lattice)))
    draws = draw(model, params, setup.target.theory, setup.stream("tune"), n, couplings, condition)
    return numpy.asarray(setup.backend.to_numpy(draws.log_w), dtype=float)
