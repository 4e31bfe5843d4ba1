"""Two densities in a row, q(U, phi) = q(U) q(phi|U): a marginal model of links, a conditional one of what lives on them.

Samplers of gauge fields with pseudofermions are of this form (arXiv:2207.08945, 2208.03832): the pair is weighed by one theory of
both fields, so that no determinant is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core import random
from haarflow.flows.proposals import Density


class Pair(NamedTuple):
    """Gauge links and the pseudofermion field on them, with the same batch axes."""

    links: Any
    phi: Any


@dataclass(frozen=True)
class Joint:
    """The density of pairs; parameters `{"marginal": ..., "conditional": ...}`.

    The conditional density gets the links in its condition, `{"links": U}`, beside what both get.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.fermions.hopping import HoppingExponential
    >>> from haarflow.flows.flow import Model, Translate
    >>> from haarflow.flows.priors import Noise, UniformLinks
    >>> from haarflow.theories.fermions.evenodd import EvenOdd
    >>> from haarflow.theories.fermions.hops import OddHops
    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> hops = OddHops(EvenOdd(Wilson((4, 4))), kappa=0.1)
    >>> haar = Model(UniformLinks((4, 4)), Translate((0, 0), internal=1))
    >>> joint = Joint(haar, Model(Noise(hops.shape), HoppingExponential(hops)))
    >>> pair, log_q = joint.sample(joint.init(random.key(0, backend)), random.key(1, backend), 3)
    >>> pair.links.shape, pair.phi.shape, log_q.shape
    ((3, 2, 4, 4), (3, 2, 8), (3,))
    """

    marginal: Density
    conditional: Density

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return fresh parameters of both."""
        parts: dict[str, Any] = {"marginal": self.marginal, "conditional": self.conditional}
        return {name: part.init(random.fold_in(key, index), dtype) for index, (name, part) in enumerate(parts.items())}

    def sample(self, params: Params, key: Key, n: int, condition: Condition = None) -> tuple[Pair, Array]:
        """Return n pairs and their log-densities `(n,)`."""
        links, log_q = self.marginal.sample(params["marginal"], random.fold_in(key, 0), n, condition)
        given = {**(condition or {}), "links": links}
        phi, log_q_given = self.conditional.sample(params["conditional"], random.fold_in(key, 1), n, given)
        return Pair(links, phi), log_q + log_q_given

    def log_density(self, params: Params, y: Pair, condition: Condition = None) -> Array:
        """Return log q(U) + log q(phi|U), `(*batch,)`."""
        given = {**(condition or {}), "links": y.links}
        log_q_given = self.conditional.log_density(params["conditional"], y.phi, given)
        return self.marginal.log_density(params["marginal"], y.links, condition) + log_q_given
