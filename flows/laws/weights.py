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
from haarflow.flows.proposals import Draws
from haarflow.flows.sampling.draws import draw

DRAWS = 4096
EPSILON = 2.0**-52
STEP = 0.02  # of a coupling in a slope, whose own error is of second order
GROUPS = (1, 4, 16, 64)  # of draws, in lower bounds on ln Z
PULLS = "5 standard errors, a chance failure has probability 6e-7; the seed is fixed"


@dataclass(frozen=True)
class KnownTarget:
    """A model, or another proposal, and a theory of which ln Z is known; `perfect` says that the model is the theory itself,
    `told` names the couplings on which the model is conditioned.
    """

    model: Any
    theory: Any
    couplings: Mapping[str, float] = field(compare=False)
    log_z: float
    perfect: bool = False
    told: tuple[str, ...] = ()

    def log_w(self, given: Given, n: int = DRAWS) -> numpy.ndarray:
        """Return the log weights `(n,)` of n draws on the host."""
        return to_host(self.draws(given, n, self.couplings).log_w).astype("float64")

    def draws(self, given: Given, n: int, couplings: Mapping[str, float], measure: Any = None) -> Draws:
        """Return n draws with weights at some couplings, the model told of them; the same random numbers at all of them."""
        params = self.model.init(random.key(given.seed, given.backend), given.dtype)
        condition = {name: couplings[name] for name in self.told} or None
        return draw(self.model, params, self.theory, given.key(9), n, couplings, condition, measure)


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


def slope_is_the_action(ahead: Any, behind: Any, here: Any, slope: Any, step: float) -> Verdict:
    """d ln Z/dc = -<dS/dc>_w along one coupling of a conditioned model, ln Z = ln E_q[w] from the same random numbers throughout.

    `ahead`, `behind` and `here` are log weights at c + step, c - step and c, `slope` is dS/dc of the draws at c; the error is
    that of the difference of both sides.

    >>> here = numpy.log([0.5, 1.5] * 50)
    >>> slope_is_the_action(here + 0.01, here - 0.01, here, numpy.full(100, -1.0), 0.01).passed
    True
    """
    logs = [numpy.asarray(one, dtype=float) for one in (ahead, behind, here)]
    means = [float(one.max() + math.log(numpy.mean(numpy.exp(one - one.max())))) for one in logs]
    up, down, now = (numpy.exp(one - mean) for one, mean in zip(logs, means, strict=True))
    values = numpy.asarray(slope, dtype=float)
    mean = float(numpy.mean(now * values))
    terms = (up - down) / (2.0 * step) + now * (values - mean)
    error = max(float(terms.std()) / math.sqrt(terms.size), _rounding(here, EPSILON) / step)
    difference = (means[0] - means[1]) / (2.0 * step)
    return judge(slope_is_the_action, (difference + mean) / error, 5.0, PULLS, difference=difference, slope=-mean)


def _rounding(log_w: Any, epsilon: float) -> float:
    return 1e3 * epsilon * (1.0 + float(numpy.abs(numpy.asarray(log_w)).max()))


def _mean(obj: KnownTarget, given: Given) -> Verdict:
    return mean_weight_is_z(obj.log_w(given), obj.log_z, given.epsilon)


def _slopes(obj: KnownTarget, given: Given) -> Verdict:
    """The verdict along the first coupling of which the model is told."""
    name, here = obj.told[0], dict(obj.couplings)
    ahead, behind = (to_host(obj.draws(given, DRAWS, here | {name: here[name] + move}).log_w) for move in (STEP, -STEP))
    there = here | {name: here[name] + 1.0}
    found = obj.draws(given, DRAWS, here, lambda x: obj.theory.action(x, there) - obj.theory.action(x, here))
    return slope_is_the_action(ahead, behind, to_host(found.log_w), to_host(found.observables), STEP)


def _is_told(obj: KnownTarget) -> str | None:
    return None if obj.told else "its model is conditioned on no coupling"


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
    Law(slope_is_the_action, _slopes, _is_told, sampled=True),
)
