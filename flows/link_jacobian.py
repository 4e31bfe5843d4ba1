"""One link under the gradient of its loops, U' = e^{iw} U with w_a = -Im tr(T_a W), W = U V: the Jacobian and its inverse.

V is any matrix that does not depend on U (staples times their coefficients), so w = -grad of -Re tr W. Along the algebra
frame, dU = i d_a T_a U and dU' = i d'_a T_a U', the Jacobian is

    d' = e^A (1 + f(-A) M) d,   A_ab = f_abc w_c,   f(A) = (e^A - 1)/A,   M_ab = dw_a/dd_b = -Re tr(T_a T_b W).

As T_a T_b = delta_ab/2N + (d_abc + i f_abc) T_c / 2, the antisymmetric part of M is -A/2, and A/2 is that of 1/f(-A) too:

    det J = det f(-A) det(K - D),   K = (A/2) coth(A/2),   D_ab = delta_ab Re tr W / 2N + d_abc Re tr(T_c W) / 2,

with K and D symmetric, and det f(-A) = prod (sin(r/2)/(r/2))^2 over the positive roots r = s_i - s_j of w_a T_a. For
N = 2 K and D have the same eigenvectors, so det J = (cos(r/2) - t sin(r/2)/(r/2))^2 (1 - t) with t = Re tr W / 4.

Where V itself depends on U through traces, W = sum_k F_k P_k with P_k = U V_k, F_k = dF/dx_k and x_k = Re tr P_k / N, the
step is minus the gradient of -N F(x), and M has one more part, G = N sum_kl F_kl dx_k dx_l^T with dx_k = step_of(P_k)/N,
symmetric too: det(K - D + G).

Bound: |step_of| shrinks vectors, |M| <= R/2 with R = sum_k |F_k| + sum_kl |F_kl| for unitary V_k (|dx_k| <= (2N)^(-1/2)),
and |f| <= 1. For R < 2 the map U -> e^{-iw(U)} U' contracts by R/2 on the group, so that each U' has exactly one U; and J,
never singular, keeps K - D + G positive. Roots r are at most R.
Compare stout smearing, hep-lat/0311018; the flows of arXiv:0907.5491 are its continuous form.

Shapes: w `(*batch, N^2-1, *lattice)`, W `(*batch, N, N, *lattice)`, `group = SU(N, d)`.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.host_table import host_table
from haarflow.core import matrices
from haarflow.core.exponentials import cos_sinc
from haarflow.core.matrices import precision
from haarflow.core.sun import SU, generators

Array = Any

LIMIT = 2.0  # of R: below it the map is invertible
TERMS = 16  # of the series of K and log det f(-A): each is (R/2 pi)^2 <= 0.1 of the one before


def step_of(group: SU, w: Array) -> Array:
    """Return w_a = -Im tr(T_a W), minus the gradient of -Re tr W, for any matrices W.

    >>> import numpy as np
    >>> step_of(SU(2), np.asarray([[1j, 0.0], [0.0, -1j]])).tolist()
    [0.0, 0.0, -1.0]
    """
    return 0.5 * group.coordinates(1j * w)


def log_det(group: SU, w: Array, loop: Array, own: Array | None = None) -> Array:
    """Return log det J of every link, `(*batch, *lattice)`, for w = step_of(group, loop) and loop = W.

    `own` is G, `(*batch, N^2-1, N^2-1, *lattice)`, where V depends on U by traces. NaN where the map is not orientation
    preserving, which R < 2 excludes.

    >>> import numpy as np
    >>> round(float(log_det(SU(3), np.zeros(8), 0.3 * np.eye(3) + 0j)), 12) == round(8 * math.log(1 - 0.15), 12)
    True
    """
    xp = array_namespace(w)
    if group.n == 2 and own is None:
        cosine, sinc = cos_sinc(0.25 * group.inner(w, w))
        t = 0.25 * xp.real(group.trace(loop))
        return 2.0 * xp.log(cosine - t * sinc) + xp.log(1.0 - t)
    square = adjoint_square(group, w)
    bend, turn = half_coth(group, w, square)
    pivots, _ = eliminate(_curvature(group, bend, loop, own), None, group.d)
    return sum((xp.log(pivot) for pivot in pivots), turn)


def newton(group: SU, w: Array, loop: Array, residual: Array, own: Array | None = None) -> Array:
    """Return J^-1 of an algebra element, (K - D + G)^-1 (K - A/2) r: the step that takes r away from U'.

    >>> import numpy as np
    >>> newton(SU(2), np.zeros(3), 0.4 * np.eye(2) + 0j, np.asarray([0.8, 0.0, 0.0])).tolist()
    [1.0, 0.0, 0.0]
    """
    turned = adjoint(group, w)
    bend, _ = half_coth(group, w, matrices.matmul(turned, turned, group.d))
    right = _apply(bend - 0.5 * turned, residual, group.d)
    return eliminate(_curvature(group, bend, loop, own), right, group.d)[1]


def adjoint(group: SU, w: Array) -> Array:
    """Return A_ab = f_abc w_c, the matrix of i w in the adjoint representation, `(*batch, N^2-1, N^2-1, *lattice)`.

    >>> import numpy as np
    >>> adjoint(SU(2), np.asarray([0.0, 0.0, 1.0])).tolist()
    [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    return _contract(_antisymmetric(group.n), w, group.d)


def adjoint_square(group: SU, w: Array) -> Array:
    """Return A^2."""
    turned = adjoint(group, w)
    return matrices.matmul(turned, turned, group.d)


def hessian(group: SU, loop: Array) -> Array:
    """Return D, the symmetric part of -M, from W.

    >>> import numpy as np
    >>> hessian(SU(2), 2 * np.eye(2) + 0j).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    xp, d = array_namespace(loop), group.d
    parts = xp.concat(
        [0.5 * group.coordinates(loop), xp.expand_dims(xp.real(group.trace(loop)), axis=-d - 1)], axis=-d - 1
    )
    return _contract(_symmetric(group.n), parts, d)


def half_coth(group: SU, w: Array, square: Array) -> tuple[Array, Array]:
    """Return K = (A/2) coth(A/2) and log det f(-A), given A^2; for roots up to 2, see LIMIT.

    K = 1 + sum_k B_2k A^2k / (2k)! and log det f(-A) = tr log(sinh(A/2)/(A/2)) = sum_k B_2k tr A^2k / (2k (2k)!) with
    Bernoulli's numbers; powers of A^2 beyond those that the spectrum leaves independent are taken back by
    A^4 = -r^2 A^2 for N = 2, A^8 = -e1 A^6 - e2 A^4 - e3 A^2 for N = 3.

    >>> import numpy as np
    >>> w = np.asarray([0.0, 0.0, 1.0])
    >>> bend, turn = half_coth(SU(2), w, adjoint_square(SU(2), w))
    >>> bool(abs(bend[0, 0] - 0.5 / np.tan(0.5)) < 1e-15), bool(abs(turn - 2 * np.log(2 * np.sin(0.5))) < 1e-15)
    (True, True)
    """
    d, powers = group.d, [square]
    relation = _relation(group, w)
    bends, turns = (_reduced(series, relation) for series in _series())
    for _ in bends[1:]:
        powers.append(matrices.matmul(powers[-1], square, d))
    bend = sum((_beside(c, 2, d) * power for c, power in zip(bends, powers, strict=True)), matrices.identity(square, d))
    terms = [c * matrices.trace(power, d) for c, power in zip(turns, powers, strict=True)]
    return bend, sum(terms[1:], terms[0])


def eliminate(m: Array, right: Array | None, d: int) -> tuple[list[Array], Array | None]:
    """Return the pivots of symmetric positive matrices, and the solution x of m x = right (None for none).

    Gauss's elimination without exchanges, whole lattices at once: m `(*batch, n, n, *lattice)`, right `(*batch, n,
    *lattice)`. The determinant is the product of the pivots.

    >>> import numpy as np
    >>> pivots, x = eliminate(np.asarray([[2.0, 1.0], [1.0, 1.0]]), np.asarray([3.0, 2.0]), 0)
    >>> [float(pivot) for pivot in pivots], x.tolist()
    ([2.0, 0.5], [1.0, 1.0])
    """
    rest, keep = (slice(None),) * d, backends.of(m).materialise
    pivots, rows, rights = [], [], []
    for _ in range(m.shape[m.ndim - d - 1]):
        pivot, row = m[(..., 0, 0) + rest], m[(..., 0, slice(1, None)) + rest]
        share = row / _beside(pivot, 1, d)
        m = m[(..., slice(1, None), slice(1, None)) + rest]
        m = keep(m - share[(..., slice(None), None) + rest] * row[(..., None, slice(None)) + rest])
        pivots.append(pivot)
        if right is not None:
            first = right[(..., 0) + rest]
            right = right[(..., slice(1, None)) + rest] - share * _beside(first, 1, d)
            rows.append(share)
            rights.append(first / pivot)
    return pivots, None if right is None else _back(rows, rights, d)


def _back(rows: list[Array], rights: list[Array], d: int) -> Array:
    """Substitute from the last unknown to the first: x_k = rights_k - rows_k . x_(k+1 ...)."""
    xp, found = array_namespace(rights[0]), [rights[-1]]
    for row, right in zip(reversed(rows[:-1]), reversed(rights[:-1]), strict=True):
        found.insert(0, right - xp.sum(row * xp.stack(found, axis=-d - 1), axis=-d - 1))
    return xp.stack(found, axis=-d - 1)


def _curvature(group: SU, bend: Array, loop: Array, own: Array | None) -> Array:
    """K - D + G."""
    found = bend - hessian(group, loop)
    return found if own is None else found + own


def _relation(group: SU, w: Array) -> list[Array]:
    """e_1, e_2, ... of A^(2m+2) + e_1 A^2m + ... + e_m A^2 = 0; none for N > 3, where all powers are formed.

    The squares of the roots are r^2 = |w|^2 for N = 2; for N = 3 their elementary symmetric functions are 6p, 9p^2 and
    4 p^3 - 27 q^2, with p = |w|^2 / 4 and q = det w_a T_a.
    """
    size = group.inner(w, w)
    if group.n == 2:
        return [size]
    if group.n > 3:
        return []
    p, q = 0.25 * size, array_namespace(w).real(matrices.determinant(group.algebra(w), group.d))
    return [6.0 * p, 9.0 * p * p, 4.0 * p * p * p - 27.0 * q * q]


def _reduced(series: tuple[float, ...], relation: list[Array]) -> list[Any]:
    """The coefficients of A^2, A^4, ... of a power series in A^2, its high powers taken back by the relation."""
    if not relation:
        return list(series)
    size = len(relation)
    found: list[Any] = list(series[-size:])
    for number in reversed(series[:-size]):
        top = found[-1]
        carried = [0.0, *found[:-1]]
        found = [c - e * top for c, e in zip(carried, reversed(relation), strict=True)]
        found[0] = number + found[0]
    return found


def _contract(table: numpy.ndarray, x: Array, d: int) -> Array:
    """sum_c table[(a, b), c] x_c as matrices `(*batch, n, n, *lattice)`."""
    xp, (squared, parts) = array_namespace(x), table.shape
    lead, lattice = tuple(x.shape[: x.ndim - d - 1]), tuple(x.shape[x.ndim - d :])
    flat = xp.reshape(x, (*lead, parts, math.prod(lattice)))
    found = xp.matmul(backends.of(x).asarray(table, dtype=precision(x)), flat)
    n = math.isqrt(squared)
    return xp.reshape(found, (*lead, n, n, *lattice))


def _apply(m: Array, x: Array, d: int) -> Array:
    """Matrices times vectors, `(*batch, n, *lattice)`."""
    return array_namespace(m).sum(m * x[(..., None, slice(None)) + (slice(None),) * d], axis=-d - 1)


def _beside(x: Any, axes: int, d: int) -> Any:
    """A number of each link with axes of extent one for the algebra; plain numbers as they are."""
    return x[(..., *(None,) * axes) + (slice(None),) * d] if hasattr(x, "ndim") else x


@host_table
def _antisymmetric(n: int) -> numpy.ndarray:
    """f_abc = -2i tr([T_a, T_b] T_c), rows (a, b)."""
    t = numpy.stack(generators(n))
    product = numpy.einsum("aij,bjk,cki->abc", t, t, t)
    return numpy.ascontiguousarray((2 * (product - product.transpose(1, 0, 2))).imag.reshape(-1, len(t)))


@host_table
def _symmetric(n: int) -> numpy.ndarray:
    """d_abc / 2 with d_abc = 2 tr({T_a, T_b} T_c), rows (a, b), and delta_ab / 2N in one more column."""
    t = numpy.stack(generators(n))
    product = numpy.einsum("aij,bjk,cki->abc", t, t, t)
    half = (product + product.transpose(1, 0, 2)).real.reshape(-1, len(t))
    return numpy.concatenate([half, numpy.eye(len(t)).reshape(-1, 1) / (2 * n)], axis=1)


@host_table
def _series() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """B_2k / (2k)! and B_2k / (2k (2k)!), k = 1 ... TERMS; B_2k/(2k)! = (-1)^(k+1) 2 zeta(2k) / (2 pi)^2k."""
    numbers: list[Fraction] = [Fraction(1)]
    for m in range(1, 2 * TERMS + 1):
        numbers.append(-sum(math.comb(m + 1, k) * numbers[k] for k in range(m)) / Fraction(m + 1))
    bends = [float(numbers[2 * k] / math.factorial(2 * k)) for k in range(1, TERMS + 1)]
    return tuple(bends), tuple(b / (2 * k) for k, b in enumerate(bends, start=1))
