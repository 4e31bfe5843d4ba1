"""Staggered fermions of one component in a scalar field: M = D_st + g phi, a real matrix.

    (D_st psi)(x) = 1/2 sum_mu eta_mu(x) [ psi(x+mu) - psi(x-mu) ],    eta_mu(x) = (-1)^(x_0 + ... + x_(mu-1))

D_st is antisymmetric and connects even sites with odd ones: eps D_st eps = -D_st with eps(x) = (-1)^(x_0 + x_1 + ...), hence
M^T = -D_st + g phi = eps M eps, and phi -> -phi turns M into -eps M eps: |det M| is even in phi. Fermions are antiperiodic in
time unless the operator says otherwise (Kogut and Susskind, Phys. Rev. D 11 (1975) 395; the Yukawa model of arXiv:2106.05934).

det M is real and may be negative. It is computed from the dense matrix, as a division by phi, which an even-odd form needs, fails
where the scalar field vanishes; its derivative is d ln|det M| / d phi(x) = g M^-1(x, x).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.axes import spread
from haarflow.core.groups.additive import Real
from haarflow.core.lattice.geometry import check_lattice, shift, volume


@final
@dataclass(frozen=True)
class Staggered:
    """The operator on a lattice of any dimension, of real fields `(*batch, *lattice)`; antiperiodic in time or periodic.

    On an extent of 2 the hops forward and backward meet: they cancel where fermions are periodic, and add up where they are
    antiperiodic. Raises ValueError for an odd extent other than 1, around which the phases eta would not close.

    >>> import numpy as np
    >>> operator = Staggered((4, 4), antiperiodic=False)
    >>> float(operator.apply(np.full((4, 4), 2.0), 0.5, np.ones((4, 4)))[0, 0])  # a constant is not differentiated
    1.0
    """

    lattice: tuple[int, ...]
    antiperiodic: bool = True

    group = Real()

    def __post_init__(self) -> None:
        object.__setattr__(self, "lattice", check_lattice(self.lattice))
        if any(extent % 2 and extent > 1 for extent in self.lattice):
            raise ValueError(
                f"staggered fermions want even extents, around which their phases close, got {list(self.lattice)}"
            )
        if not isinstance(self.antiperiodic, bool):
            raise TypeError(f"antiperiodic must be True or False, got {self.antiperiodic!r}")

    @property
    def d(self) -> int:
        """The lattice's dimension."""
        return len(self.lattice)

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one scalar field."""
        return self.lattice

    @property
    def spinor_shape(self) -> tuple[int, ...]:
        """The shape of one fermion field."""
        return self.lattice

    def hop(self, psi: Array) -> Array:
        """Return D_st psi."""
        phases = backends.of(psi).asarray(_phases(self), dtype=psi.dtype)
        terms = []
        for mu in range(self.d):
            eta = phases[mu, ...]
            terms += [eta * shift(psi, mu, self.d), -shift(eta * psi, mu, self.d, -1)]
        return 0.5 * sum(terms[1:], terms[0])

    def apply(self, phi: Array, g: Any, psi: Array) -> Array:
        """Return M psi; g is a number or has the batch's shape, batch axes broadcast."""
        return self.hop(psi) + spread(g, self.d) * phi * psi

    def transposed(self, phi: Array, g: Any, psi: Array) -> Array:
        """Return M^T psi."""
        return spread(g, self.d) * phi * psi - self.hop(psi)

    def prepare(self, phi: Array) -> Array:
        """Return the scalar field, of which nothing is made beforehand."""
        return phi

    def matrix(self, phi: Array, g: Any) -> Array:
        """Return M as dense matrices `(*batch, V, V)`, rows and columns as in a flattened field.

        >>> import numpy as np
        >>> Staggered((2, 1)).matrix(np.ones((2, 1)), 0.5).tolist()
        [[0.5, 1.0], [-1.0, 0.5]]
        """
        xp, sites = array_namespace(phi), volume(self.lattice)
        free = backends.of(phi).asarray(free_matrix(self), dtype=phi.dtype)
        one = xp.eye(sites, dtype=phi.dtype, device=backends.place(phi))
        masses = spread(g, 1) * xp.reshape(phi, (*phi.shape[: phi.ndim - self.d], sites))
        return free + masses[..., None] * one


@lru_cache(maxsize=32)
def free_matrix(operator: Staggered) -> numpy.ndarray:
    """Return D_st as a dense matrix on the host.

    >>> free = free_matrix(Staggered((4, 6)))
    >>> bool((free == -free.T).all())
    True
    """
    sites = volume(operator.lattice)
    columns: numpy.ndarray = operator.hop(numpy.eye(sites).reshape(sites, *operator.lattice)).reshape(sites, sites)
    return columns.T


@lru_cache(maxsize=32)
def _phases(operator: Staggered) -> numpy.ndarray:
    """eta_mu(x) `(d, *lattice)`; that of the last time slice in time carries the sign of the boundary."""
    sites = numpy.indices(operator.lattice)
    phases = numpy.stack([(-1.0) ** sites[:mu].sum(axis=0) for mu in range(operator.d)])
    if operator.antiperiodic:
        phases[0, -1] *= -1.0
    return phases


def log_det(operator: Staggered, phi: Array, g: Any) -> tuple[Array, Array]:
    """Return (ln |det M|, sign of det M), `(*batch,)` each, from the dense matrix.

    The derivative of ln |det M| with respect to phi is `log_det_force`; there is none with respect to g. On NumPy and CuPy
    there is the value alone. ln |det M| is -inf where M is singular, with the sign 0.

    >>> import numpy as np
    >>> log_abs, sign = log_det(Staggered((4, 6)), np.full((4, 6), 0.3), 1.0)
    >>> round(float(log_abs), 12), float(sign)
    (0.230825943373, 1.0)
    """

    def value(field: Array) -> tuple[Array, Array]:
        sign, log_abs = backends.of(field).by_matrix(array_namespace(field).linalg.slogdet, operator.matrix(field, g))
        return log_abs, sign

    def slopes(field: Array) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
        return value(field), (log_det_force(operator, field, g),)

    known: Callable[..., tuple[Array, Array]] = backends.of(phi).with_slopes(value, slopes, 0, has_aux=True)
    return known(phi)


def log_det_force(operator: Staggered, phi: Array, g: Any) -> Array:
    """Return d ln |det M| / d phi(x) = g M^-1(x, x), shaped as the field, on every backend.

    >>> import numpy as np
    >>> float(log_det_force(Staggered((1, 1)), np.full((1, 1), 4.0), 0.5)[0, 0])  # d ln(g phi) = 1/phi
    0.25
    """
    return spread(g, operator.d) * site_diagonal(inverse(operator, phi, g), operator.lattice)


def inverse(operator: Staggered, phi: Array, g: Any) -> Array:
    """Return the propagator M^-1 as dense matrices `(*batch, V, V)`."""
    found: Array = backends.of(phi).by_matrix(array_namespace(phi).linalg.inv, operator.matrix(phi, g))
    return found


def site_diagonal(matrices: Array, lattice: tuple[int, ...]) -> Array:
    """Return the diagonals of matrices `(*batch, V, V)` as fields `(*batch, *lattice)`."""
    diagonal = array_namespace(matrices).linalg.diagonal(matrices)
    return array_namespace(diagonal).reshape(diagonal, (*diagonal.shape[:-1], *lattice))
