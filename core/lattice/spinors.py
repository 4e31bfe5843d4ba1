"""Gamma matrices in two and four dimensions, and the half spinors on which a hop multiplies by links.

In the chiral basis gamma_mu = [[0, G_mu], [G_mu^+, 0]] and gamma_5 = diag(1, -1), with G_mu unitary:

    d = 2: G_0 = 1, G_1 = -i, that is gamma_0 = sigma_x, gamma_1 = sigma_y, gamma_5 = sigma_z
    d = 4: G_0 = 1, G_k = i sigma_k

(1 + s gamma_mu) psi with s = 1 or -1 has the upper half h = up + s G_mu down and the lower half s G_mu^+ h: it is known by
h, half as many components. A row of G_mu has one entry, 1, -1, i or -i, so that no matrices are multiplied.

Spinors have 2^(d/2) components along `axis`, a negative number: colour and lattice come behind.
"""

from __future__ import annotations

import numpy
from array_api_compat import array_namespace

from haarflow.backends.types import Array

Rows = tuple[tuple[int, complex], ...]  # for every row of a matrix the column of its entry, and the entry

G: dict[int, tuple[Rows, ...]] = {
    2: (((0, 1),), ((0, -1j),)),
    4: (((0, 1), (1, 1)), ((1, 1j), (0, 1j)), ((1, 1), (0, -1)), ((0, 1j), (1, -1j))),
}


def components(d: int) -> int:
    """Return the number of components of a spinor, 2^(d/2).

    Raises ValueError for a dimension without gamma matrices here.

    >>> components(2), components(4)
    (2, 4)
    """
    if d not in G:
        raise ValueError(f"there are gamma matrices in {' and '.join(map(str, G))} dimensions, got d = {d}")
    return 1 << d // 2


def gamma(d: int) -> numpy.ndarray:
    """Return gamma_0 ... gamma_{d-1}, gamma_5 as host matrices `(d + 1, spin, spin)`, for oracles.

    >>> gamma(2)[1].imag.tolist(), gamma(2)[2].real.tolist()
    ([[0.0, -1.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, -1.0]])
    """
    half = components(d) // 2
    found = numpy.zeros((d + 1, 2 * half, 2 * half), dtype="complex128")
    for mu, rows in enumerate(G[d]):
        for row, (column, entry) in enumerate(rows):
            found[mu, row, half + column] = entry
            found[mu, half + column, row] = numpy.conj(entry)
    found[d] = numpy.diag([1.0] * half + [-1.0] * half)
    return found


def project(psi: Array, mu: int, sign: int, axis: int) -> Array:
    """Return the upper half h = up + sign G_mu down of (1 + sign gamma_mu) psi.

    >>> import numpy as np
    >>> project(np.asarray([1.0 + 0j, 10.0]), mu=0, sign=-1, axis=-1)
    array([-9.+0.j])
    """
    up, down = halves(psi, axis)
    return up + turned(down, _dimension(psi, axis), mu, sign, axis)


def lower(h: Array, mu: int, sign: int, axis: int) -> Array:
    """Return sign G_mu^+ h, the lower half of (1 + sign gamma_mu) psi.

    >>> import numpy as np
    >>> lower(np.asarray([1.0 + 0j]), mu=1, sign=1, axis=-1)
    array([-0.+1.j])
    """
    return turned(h, 2 + _dimension(h, axis), mu, sign, axis, adjoint=True)


def rebuild(h: Array, mu: int, sign: int, axis: int) -> Array:
    """Return (1 + sign gamma_mu) psi of its upper half.

    >>> import numpy as np
    >>> psi = np.asarray([1.0 + 0j, 10.0])
    >>> rebuild(project(psi, 0, -1, axis=-1), 0, -1, axis=-1).real.tolist()
    [-9.0, 9.0]
    """
    return array_namespace(h).concat([h, lower(h, mu, sign, axis)], axis=axis)


def gamma5(psi: Array, axis: int) -> Array:
    """Return gamma_5 psi: the lower half changes its sign.

    >>> import numpy as np
    >>> gamma5(np.asarray([1.0 + 0j, 10.0]), axis=-1).real.tolist()
    [1.0, -10.0]
    """
    up, down = halves(psi, axis)
    return array_namespace(psi).concat([up, -down], axis=axis)


def halves(psi: Array, axis: int) -> tuple[Array, Array]:
    """Return the upper and the lower half of the components."""
    half, behind = psi.shape[axis] // 2, (slice(None),) * (-1 - axis)
    return psi[(..., slice(None, half), *behind)], psi[(..., slice(half, None), *behind)]


def turned(x: Array, d: int, mu: int, sign: int, axis: int, adjoint: bool = False) -> Array:
    """Return sign G_mu x or, adjoint, sign G_mu^+ x, for half spinors x of a d-dimensional lattice."""
    rows = _adjoint(G[d][mu]) if adjoint else G[d][mu]
    if all(row == column for row, (column, _) in enumerate(rows)) and len({entry for _, entry in rows}) == 1:
        return times(sign * rows[0][1], x)
    behind = (slice(None),) * (-1 - axis)
    parts = [times(sign * entry, x[(..., column, *behind)]) for column, entry in rows]
    return array_namespace(x).stack(parts, axis=axis)


def times(entry: complex, x: Array) -> Array:
    """Return entry x, without a product for 1 and -1."""
    if entry in (1, -1):
        return x if entry == 1 else -x
    return entry * x


def _adjoint(rows: Rows) -> Rows:
    entries = sorted((column, row, complex(entry).conjugate()) for row, (column, entry) in enumerate(rows))
    return tuple((row, entry) for _, row, entry in entries)


def _dimension(psi: Array, axis: int) -> int:
    """The dimension of the lattice, by the number of components."""
    return 2 * (int(psi.shape[axis]).bit_length() - 1)
