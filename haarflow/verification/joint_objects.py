"""Joint flows of a scalar field and real pseudofermions as ones of a single array, of which the first row is the scalar field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core.groups.additive import Real
from haarflow.core.spaces import Pair
from haarflow.flows.conditionals import scalars_and_shears_in_turn, shears_and_scalars
from haarflow.flows.flow import Model
from haarflow.flows.pairs import PairPrior
from haarflow.theories.models.yukawa import yukawa_pairs
from haarflow.verification.entry import Entry

DIMENSIONS = 2


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


JOINT_ENTRIES: tuple[Entry, ...] = (
    Entry("joint flow of a Yukawa model", "model", joint, ((2, 2),)),
    Entry("scalar field given pseudofermions", "model", pseudofermions_first, ((2, 2), (2, 4))),
)
