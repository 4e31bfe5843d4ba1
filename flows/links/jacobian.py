"""A step of one link along the gradient of its loops, U' = e^{iw} U with w_a = -Im tr(T_a W), W = U V: the Jacobian and its inverse.

V is any matrix that does not depend on U (staples times their coefficients), so w = -grad of -Re tr W. Along the algebra
frame, dU = i d_a T_a U and dU' = i d'_a T_a U', the Jacobian is

    d' = e^A (1 + f(-A) M) d,   A_ab = f_abc w_c,   f(A) = (e^A - 1)/A,   M_ab = dw_a/dd_b = -Re tr(T_a T_b W).

As T_a T_b = delta_ab/2N + (d_abc + i f_abc) T_c / 2, the antisymmetric part of M is -A/2, and A/2 is that of 1/f(-A) too:

    det J = det f(-A) det(K - D),   K = (A/2) coth(A/2),   D_ab = delta_ab Re tr W / 2N + d_abc Re tr(T_c W) / 2,

with K and D symmetric, and det f(-A) = prod (sin(r/2)/(r/2))^2 over the positive roots r = s_i - s_j of w_a T_a. For
N = 2 K and D have the same eigenvectors, so det J = (cos(r/2) - t sin(r/2)/(r/2))^2 (1 - t) with t = Re tr W / 4.

If V itself depends on U through traces, W = sum_k F_k P_k with P_k = U V_k, F_k = dF/dx_k and x_k = Re tr P_k / N, the
step is minus the gradient of -N F(x), and M has an additional term, G = N sum_kl F_kl dx_k dx_l^T with dx_k = step_of(P_k)/N,
symmetric too: det(K - D + G).

Bound: |step_of| shrinks vectors, |M| <= R/2 with R = sum_k |F_k| + sum_kl |F_kl| for unitary V_k (|dx_k| <= (2N)^(-1/2)),
and |f| <= 1. For R < 2 the map U -> e^{-iw(U)} U' contracts by R/2 on the group, so that each U' has exactly one preimage U;
J is never singular, and K - D + G stays positive. Roots r are at most R.
Compare stout smearing, hep-lat/0311018, whose continuous form are the flows of arXiv:0907.5491.

Shapes: w `(*batch, N^2-1, *lattice)`, W `(*batch, N, N, *lattice)`, `group = SU(N, d)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.host_table import host_table
from haarflow.backends.types import Array
from haarflow.core.groups import matrices
from haarflow.core.groups.exponentials import cos_sinc
from haarflow.core.groups.generators import generators
from haarflow.core.groups.matrices import precision
from haarflow.core.groups.sun import SU
from haarflow.flows.links.elimination import Step, applied, beside, dot, eliminate, inverse, outer, solution, total

LIMIT = 2.0  # of R: below it the map is invertible
TERMS = 16  # of the series of K and log det f(-A): each is at most (R/2 pi)^2 <= 0.1 times the previous one


def step_of(group: SU, w: Array) -> Array:
    """Return w_a = -Im tr(T_a W), minus the gradient of -Re tr W, for any matrices W.

    >>> import numpy as np
    >>> step_of(SU(2), np.asarray([[1j, 0.0], [0.0, -1j]])).tolist()
    [0.0, 0.0, -1.0]
    """
    return 0.5 * group.coordinates(1j * w)


def log_det(group: SU, w: Array, loop: Array, own: Array | None = None) -> Array:
    """Return log det J of every link, `(*batch, *lattice)`, for w = step_of(group, loop) and loop = W.

    `own` is G, `(*batch, N^2-1, N^2-1, *lattice)`, if V depends on U through traces. NaN where the map does not preserve
    orientation, which R < 2 excludes.

    >>> import numpy as np
    >>> round(float(log_det(SU(3), np.zeros(8), 0.3 * np.eye(3) + 0j)), 12) == round(8 * math.log(1 - 0.15), 12)
    True
    """
    xp = array_namespace(w)
    if group.n == 2 and own is None:
        cosine, sinc = cos_sinc(0.25 * group.inner(w, w))
        t = 0.25 * xp.real(group.trace(loop))
        return 2.0 * xp.log(cosine - t * sinc) + xp.log(1.0 - t)
    arguments = (w, group.coordinates(loop), xp.real(group.trace(loop)))
    plain, slopes = partial(_plain, group), partial(_slopes_three, group)
    f = backends.of(w).with_slopes(plain, slopes, group.d) if group.n == 3 else plain
    return f(*arguments) if own is None else f(*arguments, own)


def newton(group: SU, w: Array, loop: Array, residual: Array, own: Array | None = None) -> Array:
    """Return J^-1 of an algebra element, (K - D + G)^-1 (K - A/2) r: the step in U that changes U' by r.

    >>> import numpy as np
    >>> newton(SU(2), np.zeros(3), 0.4 * np.eye(2) + 0j, np.asarray([0.8, 0.0, 0.0])).tolist()
    [1.0, 0.0, 0.0]
    """
    return solver(group, w, loop, own)(residual)


def solver(group: SU, w: Array, loop: Array, own: Array | None = None) -> Callable[[Array], Array]:
    """Return the function r -> J^-1 r of `newton`, which eliminates once for all r.

    >>> import numpy as np
    >>> solver(SU(2), np.zeros(3), 0.4 * np.eye(2) + 0j)(np.asarray([0.8, 0.0, 0.0])).tolist()
    [1.0, 0.0, 0.0]
    """
    bend, _ = half_coth(group, w)
    turn = bend - 0.5 * adjoint(group, w)
    steps = eliminate(_curvature(bend, hessian(group, loop), own), group.d)
    return lambda residual: solution(steps, applied(turn, residual, group.d), group.d)


def adjoint(group: SU, w: Array) -> Array:
    """Return A_ab = f_abc w_c, the matrix of i w in the adjoint representation, `(*batch, N^2-1, N^2-1, *lattice)`.

    >>> import numpy as np
    >>> adjoint(SU(2), np.asarray([0.0, 0.0, 1.0])).tolist()
    [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    return _contract(_antisymmetric(group.n), w, group.d)


def hessian(group: SU, loop: Array) -> Array:
    """Return D, the symmetric part of -M, from W.

    >>> import numpy as np
    >>> hessian(SU(2), 2 * np.eye(2) + 0j).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    return _hessian(group, group.coordinates(loop), array_namespace(loop).real(group.trace(loop)))


def _hessian(group: SU, v: Array, trace: Array) -> Array:
    """D from v_a = 2 Re tr(T_a W) and Re tr W."""
    linear = _contract(_symmetric(group.n), 0.25 * v, group.d)
    return linear + beside(trace / (2.0 * group.n), 2, group.d) * matrices.identity(linear, group.d)


def _plain(group: SU, w: Array, v: Array, trace: Array, own: Array | None = None) -> Array:
    """log det J by elimination in the closed form of the Jacobian."""
    bend, turn = half_coth(group, w)
    steps = eliminate(_curvature(bend, _hessian(group, v, trace), own), group.d)
    return _log_det(steps, turn)


def _log_det(steps: list[Step], turn: Array) -> Array:
    return total([turn, *(array_namespace(turn).log(step.pivot) for step in steps)])


def _slopes_three(
    group: SU, w: Array, v: Array, trace: Array, own: Array | None = None
) -> tuple[Array, tuple[Array, ...]]:
    """log det J of SU(3) and its derivatives by w, v, the trace and G: d log det m = tr S dm with S = m^-1.

    With s_c = d_abc S_ab and the coefficients of K from `_weights`,

        tr S dK = tr S d(unit) + s.x d(along_x) + s.y d(along_y) + x.Sx d(xx) + 2 x.Sy d(xy) + y.Sy d(yy)
                  + (along_x s + 2 xx Sx + 2 xy Sy).dx + (along_y s + 2 xy Sx + 2 yy Sy).dy,

    dy_a = d_abc x_b dx_c, dp = x.dx/2 and dq = y.dx/2; tr S dD = tr S d(trace)/6 + s.dv/4 and tr S dG = sum_ab S_ab dG_ab.
    """
    d, backend = group.d, backends.of(w)
    keep, table = backend.materialise, _symmetric(3)
    x, turned, y, p, q = _vectors(group, w)
    weights, pullback = backend.vjp(lambda pq: _weights(*pq), (p, q))
    m = _curvature(_bend(x, y, weights, d), _hessian(group, v, trace), own)
    steps = eliminate(m, d)
    inverted = inverse(steps, d)
    spread = keep(total(matrices.entry(inverted, a, a, d) for a in range(group.dim)))
    s = keep(_traced(table, inverted, d))
    sx, sy = keep(applied(inverted, x, d)), keep(applied(inverted, y, d))
    one = array_namespace(p).ones_like(p)
    products = (dot(s, x, d), dot(s, y, d), dot(x, sx, d), 2.0 * dot(x, sy, d), dot(y, sy, d))
    by_p, by_q = pullback((spread, *products, one))
    along_x, along_y, xx, xy, yy = weights[1:6]
    by_y = keep(_mixed(along_y, s, 2.0, _mixed(xy, sx, yy, sy, d), d))
    by_x = _mixed(along_x, s, 2.0, _mixed(xx, sx, xy, sy, d), d) + _mixed(keep(0.5 * by_p), x, keep(0.5 * by_q), y, d)
    slopes = (by_x + applied(turned, by_y, d), -0.25 * s, -spread / 6.0)
    return _log_det(steps, weights[-1]), slopes if own is None else (*slopes, inverted)


def half_coth(group: SU, w: Array) -> tuple[Array, Array]:
    """Return K = (A/2) coth(A/2) and log det f(-A); for roots up to 2, see LIMIT.

    K = 1 + sum_k B_2k A^2k / (2k)! and log det f(-A) = tr log(sinh(A/2)/(A/2)) = sum_k B_2k tr A^2k / (2k (2k)!) with
    the Bernoulli numbers. The powers independent for a given spectrum are A^2 = x x^T - r^2 for N = 2, x = w and r = |w|,
    with A^4 = -r^2 A^2. For N = 3 those of S = -A^2, S^4 = e1 S^3 - e2 S^2 + e3 S, are combinations of 1, d_abc x_c,
    d_abc y_c and dyads of x and y_a = d_abc x_b x_c / 2, the coordinates of X^2 for X = x_a T_a. With p = tr X^2 / 2 and
    q = det X a root r belongs to an eigenvalue h of X, r^2 = 4p - 3h^2 and h^3 = p h + q, so that

        S   = 2p + 3 d.y - x x^T,      S^2 = 6p^2 - 9q d.x + 15p d.y - 4p x x^T + 3 y y^T,
        S^3 = 22p^3 - 27q^2 - 54pq d.x + 63p^2 d.y - 16p^2 x x^T + 9/2 q (x y^T + y x^T) + 15p y y^T.

    >>> import numpy as np
    >>> bend, turn = half_coth(SU(2), np.asarray([0.0, 0.0, 1.0]))
    >>> bool(abs(bend[0, 0] - 0.5 / np.tan(0.5)) < 1e-15), bool(abs(turn - 2 * np.log(2 * np.sin(0.5))) < 1e-15)
    (True, True)
    """
    return {2: _half_coth_two, 3: _half_coth_three}.get(group.n, _half_coth_of_powers)(group, w)


def _half_coth_two(group: SU, x: Array) -> tuple[Array, Array]:
    size, d = group.inner(x, x), group.d
    bend, turn = (_reduced(series, [size])[0] for series in _series())
    one = matrices.identity(outer(x, x, d), d)
    return beside(1.0 - bend * size, 2, d) * one + outer(beside(bend, 1, d) * x, x, d), -2.0 * turn * size


def _half_coth_three(group: SU, w: Array) -> tuple[Array, Array]:
    x, _, y, p, q = _vectors(group, w)
    weights = _weights(p, q)
    return _bend(x, y, weights, group.d), weights[-1]


def _vectors(group: SU, x: Array) -> tuple[Array, ...]:
    """x, the matrices d_abc x_c, y, p and q."""
    d, keep = group.d, backends.of(x).materialise
    x = keep(x)
    turned = keep(_contract(_symmetric(3), x, d))
    y = keep(0.5 * applied(turned, x, d))
    return x, turned, y, keep(0.25 * dot(x, x, d)), keep(dot(x, y, d) / 6.0)


def _weights(p: Array, q: Array) -> tuple[Array, ...]:
    """The coefficients of 1, d.x, d.y, x x^T, x y^T + y x^T and y y^T in K, and log det f(-A)."""
    keep, square, both = backends.of(p).materialise, p * p, q * q
    relation = [6.0 * p, 9.0 * square, 4.0 * square * p - 27.0 * both]
    (b1, b2, b3), (t1, t2, t3) = ([-c1, c2, -c3] for c1, c2, c3 in (_reduced(s, relation) for s in _series()))
    b1, b2, b3 = keep(b1), keep(b2), keep(b3)
    unit = 1.0 + 2.0 * p * b1 + 6.0 * square * b2 + (22.0 * square * p - 27.0 * both) * b3
    along_x, along_y = -9.0 * q * b2 - 54.0 * p * q * b3, 3.0 * b1 + 15.0 * p * b2 + 63.0 * square * b3
    xx, xy, yy = -b1 - 4.0 * p * b2 - 16.0 * square * b3, 4.5 * q * b3, 3.0 * b2 + 15.0 * p * b3
    turn = 12.0 * p * t1 + 36.0 * square * t2 + (132.0 * square * p - 162.0 * both) * t3
    return unit, along_x, along_y, xx, xy, yy, turn


def _bend(x: Array, y: Array, weights: tuple[Array, ...], d: int) -> Array:
    """K of SU(3)."""
    keep = backends.of(x).materialise
    unit, along_x, along_y, xx, xy, yy, _ = map(keep, weights)
    linear = _contract(_symmetric(3), _mixed(along_x, x, along_y, y, d), d)
    dyads = outer(x, keep(_mixed(xx, x, xy, y, d)), d) + outer(y, keep(_mixed(xy, x, yy, y, d)), d)
    return beside(unit, 2, d) * matrices.identity(linear, d) + linear + dyads


def _half_coth_of_powers(group: SU, w: Array) -> tuple[Array, Array]:
    """Both series with the powers of A^2 as matrices, for any N."""
    d, turned = group.d, adjoint(group, w)
    square = power = matrices.matmul(turned, turned, d)
    bends, turns = _series()
    bend, turn = matrices.identity(square, d) + bends[0] * square, turns[0] * matrices.trace(square, d)
    for b, t in zip(bends[1:], turns[1:], strict=True):
        power = matrices.matmul(power, square, d)
        bend, turn = bend + b * power, turn + t * matrices.trace(power, d)
    return bend, turn


def _mixed(a: Array, x: Array, b: Array, y: Array, d: int) -> Array:
    """a x + b y."""
    return beside(a, 1, d) * x + beside(b, 1, d) * y


def _curvature(bend: Array, hessian: Array, own: Array | None) -> Array:
    """K - D + G."""
    m = bend - hessian
    return backends.of(m).materialise(m if own is None else m + own)


def _reduced(series: tuple[float, ...], relation: list[Array]) -> list[Array | float]:
    """The coefficients of A^2, A^4, ... of a power series in A^2 whose high powers are reduced by the relation."""
    if not relation:
        return list(series)
    size = len(relation)
    reduced: list[Array | float] = list(series[-size:])
    for coefficient in reversed(series[:-size]):
        top = reduced[-1]
        carried = [0.0, *reduced[:-1]]
        reduced = [c - e * top for c, e in zip(carried, reversed(relation), strict=True)]
        reduced[0] = coefficient + reduced[0]
    return reduced


def _contract(table: numpy.ndarray, x: Array, d: int) -> Array:
    """sum_c table[(a, b), c] x_c as matrices `(*batch, n, n, *lattice)`."""
    xp, (squared, parts) = array_namespace(x), table.shape
    lead, lattice = tuple(x.shape[: x.ndim - d - 1]), tuple(x.shape[x.ndim - d :])
    flat = xp.reshape(x, (*lead, parts, math.prod(lattice)))
    product = xp.matmul(backends.of(x).asarray(table, dtype=precision(x)), flat)
    n = math.isqrt(squared)
    return xp.reshape(product, (*lead, n, n, *lattice))


def _traced(table: numpy.ndarray, m: Array, d: int) -> Array:
    """sum_ab table[(a, b), c] m_ab, `(*batch, n, *lattice)`."""
    xp, (squared, parts) = array_namespace(m), table.shape
    lead, lattice = tuple(m.shape[: m.ndim - d - 2]), tuple(m.shape[m.ndim - d :])
    flat = xp.reshape(m, (*lead, squared, math.prod(lattice)))
    product = xp.matmul(backends.of(m).asarray(table.T.copy(), dtype=precision(m)), flat)
    return xp.reshape(product, (*lead, parts, *lattice))


@host_table
def _antisymmetric(n: int) -> numpy.ndarray:
    """f_abc = -2i tr([T_a, T_b] T_c), rows (a, b)."""
    t = numpy.stack(generators(n))
    product = numpy.einsum("aij,bjk,cki->abc", t, t, t)
    return numpy.ascontiguousarray((2 * (product - product.transpose(1, 0, 2))).imag.reshape(-1, len(t)))


@host_table
def _symmetric(n: int) -> numpy.ndarray:
    """d_abc = 2 tr({T_a, T_b} T_c), rows (a, b)."""
    t = numpy.stack(generators(n))
    product = numpy.einsum("aij,bjk,cki->abc", t, t, t)
    return numpy.ascontiguousarray(2.0 * (product + product.transpose(1, 0, 2)).real.reshape(-1, len(t)))


@host_table
def _series() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """B_2k / (2k)! and B_2k / (2k (2k)!), k = 1 ... TERMS; B_2k/(2k)! = (-1)^(k+1) 2 zeta(2k) / (2 pi)^2k."""
    bernoulli: list[Fraction] = [Fraction(1)]
    for m in range(1, 2 * TERMS + 1):
        bernoulli.append(-sum(math.comb(m + 1, k) * bernoulli[k] for k in range(m)) / Fraction(m + 1))
    bends = [float(bernoulli[2 * k] / math.factorial(2 * k)) for k in range(1, TERMS + 1)]
    return tuple(bends), tuple(b / (2 * k) for k, b in enumerate(bends, start=1))
