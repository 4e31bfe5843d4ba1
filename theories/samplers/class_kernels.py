"""The density of the product of m independent SU(N) plaquettes, relative to its value at 1.

    K_m(U) = sum_r d_r a_r^m chi_r(U),   K_1(U) = e^{(beta/N) Re tr U},   0 <= K_m(U) <= K_m(1) = sum_r d_r^2 a_r^m

with the a_r of `sun_torus`: the character expansion's convolutions multiply coefficients. The larger m, the flatter.
Characters come from traces: h_k, the complete symmetric polynomials of the eigenvalues, obey h_k = sum_j (-1)^{j+1} e_j
h_{k-j} with the elementary ones e_j, and chi_lambda = det_ij h_{lambda_i - i + j} (Jacobi and Trudi). N = 2, 3, 4.
"""

from __future__ import annotations

from functools import lru_cache

from array_api_compat import array_namespace

from haarflow.backends.types import Array
from haarflow.core.groups import matrices
from haarflow.theories.exact import characters, sun_torus
from haarflow.theories.exact.characters import Rows

NEGLIGIBLE = 1e-16


def log_ratio(u: Array, beta: float, m: int) -> Array:
    """Return ln K_m(U)/K_m(1) of matrices `(*batch, N, N)`, at most 0; m >= 1.

    >>> import numpy as np
    >>> turn = np.diag([1j, -1j])
    >>> [round(float(log_ratio(turn, 2.0, m)), 6) for m in (1, 2, 8)]
    [-2.0, -0.711777, -0.004943]
    """
    xp, n = array_namespace(u), u.shape[-1]
    if m == 1:
        return beta * (xp.real(matrices.trace(u)) / float(n) - 1.0)
    terms, whole = expansion(n, beta, m)
    h = complete(elementary(u), max(rows[0] for rows, _ in terms) + n)
    sum_ = sum(weight * xp.real(character(rows, h)) for rows, weight in terms)
    return xp.log(xp.where(sum_ > whole * NEGLIGIBLE, sum_, whole * NEGLIGIBLE * xp.ones_like(sum_)) / whole)


@lru_cache(maxsize=64)
def expansion(n: int, beta: float, m: int) -> tuple[tuple[tuple[Rows, float], ...], float]:
    """Return (rows, d_r (a_r/a_0)^m) of the representations that count, m >= 2, and K_m(1)/a_0^m.

    >>> terms, whole = expansion(2, 2.0, 8)
    >>> terms[0], round(whole, 4)
    (((0, 0), 1.0), 1.005)
    """
    terms: list[tuple[Rows, float]] = []
    whole, width, added = 0.0, 0, 1.0
    while added > NEGLIGIBLE * whole:
        shell = [
            (rows, characters.dimension(rows) * sun_torus.ratio(rows, beta) ** m) for rows in characters.shell(n, width)
        ]
        added = sum(characters.dimension(rows) * weight for rows, weight in shell)
        terms, whole, width = terms + shell, whole + added, width + 1
    return tuple(terms), whole


def elementary(u: Array) -> list[Array]:
    """Return e_1, ..., e_N of the eigenvalues of SU(N) matrices; e_N = 1. Raises ValueError for N > 4."""
    xp, n = array_namespace(u), u.shape[-1]
    if n > 4:
        raise ValueError(f"elementary polynomials of the eigenvalues are written out for N <= 4, got N = {n}")
    trace = matrices.trace(u)
    one = xp.ones_like(trace)
    if n == 2:
        return [trace, one]
    if n == 3:
        return [trace, xp.conj(trace), one]
    return [trace, 0.5 * (trace * trace - matrices.trace(matrices.matmul(u, u))), xp.conj(trace), one]


def complete(e: list[Array], highest: int) -> list[Array]:
    """Return h_0, ..., h_highest."""
    h = [e[-1]]
    for k in range(1, highest + 1):
        h.append(sum((-1.0) ** j * e[j] * h[k - 1 - j] for j in range(min(k, len(e)))))
    return h


def character(rows: Rows, h: list[Array]) -> Array:
    """Return chi_lambda by the determinant of h over the rows that are not empty."""
    full = [row for row in rows if row]
    if not full:
        return h[0]
    zero = 0.0 * h[0]
    table = [[h[row - i + j] if row - i + j >= 0 else zero for j in range(len(full))] for i, row in enumerate(full)]
    return matrices.determinant(matrices.assemble(table, h[0].ndim), h[0].ndim)
