"""Flows of pairs (U, phi) of gauge links and a pseudofermion field, q(U, phi) = q(U) q(phi|U).

A marginal flow maps the links, a conditional one what lives on them; the pair is weighed by one theory of both fields, so that
no determinant is computed (arXiv:2207.08945, 2208.03832).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core import random
from haarflow.core.spaces import Pair, Space
from haarflow.flows.fermions.hopping import HoppingExponential, Hops
from haarflow.flows.fermions.transport import transport_layers
from haarflow.flows.flow import Chain, Flow, Model, Prior
from haarflow.flows.loops.flow import LoopFlow
from haarflow.flows.priors import HaarLinks, Noise
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

    @property
    def fixed(self) -> dict[str, float]:
        """The couplings by which a part is defined."""
        return {**(traits(self.marginal).fixed or {}), **(traits(self.conditional).fixed or {})}

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
    antiperiodic: bool = True,
    lines: bool = True,
) -> Model:
    """Return SU(n) links along loops, and on them pseudofermions by a hopping exponential of `hop_order`: nothing is trained.

    The links are those of the coupling that the leading term of two flavours makes of beta, see `effective_beta`, and with
    `lines` of that of straight lines where an extent is 4, see `effective_lines`.

    >>> from haarflow.theories.models.qcd import QCD
    >>> loops_and_hops((4, 4, 4, 4), QCD((4, 4, 4, 4)).hops, kappa=0.1).flow.marginal.beta
    1.0096
    """
    around = effective_lines(kappa, lattice, antiperiodic) if lines else ()
    coupling = effective_beta(beta, kappa, n, len(lattice))
    links = LoopFlow(n, len(lattice), order, coupling, steps, degree, lines=around if any(around) else ())
    map_of_odd_sites = hops(kappa)
    conditional = HoppingExponential(map_of_odd_sites, hop_order)
    return Model(PairPrior(HaarLinks(tuple(lattice), n), Noise(map_of_odd_sites.shape)), PairFlow(links, conditional))


def loops_and_transport(
    lattice: tuple[int, ...],
    n: int = 3,
    beta: float = 1.0,
    kappa: float = 0.1,
    repeats: int = 1,
    order: int = 2,
    degree: int = 1,
    steps: int = 1,
    antiperiodic: bool = True,
) -> Model:
    """Return SU(n) links along loops at `effective_beta`, and on them pseudofermions by parallel-transport couplings, which are
    at first the identity.

    >>> len(loops_and_transport((4, 4), n=2, order=1).flow.conditional.flows)
    8
    """
    links = LoopFlow(n, len(lattice), order, effective_beta(beta, kappa, n, len(lattice)), steps, degree)
    layers = transport_layers(tuple(lattice), n, repeats, antiperiodic)
    prior = PairPrior(HaarLinks(tuple(lattice), n), Noise(layers[0].shape))
    return Model(prior, PairFlow(links, Chain(layers)))


def effective_beta(beta: float, kappa: float, n: int, d: int) -> float:
    """Return beta + 8 s n kappa^4, s = 2^(d/2): two flavours weigh every plaquette with e^{8 s kappa^4 Re tr U_P} and more.

    >>> effective_beta(1.0, 0.1, 3, 4)
    1.0096
    """
    return beta + 8.0 * (1 << d // 2) * n * kappa**4


def effective_lines(kappa: float, lattice: tuple[int, ...], antiperiodic: bool = True) -> tuple[float, ...]:
    """Return a_mu = -+ 32 s kappa^4, s = 2^(d/2): two flavours weigh a straight line L around an extent of 4 with
    e^{a_mu Re tr L}; a_mu is positive for antiperiodic time, axis 0, and 0 for other extents.

    A line of four links comes with kappa^4 as a plaquette does, with 8 s for the spin trace of its projectors and not -2 s.

    >>> effective_lines(0.1, (4, 4, 4, 6))
    (0.0128, -0.0128, -0.0128, 0.0)
    """
    size = 32.0 * (1 << len(lattice) // 2) * kappa**4
    signs = [1.0 if antiperiodic and axis == 0 else -1.0 for axis in range(len(lattice))]
    return tuple(round(sign * size, 15) if extent == 4 else 0.0 for sign, extent in zip(signs, lattice, strict=True))
