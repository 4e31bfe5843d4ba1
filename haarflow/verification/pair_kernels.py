"""The kernels of pairs on the Yukawa model of 2x2 sites, where exact draws are cheap, as kernels of a single array.

A pair (phi, chi) is an array of rows `(1 + flavours, 2, 2)` of which the first is phi; with several estimates of the determinant
the rows of all of them follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Key, Tree
from haarflow.core import random
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.kernel import State
from haarflow.core.chains.metropolis import IndependenceMetropolis
from haarflow.core.fields import precision
from haarflow.core.groups.additive import Real
from haarflow.core.laws.kernels.stationary import Chained
from haarflow.core.spaces import Pair
from haarflow.flows.conditionals import Conditional
from haarflow.flows.fermions.bilinears import EVEN, ODD, Bilinears
from haarflow.flows.fermions.shears import Shears
from haarflow.flows.flow import Model, Translate
from haarflow.flows.pairs import Featured, PairFlow, PairPrior
from haarflow.flows.priors import Gaussian
from haarflow.flows.scalar.architectures import couplings
from haarflow.flows.scalar.nets import CheckerboardNet
from haarflow.theories.fermions.pseudofermions.pair_schemes import Gibbs, GibbsByFlow, PseudoMarginal, Refreshed
from haarflow.theories.models.yukawa import Yukawa, yukawa_pairs
from haarflow.verification.entry import Entry
from haarflow.verification.joint_objects import pair_of, rows_of

LATTICE, COUPLINGS = (2, 2), {"m2": 1.0, "lam": 0.5, "g": 1.0}
THEORY, ALONE = yukawa_pairs(LATTICE), Yukawa(LATTICE)
FLAVOURS = THEORY.flavours
WIDTH = 0.65  # of the normal fields from which they are drawn
BOUND = 3.62  # of ln e^{-S} / q there: the largest, found by search, is 3.61642
KNOWN = ("phi2", "phi4", "E", "chi2", "G_min", "log_det", "phi_condensate", "m", "condensate")

MARGINAL = Model(Gaussian(LATTICE, WIDTH), Translate((0, 0)))
CONDITIONAL = Conditional(Gaussian((FLAVOURS, *LATTICE), math.sqrt(0.5)), Shears(THEORY.free(COUPLINGS["g"])))
PAIRS = Model(PairPrior(MARGINAL.prior, CONDITIONAL.noise), PairFlow(MARGINAL.flow, CONDITIONAL.flow))
TOLD = Featured(
    couplings(CheckerboardNet(2, (3,), 3, final_scale=0.2, features=EVEN, odd_features=ODD), bins=0),
    Bilinears(THEORY.free(COUPLINGS["g"])),
)
SCALARS = Conditional(Gaussian(LATTICE, 0.8), TOLD, "pseudofermions")


def exact_scalars(key: Key, n: int) -> numpy.ndarray:
    """Return exact draws of the scalar field, by rejection from the normal distribution.

    Raises ValueError should a weight exceed its bound.
    """
    found: list[numpy.ndarray] = []
    while sum(map(len, found)) < n:
        draws, coins, key = random.split(key, 3)
        fields, log_q = MARGINAL.sample({}, draws, 40 * n)
        log_w = -ALONE.action(fields, COUPLINGS) - log_q
        if log_w.max() > BOUND:
            raise ValueError(f"rejection needs log weights up to {BOUND}, got {log_w.max():.4f}")
        found.append(fields[numpy.log(random.uniform(coins, (len(fields),))) < log_w - BOUND])
    return numpy.concatenate(found)[:n]


def exact_rows(key: Any, n: int, estimates: int = 1, mass: float = 1.0) -> numpy.ndarray:
    """Return exact draws of pairs `(n, 1 + flavours estimates, 2, 2)`.

    Of several estimates one, at a random place, is exact at the scalar field, and the others are those of the conditional flow: the
    distribution that a pseudo-marginal chain leaves as it is.
    """
    return _drawn(tuple(int(word) for word in key), n, estimates, mass)


@lru_cache(maxsize=4)
def _drawn(words: tuple[int, ...], n: int, estimates: int, mass: float) -> numpy.ndarray:
    key = numpy.asarray(words, dtype="int32")
    phi = exact_scalars(random.fold_in(key, 0), n)
    exact = THEORY.refreshed(random.fold_in(key, 1), phi, COUPLINGS)
    keys = [random.fold_in(key, 3 + number) for number in range(estimates - 1)]
    params = parameters(mass)["conditional"]
    every = numpy.stack([exact, *(CONDITIONAL.sample(params, one, n, phi)[0] for one in keys)], axis=1)
    order = numpy.argsort(random.uniform(random.fold_in(key, 2), (n, estimates)), axis=1)
    every = numpy.take_along_axis(every, order[:, :, None, None, None], axis=1)
    return numpy.concatenate([phi[:, None], every.reshape(n, -1, *LATTICE)], axis=1)


@lru_cache(maxsize=2)
def parameters(mass: float = 1.0) -> dict[str, Any]:
    """Return the parameters of the flows of pairs: those of the leading order, or about another mass, and a net that reacts to what it
    is told.
    """
    host = backends.get("numpy")
    conditional, scalars = CONDITIONAL.flow.init(random.key(0, host)), TOLD.init(random.key(1, host))
    conditional = conditional | {"mass": numpy.asarray(mass)}
    return {"marginal": {}, "conditional": conditional, "scalars": scalars}


class RowsTheory(NamedTuple):
    """The space of rows; it is that of one lattice, as the flows are."""

    rows: int

    @property
    def lattice(self) -> tuple[int, ...]:
        """The extents."""
        return LATTICE

    @property
    def group(self) -> Real:
        """Real numbers."""
        return Real()

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one configuration."""
        return (self.rows, *LATTICE)


@dataclass(frozen=True)
class RowsKernel:
    """A kernel of pairs as one of rows; with `estimates` phi has an axis for them.

    A kernel with a flow gets its parameters here, on the field's backend: `flow` says of which, "pairs" or "scalars", and `mass` about
    which mass.
    """

    pairs: Any
    estimates: int = 0
    flow: str = ""
    mass: float = 1.0

    @property
    def theory(self) -> RowsTheory:
        """The space of its fields."""
        return RowsTheory(1 + FLAVOURS * max(self.estimates, 1))

    @property
    def values(self) -> Tree:
        """The kernel's values."""
        return self.pairs.values

    def with_values(self, values: Tree) -> RowsKernel:
        """Return this kernel with other values."""
        return replace(self, pairs=self.pairs.with_values(values))

    def init(self, field: Array) -> State:
        """Return the state of rows, the kernel's cache with them."""
        return State(field, self._on(field).init(self._pair(field)).cache)

    def step(self, key: Key, state: State) -> tuple[State, dict[str, Any]]:
        """Take the kernel's step."""
        moved, info = self._on(state.field).step(key, State(self._pair(state.field), state.cache))
        return State(self._rows(moved.field), moved.cache), info

    def _on(self, field: Array) -> Any:
        """The kernel with its parameters on the field's backend, in its precision."""
        if not self.flow:
            return self.pairs
        backend, kind, params = backends.of(field), precision(field), parameters(self.mass)
        chosen = params["scalars"] if self.flow == "scalars" else params
        arrays = tree_map(lambda x: backend.asarray(x, dtype=kind), chosen)
        return self.pairs.with_values({**self.values, "params": arrays})

    def _pair(self, field: Array) -> Pair:
        pair = pair_of(field)
        if not self.estimates:
            return pair
        shape = (*pair.phi.shape[:-3], self.estimates, FLAVOURS, *LATTICE)
        return Pair(pair.U, array_namespace(field).reshape(pair.phi, shape))

    def _rows(self, pair: Pair) -> Array:
        if self.estimates:
            phi = array_namespace(pair.phi).reshape(pair.phi, (*pair.phi.shape[:-4], -1, *LATTICE))
            pair = Pair(pair.U, phi)
        return rows_of(pair)


def observables(rows: numpy.ndarray) -> dict[str, numpy.ndarray]:
    """Return the observables of the scalar field and, over all estimates, |chi|^2, a hop, chi(0)^T chi(1), and |M^-1 chi|^2."""
    pair = pair_of(rows)
    values = ALONE.observables(pair.U, COUPLINGS)
    own = {name: values[name] for name in KNOWN}
    hop = (pair.phi[..., 0, 0] * pair.phi[..., 0, 1]).mean(axis=-1)
    every = pair.phi.reshape(len(rows), -1, FLAVOURS, *LATTICE)
    scalars = numpy.broadcast_to(pair.U[:, None], (*every.shape[:2], *LATTICE))
    action = THEORY.pseudofermion(Pair(scalars, every), COUPLINGS["g"])
    return own | {"squares": (every**2).mean(axis=(1, 2, 3, 4)), "hop": hop, "pseudofermion": action.mean(axis=1)}


@lru_cache(maxsize=1)
def means() -> tuple[tuple[str, float], ...]:
    """Return the means of the scalar field by quadrature."""
    exact = ALONE.exact(COUPLINGS)
    return tuple((name, exact[name]) for name in KNOWN)


def chained(kernel: Any, estimates: int = 0, flow: str = "", mass: float = 1.0, **words: Any) -> Chained:
    """Return a kernel of pairs with its exact draws."""
    exact = partial(exact_rows, estimates=max(estimates, 1), mass=mass)
    return Chained(RowsKernel(kernel, estimates, flow, mass), exact, observables, means=means(), **words)


def kernels() -> dict[str, Chained]:
    """Return the kernels of pairs, each with its exact draws."""
    values, alone = {"couplings": COUPLINGS}, {"params": {}, "couplings": COUPLINGS}
    hmc = HMC(THEORY.marginal, steps=3, values=values | {"step_size": 0.2})
    marginal = IndependenceMetropolis(MARGINAL, THEORY.marginal, 2, alone)
    pseudo_marginal = PseudoMarginal(MARGINAL, CONDITIONAL, THEORY, 2, values)
    told, at_once = GibbsByFlow(SCALARS, THEORY, values), IndependenceMetropolis(PAIRS, THEORY, 2, values)
    return {
        "pairs_by_hmc": chained(Refreshed(THEORY, hmc), burn_in=60),
        "pairs_by_marginal": chained(Refreshed(THEORY, marginal), burn_in=60),
        "pairs_by_pseudo_marginal": chained(pseudo_marginal, 2, "pairs", reversible=True, burn_in=60),
        "pairs_by_gibbs": chained(Gibbs(MARGINAL, THEORY, alone | {"width": 0.4}), burn_in=60),
        "pairs_by_gibbs_of_draws": chained(Gibbs(MARGINAL, THEORY, alone), burn_in=60),
        "pairs_by_gibbs_told": chained(told, flow="scalars", burn_in=60),
        "pairs_at_once": chained(at_once, flow="pairs", reversible=True, burn_in=40),
    }


def _named(name: str, lattice: tuple[int, ...]) -> Chained:
    return kernels()[name]


PAIR_KERNEL_ENTRIES: tuple[Entry, ...] = tuple(
    Entry(name, "kernel", partial(_named, name), (LATTICE,)) for name in kernels()
)
