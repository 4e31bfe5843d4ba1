"""Eigen-angles of SU(N) matrices in descending order, and functions of them, with exact first derivatives.

    U = V diag(e^{i theta}) V^+,    f(U) = V diag(e^{i alpha(theta)}) V^+,
    theta_1 >= ... >= theta_N >= theta_1 - 2 pi,    sum theta = 0.

The eigenvectors V are constants to autodiff (`core.spectra`); the matrix M = V^+ U V is not: theta_k changes by
Im(e^{-i theta_k} M_kk), and off the diagonal f(U) is M_ij times the divided difference

    (e^{i alpha_i} - e^{i alpha_j}) / (e^{i theta_i} - e^{i theta_j}),

which is exact to first order. f is a class map: f(W U W^+) = W f(U) W^+ whatever alpha is. Shapes: matrices
`(*batch, N, N, *lattice)` with `d` lattice axes last, angles a list of N arrays `(*batch, *lattice)`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.broadcasting import of_type, scaled
from haarflow.core.groups import jacobi, matrices
from haarflow.core.groups.matrices import complex_array


class Frame(NamedTuple):
    """Eigenvectors V `(*batch, N, N, *lattice)`, constants; V^+ U V; the eigen-angles in descending order."""

    vectors: Array
    inside: Array
    angles: list[Array]


def frame_of(u: Array, d: int = 0) -> Frame:
    """Return the eigenframe of SU(N) matrices.

    >>> import numpy as np
    >>> frame = frame_of(np.diag(np.exp([-0.5j, 0.75j, -0.25j])))
    >>> [round(float(angle), 12) for angle in frame.angles]
    [0.75, -0.25, -0.5]
    """
    xp, keep = array_namespace(u), backends.of(u).materialise
    n, rest = u.shape[u.ndim - d - 1], (slice(None),) * d
    values, vectors = jacobi.diagonalise(u, d, 2 if n == 2 else jacobi.SWEEPS)  # one rotation, and one for its rounding
    spread = xp.atan2(xp.imag(values), xp.real(values))
    angles, order = falling([spread[(..., k) + rest] for k in range(n)])
    vectors = keep(matrices.matmul(vectors, of_type(matrices.assemble(_columns(order), d), vectors), d))
    inside = keep(matrices.matmul(matrices.matmul(matrices.dagger(vectors, d), u, d), vectors, d))
    refined = []
    for k, angle in enumerate(angles):
        eigenvalue, (sine, cosine) = matrices.entry(inside, k, k, d), backends.of(angle).sincos(angle)
        refined.append(keep(angle + cosine * xp.imag(eigenvalue) - sine * xp.real(eigenvalue)))
    return Frame(vectors, inside, refined)


def rebuilt(frame: Frame, old: list[Array], new: list[Array], d: int = 0) -> Array:
    """Return V diag(e^{i new}) V^+ for new angles that are functions of the angles `old`, no two of which may coincide.

    `old` are the angles of the frame; where the spectrum is degenerate, use angles slightly apart and their new ones.

    >>> import numpy as np
    >>> u = np.diag(np.exp([0.5j, -0.5j]))
    >>> frame = frame_of(u)
    >>> bool(np.abs(rebuilt(frame, frame.angles, [2 * angle for angle in frame.angles]) - u @ u).max() < 1e-15)
    True
    """
    xp, backend = array_namespace(frame.inside), backends.of(frame.inside)
    keep, one = backend.materialise, xp.real(matrices.identity(frame.inside, d))
    before, after = (xp.stack([xp.broadcast_to(x, new[0].shape) for x in part], axis=-d - 1) for part in (old, new))
    turns = backend.stop_gradient(_differences(before, after, one, d))
    diagonal = scaled(one, _phase(after)[(..., slice(None), None) + (slice(None),) * d])
    middle = matrices.matmul(frame.vectors, keep(diagonal + turns * frame.inside), d)
    return keep(matrices.matmul(keep(middle), matrices.dagger(frame.vectors, d), d))


def falling(angles: list[Array]) -> tuple[list[Array], list[list[Array]]]:
    """Return angles `theta_1 >= ... >= theta_N >= theta_1 - 2 pi` with sum zero, equal to the arguments modulo 2 pi, and
    their order: for each position weights, 1 for the argument that stands there.

    The arguments lie within a turn and sum to 2 pi k: the k largest lose a turn, or the -k smallest gain one.

    >>> import numpy as np
    >>> [float(a) for a in falling([np.asarray(a) for a in (-1.0, 3.0, -2.0)])[0]]
    [3.0, -1.0, -2.0]
    """
    xp, n = array_namespace(angles[0]), len(angles)
    turns = xp.round(sum(angles[1:], angles[0]) / (2.0 * math.pi))
    shifted, positions = [], []
    for k, angle in enumerate(angles):
        position = sum(_before(other, angle, j < k) for j, other in enumerate(angles) if j != k) - turns
        # an angle that lost a turn comes last, one that gained a turn first: all positions shift by -k modulo N
        gain, lose = xp.astype(position >= float(n), angle.dtype), xp.astype(position < 0.0, angle.dtype)
        shifted.append(angle + (2.0 * math.pi) * (gain - lose))
        positions.append(position + float(n) * (lose - gain))
    order = [[xp.astype(xp.abs(position - float(k)) < 0.5, position.dtype) for position in positions] for k in range(n)]
    return [sum(weight * angle for weight, angle in zip(row, shifted, strict=True)) for row in order], order


def _before(other: Array, angle: Array, first: bool) -> Array:
    """1 where `other` comes before `angle` in descending order, ties by index."""
    return array_namespace(angle).astype((other >= angle) if first else (other > angle), angle.dtype)


def _columns(order: list[list[Array]]) -> list[list[Array]]:
    """The matrix that takes column i to position k where order[k][i] is 1."""
    return [[row[i] for row in order] for i in range(len(order))]


def _phase(angle: Array) -> Array:
    sine, cosine = backends.of(angle).sincos(angle)
    return complex_array(cosine, sine)


def _differences(s: Array, a: Array, one: Array, d: int) -> Array:
    """(e^{ia_j} - e^{ia_k}) / (e^{is_j} - e^{is_k}) off the diagonal, zero on it, `(*batch, N, N, *lattice)`."""
    rest, sine = (slice(None),) * d, array_namespace(s).sin
    sums, gaps = [], []
    for x in (a, s):
        left, right = x[(..., slice(None), None) + rest], x[(..., None, slice(None)) + rest]
        sums.append(0.5 * (left + right))
        gaps.append(sine(0.5 * (left - right)))
    return scaled(gaps[0] / (gaps[1] + one), _phase(sums[0] - sums[1]))
