"""Conditional distributions q(phi|U) to draw from, and models of pairs q(U) q(phi|U) taken apart.

The exact schemes for pairs (`theories.fermions.pseudofermions.pair_schemes`) work with both factors, whatever the fields are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.flows.fermions.shears import FreeFermions, Shears
from haarflow.flows.flow import Flow, Model, Prior, precision
from haarflow.flows.mixtures import AnyModel
from haarflow.flows.pairs import PairFlow, PairPrior
from haarflow.flows.priors import Gaussian
from haarflow.flows.scalar.architectures import convolutional


@dataclass(frozen=True)
class Conditional:
    """The distribution q(phi|U) of a conditional flow on noise, to draw from and to evaluate.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.fermions.hopping import HoppingExponential
    >>> from haarflow.flows.priors import Noise
    >>> from haarflow.theories.fermions.hops import OddHops
    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> hops = OddHops(Wilson((4, 4)), kappa=0.1)
    >>> one = Conditional(Noise(hops.shape), HoppingExponential(hops))
    >>> params, links = one.flow.init(random.key(0, backend)), backend.xp.zeros((3, 2, 4, 4))
    >>> phi, log_q = one.sample(params, random.key(1, backend), 3, links)
    >>> bool(abs(log_q - one.log_density(params, phi, links)).max() < 1e-12)
    True
    """

    noise: Prior
    flow: Flow

    def sample(
        self, params: Params, key: Key, n: int, links: Array, condition: Condition = None
    ) -> tuple[Array, Array]:
        """Return n fields phi, one for each of the links `(n, ...)`, and their log-densities."""
        chi = self.noise.sample(key, n, precision(params))
        phi, log_det = self.flow.forward(params, chi, {**(condition or {}), "links": links})
        return phi, self.noise.log_density(chi) - log_det

    def log_density(self, params: Params, phi: Array, links: Array, condition: Condition = None) -> Array:
        """Return log q(phi|U) `(*batch,)`."""
        chi, log_det = self.flow.inverse(params, phi, {**(condition or {}), "links": links})
        return self.noise.log_density(chi) + log_det


def marginal_and_conditional(model: AnyModel) -> tuple[Model, Conditional]:
    """Return both factors of a model of pairs, q(U) and q(phi|U); its parameters are {"marginal": ..., "conditional": ...}.

    Raises TypeError for a model of another kind.
    """
    if not (isinstance(model, Model) and isinstance(model.prior, PairPrior) and isinstance(model.flow, PairFlow)):
        kind = type(model.flow if isinstance(model, Model) else model).__name__
        raise TypeError(f"a model of pairs q(U) q(phi|U) wanted, got {kind}")
    return Model(model.prior.links, model.flow.marginal), Conditional(model.prior.noise, model.flow.conditional)


def scalars_and_shears(
    lattice: tuple[int, ...],
    free: Callable[[float], FreeFermions],
    g: float = 0.3,
    flavours: int = 2,
    pairs: int = 1,
    bins: int = 6,
    hidden: tuple[int, ...] = (8,),
) -> Model:
    """Return the convolutional flow of a scalar field, and on it real pseudofermions by `Shears`.

    >>> from haarflow.theories.models.yukawa import yukawa_pairs
    >>> scalars_and_shears((4, 4), yukawa_pairs((4, 4)).free).prior.noise.field_shape
    (2, 4, 4)
    """
    scalars = convolutional(lattice, pairs, bins=bins, hidden=hidden)
    noise = Gaussian((flavours, *lattice), math.sqrt(0.5))
    return Model(PairPrior(scalars.prior, noise), PairFlow(scalars.flow, Shears(free(g))))
