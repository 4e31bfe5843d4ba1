"""Joint flows as ones of a single array: of a scalar field and real pseudofermions, of which the first row is the scalar field, and
the layers of links at pseudofermions that are drawn once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core import random
from haarflow.core.groups.additive import Real
from haarflow.core.groups.matrices import precision
from haarflow.core.laws.law import COMPLEX
from haarflow.core.spaces import Pair
from haarflow.flows.conditionals import scalars_and_shears_in_turn, shears_and_scalars
from haarflow.flows.fermions.bilinears import SQUARE, MeanSquare
from haarflow.flows.flow import Model
from haarflow.flows.pairs import Featured, PairPrior
from haarflow.flows.priors import Noise
from haarflow.flows.sun.architectures import trivialising
from haarflow.flows.traits import traits
from haarflow.flows.u1.architectures import convolutional
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.models.yukawa import yukawa_pairs
from haarflow.verification.entry import Entry

DIMENSIONS, SEED = 2, 5


def pair_of(x: Array) -> Pair:
    """Return the pair (phi, chi) of rows `(*batch, 1 + flavours, *lattice)`."""
    sites = (slice(None),) * DIMENSIONS
    return Pair(x[(..., 0, *sites)], x[(..., slice(1, None), *sites)])


def rows_of(pair: Pair) -> Array:
    """Undo `pair_of`."""
    sites = (slice(None),) * DIMENSIONS
    return array_namespace(pair.phi).concat([pair.U[(..., None, *sites)], pair.phi], axis=-1 - DIMENSIONS)


@dataclass(frozen=True)
class RowsPrior:
    """A prior of pairs as one of rows."""

    prior: PairPrior

    group = Real()

    @property
    def lattice(self) -> tuple[int, ...]:
        """The axes of the rows."""
        flavours, *sites = self.prior.noise.field_shape
        return (1 + flavours, *sites)

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one configuration of rows."""
        return self.lattice

    def sample(self, key: Key, n: int, dtype: str = "float64") -> Array:
        """Return n configurations."""
        return rows_of(self.prior.sample(key, n, dtype))

    def log_density(self, x: Array) -> Array:
        """Return the log-density of the pairs."""
        return self.prior.log_density(pair_of(x))


@dataclass(frozen=True)
class Rows:
    """A flow of pairs as one of rows."""

    flow: Any

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the parameters of the flow."""
        return self.flow.init(key, dtype)

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Map both fields."""
        y, log_det = self.flow.forward(params, pair_of(x))
        return rows_of(y), log_det

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Undo `forward`."""
        x, log_det = self.flow.inverse(params, pair_of(y))
        return rows_of(x), log_det


def as_rows(model: Model) -> Model:
    """Return a model of pairs as one of rows.

    >>> as_rows(joint((2, 2)))
    Traceback (most recent call last):
    TypeError: a model of pairs wanted, got one of RowsPrior
    """
    if not isinstance(model.prior, PairPrior):
        raise TypeError(f"a model of pairs wanted, got one of {type(model.prior).__name__}")
    return Model(RowsPrior(model.prior), Rows(model.flow))


SMALL: dict[str, Any] = {"g": 0.8, "flavours": 1, "pairs": 1, "bins": 4, "hidden": (3,)}


def joint(lattice: tuple[int, ...]) -> Model:
    """Return the joint flow of a Yukawa model with one pseudofermion field.

    >>> joint((2, 2)).prior.lattice
    (2, 2, 2)
    """
    return as_rows(scalars_and_shears_in_turn(lattice, yukawa_pairs(lattice).free, **SMALL))


def pseudofermions_first(lattice: tuple[int, ...]) -> Model:
    """Return pseudofermions, and the scalar field given them."""
    return as_rows(shears_and_scalars(lattice, yukawa_pairs(lattice).free, **SMALL))


@dataclass(frozen=True)
class AtPseudofermions:
    """A flow of links at fixed pseudofermions of a shape, complex normal numbers from a fixed seed."""

    flow: Featured
    shape: tuple[int, ...]

    @property
    def symmetries(self) -> tuple[str, ...]:
        """Those of the flow of links, to which the pseudofermions are a number."""
        return traits(self.flow.flow).symmetries

    @property
    def periods(self) -> tuple[int, ...]:
        """Those of the flow of links."""
        return traits(self.flow.flow).periods

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the parameters of the flow."""
        return self.flow.init(key, dtype)

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Map the links."""
        return self.flow.forward(params, x, self._given(x))

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Undo `forward`."""
        return self.flow.inverse(params, y, self._given(y))

    def _given(self, x: Array) -> dict[str, Array]:
        phi = Noise(self.shape).sample(random.key(SEED, backends.get("numpy")), 1)[0]
        return {"pseudofermions": backends.of(x).asarray(phi, dtype=COMPLEX[precision(x)])}


def links(lattice: tuple[int, ...], n: int = 1) -> Model:
    """Return U(1) or SU(n) links by couplings that are told the mean square of their pseudofermions.

    >>> links((2, 2)).prior.field_shape
    (2, 2, 2)
    """
    if n == 1:
        model = convolutional(lattice, block=2, depth=1, condition=(SQUARE,), hidden=(3,), harmonics=1)
    else:
        model = trivialising(lattice, n, steps=1, condition=(SQUARE,))
    shape = Wilson(lattice, n).spinor_shape
    return Model(model.prior, AtPseudofermions(Featured(model.flow, MeanSquare(len(shape))), shape))


JOINT_ENTRIES: tuple[Entry, ...] = (
    Entry("joint flow of a Yukawa model", "model", joint, ((2, 2),)),
    Entry("scalar field given pseudofermions", "model", pseudofermions_first, ((2, 2), (2, 4))),
    Entry("U(1) links given pseudofermions", "model", links, ((2, 2),)),
    Entry("SU(2) links given pseudofermions", "model", partial(links, n=2), ((2, 2),)),
)
