"""Wilson's operator on even and odd sites: half the unknowns, a better condition, half the determinant.

    D = [[1, -kappa H_eo], [-kappa H_oe, 1]],  det D = det Dhat,  Dhat = 1 - kappa^2 H_oe H_eo on the odd sites

D x = b is solved by Dhat x_o = b_o + kappa H_oe b_e and x_e = b_e + kappa H_eo x_o. gamma_5 Dhat gamma_5 = Dhat^+.
Packed spinors are `(*batch, spin, [n,] V/2)`, the sites of one parity in row-major order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, final

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.lattice import spinors
from haarflow.core.lattice.sites import parities, positions
from haarflow.theories.fermions.hopping import Hopping, Sites, check_shape, flat


class Whole(Protocol):
    """What the even-odd form needs of an operator: its shapes, how it hops, and links for both directions of a hop."""

    @property
    def lattice(self) -> tuple[int, ...]:
        """The extents, time first."""
        ...

    @property
    def hopping(self) -> Hopping:
        """How it hops."""
        ...

    @property
    def spinor_shape(self) -> tuple[int, ...]:
        """The shape of one spinor field."""
        ...

    def doubled(self, field: Array) -> Array:
        """Return U_mu(x), and after them U_mu(x-mu)^+, `(*batch, 2 d, [n, n,] V)`."""
        ...

    def sites(self, parity: int | None = None) -> Sites:
        """Return where a hop ends."""
        ...


class Halves(NamedTuple):
    """What lives on the even and on the odd sites: links `(*batch, 2 d, [n, n,] V/2)` or spinors."""

    even: Array
    odd: Array


@final
@dataclass(frozen=True)
class EvenOdd:
    """The even-odd form of an operator; raises ValueError for odd extents.

    >>> import numpy as np
    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> form = Wilson((4, 4)).even_odd
    >>> links, odd = form.prepare(np.zeros((2, 4, 4))), np.ones((2, 8)) + 0j
    >>> form.schur(links, 0.1, odd).shape, form.packed_shape
    ((2, 8), (2, 8))
    """

    operator: Whole

    def __post_init__(self) -> None:
        parities(self.operator.lattice)

    @property
    def packed_shape(self) -> tuple[int, ...]:
        """The shape of the spinors on one parity."""
        own = self.operator.spinor_shape[: -len(self.operator.lattice)]
        return (*own, len(parities(self.operator.lattice)[0]))

    def prepare(self, field: Array) -> Halves:
        """Return the links of the hops to even sites and to odd sites, for gauge fields `(*batch, d, [n, n,] *lattice)`."""
        halves, operator = self._divided(self.operator.doubled(field)), self.operator
        return Halves(*(operator.hopping.prepare(x, operator.sites(parity)) for parity, x in enumerate(halves)))

    def split(self, psi: Array) -> Halves:
        """Return the spinors on even and on odd sites.

        >>> import numpy as np
        >>> from haarflow.theories.fermions.wilson import Wilson
        >>> Wilson((2, 2)).even_odd.split(np.arange(8.0).reshape(2, 2, 2)).odd.tolist()
        [[1.0, 2.0], [5.0, 6.0]]
        """
        check_shape(psi, self.operator.spinor_shape, "a spinor field")
        return self._divided(flat(psi, len(self.operator.lattice)))

    def merge(self, even: Array, odd: Array) -> Array:
        """Return the spinors on all sites, the inverse of `split`."""
        xp, lattice = array_namespace(even), self.operator.lattice
        whole = xp.take(xp.concat([even, odd], axis=-1), backends.of(even).asarray(positions(lattice)), axis=-1)
        return xp.reshape(whole, (*whole.shape[:-1], *lattice))

    def hop_eo(self, prepared: Halves, odd: Array) -> Array:
        """Return H_eo psi_o, on the even sites."""
        return self._hop(prepared, odd, 0)

    def hop_oe(self, prepared: Halves, even: Array) -> Array:
        """Return H_oe psi_e, on the odd sites."""
        return self._hop(prepared, even, 1)

    def schur(self, prepared: Halves, kappa: Any, odd: Array) -> Array:
        """Return Dhat psi_o = psi_o - kappa^2 H_oe H_eo psi_o; kappa is a number or has the batch's shape."""
        return self._hop(prepared, self._hop(prepared, odd, 0), 1, 1, odd, kappa * kappa)

    def schur_adjoint(self, prepared: Halves, kappa: Any, odd: Array) -> Array:
        """Return Dhat^+ psi_o = gamma_5 Dhat gamma_5 psi_o."""
        return self._hop(prepared, self._hop(prepared, odd, 0, -1), 1, -1, odd, kappa * kappa)

    def gamma5(self, packed: Array) -> Array:
        """Return gamma_5 psi of packed spinors."""
        return spinors.gamma5(packed, -len(self.packed_shape))

    def _hop(self, prepared: Halves, psi: Array, parity: int, *further: Any) -> Array:
        check_shape(psi, self.packed_shape, "a packed spinor field")
        return self.operator.hopping.hop(prepared[parity], psi, self.operator.sites(parity), *further)

    def _divided(self, x: Array) -> Halves:
        backend, xp = backends.of(x), array_namespace(x)
        return Halves(*(xp.take(x, backend.asarray(sites), axis=-1) for sites in parities(self.operator.lattice)))
