"""Flows of pairs (U, phi) of gauge links and a pseudofermion field, q(U, phi) = q(U) q(phi|U).

A marginal flow maps the links, a conditional one what lives on them; the pair is weighed by one theory of both fields, so that
no determinant is computed (arXiv:2207.08945, 2208.03832).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core import random
from haarflow.core.spaces import Pair, Space
from haarflow.flows.fermions.hopping import HoppingExponential, Hops
from haarflow.flows.fermions.shears import FreeFermions, Shears
from haarflow.flows.flow import Flow, Model, Prior, precision
from haarflow.flows.loops.flow import loops
from haarflow.flows.priors import Gaussian, Noise
from haarflow.flows.scalar.architectures import convolutional
from haarflow.flows.symmetries import common
from haarflow.flows.traits import traits


@dataclass(frozen=True)
class PairPrior:
    """Independent links and noise, each of its own prior.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.priors import Noise, UniformLinks
    >>> prior = PairPrior(UniformLinks((4, 4)), Noise((2, 8)))
    >>> [part.shape for part in prior.sample(random.key(0, backend), 3)]
    [(3, 2, 4, 4), (3, 2, 8)]
    """

    links: Prior
    noise: Prior

    @property
    def lattice(self) -> tuple[int, ...]:
        """The links' lattice."""
        return self.links.lattice

    @property
    def spaces(self) -> Pair:
        """The spaces of both fields."""
        return Pair(*(Space(prior.group, prior.field_shape) for prior in (self.links, self.noise)))

    @property
    def symmetries(self) -> tuple[str, ...]:
        """The symmetries of both."""
        return common([self.links, self.noise])

    def sample(self, key: Key, n: int, dtype: str = "float64") -> Pair:
        """Return n pairs."""
        return Pair(*(p.sample(random.fold_in(key, i), n, dtype) for i, p in enumerate((self.links, self.noise))))

    def log_density(self, x: Pair) -> Array:
        """Return log r(V) + log r(chi), `(*batch,)`."""
        return self.links.log_density(x.U) + self.noise.log_density(x.phi)


@dataclass(frozen=True)
class PairFlow:
    """U = f(V), phi = g(chi | U); parameters `{"marginal": ..., "conditional": ...}`.

    The conditional flow gets the links in its condition, `{"links": U}`, beside what both get. Jacobians of this order are
    triangular: the log-determinants add.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.fermions.hopping import HoppingExponential
    >>> from haarflow.flows.flow import Model, Translate
    >>> from haarflow.flows.priors import Noise, UniformLinks
    >>> from haarflow.theories.fermions.hops import OddHops
    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> hops = OddHops(Wilson((4, 4)), kappa=0.1)
    >>> flow = PairFlow(Translate((0, 0), internal=1), HoppingExponential(hops))
    >>> model = Model(PairPrior(UniformLinks((4, 4)), Noise(hops.shape)), flow)
    >>> pair, log_q = model.sample(model.init(random.key(0, backend)), random.key(1, backend), 3)
    >>> pair.phi.shape, log_q.shape
    ((3, 2, 8), (3,))
    """

    marginal: Flow
    conditional: Flow

    @property
    def integrated(self) -> bool:
        """Whether a log-determinant is that of continuous time."""
        return any(traits(flow).integrated for flow in (self.marginal, self.conditional))

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return fresh parameters of both."""
        parts = {"marginal": self.marginal, "conditional": self.conditional}
        return {name: flow.init(random.fold_in(key, i), dtype) for i, (name, flow) in enumerate(parts.items())}

    def forward(self, params: Params, x: Pair, condition: Condition = None) -> tuple[Pair, Array]:
        """Return (U, phi) and the sum of the log-determinants."""
        links, log_det = self.marginal.forward(params["marginal"], x.U, condition)
        phi, log_det_given = self.conditional.forward(params["conditional"], x.phi, _given(links, condition))
        return Pair(links, phi), log_det + log_det_given

    def inverse(self, params: Params, y: Pair, condition: Condition = None) -> tuple[Pair, Array]:
        """Return (V, chi) and the sum of the log-determinants."""
        links, log_det = self.marginal.inverse(params["marginal"], y.U, condition)
        chi, log_det_given = self.conditional.inverse(params["conditional"], y.phi, _given(y.U, condition))
        return Pair(links, chi), log_det + log_det_given


def _given(links: Array, condition: Condition) -> dict[str, Any]:
    return {**(condition or {}), "links": links}


def loops_and_hops(
    lattice: tuple[int, ...],
    hops: Callable[[float], Hops],
    n: int = 3,
    beta: float = 1.0,
    kappa: float = 0.1,
    hop_order: int = 2,
    order: int = 2,
    degree: int = 1,
    steps: int = 1,
) -> Model:
    """Return SU(n) links along loops, and on them pseudofermions by a hopping exponential of `hop_order`: nothing is trained.

    The links are those of the coupling that the leading term of two flavours makes of beta, see `effective_beta`.

    >>> from haarflow.theories.models.qcd import QCD
    >>> loops_and_hops((4, 4, 4, 4), QCD((4, 4, 4, 4)).hops, kappa=0.1).flow.marginal.beta
    1.0096
    """
    links = loops(lattice, n, effective_beta(beta, kappa, n, len(lattice)), order, steps, degree)
    map_of_odd_sites = hops(kappa)
    flow = PairFlow(links.flow, HoppingExponential(map_of_odd_sites, hop_order))
    return Model(PairPrior(links.prior, Noise(map_of_odd_sites.shape)), flow)


def effective_beta(beta: float, kappa: float, n: int, d: int) -> float:
    """Return beta + 8 s n kappa^4, s = 2^(d/2): two flavours weigh every plaquette with e^{8 s kappa^4 Re tr U_P} and more.

    >>> effective_beta(1.0, 0.1, 3, 4)
    1.0096
    """
    return beta + 8.0 * (1 << d // 2) * n * kappa**4


@dataclass(frozen=True)
class Conditional:
    """The distribution q(phi|U) of a conditional flow on noise, to draw from and to evaluate.

    >>> from haarflow.backends import numpy as backend
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
        phi, log_det = self.flow.forward(params, chi, _given(links, condition))
        return phi, self.noise.log_density(chi) - log_det

    def log_density(self, params: Params, phi: Array, links: Array, condition: Condition = None) -> Array:
        """Return log q(phi|U) `(*batch,)`."""
        chi, log_det = self.flow.inverse(params, phi, _given(links, condition))
        return self.noise.log_density(chi) + log_det


def marginal_and_conditional(model: Model) -> tuple[Model, Conditional]:
    """Return both factors of a model of pairs, q(U) and q(phi|U); its parameters are {"marginal": ..., "conditional": ...}.

    Raises TypeError for a model of another kind.
    """
    if not (isinstance(model.prior, PairPrior) and isinstance(model.flow, PairFlow)):
        raise TypeError(f"a model of pairs q(U) q(phi|U) wanted, got {type(model.flow).__name__}")
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
