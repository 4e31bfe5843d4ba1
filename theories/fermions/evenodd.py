"""Wilson's operator on even and odd sites: half the unknowns, a better condition, half the determinant.

    D = [[1, -kappa H_eo], [-kappa H_oe, 1]],  det D = det Dhat,  Dhat = 1 - kappa^2 H_oe H_eo on the odd sites

D x = b is solved by Dhat x_o = b_o + kappa H_oe b_e and x_e = b_e + kappa H_eo x_o. gamma_5 Dhat gamma_5 = Dhat^+.
Packed spinors are `(*batch, spin, [n,] V/2)`, the sites of one parity in row-major order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, final

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.axes import spread
from haarflow.core.lattice import spinors
from haarflow.core.lattice.sites import neighbours_across, parities, positions
from haarflow.theories.fermions.hopping import check_shape, flat, hop, less


class Hopping(Protocol):
    """What the even-odd form needs of an operator: its shapes, and links for both directions of a hop at flat sites."""

    @property
    def lattice(self) -> tuple[int, ...]:
        """The extents, time first."""
        ...

    @property
    def colour(self) -> tuple[int, ...]:
        """The colour axes of a spinor."""
        ...

    @property
    def spinor_shape(self) -> tuple[int, ...]:
        """The shape of one spinor field."""
        ...

    def prepare(self, field: Array) -> Array:
        """Return U_mu(x), and after them U_mu(x-mu)^+, `(*batch, 2 d, [n, n,] V)`."""
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

    operator: Hopping

    def __post_init__(self) -> None:
        parities(self.operator.lattice)

    @property
    def packed_shape(self) -> tuple[int, ...]:
        """The shape of the spinors on one parity."""
        own = self.operator.spinor_shape[: -len(self.operator.lattice)]
        return (*own, len(parities(self.operator.lattice)[0]))

    def prepare(self, field: Array) -> Halves:
        """Return the links of the hops to even sites and to odd sites, for gauge fields `(*batch, d, [n, n,] *lattice)`."""
        return self._divided(self.operator.prepare(field))

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
        return self._hop(prepared.even, odd, 0)

    def hop_oe(self, prepared: Halves, even: Array) -> Array:
        """Return H_oe psi_e, on the odd sites."""
        return self._hop(prepared.odd, even, 1)

    def schur(self, prepared: Halves, kappa: Any, odd: Array) -> Array:
        """Return Dhat psi_o = psi_o - kappa^2 H_oe H_eo psi_o; kappa is a number or has the batch's shape."""
        factor = spread(kappa, len(self.packed_shape))
        return less(odd, factor * factor, self.hop_oe(prepared, self.hop_eo(prepared, odd)))

    def schur_adjoint(self, prepared: Halves, kappa: Any, odd: Array) -> Array:
        """Return Dhat^+ psi_o = gamma_5 Dhat gamma_5 psi_o."""
        return self.gamma5(self.schur(prepared, kappa, self.gamma5(odd)))

    def gamma5(self, packed: Array) -> Array:
        """Return gamma_5 psi of packed spinors."""
        return spinors.gamma5(packed, -len(self.packed_shape))

    def _hop(self, links: Array, psi: Array, parity: int) -> Array:
        check_shape(psi, self.packed_shape, "a packed spinor field")
        table: numpy.ndarray = neighbours_across(self.operator.lattice)[parity]
        return hop(links, psi, table, len(self.operator.colour))

    def _divided(self, x: Array) -> Halves:
        backend, xp = backends.of(x), array_namespace(x)
        return Halves(*(xp.take(x, backend.asarray(sites), axis=-1) for sites in parities(self.operator.lattice)))
