"""Flows whose log-determinant is that of continuous time: their error of integration, measured on draws and taken out.

log w of n and 2n steps on the same prior draws gives that of continuous time up to the next order of the scheme (Richardson),

    log w = log w_2n + (log w_2n - log w_n) / (2^order - 1).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy

from haarflow import backends
from haarflow.backends.types import Array, Condition, Couplings, Key, Params, Theory
from haarflow.core.acceleration import accelerated
from haarflow.core.statistics import Estimate, log_z, reweight
from haarflow.flows.flow import precision
from haarflow.flows.proposals import Density, Draws, Proposal, Weighted, as_proposal, log_weight, modulus_and_phase
from haarflow.flows.traits import traits

ORDER = 3  # of the scheme of the flows along loops
NEGLIGIBLE = 0.1  # of the statistical error


@dataclass(frozen=True)
class Extrapolated:
    """Draws of a flow in continuous time with the weights of the limit of short steps: a `Proposal`.

    The fields are those of twice the steps, the nearest ones to the limit.
    """

    model: Any
    theory: Theory

    def draw(self, params: Params, key: Key, n: int, couplings: Couplings = None, condition: Condition = None) -> Draws:
        """Return n draws; a draw costs three times one of the flow."""
        x = self.model.prior.sample(key, n, precision(params))
        finer = dataclasses.replace(self.model, flow=self.model.flow.refined(2))
        (_, coarse), (y, fine) = (
            _weighed(model, self.theory, params, x, couplings, condition) for model in (self.model, finer)
        )
        log_w, phase = modulus_and_phase(limit(coarse, fine))
        return Draws(y, log_w, phase=phase)

    def weigh(self, params: Params, y: Array, couplings: Couplings = None, condition: Condition = None) -> Array:
        """Return the log weights `(n,)` of given configurations, by three inverse passes.

        The way back has the opposite error: log w of draws and of given configurations approach their limit from two sides.
        """
        finer = dataclasses.replace(self.model, flow=self.model.flow.refined(2))
        coarse, fine = (
            Weighted(model, self.theory).weigh(params, y, couplings, condition) for model in (self.model, finer)
        )
        log_w: Array = limit(coarse, fine)
        return log_w


class IntegrationError(NamedTuple):
    """How far log w of a flow in continuous time is off, from the same draws with 1, 2 and 4 times its steps.

    `shift` is the mean of log w - (log w of the flow), `error` its error: the scatter between draws, and what the extrapolation
    changes if it starts from half the steps. `spread` is the standard deviation of the difference between draws.
    """

    shift: float
    error: float
    spread: float

    def log_z(self, log_w: Any) -> Estimate:
        """Return ln Z from weights of the flow, corrected by the shift, with the error of that.

        >>> IntegrationError(0.5, 0.0, 0.0).log_z([0.0, 0.0]).value
        0.5
        """
        found = log_z(log_w)
        value = None if found.value is None else found.value + self.shift
        return _widened(found._replace(value=value), self.error)

    def reweight(self, log_w: Any, values: Any) -> Estimate:
        """Return a mean over weights of the flow; its error includes the bound spread x sigma on what the weights' errors do."""
        return _widened(reweight(log_w, values), self.spread * float(numpy.std(numpy.asarray(values))))

    def allowed(self, draws: int) -> bool:
        """Return whether weights are so nearly right that n independent draws cannot tell.

        The bias of a mean is at most spread x sigma, which must be below a tenth of the statistical error sigma / sqrt(n).

        >>> IntegrationError(0.1, 0.0, 0.01).allowed(50), IntegrationError(0.1, 0.0, 0.01).allowed(500)
        (True, False)
        """
        return self.spread * math.sqrt(draws) < NEGLIGIBLE

    def factor(self, draws: int) -> int:
        """Return by which factor more steps make the error negligible for n draws.

        >>> IntegrationError(0.1, 0.0, 0.01).factor(10_000)
        3
        """
        return max(math.ceil(math.pow(self.spread * math.sqrt(draws) / NEGLIGIBLE, 1.0 / ORDER)), 1)


def _widened(found: Estimate, error: float) -> Estimate:
    """The estimate with another error added in quadrature; without one where there is none."""
    return found if found.error is None else found._replace(error=math.hypot(found.error, error))


def integration_error(log_w: Callable[[Any], numpy.ndarray], flow: Any) -> IntegrationError:
    """Return the error of integration of a flow, given the function (flow) -> log w `(n,)` on the same prior draws.

    >>> from haarflow.flows.loops.flow import LoopFlow
    >>> flow = LoopFlow(2, 2, scheme="continuous", steps=2)
    >>> round(integration_error(lambda flow: numpy.asarray([1.0, 2.0]) - 0.08 / flow.steps**3, flow).shift, 9)
    0.01
    """
    one, two, four = (numpy.asarray(log_w(flow if factor == 1 else flow.refined(factor))) for factor in (1, 2, 4))
    off = limit(one, two) - one
    again = float(numpy.mean(limit(two, four) - limit(one, two)))
    spread = float(numpy.std(off, ddof=1))
    return IntegrationError(float(numpy.mean(off)), math.hypot(spread / math.sqrt(len(off)), again), spread)


def measured(
    model: Any, params: Params, theory: Theory, x: Array, couplings: Couplings = None, condition: Condition = None
) -> IntegrationError:
    """Return the error of integration of a model's flow on prior draws x."""

    def log_w(flow: Any) -> numpy.ndarray:
        found = _weighed(dataclasses.replace(model, flow=flow), theory, params, x, couplings, condition)[1]
        return numpy.asarray(backends.of(found).to_numpy(modulus_and_phase(found)[0]))

    return integration_error(log_w, model.flow)


def limit(coarse: Any, fine: Any) -> Any:
    """Return log w of continuous time from those of n and 2n steps.

    >>> limit(7.0, 0.0)
    -1.0
    """
    return fine + (fine - coarse) / (2.0**ORDER - 1.0)


def proposal_of(model: Density | Proposal, theory: Theory) -> Proposal:
    """Return a model as a proposal, one whose flow is integrated in continuous time with extrapolated weights."""
    flow = getattr(model, "flow", None)  # a density need not be made of a flow
    if not isinstance(model, Proposal) and traits(flow).integrated:
        return Extrapolated(model, theory)
    return as_proposal(model, theory)


def weigher_of(model: Density, theory: Theory) -> Extrapolated | Weighted:
    """Return what weighs given configurations by a model; one whose flow is integrated in continuous time with extrapolated weights."""
    flow = getattr(model, "flow", None)
    return Extrapolated(model, theory) if traits(flow).integrated else Weighted(model, theory)


def _weighed(
    model: Any, theory: Theory, params: Params, x: Array, couplings: Couplings, condition: Condition
) -> tuple[Array, Array]:
    """The fields that a model makes of prior draws, and their log w."""
    y, log_det = model.flow.forward(params, x, condition)
    return y, log_weight(accelerated(theory).action(y, couplings), model.prior.log_density(x) - log_det)
