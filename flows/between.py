"""Maps between couplings through the latent variables of a flow that is conditioned on them.

F_c takes the prior to the target at couplings c. Then

    f = F_b o F_a^-1,    log_det = log |det dF_b| + log |det dF_a^-1|,

takes the target at a to that at b, and its weights are near one where F errs at a and b alike, even if it errs much.
Such maps carry ensembles from one coupling to another (arXiv:2401.10874) and exchange replicas (arXiv:2404.11674).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.flows.flow import Flow
from haarflow.flows.symmetries import common


@dataclass(frozen=True)
class Between:
    """The map F_b o F_a^-1 of a conditioned flow F, itself a flow with F's parameters.

    Its condition is {"from": couplings a, "to": couplings b}, both as F is told them; or they stand in its definition
    as `start` and `end`, pairs of name and number, and it is told nothing. Between equal couplings it is the identity.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.u1.sweep import Sweep
    >>> flow = Between(Sweep(condition=("beta",)))
    >>> params, told = flow.init(random.key(0, backend)), {"from": {"beta": 4.0}, "to": {"beta": 4.4}}
    >>> x = random.uniform(random.key(1, backend), (3, 2, 4, 4))
    >>> y, log_det = flow.forward(params, x, told)
    >>> back, back_det = flow.inverse(params, y, told)
    >>> float(abs(log_det + back_det).max()) < 1e-12
    True
    """

    flow: Flow
    start: tuple[tuple[str, float], ...] = ()
    end: tuple[tuple[str, float], ...] = ()

    @property
    def symmetries(self) -> tuple[str, ...]:
        """Those of the flow."""
        return common([self.flow])

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return fresh parameters of the flow."""
        return self.flow.init(key, dtype)

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return f(x) and its log_det."""
        return self._mapped(params, x, condition, ("from", "to"))

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return f^-1(y) and its log_det: the map from b to a."""
        return self._mapped(params, y, condition, ("to", "from"))

    def _mapped(self, params: Params, x: Array, condition: Condition, ends: tuple[str, str]) -> tuple[Array, Array]:
        if self.start:
            condition = {"from": dict(self.start), "to": dict(self.end)}
        if condition is None or not {"from", "to"} <= condition.keys():
            raise ValueError(
                f'a map between couplings is told {{"from": couplings, "to": couplings}} as its condition, got {condition!r:.80}'
            )
        start, end = (condition[word] for word in ends)
        latent, down = self.flow.inverse(params, x, start)
        y, up = self.flow.forward(params, latent, end)
        return y, down + up


def told_between(ladder: Mapping[str, tuple[float, ...]], pair: int) -> dict[str, dict[str, float]]:
    """Return what `Between` is told of one pair of neighbours on a ladder of couplings.

    >>> told_between({"beta": (2.0, 3.0, 4.0)}, 1)
    {'from': {'beta': 3.0}, 'to': {'beta': 4.0}}
    """
    return {
        end: {name: values[number] for name, values in ladder.items()}
        for end, number in (("from", pair), ("to", pair + 1))
    }
