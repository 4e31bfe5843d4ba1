"""Whether Markov chains keep to one sign of the fermion determinant while the target has both.

The action -N_f ln|det D| is infinite where det D = 0. Trajectories of HMC turn back there, so that a chain may keep the sign
with which it began for ever, though its charge moves and its errors look small. Nothing in a series of equal signs tells that
from a determinant that is positive everywhere: another sampler of the same run does.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy

from haarflow.core import statistics
from haarflow.core.statistics import Estimate
from haarflow.results.ensemble import Sampled

LEAST = 10.0  # draws of the other sign that should have been met
WHY = (
    "HMC turns back where the determinant vanishes and the action is infinite, so that these are numbers of one part of the "
    "target: take flux hits or a flow, which step over"
)


def judged(name: str, samplers: Mapping[str, Sampled]) -> list[str]:
    """Return what is wrong with the sign of the determinant in a sampler's chains, a sentence or none.

    >>> positive = Sampled("hmc", {"sign": numpy.ones((2, 500))}, None, None)
    >>> signs = numpy.where(numpy.random.default_rng(0).uniform(size=(2, 500)) < 0.1, -1.0, 1.0)
    >>> judged("hmc", {"hmc": positive, "hits": Sampled("hmc", {"sign": signs}, None, None)})[0][:92]
    'the determinant is positive in all 1,000 draws, while it is negative in 8.9% ± 0.9% of the t'
    """
    sampled = samplers[name]
    sign = sampled.observables.get("sign")
    if sign is None or sampled.log_w is not None or numpy.any(sign != sign[:, :1]):
        return []
    if numpy.any(sign != sign[0, 0]):
        return [f"each of the {len(sign)} chains keeps the sign of the determinant with which it began: {WHY}"]
    for label, other in samplers.items():
        share = _share_of_others(other, float(sign[0, 0]))
        if share.value and share.error and share.value > 3.0 * share.error and share.value * sign.size >= LEAST:
            here, there = ("positive", "negative") if sign[0, 0] > 0 else ("negative", "positive")
            return [
                f"the determinant is {here} in all {sign.size:,} draws, while it is {there} in {share.value:.1%} ± "
                f"{share.error:.1%} of the target by {label}: {WHY}"
            ]
    return []


def _share_of_others(sampled: Sampled, sign: float) -> Estimate:
    """The share of the target with another sign."""
    if "sign" not in sampled.observables:
        return Estimate(None, None)
    others = (sampled.observables["sign"] != sign).astype(float)
    if sampled.weighted and sampled.log_w is not None:
        return statistics.reweight(sampled.log_w, others)
    return statistics.gamma_method(others)
