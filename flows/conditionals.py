"""Conditional distributions q(phi|U) or q(U|phi) to draw from, models of pairs taken apart, and those of the Yukawa model.

The exact schemes for pairs (`theories.fermions.pseudofermions.pair_schemes`) work with both factors, whatever the fields are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.flows.fermions.bilinears import EVEN, ODD, Bilinears
from haarflow.flows.fermions.shears import ConstantMass, FreeFermions, Shears
from haarflow.flows.flow import Chain, Flow, Model, Prior, precision
from haarflow.flows.mixtures import AnyModel
from haarflow.flows.pairs import TOLD, Featured, Moves, PairFlow, PairPrior
from haarflow.flows.priors import Gaussian
from haarflow.flows.scalar.architectures import convolutional, couplings
from haarflow.flows.scalar.nets import CheckerboardNet


@dataclass(frozen=True)
class Conditional:
    """The distribution q(phi|U) of a conditional flow on noise, to draw from and to evaluate; or q(U|phi).

    The flow gets the other field in its condition under the name `told`, "links" for U and "pseudofermions" for phi.

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
    told: str = "links"

    def sample(
        self, params: Params, key: Key, n: int, other: Array, condition: Condition = None
    ) -> tuple[Array, Array]:
        """Return n fields, one for each of the other fields `(n, ...)`, and their log-densities."""
        chi = self.noise.sample(key, n, precision(params))
        y, log_det = self.flow.forward(params, chi, {**(condition or {}), self.told: other})
        return y, self.noise.log_density(chi) - log_det

    def log_density(self, params: Params, y: Array, other: Array, condition: Condition = None) -> Array:
        """Return log q(y|other) `(*batch,)`."""
        chi, log_det = self.flow.inverse(params, y, {**(condition or {}), self.told: other})
        return self.noise.log_density(chi) + log_det


def marginal_and_conditional(model: AnyModel) -> tuple[Model, Conditional]:
    """Return both factors of a model of pairs, q(U) and q(phi|U); its parameters are {"marginal": ..., "conditional": ...}.

    Of a model averaged over images q(U) is averaged over them and q(phi|U) is not: each of them is a normalised density. Raises TypeError for a model of another kind.
    """
    if not (isinstance(model, Model) and isinstance(model.prior, PairPrior) and isinstance(model.flow, PairFlow)):
        raise TypeError(f"a model of pairs q(U) q(phi|U) wanted, got {_kind(model)}")
    marginal = Model(model.prior.links, model.flow.marginal, model.images)
    return marginal, Conditional(model.prior.noise, model.flow.conditional)


def links_given_pseudofermions(model: AnyModel) -> Conditional:
    """Return the factor q(U|phi) of a model of pairs q(phi) q(U|phi), whose parameters are those of the last layer, "1".

    Raises TypeError for a model of another kind.
    """
    found = _reversed(model)
    if found is None:
        raise TypeError(f"a model of pairs q(phi) q(U|phi) wanted, got {_kind(model)}")
    prior, links = found
    return Conditional(prior.links, links.flow, TOLD["U"])


def is_reversed(model: AnyModel) -> bool:
    """Return whether a model of pairs is q(phi) q(U|phi): a layer of the pseudofermions, and one of the links that is told them.

    >>> from haarflow.theories.models.yukawa import yukawa_pairs
    >>> free = yukawa_pairs((4, 4)).free
    >>> is_reversed(shears_and_scalars((4, 4), free)), is_reversed(scalars_and_shears((4, 4), free))
    (True, False)
    """
    return _reversed(model) is not None


def _reversed(model: AnyModel) -> tuple[PairPrior, Moves] | None:
    """The prior and the layer of the links of a model q(phi) q(U|phi), None for others."""
    if not (isinstance(model, Model) and isinstance(model.prior, PairPrior) and isinstance(model.flow, Chain)):
        return None
    layers = [layer for layer in model.flow.flows if isinstance(layer, Moves)]
    right = [layer.field for layer in layers] == ["phi", "U"] and len(model.flow.flows) == 2
    return (model.prior, layers[1]) if right else None


def _kind(model: AnyModel) -> str:
    return type(model.flow if isinstance(model, Model) else model).__name__


def scalars_and_shears(
    lattice: tuple[int, ...],
    free: Callable[[float], FreeFermions],
    g: float = 0.3,
    flavours: int = 2,
    pairs: int = 1,
    bins: int = 6,
    hidden: tuple[int, ...] = (8,),
    shift: float = 0.0,
) -> Model:
    """Return the convolutional flow of a scalar field, and on it real pseudofermions by `Shears`.

    With a shift the scalar flow is made for one of two wells, see `convolutional`: the field starts at `shift`, and no layer has the
    symmetry phi -> -phi, over which the density of the pair may then be averaged.

    >>> from haarflow.theories.models.yukawa import yukawa_pairs
    >>> scalars_and_shears((4, 4), yukawa_pairs((4, 4)).free).prior.noise.field_shape
    (2, 4, 4)
    """
    scalars = convolutional(lattice, pairs, bins=bins, hidden=hidden, shift=shift, tails=not shift, symmetric=not shift)
    return Model(_prior(scalars, flavours, lattice), PairFlow(scalars.flow, Shears(free(g))))


def _prior(scalars: Model, flavours: int, lattice: tuple[int, ...]) -> PairPrior:
    """The prior of a model of scalar fields, and e^{-|chi|^2} of the real pseudofermions."""
    return PairPrior(scalars.prior, Gaussian((flavours, *lattice), math.sqrt(0.5)))


def scalars_and_shears_in_turn(
    lattice: tuple[int, ...],
    free: Callable[[float], FreeFermions],
    g: float = 0.3,
    flavours: int = 2,
    pairs: int = 1,
    bins: int = 6,
    hidden: tuple[int, ...] = (8,),
    rounds: int = 1,
    shift: float = 0.0,
) -> Model:
    """Return the joint flow of a scalar field and real pseudofermions: `scalars_and_shears`, and then `rounds` times spline couplings
    of the scalar field that are told bilinears of the pseudofermions, and shears of these, all at first the identity.

    >>> from haarflow.theories.models.yukawa import yukawa_pairs
    >>> [layer.field for layer in scalars_and_shears_in_turn((4, 4), yukawa_pairs((4, 4)).free).flow.flows]
    ['U', 'phi', 'U', 'phi']
    """
    model, fermions = scalars_and_shears(lattice, free, g, flavours, pairs, bins, hidden, shift), free(g)
    net = CheckerboardNet(len(lattice), hidden, features=EVEN, odd_features=ODD, symmetric=not shift)
    told = Featured(couplings(net, 1, bins), Bilinears(fermions))
    first = (Moves("U", model.flow.marginal), Moves("phi", model.flow.conditional))
    return Model(
        model.prior, Chain((*first, *(rounds * (Moves("U", told), Moves("phi", Shears(fermions, bare=True))))))
    )


def shears_and_scalars(
    lattice: tuple[int, ...],
    free: Callable[[float], FreeFermions],
    g: float = 0.3,
    flavours: int = 2,
    pairs: int = 2,
    bins: int = 6,
    hidden: tuple[int, ...] = (8,),
) -> Model:
    """Return pseudofermions of a constant mass, and on them the convolutional flow of a scalar field that is told their bilinears.

    It is q(phi) q(U|phi), whose second factor, see `links_given_pseudofermions`, proposes scalar fields to a Gibbs chain.

    >>> from haarflow.theories.models.yukawa import yukawa_pairs
    >>> links_given_pseudofermions(shears_and_scalars((4, 4), yukawa_pairs((4, 4)).free)).told
    'pseudofermions'
    """
    fermions = free(g)
    scalars = convolutional(lattice, pairs, bins=bins, hidden=hidden, features=EVEN, odd_features=ODD)
    told = Featured(scalars.flow, Bilinears(fermions))
    return Model(_prior(scalars, flavours, lattice), Chain((Moves("phi", ConstantMass(fermions)), Moves("U", told))))
