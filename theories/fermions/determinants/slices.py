"""The determinant of Wilson's operator by time slices: block elimination around the torus, and its derivative.

In the basis (psi_+, psi_-) of gamma_0 = diag(1, -1) a slice has the block S = [[W, -N], [N, W]] with

    W = 1 - kappa sum_k (M_k + M_k^+),  N = kappa sum_k G_k (M_k - M_k^+),  M_k = U_k times the step along k,

and couples by F = -2 kappa U_0(t) from its - rows to psi_-(t+1), by F^+ from the + rows of t + 1 to its psi_+. Slices 1, 2, ...
are eliminated in turn, slice 0 is kept. What is left of the slice t has the block A and couples to slice 0 by c from its + rows
to psi_+(0), by c^+ from the - rows of slice 0 to its psi_-. With X = A^-1 the next slice has

    A = S less the loss F^+ X_{+-} F of its block (+, -),  c = -F^+ X_{++} c,  and the block (-, +) of slice 0 loses c^+ X_{-+} c.

gamma_5, which exchanges + and -, makes X_{+-} and X_{-+} Hermitian and X_{--} = X_{++}^+. Nothing is amplified, as it is in
products of transfer matrices. Digits are lost where an open chain of slices has no determinant though D has one: on fields of
measure zero beyond kappa = 1/(2 d), and for U = 1 at kappa = 1/2 in two dimensions. The cost is T times that of a dense slice. The elimination is
that of block LU (Golub and Van Loan, section 4.5), in these variables derived here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.axes import times
from haarflow.core.lattice import spinors
from haarflow.core.lattice.sites import neighbours
from haarflow.theories.fermions.determinants.ring import ring


class Chain(NamedTuple):
    """Slices along axis 0: W and N `(T, *batch, m, m)` with m = spin/2 n V, and the hops F `(T, *batch, n, n, V)`.

    `known` is W^-1, N W^-1 and ln det W where they are known in closed form.
    """

    w: Array
    n: Array
    hops: Array
    known: tuple[Array, Array, Array] | None = None


class Inverse(NamedTuple):
    """The quarters of X = A^-1 that are not adjoint to another, with ln |det A| and the sign of det A."""

    pp: Array
    pm: Array
    mp: Array
    log_abs: Array
    sign: Array


class Eliminated(NamedTuple):
    """ln |det D| and its sign `(*batch,)`, the inverse of what is left of slice 0, and what the derivative needs of slices."""

    log_abs: Array
    sign: Array
    corner: Any
    kept: Any


# of U(1) in two dimensions: (twin, links, kappa, whether with the force) -> what `twin(links, kappa)`, which is array code, returns
Elimination = Callable[[Callable[..., tuple[Array, ...]], Array, Any, bool], tuple[Array, ...]]

# of a slice: from what belongs to it and the Hermitian loss of its (+, -) quarter to the inverse of what is left
Inversion = Callable[[tuple[Array, ...], Array], Inverse]


def by_arrays(twin: Callable[..., tuple[Array, ...]], links: Array, kappa: Any, force: bool) -> tuple[Array, ...]:
    """Return what the twin returns: the elimination without a compiled kernel."""
    return twin(links, kappa)


def chain(links: Array, kappa: Any, d: int, colours: int) -> Chain:
    """Return the slices of links `(*batch, d, [n, n,] *lattice)` that carry the sign of the boundary."""
    half, space = spinors.components(d) // 2, tuple(links.shape[1 - d :])
    xp, turned = array_namespace(links), spinors.gamma(d)[:d, :half, half:]
    steps = [_step(_by_time(links, mu, d, colours), _one_hot(links, space, mu)) for mu in range(1, d)]
    along = [_with_spin(numpy.eye(half), m + _dagger(m)) for m in steps]
    turning = [_with_spin(turned[k + 1], m - _dagger(m)) for k, m in enumerate(steps)]
    one = xp.eye(along[0].shape[-1], dtype=links.dtype, device=backends.place(links))
    w, n = one - times(kappa, sum(along[1:], along[0]), 2), times(kappa, sum(turning[1:], turning[0]), 2)
    return Chain(w, n, times(kappa, -2.0 * _by_time(links, 0, d, colours), 3))


def chain_of_rings(links: Array, kappa: Any) -> Chain:
    """Return the slices of U(1) links in two dimensions, whose W and its inverse are known; kappa < 1/2."""
    found = ring(_by_time(links, 1, 2, 1)[..., 0, 0, :], kappa)
    turn = complex(spinors.gamma(2)[1, 0, 1])
    return chain(links, kappa, 2, 1)._replace(known=(found.inverse, turn * found.turned, found.log_det))


def pivoted(own: tuple[Array, ...], loss: Array) -> Inverse:
    """Return the inverse of A by LU with pivots, for any W."""
    xp, (w, n) = array_namespace(loss), own
    a = _square(w, -n - loss, n, w)
    sign, log_abs, inverse = _factorised(a)
    (pp, pm), (mp, _) = _quarters(inverse)
    return Inverse(pp, pm, mp, log_abs, xp.real(sign))


def by_complement(own: tuple[Array, ...], loss: Array) -> Inverse:
    """Return the inverse of A by that of W, which is known, and of Z = W + N W^-1 (N + loss); the determinant is that of Z.

    Matrices of half the size take half the time. W > 1 - 2 (d - 1) kappa must be away from zero.
    """
    xp, (w, n, inverse, n_inverse) = array_namespace(loss), own
    q = xp.matmul(inverse, n + loss)
    z = w + xp.matmul(n, q)
    sign, log_abs, mm = _factorised(z)
    return Inverse(_dagger(mm), xp.matmul(q, mm), -xp.matmul(mm, n_inverse), log_abs, xp.real(sign))


def eliminate(slices: Chain, inversion: Inversion, keep: bool = False) -> Eliminated:
    """Return the determinant of a chain by one of the inversions; with `keep` also what `diagonals` needs."""
    xp, (w, n, hops, _) = array_namespace(slices.w), slices
    zero = xp.zeros_like(w[0, ...])
    one = zero + xp.eye(w.shape[-1], dtype=w.dtype, device=backends.place(w))
    number = xp.real(zero[..., 0, 0])
    own, known = _before(slices, inversion)

    def step(carry: Any, entry: Any) -> Any:
        loss, c, corner, log_abs, sign = carry
        own, hop = entry
        x, back = inversion(own, loss), _adjoint(hop)
        to_plus, to_minus = xp.matmul(x.pp, c), xp.matmul(x.mp, c)
        loss, corner = _right(_left(back, x.pm), hop), corner + xp.matmul(_dagger(c), to_minus)
        kept = (x.pp, x.pm, x.mp, to_plus, to_minus, hop) if keep else None
        return (loss, -_left(back, to_plus), corner, log_abs + x.log_abs, sign * x.sign), kept

    carry, kept = (zero, _left(_adjoint(hops[0, ...]), one), zero, number + known, number + 1.0), None
    if w.shape[0] > 1:
        carry, kept = backends.of(w).scan(step, carry, (own, hops[1:, ...]))
    loss, c, corner, log_abs, sign = carry
    last = _square(w[0, ...] + c, -n[0, ...] - loss, n[0, ...] - corner, w[0, ...] + _dagger(c))
    if keep:
        its_sign, its, inverse = _factorised(last)
    else:
        (its_sign, its), inverse = backends.of(last).by_matrix(xp.linalg.slogdet, last), None
    return Eliminated(log_abs + its, xp.sign(sign * xp.real(its_sign)), inverse, kept)


def _before(slices: Chain, inversion: Inversion) -> tuple[tuple[Array, ...], Any]:
    """What an inversion wants of the slices 1, 2, ... at once, and the part of ln |det D| that is known by then."""
    xp, w, n = array_namespace(slices.w), slices.w[1:, ...], slices.n[1:, ...]
    if inversion is pivoted:
        return (w, n), 0.0
    if slices.known is not None:
        inverse, turned, log_det = (x[1:, ...] for x in slices.known)
        return (w, n, inverse, turned), xp.sum(log_det, axis=0)
    _, log_det, inverse = _factorised(w)
    return (w, n, inverse, xp.matmul(n, inverse)), xp.sum(log_det, axis=0)


def _factorised(matrices: Array) -> tuple[Array, Array, Array]:
    """The sign and the logarithm of the determinants, and the inverses."""
    linalg = array_namespace(matrices).linalg
    found: tuple[Array, Array, Array] = backends.of(matrices).by_matrix(
        lambda matrix: (*linalg.slogdet(matrix), linalg.inv(matrix)), matrices
    )
    return found


def diagonals(found: Eliminated, slices: Chain, lattice: tuple[int, ...]) -> Array:
    """Return Q_mu(x) = tr_spin (1 - gamma_mu) D^-1(x + mu, x), `(T, *batch, d, n, n, V)`, from an elimination that kept.

    k = D^-1 between what couples to the slices done: rows psi_+(0), psi_-(t+1), columns the + rows of t + 1 and the - rows of
    slice 0, where k_{+-} and k_{-+} are Hermitian and k_{--} = k_{++}^+. Then D^-1(t, t) = X + X C k E X with C = diag(c, F),
    E = diag(F^+, c^+), D^-1(t+1, t) = -k E X, and both give k of the slice before.
    """
    xp, backend = array_namespace(slices.hops), backends.of(slices.hops)
    colours, d = slices.hops.shape[-2], len(lattice)
    (k_pp, k_pm), (k_mp, _) = _quarters(found.corner)
    at_zero = _spatial(k_pp, k_pm, k_mp, lattice, colours)

    def step(carry: Any, entry: Any) -> Any:
        k_pp, k_mp = carry
        x_pp, x_pm, x_mp, v_p, v_m, hop = entry
        back, k_mm = _adjoint(hop), _dagger(k_pp)
        x_pf, x_mf = _right(x_pm, hop), _right(_dagger(x_pp), hop)
        left_pp, left_pm = v_p @ k_pp + x_pf @ k_mp, v_p @ k_pm + x_pf @ k_mm
        left_mp, left_mm = v_m @ k_pp + x_mf @ k_mp, v_m @ k_pm + x_mf @ k_mm
        e_pp, e_pm, e_mp, e_mm = _left(back, x_pp), _left(back, x_pm), _dagger(v_m), _dagger(v_p)
        g_pp = x_pp + left_pp @ e_pp + left_pm @ e_mp
        g_pm = x_pm + left_pp @ e_pm + left_pm @ e_mm
        g_mp = x_mp + left_mp @ e_pp + left_mm @ e_mp
        ahead = -2.0 * (_at_sites(k_mp, e_pm, colours, d) + _at_sites(k_mm, e_mm, colours, d))
        return (-_dagger(left_mm), g_mp), xp.concat([ahead, _spatial(g_pp, g_pm, g_mp, lattice, colours)], axis=-4)

    carry, rows = (k_pp, k_mp), None
    if found.kept is not None:
        carry, rows = backend.scan(step, carry, tuple(xp.flip(x, axis=0) for x in found.kept))
    one = xp.eye(k_pp.shape[-1], dtype=k_pp.dtype, device=backends.place(k_pp)) + xp.zeros_like(k_pp)
    ahead = 2.0 * _at_sites(_dagger(carry[0]), one, colours, d)
    first = xp.concat([ahead, at_zero], axis=-4)[None, ...]
    return first if rows is None else xp.concat([first, xp.flip(rows, axis=0)], axis=0)


def _spatial(g_pp: Array, g_pm: Array, g_mp: Array, lattice: tuple[int, ...], colours: int) -> Array:
    """Q_k of one slice, `(*batch, d - 1, n, n, V)`: tr_spin [G_{++} + G_{--} + G_k (G_{-+} - G_{+-})] (x + k, x)."""
    xp, d, half = array_namespace(g_pp), len(lattice), spinors.components(len(lattice)) // 2
    turned, even, odd = spinors.gamma(d)[:d, :half, half:], g_pp + _dagger(g_pp), g_mp - g_pm
    parts = []
    for k in range(1, d):
        hot = xp.matrix_transpose(_one_hot(g_pp, lattice[1:], k))
        same = sum(_entries(even, s, s, half, colours, hot) for s in range(half))
        terms = [
            complex(turned[k, s, r]) * _entries(odd, r, s, half, colours, hot)
            for s in range(half)
            for r in range(half)
            if turned[k, s, r] != 0
        ]
        parts.append(sum(terms, same))
    return xp.stack(parts, axis=-4)


def _entries(g: Array, row: int, column: int, half: int, colours: int, hot: Array) -> Array:
    """The entries (x + k, x) of one spin block, as colour matrices `(*batch, n, n, V)`; `hot[y, x]` is 1 at y = x + k."""
    xp, v = array_namespace(g), hot.shape[0]
    parts = xp.reshape(g, (*g.shape[:-2], half, colours, v, half, colours, v))
    return xp.sum(parts[..., row, :, :, column, :, :] * hot[:, None, :], axis=-3)


def _at_sites(a: Array, b: Array, colours: int, d: int) -> Array:
    """tr_spin (a b)(x, x), as colour matrices `(*batch, 1, n, n, V)`."""
    xp, half, m = array_namespace(a), spinors.components(d) // 2, a.shape[-1]
    v = m // (half * colours)
    rows = xp.reshape(a, (*a.shape[:-2], half, colours, v, m))
    columns = xp.reshape(xp.matrix_transpose(b), (*b.shape[:-2], half, colours, v, m))
    terms = xp.sum(rows[..., :, :, None, :, :] * columns[..., :, None, :, :, :], axis=-1)
    return xp.sum(terms, axis=-4)[..., None, :, :, :]


def _by_time(links: Array, mu: int, d: int, colours: int) -> Array:
    """The links of one direction as `(T, *batch, n, n, V_space)`."""
    xp, behind = array_namespace(links), (slice(None),) * (d + (2 if colours > 1 else 0))
    link = links[(..., mu, *behind)]
    time, lattice = link.ndim - d, tuple(link.shape[-d:])
    batch = tuple(link.shape[: time - (2 if colours > 1 else 0)])
    link = xp.reshape(link, (*batch, colours, colours, lattice[0], math.prod(lattice[1:])))
    return xp.permute_dims(link, (link.ndim - 2, *range(link.ndim - 2), link.ndim - 1))


def _one_hot(like: Array, space: tuple[int, ...], mu: int) -> Array:
    """The step along a spatial axis as a matrix: 1 at (x, x + mu)."""
    table = neighbours(space)[mu - 1]
    return backends.of(like).asarray(numpy.eye(len(table))[table], dtype=like.dtype)


def _step(link: Array, hot: Array) -> Array:
    """U_k(x) times the step, matrices `(T, *batch, n V, n V)`."""
    xp, size = array_namespace(link), link.shape[-1] * link.shape[-2]
    rest = tuple(range(link.ndim - 3))
    rows = xp.permute_dims(link, (*rest, link.ndim - 3, link.ndim - 1, link.ndim - 2))[..., None]
    return xp.reshape(rows * hot[:, None, :], (*link.shape[:-3], size, size))


def _with_spin(matrix: numpy.ndarray, x: Array) -> Array:
    """The product of a spin matrix and matrices x."""
    if matrix.shape == (1, 1):
        return complex(matrix[0, 0]) * x
    xp, half = array_namespace(x), len(matrix)
    turned = backends.of(x).asarray(matrix + 0j, dtype=x.dtype)
    size = half * x.shape[-1]
    return xp.reshape(turned[:, None, :, None] * x[..., None, :, None, :], (*x.shape[:-2], size, size))


def _dagger(x: Array) -> Array:
    xp = array_namespace(x)
    return xp.conj(xp.matrix_transpose(x))


def _adjoint(hop: Array) -> Array:
    """The daggers of colour matrices `(..., n, n, V)`."""
    xp = array_namespace(hop)
    return xp.conj(xp.permute_dims(hop, (*range(hop.ndim - 3), hop.ndim - 2, hop.ndim - 3, hop.ndim - 1)))


def _left(hop: Array, x: Array) -> Array:
    """The links, at their sites, times matrices `(..., spin/2 n V, columns)`."""
    xp, colours, v = array_namespace(x), hop.shape[-2], hop.shape[-1]
    if x.shape[-2] == v:
        return hop[..., 0, 0, :, None] * x
    rows = xp.reshape(x, (*x.shape[:-2], -1, colours, v, x.shape[-1]))
    terms = [hop[..., None, :, b, :, None] * rows[..., :, b, None, :, :] for b in range(colours)]
    return xp.reshape(sum(terms[1:], terms[0]), x.shape)


def _right(x: Array, hop: Array) -> Array:
    """Matrices `(..., rows, spin/2 n V)` times the links at their sites."""
    xp, transposed = array_namespace(x), hop.ndim
    turned = xp.permute_dims(hop, (*range(transposed - 3), transposed - 2, transposed - 3, transposed - 1))
    return (
        xp.matrix_transpose(_left(turned, xp.matrix_transpose(x)))
        if x.shape[-1] != hop.shape[-1]
        else x * hop[..., 0, 0, None, :]
    )


def _quarters(x: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    m = x.shape[-1] // 2
    return (x[..., :m, :m], x[..., :m, m:]), (x[..., m:, :m], x[..., m:, m:])


def _square(pp: Array, pm: Array, mp: Array, mm: Array) -> Array:
    xp = array_namespace(pp)
    return xp.concat([xp.concat([pp, pm], axis=-1), xp.concat([mp, mm], axis=-1)], axis=-2)
