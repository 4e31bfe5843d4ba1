"""The types used in signatures: arrays, trees of arrays, and the protocols between the layers.

An `Array` is an array of any backend, or a tracer of one: the Array API has no type that all of them share. A `Tree` is
an array, or a dict, tuple or NamedTuple of trees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

Array = Any
Key = Array  # int32, (*batch, 2), see core/random.py
Tree = Any
Params = Tree  # nested dicts of real arrays
Couplings = Mapping[str, Any] | None  # numbers or batch-shaped arrays by name; None means the theory's defaults
Condition = dict[str, Any] | None  # what a conditional flow is given, by name


class Group(Protocol):
    """A group manifold of field values; algebra elements are real coordinates w of A = i w_a T_a."""

    @property
    def name(self) -> str:
        """`Real`, `U1` or `SU`."""
        ...

    @property
    def matrix_axes(self) -> int:
        """How many axes an element has between its direction and the lattice: 2 for matrices, 0 for numbers."""
        ...

    def compose(self, a: Array, b: Array) -> Array:
        """Return the product a b."""
        ...

    def quotient(self, a: Array, b: Array) -> Array:
        """Return a b^{-1}."""
        ...

    def identity(self, a: Array) -> Array:
        """Return unit elements for an array of elements."""
        ...

    def inverse(self, a: Array) -> Array:
        """Return the inverse element."""
        ...

    def exp(self, w: Array) -> Array:
        """Return exp(i w_a T_a)."""
        ...

    def log(self, a: Array) -> Array:
        """Return the algebra element of least size with exp(i w_a T_a) = a."""
        ...

    def update(self, a: Array, w: Array) -> Array:
        """Return exp(i w_a T_a) a."""
        ...

    def move(self, a: Array, w: Array, scale: float | Array) -> Array:
        """Return exp(i scale w_a T_a) a, in one pass where the backend has such a kernel."""
        ...

    def project(self, a: Array) -> Array:
        """Return the standard representative of an element."""
        ...

    def restore(self, a: Array) -> Array:
        """Return elements in standard form that deviate from it by no more than the rounding of a few updates."""
        ...

    def zeros(self, a: Array) -> Array:
        """Return the algebra elements w = 0 for an array of elements."""
        ...

    def inner(self, v: Array, w: Array) -> Array:
        """Return v_a w_a per element."""
        ...

    def algebra_normal(self, key: Key, shape: tuple[int, ...], dtype: str = "float64") -> Array:
        """Return momenta w ~ N(0, 1) for fields of a shape."""
        ...

    def haar(self, key: Key, shape: tuple[int, ...], dtype: str = "float64") -> Array:
        """Return elements by the normalised Haar measure."""
        ...


@runtime_checkable
class Theory(Protocol):
    """What every theory has: the weight e^{-S} of fields `(*batch, *lattice)` (links: `(*batch, d, *lattice)`, of matrices
    `(*batch, d, N, N, *lattice)`)."""

    @property
    def lattice(self) -> tuple[int, ...]:
        """The lattice's extents, time first."""
        ...

    @property
    def group(self) -> Group:
        """The group of the field values: `Real()`, `U1()`, `SU(n, d)`."""
        ...

    def action(self, field: Tree, couplings: Couplings = None) -> Array:
        """Return S, of the batch's shape."""
        ...


class State(NamedTuple):
    """What a chain is between two steps: the field `(*batch, *internal, *lattice)` and the kernel's cache."""

    field: Tree
    cache: Tree = None


class Kernel(Protocol):
    """A Markov step over a batch of chains; write it as a frozen dataclass with `values` compared by nothing.

    `values: dict = dataclasses.field(default_factory=dict, compare=False)` holds every number that may change between
    runs, and `with_values` is `dataclasses.replace(self, values=values)`.
    """

    @property
    def values(self) -> Tree:
        """Numbers and arrays the compiled step takes as arguments."""
        ...

    def with_values(self, values: Tree) -> Self:
        """Return this kernel with other values."""
        ...

    def init(self, field: Tree) -> State:
        """Return the state of a field."""
        ...

    def step(self, key: Key, state: State) -> tuple[State, dict[str, Any]]:
        """Return the next state and what happened, a dict of arrays of the batch's shape."""
        ...


class Flow(Protocol):
    """A bijection of fields with its exact log-determinant."""

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return fresh parameters."""
        ...

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (y, log |det dy/dx|), the determinant of the batch's shape."""
        ...

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (x, log |det dx/dy|)."""
        ...


class Prior(Protocol):
    """A distribution of fields on one lattice, drawn directly."""

    @property
    def lattice(self) -> tuple[int, ...]:
        """The lattice's extents, time first."""
        ...

    @property
    def group(self) -> Group:
        """The group of the field values."""
        ...

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one field."""
        ...

    def sample(self, key: Key, n: int, dtype: str = "float64") -> Array:
        """Return n fields `(n, *field_shape)`."""
        ...

    def log_density(self, x: Array) -> Array:
        """Return the log-density `(*batch,)`."""
        ...
