"""A sum of Wilson loops as a function of the links of one mask: its gradient and second derivatives, everything else fixed.

With u the entries of an active link U, the terms that pass it once add up to Re tr(U V), those that pass it m > 1 times to
homogeneous polynomials F_m(u, u*), real parts taken. For each m the second derivatives are two N^2 x N^2 matrices,

    d^2 F_m = Re[du^T S_m du + du^+ H_m du],    S symmetric, H Hermitian,

sums over pairs of passages of c z A (x) B with the strings A and B between the two: S_ij,kl = A_jk B_li for tr(U A U B) and
A_ji B_lk for tr(U A) tr(U B), H_lk,ij = A_jk B_li for tr(U A U^+ B) and A_ji B_lk for tr(U A) tr(U^+ B), each with its transpose
or adjoint. Euler's identity for homogeneous functions then gives the gradient,

    dF_m = Re du^T y_m,    y_m = (S_m u + (H_m u)*) / (m - 1).

So flows/links/jacobian.py applies with the loop W = U (V + sum_m y_m^T) and G_ab = Re[D_a^T S D_b + D_a^+ H D_b], D_a the entries
of i T_a U. S and H are computed once for m = 2; for m > 2 they depend on U.

Shapes: matrices `(N, N, active, batch)`, paths `(path, N, N, active, batch)`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core import broadcasting
from haarflow.core.broadcasting import of_rank
from haarflow.core.groups import matrices
from haarflow.core.groups.generators import generators
from haarflow.core.groups.matrices import precision
from haarflow.flows.loops.fields import gather
from haarflow.flows.loops.link_plan import KINDS, LinkPlan, Pairs, Sums

# the axes of c z A_ab B_cd that become (ij, kl) of S, or (lk, ij) of H, for each of KINDS
AXES = {(True, 1): (3, 0, 1, 2), (True, -1): (2, 1, 3, 0), (False, 1): (1, 0, 3, 2), (False, -1): (2, 3, 1, 0)}
LATTICE = 2  # axes: active links and batch
LIMIT = 0.9  # of the steepness: below one a step has one inverse
SMALLEST = 1e-30

Forms = tuple[Array | None, Array | None]  # S and H


class Surroundings(NamedTuple):
    """What the potential of the active links depends on: V, the pieces of loops, the forms of m = 2 (None where there are
    none), and for m > 2 the coefficients c z of each kind of pair."""

    single: Array | None
    pieces: Array
    fixed: Forms
    weights: tuple[tuple[Array | None, ...], ...]


def surroundings(plan: LinkPlan, links: Array, coefficients: Array) -> Surroundings:
    """Return the surroundings of active links for F = sum_i c_i W_i.

    `links`: those that the plan reads, `(links, N, N, active, batch)`; `coefficients`: `(products, batch or 1)`.
    """
    return with_factors(plan, links, coefficients)[0]


def with_factors(plan: LinkPlan, links: Array, coefficients: Array) -> tuple[Surroundings, Array]:
    """Return `surroundings`, and the factors z of its terms."""
    xp, keep = array_namespace(links), backends.of(links).materialise
    one = matrices.identity(links, LATTICE) + xp.zeros_like(links[:1, ...])
    store = keep(xp.concat([links, matrices.dagger(links, LATTICE), one], axis=0))
    for level in plan.levels:
        paths = matrices.matmul(gather(store, level[:, 0]), gather(store, level[:, 1]), LATTICE)
        store = keep(xp.concat([store, paths], axis=0))
    z, n = _factors(plan, store), links.shape[1]
    single = None
    if plan.single is not None:
        heads = gather(store, plan.single.partners)
        rest = _grouped(plan.single, _weights(plan.single, coefficients, z, n), store)
        single = keep(xp.sum(matrices.matmul(heads, rest, LATTICE), axis=0))
    pieces = gather(store, plan.pieces)
    fixed: Forms = (None, None)
    for pairs in plan.pairs:
        if pairs.passages == 2:
            fixed = _forms(pairs, list(_numbers(pairs, coefficients, z, n)), pieces)
    if all(pairs.passages == 2 for pairs in plan.pairs):
        pieces = pieces[:0, ...]  # they are within the forms
    return Surroundings(single, pieces, fixed, longer(plan, coefficients, z, n)), z


def longer(plan: LinkPlan, coefficients: Array, z: Array, n: int) -> tuple[tuple[Array | None, ...], ...]:
    """Return the coefficients c z of the pairs of more than two passages, of all kinds."""
    return tuple(_numbers(pairs, coefficients, z, n) for pairs in plan.pairs if pairs.passages > 2)


def _numbers(pairs: Pairs, coefficients: Array, z: Array, n: int) -> tuple[Array | None, ...]:
    """c z of the pairs of each kind."""
    return tuple(
        None if sums is None else _weights(sums, coefficients, z, n**2 if not kind[0] else n)
        for kind, sums in zip(KINDS, pairs.kinds, strict=True)
    )


def loop_of(plan: LinkPlan, around: Surroundings, u: Array) -> tuple[Array, Forms]:
    """Return W of the active links u, and the sums S and H over m.

    >>> import numpy as np
    >>> from haarflow.flows.loops import algebra, link_terms
    >>> from haarflow.flows.loops.link_plan import link_plan
    >>> plan = link_plan(link_terms.terms(algebra.tower(2, 2, 1), (4, 4)))
    >>> links = np.zeros((7, 2, 2, 1, 1)) + np.eye(2)[:, :, None, None] + 0j
    >>> loop, _ = loop_of(plan, surroundings(plan, links, np.ones((1, 1))), links[0])
    >>> loop[..., 0, 0].real.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    xp = array_namespace(u)
    slopes = [] if around.single is None else [around.single]
    total: Forms = (None, None)
    weights = iter(around.weights)
    for pairs in plan.pairs:
        forms = around.fixed if pairs.passages == 2 else _moving(plan, pairs, next(weights), around.pieces, u)
        slopes.append(matrices.transpose(_slope(forms, u), LATTICE) / (pairs.passages - 1.0))
        total = _added(total[0], forms[0]), _added(total[1], forms[1])
    slope = sum(slopes[1:], slopes[0]) if slopes else xp.zeros_like(u)
    return matrices.matmul(u, slope, LATTICE), total


def steepness(plan: LinkPlan, around: Surroundings) -> Array:
    """Return a bound on the norm of the matrix d_b d_a F, whatever U is, `(active, batch)`.

    With Frobenius norms it is (|V| + (1 + N^(1/2)) (|S_2| + |H_2|))/2, and for m > 2 the sum over pairs of m/(m - 1) |c z|.
    The step U <- e^{iw} U along the gradient of F has one inverse where it is below one (flows/links/jacobian.py).
    """
    (single, pieces, fixed, weights), xp = around, array_namespace(around.pieces)
    n = pieces.shape[1]
    parts = [] if single is None else [0.5 * _norm(single)]
    parts += [0.5 * (1.0 + math.sqrt(n)) * _norm(form) for form in fixed if form is not None]
    longer = [pairs.passages for pairs in plan.pairs if pairs.passages > 2]
    for m, numbers in zip(longer, weights, strict=True):
        for (same, _), weight in zip(KINDS, numbers, strict=True):
            if weight is not None:
                parts.append(m / (m - 1.0) * (1.0 if same else float(n)) * xp.sum(xp.abs(weight), axis=0))
    return sum(parts[1:], parts[0])


def _norm(x: Array) -> Array:
    """The root of the sum of |x|^2 over all axes but the lattice's, with finite derivatives at zero."""
    xp = array_namespace(x)
    return xp.sqrt(xp.sum(xp.real(x) ** 2 + xp.imag(x) ** 2, axis=tuple(range(x.ndim - LATTICE))) + SMALLEST)


def shortened(plan: LinkPlan, around: Surroundings) -> Surroundings:
    """Return F times min(1, LIMIT / steepness), which is a number for each link: a step along it always has one inverse."""
    xp, bound = array_namespace(around.pieces), steepness(plan, around)
    return scaled(around, LIMIT / xp.where(bound > LIMIT, bound, xp.full_like(bound, LIMIT)))


def scaled(around: Surroundings, share: Array) -> Surroundings:
    """Return the surroundings for F times a number for each link."""
    single, pieces, forms, weights = around

    def times(part: Array | None) -> Array | None:
        return None if part is None else broadcasting.scaled(share, part)

    return Surroundings(
        times(single), pieces, (times(forms[0]), times(forms[1])), tuple(tuple(map(times, row)) for row in weights)
    )


def curvature(forms: Forms, u: Array) -> Array | None:
    """Return G `(N^2-1, N^2-1, active, batch)`, None for terms of one passage only.

    With Q_im,kn = -sum_jl U_mj U_nl S_ij,kl + sum_jl (U_ij)* U_nl H_mj,kl it is Re T_a,im T_b,kn Q_im,kn.
    """
    xp, (s, h) = array_namespace(u), forms
    if s is None and h is None:
        return None
    q: Array = 0.0
    turned = matrices.transpose(u, LATTICE)
    if s is not None:
        part = _carried(_carried(s, turned), turned)  # (ij, kl) -> (kn, ij) -> (im, kn), transposed in between
        q = q - part
    if h is not None:
        part = _carried(_carried(h, turned), xp.conj(turned))
        q = q + xp.permute_dims(part, (1, 0, 2, 3, 4, 5))
    return _projected(q)


def _carried(form: Array, turned: Array) -> Array:
    """X_ij,kl -> Y_kn,ij = sum_l X_ij,kl U_nl."""
    moved = matrices.matmul(form, of_rank(turned, form.ndim), LATTICE)
    return array_namespace(form).permute_dims(moved, (2, 3, 0, 1, 4, 5))


def _projected(q: Array) -> Array:
    """Re T_a,im T_b,kn Q_im,kn."""
    xp, backend, n, lattice = array_namespace(q), backends.of(q), q.shape[0], tuple(q.shape[4:])
    table = numpy.stack(generators(n)).reshape(n * n - 1, n * n)
    basis = backend.asarray(table, dtype="complex64" if precision(q) == "float32" else "complex128")
    first = xp.matmul(basis, xp.reshape(q, (n * n, -1)))
    first = xp.permute_dims(xp.reshape(first, (n * n - 1, n * n, *lattice)), (1, 0, 2, 3))
    both = xp.real(xp.matmul(basis, xp.reshape(first, (n * n, -1))))
    return xp.reshape(both, (n * n - 1, n * n - 1, *lattice))


def _slope(forms: Forms, u: Array) -> Array:
    """S u + (H u)*, `(N, N, active, batch)`."""
    xp, (s, h) = array_namespace(u), forms
    parts = [
        f(xp.sum(form * of_rank(u, form.ndim), axis=(2, 3)))
        for f, form in ((_same, s), (xp.conj, h))
        if form is not None
    ]
    return sum(parts[1:], parts[0])


def _same(x: Array) -> Array:
    return x


def _added(a: Array | None, b: Array | None) -> Array | None:
    return b if a is None else a if b is None else a + b


def _moving(plan: LinkPlan, pairs: Pairs, weights: tuple[Array | None, ...], pieces: Array, u: Array) -> Forms:
    """S and H of the terms with more than two passages, at U."""
    xp = array_namespace(u)
    back = matrices.dagger(u, LATTICE)
    both = xp.stack([u, back], axis=0)
    heads = matrices.matmul(gather(both, (1 - plan.heads[:, 0]) // 2), gather(pieces, plan.heads[:, 1]), LATTICE)
    store = pieces
    for level in pairs.strings:
        strings = matrices.matmul(gather(store, level[:, 0]), gather(heads, level[:, 1]), LATTICE)
        store = xp.concat([store, strings], axis=0)
    signs, strings = gather(both, (1 - pairs.traces[:, 1]) // 2), gather(store, pairs.traces[:, 0])
    traces = _traced(signs, strings)
    traces = xp.concat([traces, xp.ones_like(store[:1, 0, 0, ...])], axis=0)
    closed = _multiplied(traces, pairs.factors)
    numbers = [
        None if sums is None or weight is None else weight * gather(closed, sums.closed)
        for sums, weight in zip(pairs.kinds, weights, strict=True)
    ]
    return _forms(pairs, numbers, store)


def _forms(pairs: Pairs, weights: list[Array | None], strings: Array) -> Forms:
    """S and H from the strings and the coefficients of the pairs."""
    xp, n = array_namespace(strings), strings.shape[1]
    lattice = tuple(strings.shape[3:])
    found: dict[int, Array | None] = {1: None, -1: None}
    for kind, sums, weight in zip(KINDS, pairs.kinds, weights, strict=True):
        if sums is None:
            continue
        a, b = gather(strings, sums.partners), _grouped(sums, weight, strings)
        a, b = (xp.reshape(part, (-1, n * n, *lattice)) for part in (a, b))
        product = matrices.matmul(xp.permute_dims(a, (1, 0, 2, 3)), b, LATTICE)
        form = xp.permute_dims(xp.reshape(product, (n, n, n, n, *lattice)), (*AXES[kind], 4, 5))
        mirrored = xp.permute_dims(form, (2, 3, 0, 1, 4, 5))
        form = form + (mirrored if kind[1] > 0 else xp.conj(mirrored))
        found[kind[1]] = _added(found[kind[1]], form)
    keep = backends.of(strings).materialise
    s, h = (None if form is None else keep(form) for form in (found[1], found[-1]))
    return s, h


def _weights(sums: Sums, coefficients: Array, z: Array, divisor: int) -> Array:
    """c z of the entries, `(entry, active, batch)`."""
    xp, backend = array_namespace(z), backends.of(z)
    parts = xp.take(coefficients, backend.asarray(sums.owners), axis=0)
    shares = backend.asarray(sums.shares / divisor, dtype=parts.dtype)
    return broadcasting.of_type((parts * shares[:, None])[:, None, :], z) * gather(z, sums.factors)


def _grouped(sums: Sums, weights: Array, store: Array) -> Array:
    """sum_t c_t B_t for each A."""
    xp = array_namespace(store)
    terms = gather(store, sums.others) * weights[:, None, None, :, :]
    parts, start = [], 0
    for partners, count in sums.groups:
        part = terms[start : start + partners * count, ...]
        parts.append(xp.sum(xp.reshape(part, (partners, count, *part.shape[1:])), axis=1))
        start += partners * count
    return backends.of(store).materialise(xp.concat(parts, axis=0))


def _factors(plan: LinkPlan, store: Array) -> Array:
    """z, products of the traces of loops that avoid the links, `(z, active, batch)`."""
    xp = array_namespace(store)
    one = xp.ones_like(store[:1, 0, 0, ...])
    if not len(plan.traces):
        return one
    loops = _traced(*(gather(store, plan.traces[:, side]) for side in (0, 1)))
    return _multiplied(xp.concat([loops, xp.conj(loops), one], axis=0), plan.factors)


def _traced(left: Array, right: Array) -> Array:
    """tr L R / N, `(path, active, batch)`."""
    xp = array_namespace(left)
    return xp.sum(left * matrices.transpose(right, LATTICE), axis=(1, 2)) / float(left.shape[1])


def _multiplied(traces: Array, table: numpy.ndarray) -> Array:
    """Products of the traces listed in the rows of a table."""
    parts = [gather(traces, table[:, factor]) for factor in range(table.shape[1])]
    product = parts[0]
    for part in parts[1:]:
        product = product * part
    return product
