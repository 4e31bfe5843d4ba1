"""Wilson's Dirac operator D = 1 - kappa H with links in U(1) or SU(N), in two and in four dimensions.

    (H psi)(x) = sum_mu [ (1 - gamma_mu) U_mu(x) psi(x+mu) + (1 + gamma_mu) U_mu(x-mu)^+ psi(x-mu) ]

Fermions are antiperiodic in time: the links of the last time slice carry the sign. gamma_5 D gamma_5 = D^+. The bare mass is
kappa = 1/(2 m_0 + 2 d) (Wilson, Phys. Rev. D 10 (1974) 2445).

Links are stored twice, U_mu(x) and U_mu(x-mu)^+, so that a hop takes products with links at its own site. All half spinors of
a site are made at once, then all products, then the sum: three programs over flat sites.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, final

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Group
from haarflow.core.axes import spread
from haarflow.core.broadcasting import scaled
from haarflow.core.groups.additive import U1
from haarflow.core.groups.matrices import complex_array, dagger, precision
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import spinors
from haarflow.core.lattice.geometry import check_lattice, shift
from haarflow.theories.fermions.determinants import slices
from haarflow.theories.fermions.evenodd import EvenOdd
from haarflow.theories.fermions.hopping import ARRAYS, Hopping, Sites, check_shape, flat


@final
@dataclass(frozen=True)
class Wilson:
    """The operator on a lattice, for SU(n) matrices, or for U(1) angles if n = 1; `antiperiodic` in time or periodic.

    Spinors are complex `(*batch, spin, [n,] *lattice)`, gauge fields as in `U1Gauge` and `SUNGauge`.
    Raises ValueError for a lattice that is not of two or four dimensions, and for n < 1.

    >>> import numpy as np
    >>> operator = Wilson((4, 4), antiperiodic=False)
    >>> constant, links = np.ones((2, 4, 4)) + 0j, operator.prepare(np.zeros((2, 4, 4)))
    >>> bool(np.allclose(operator.apply(links, 0.1, constant), 1 - 2 * 2 * 0.1))  # 1 - 2 d kappa
    True
    """

    lattice: tuple[int, ...]
    n: int = 1
    antiperiodic: bool = True
    hopping: Hopping = field(default=ARRAYS, repr=False)
    elimination: slices.Elimination = field(default=slices.by_arrays, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lattice", check_lattice(self.lattice))
        spinors.components(self.d)
        if int(self.n) != self.n or self.n < 1:
            raise ValueError(f"Wilson wants n = 1 for U(1) or the n of SU(n), an integer >= 1, got n = {self.n!r}")

    @property
    def d(self) -> int:
        """The lattice's dimension."""
        return len(self.lattice)

    @property
    def group(self) -> Group:
        """The group of the links."""
        return U1() if self.n == 1 else SU(self.n, self.d)

    @property
    def colour(self) -> tuple[int, ...]:
        """The colour axes of a spinor: (n,), none for U(1)."""
        return () if self.n == 1 else (self.n,)

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one gauge field."""
        return (self.d, *self.colour, *self.colour, *self.lattice)

    @property
    def spinor_shape(self) -> tuple[int, ...]:
        """The shape of one spinor field.

        >>> Wilson((4, 4, 4, 8), n=3).spinor_shape
        (4, 3, 4, 4, 4, 8)
        """
        return (spinors.components(self.d), *self.colour, *self.lattice)

    @property
    def even_odd(self) -> EvenOdd:
        """The form on even and odd sites; raises ValueError for odd extents."""
        return EvenOdd(self)

    def links(self, field: Array) -> Array:
        """Return complex links `(*batch, d, [n, n,] *lattice)` with the sign of the boundary.

        Raises ValueError for a field of another shape.

        >>> import numpy as np
        >>> Wilson((2, 2)).links(np.zeros((2, 2, 2))).real.tolist()
        [[[1.0, 1.0], [-1.0, -1.0]], [[1.0, 1.0], [1.0, 1.0]]]
        """
        check_shape(field, self.field_shape, "a gauge field")
        links = complex_array(*backends.of(field).sincos(field)[::-1]) if self.n == 1 else field
        if not self.antiperiodic:
            return links
        signs = numpy.ones((self.d, self.lattice[0]))
        signs[0, -1] = -1.0
        signs = signs.reshape(self.d, *(1 for _ in 2 * self.colour), -1, *(1 for _ in self.lattice[1:]))
        return scaled(backends.of(field).asarray(signs, dtype=precision(field)), links)

    def doubled(self, field: Array) -> Array:
        """Return U_mu(x), and after them U_mu(x-mu)^+, at flat sites: complex `(*batch, 2 d, [n, n,] V)`.

        >>> import numpy as np
        >>> Wilson((2, 4), n=3).doubled(np.zeros((5, 2, 3, 3, 2, 4)) + 0j).shape
        (5, 4, 3, 3, 8)
        """
        links, rest = self.links(field), (slice(None),) * (self.d + 2 * len(self.colour))
        forward = [links[(..., mu, *rest)] for mu in range(self.d)]
        backward = [self._reversed(shift(link, mu, self.d, -1)) for mu, link in enumerate(forward)]
        return flat(array_namespace(links).stack(forward + backward, axis=-1 - len(rest)), self.d)

    def prepare(self, field: Array) -> Array:
        """Return the links as `hop` reads them, made once for many products.

        >>> import numpy as np
        >>> Wilson((2, 4)).prepare(np.zeros((5, 2, 2, 4))).shape
        (5, 4, 8)
        """
        return self.hopping.prepare(self.doubled(field), self.sites())

    def hop(self, prepared: Array, psi: Array) -> Array:
        """Return H psi, `(*batch, spin, [n,] *lattice)`; batch axes of links and spinors broadcast.

        Raises ValueError for spinors of another shape.
        """
        return self._shaped(self.hopping.hop(prepared, self._flat(psi), self.sites()))

    def apply(self, prepared: Array, kappa: Any, psi: Array) -> Array:
        """Return D psi = psi - kappa H psi; kappa is a number or an array of the batch's shape."""
        return self._less(prepared, kappa, psi, 1)

    def adjoint(self, prepared: Array, kappa: Any, psi: Array) -> Array:
        """Return D^+ psi = gamma_5 D gamma_5 psi: the projectors of the hops change their signs."""
        return self._less(prepared, kappa, psi, -1)

    def gamma5(self, psi: Array) -> Array:
        """Return gamma_5 psi."""
        return spinors.gamma5(psi, -len(self.spinor_shape))

    def matrix(self, prepared: Array, kappa: Any) -> Array:
        """Return D as dense matrices `(*batch, n, n)`, from unit vectors; rows as in a flattened spinor.

        >>> import numpy as np
        >>> operator = Wilson((2, 2))
        >>> operator.matrix(operator.prepare(np.zeros((2, 2, 2))), kappa=0.0).real.trace()
        np.float64(8.0)
        """
        xp, size = array_namespace(prepared), math.prod(self.spinor_shape)
        own = (slice(None),) * self.hopping.axes(prepared, self.sites())
        units = xp.reshape(
            xp.eye(size, dtype=self._complex(prepared), device=backends.place(prepared)), (size, *self.spinor_shape)
        )
        columns = self.apply(prepared[(..., None, *own)], spread(kappa, 1), units)
        flattened = xp.reshape(columns, (*columns.shape[: -len(self.spinor_shape)], size))
        return xp.matrix_transpose(flattened)

    def hop_force(self, field: Array, x: Array, y: Array) -> Array:
        """Return F = d/ds 2 Re x^+ H(exp(i s T_a) U) y at s = 0, real `(*batch, d, [n^2-1,] *lattice)`.

        F_a = -2 Im tr T_a U_mu Q_mu with Q_mu = sum over spins of h^-_y(x+mu) h^-_x(x)^+ + h^+_x(x+mu) h^+_y(x)^+, where
        h^-+ are the upper halves of (1 -+ gamma_mu) psi; for U(1) T = 1.
        """
        for psi in (x, y):
            check_shape(psi, self.spinor_shape, "a spinor field")
        links, rest = self.links(field), (slice(None),) * (self.d + 2 * len(self.colour))
        forces = [self._link_force(links[(..., mu, *rest)], mu, x, y) for mu in range(self.d)]
        return array_namespace(field).stack(forces, axis=-1 - self.d - len(self.colour))

    def sites(self, parity: int | None = None) -> Sites:
        """Return where a hop ends: on all sites, or on those of a parity."""
        return Sites(self.lattice, self.n, parity)

    def _complex(self, prepared: Array) -> Any:
        xp = array_namespace(prepared)
        return xp.complex64 if precision(prepared) == "float32" else xp.complex128

    def _flat(self, psi: Array) -> Array:
        check_shape(psi, self.spinor_shape, "a spinor field")
        return flat(psi, self.d)

    def _shaped(self, psi: Array) -> Array:
        return array_namespace(psi).reshape(psi, (*psi.shape[:-1], *self.lattice))

    def _less(self, prepared: Array, kappa: Any, psi: Array, sign: int) -> Array:
        flattened = self._flat(psi)
        return self._shaped(self.hopping.hop(prepared, flattened, self.sites(), sign, flattened, kappa))

    def _reversed(self, link: Array) -> Array:
        return array_namespace(link).conj(link) if self.n == 1 else dagger(link, self.d)

    def _link_force(self, link: Array, mu: int, x: Array, y: Array) -> Array:
        xp, axis = array_namespace(link), -len(self.spinor_shape)
        (x_minus, y_minus), (x_plus, y_plus) = (
            [spinors.project(psi, mu, sign, axis) for psi in (x, y)] for sign in (-1, 1)
        )
        outer = self._outer(shift(y_minus, mu, self.d), x_minus) + self._outer(shift(x_plus, mu, self.d), y_plus)
        if self.n == 1:
            return -2.0 * xp.imag(link * outer)
        return self.group.coordinates(1j * self.group.compose(link, outer))  # type: ignore[attr-defined]

    def _outer(self, a: Array, b: Array) -> Array:
        """The sum over spins of a b^+, `(*batch, [n, n,] *lattice)`."""
        xp, lattice = array_namespace(a), (slice(None),) * self.d
        if self.n > 1:
            a, b = a[(..., None, *lattice)], b[(..., None, slice(None), *lattice)]
        return xp.sum(a * xp.conj(b), axis=-1 - self.d - 2 * len(self.colour))
