"""Logarithms of SU(N) matrices: closed for SU(2), by eigenvalues with exact first derivatives for N > 2."""

from __future__ import annotations

import math

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.broadcasting import scaled
from haarflow.core.groups import matrices
from haarflow.core.groups.matrices import complex_array, precision

TINY = {"float64": 1e-280, "float32": 1e-35}  # vectors with a smaller square have no direction


def of_quaternion(a: Array, d: int) -> Array:
    """Return w = 2 atan2(|a|, a0) a/|a| of unit quaternions `(*batch, 4, *lattice)`, by series near the identity.

    At -1, where the axis is arbitrary, it is the third.

    >>> import numpy as np
    >>> of_quaternion(np.asarray([-1.0, 0.0, 0.0, 0.0]), 0).round(6).tolist()
    [0.0, 0.0, 6.283185]
    """
    xp, rest = array_namespace(a), (slice(None),) * d
    a0, vector = a[(..., 0) + rest], a[(..., slice(1, None)) + rest]
    size2, one = xp.sum(vector * vector, axis=-d - 1), xp.ones_like(a0)
    near = (a0 > 0.5) & (size2 < 0.01)
    flat = size2 < TINY[precision(a)]
    size = xp.sqrt(xp.where(near | flat, one, size2))
    ratio = xp.where(near, size2, 0.0 * one) / xp.where(near, a0 * a0, one)
    series = sum((-ratio) ** k / (2 * k + 1) for k in range(9)) / xp.where(near, a0, one)
    factor = 2.0 * xp.where(near, series, xp.atan2(size, a0) / size)
    third = xp.asarray((0.0, 0.0, 2.0 * math.pi), dtype=a.dtype, device=backends.place(a))
    turned = xp.broadcast_to(xp.reshape(third, (3, *(1,) * d)), vector.shape)
    half_turn = (flat & ~near)[(..., None) + rest]
    return xp.where(half_turn, turned, factor[(..., None) + rest] * vector)


def by_eigenvalues(u: Array, values: Array, vectors: Array, d: int) -> Array:
    """Return log u, expanded to first order about V diag(values) V^+ with V and the eigenvalues fixed.

    Divided differences of the logarithm, i (s - t) / (e^{is} - e^{it}), make the first order exact.
    """
    angles = _traceless(_angles(values), d)
    back = matrices.dagger(vectors, d)
    inside = matrices.entries(matrices.matmul(matrices.matmul(back, u, d), vectors, d), d)
    n = u.shape[u.ndim - d - 1]
    angle = [angles[(..., k) + (slice(None),) * d] for k in range(n)]
    rows = [[_log_entry(inside[i][j], angle[i], angle[j], i == j) for j in range(n)] for i in range(n)]
    return matrices.matmul(matrices.matmul(vectors, matrices.assemble(rows, d), d), back, d)


def _log_entry(x: Array, s: Array, t: Array, diagonal: bool) -> Array:
    """Entry (i, j) of the logarithm's first-order expansion in the eigenbasis, x the element's entry."""
    xp = array_namespace(x)
    middle, half = 0.5 * (s + t), 0.5 * (s - t)
    zero = xp.zeros_like(s)
    turn = complex_array(xp.cos(middle), -xp.sin(middle))
    if diagonal:
        return complex_array(zero, s) + turn * x - 1.0
    safe = xp.abs(xp.sin(half)) > 1e-3 if precision(x) == "float32" else xp.abs(xp.sin(half)) > 1e-6
    close = xp.where(safe, half, zero)  # angles a full turn apart are one eigenvalue: their entry is rounding
    factor = close / xp.where(safe, xp.sin(half), xp.ones_like(half)) + xp.where(safe, zero, xp.ones_like(half))
    return scaled(factor, turn) * x


def _angles(values: Array) -> Array:
    xp = array_namespace(values)
    return xp.atan2(xp.imag(values), xp.real(values))


def _traceless(angles: Array, d: int) -> Array:
    """Angles `(*batch, N, *lattice)` equal to the arguments modulo 2 pi, with sum zero and the least sum of squares.

    The arguments sum to 2 pi k; the k largest lose a turn, or the -k smallest gain one.
    """
    xp, rest = array_namespace(angles), (slice(None),) * d
    n = angles.shape[angles.ndim - d - 1]
    parts = [angles[(..., k) + rest] for k in range(n)]
    turns = xp.round(sum(parts[1:], parts[0]) / (2.0 * math.pi))
    shifted = []
    for k, part in enumerate(parts):
        above = sum(_before(other, part, j < k) for j, other in enumerate(parts) if j != k)
        below = float(n - 1) - above
        lose = xp.astype(above < turns, part.dtype)
        gain = xp.astype(below < -turns, part.dtype)
        shifted.append(part + (2.0 * math.pi) * (gain - lose))
    return xp.stack(shifted, axis=-d - 1)


def _before(other: Array, part: Array, first: bool) -> Array:
    """1 where `other` comes before `part` in descending order, ties by index."""
    xp = array_namespace(part)
    return xp.astype((other >= part) if first else (other > part), part.dtype)
