"""Laws of weighted draws where Z is known exactly: E_q[w] = Z for any model, bounds in order, and oracles with equal weights.

Models are taken with the parameters that `init` returns: untrained ones have to obey the laws as trained ones do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy

from haarflow.core import random
from haarflow.core.laws.law import Given, Law, Verdict, judge, to_host
from haarflow.core.statistics import ess, iwae
from haarflow.flows.sampling.draws import draw

DRAWS = 4096
EPSILON = 2.0**-52
GROUPS = (1, 4, 16, 64)  # of draws, in lower bounds on ln Z
PULLS = "5 standard errors, a chance failure has probability 6e-7; the seed is fixed"


@dataclass(frozen=True)
class KnownTarget:
    """A model, or another proposal, and a theory of which ln Z is known; `perfect` says that the model is the theory itself."""

    model: Any
    theory: Any
    couplings: Mapping[str, float] = field(compare=False)
    log_z: float
    perfect: bool = False

    def log_w(self, given: Given, n: int = DRAWS) -> numpy.ndarray:
        """Return the log weights `(n,)` of n draws on the host."""
        params = self.model.init(random.key(given.seed, given.backend), given.dtype)
        draws = draw(self.model, params, self.theory, given.key(9), n, self.couplings)
        return to_host(draws.log_w).astype("float64")


def mean_weight_is_z(log_w: Any, log_z: float, epsilon: float = EPSILON) -> Verdict:
    """E_q[w] = Z for the draws of any model.

    >>> mean_weight_is_z(numpy.log([0.5, 1.5] * 50), 0.0).passed
    True
    """
    w = numpy.exp(numpy.asarray(log_w) - log_z)
    error = max(float(w.std()) / math.sqrt(w.size), _rounding(log_w, epsilon))
    return judge(mean_weight_is_z, (float(w.mean()) - 1.0) / error, 5.0, PULLS, mean=float(w.mean()), ess=ess(log_w))


def perfect_weights(log_w: Any, log_z: float, epsilon: float = EPSILON) -> Verdict:
    """log w = ln Z for every draw of a model that is the target: ESS = 1.

    >>> perfect_weights([1.5, 1.5], 1.5).residual
    0.0
    """
    values = numpy.asarray(log_w)
    return judge(perfect_weights, values - log_z, _rounding(values, epsilon), "1000 ulp of the terms", ess=ess(values))


def bounds_in_order(log_w: Any, log_z: float, epsilon: float = EPSILON) -> Verdict:
    """E_q[log w] <= E_q[ln (w_1 + .. + w_k)/k] <= ln Z, nondecreasing in k on the same draws.

    >>> bounds_in_order(numpy.log([0.5, 1.5] * 32), 0.0).passed
    True
    """
    found = [iwae(log_w, group) for group in GROUPS if numpy.size(log_w) % group == 0]
    values = [math.nan if one.value is None else one.value for one in found]
    rounding = _rounding(log_w, epsilon)
    falls = float(numpy.max(-numpy.diff(values), initial=0.0)) / rounding
    above = [
        (value - log_z) / (5.0 * max(one.error or 0.0, rounding)) for value, one in zip(values, found, strict=True)
    ]
    return judge(bounds_in_order, max(falls, *above, 0.0), 1.0, f"rounding, and {PULLS}", bounds=values)


def _rounding(log_w: Any, epsilon: float) -> float:
    return 1e3 * epsilon * (1.0 + float(numpy.abs(numpy.asarray(log_w)).max()))


def _mean(obj: KnownTarget, given: Given) -> Verdict:
    return mean_weight_is_z(obj.log_w(given), obj.log_z, given.epsilon)


def _perfect(obj: KnownTarget, given: Given) -> Verdict:
    return perfect_weights(obj.log_w(given, 64), obj.log_z, given.epsilon)


def _bounds(obj: KnownTarget, given: Given) -> Verdict:
    return bounds_in_order(obj.log_w(given), obj.log_z, given.epsilon)


def _is_perfect(obj: KnownTarget) -> str | None:
    return None if obj.perfect else "it is not the target itself"


WEIGHT_LAWS: tuple[Law, ...] = (
    Law(perfect_weights, _perfect, _is_perfect),
    Law(mean_weight_is_z, _mean, sampled=True),
    Law(bounds_in_order, _bounds, sampled=True),
)
