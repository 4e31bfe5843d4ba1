"""What a Dirac operator is: D(U) = 1 - kappa H(U), linear in spinor fields `(*batch, spin, [colour,] *lattice)`.

Solvers, determinants and pseudofermions use no more than this, so that another operator of this form takes Wilson's place.
"""

from __future__ import annotations

from typing import Any, Protocol

from haarflow.backends.types import Array, Group


class Operator(Protocol):
    """A Dirac operator on one lattice, of gauge fields like those of the gauge theories.

    `prepared` is what `prepare` makes of a gauge field once, for many products: an array or a tuple of arrays, each with the
    field's batch axes in front. Batch axes of spinors and of what is prepared broadcast.
    """

    @property
    def lattice(self) -> tuple[int, ...]:
        """The extents, time first."""
        ...

    @property
    def group(self) -> Group:
        """The group of the links."""
        ...

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one gauge field."""
        ...

    @property
    def spinor_shape(self) -> tuple[int, ...]:
        """The shape of one spinor field."""
        ...

    def prepare(self, field: Array) -> Any:
        """Return the links as `hop` reads them."""
        ...

    def hop(self, prepared: Any, psi: Array) -> Array:
        """Return H psi."""
        ...

    def apply(self, prepared: Any, kappa: Any, psi: Array) -> Array:
        """Return D psi; kappa is a number or has the batch's shape."""
        ...

    def adjoint(self, prepared: Any, kappa: Any, psi: Array) -> Array:
        """Return D^+ psi."""
        ...

    def hop_force(self, field: Array, x: Array, y: Array) -> Array:
        """Return the derivatives of 2 Re x^+ H(U) y along the group, shaped as momenta."""
        ...
