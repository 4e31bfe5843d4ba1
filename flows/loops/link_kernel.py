"""The surroundings of a mask's links as one compiled kernel, for arrays in host memory.

Array code passes over memory for each of the hundreds of path products around a link; the kernel takes as many links as a
vector register has numbers and keeps their paths in the cache. `link_potential.surroundings` of the gathered links is its
twin, with which it agrees to rounding, and which serves elsewhere and for derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.compiled import vector
from haarflow.backends.compiled.vector import Register
from haarflow.backends.types import Array
from haarflow.core.groups.matrices import precision
from haarflow.flows.loops import link_potential
from haarflow.flows.loops.link_plan import KINDS, LinkPlan, Sums
from haarflow.flows.loops.link_potential import Forms, Surroundings

LARGEST = 3  # N up to which the bodies are short
BYTES = 64  # of a register: one of AVX-512, two of AVX2
PASSES = 100  # of array code over the links that are read, at least


class Program(NamedTuple):
    """The tables of a plan for the kernel: rows of the store with 1 for an adjoint matrix, and for each sum its A, the number
    of its terms and its kind, 0 for V; terms are (product, factor, B, adjoint, whether the next B is another one) with their shares. `numbers` and `kinds` say what
    is there, see `_used` and `link_bodies.addresses`."""

    plan: LinkPlan
    tables: tuple[numpy.ndarray, ...]
    shares: numpy.ndarray
    numbers: tuple[int, ...]
    kinds: tuple[int, ...]


def program(plan: LinkPlan, n: int) -> Program | None:
    """Return the program of a plan for SU(n), or None where there is no compiler or N is large.

    >>> from haarflow.flows.loops import algebra, link_terms
    >>> from haarflow.flows.loops.link_plan import link_plan
    >>> made = program(link_plan(link_terms.terms(algebra.tower(3, 2, 1), (4, 4))), 3)
    >>> made is None or made.tables[3][:, 2:].tolist() == [[1, 0], [1, 0]]  # two staples, each one term of V
    True
    """
    if not vector.is_present() or n > LARGEST:
        return None
    links = len(plan.links)
    paths = numpy.concatenate([*plan.levels, numpy.zeros((0, 2), dtype="int32")])
    (places, made), parts = _stored(links, paths), []
    if plan.single is not None:
        parts.append(_terms(places, plan.single, 0, n, numpy.arange(2 * links + 1 + len(paths))))
    for pairs in (pairs for pairs in plan.pairs if pairs.passages == 2):
        for number, (kind, part) in enumerate(zip(KINDS, pairs.kinds, strict=True), start=1):
            if part is not None:
                parts.append(_terms(places, part, number, n if kind[0] else n * n, plan.pieces))
    partners, entries, shares = (numpy.concatenate(part) for part in zip(*parts, strict=True)) if parts else _nothing()
    tables = (
        places[made].reshape(-1, 4),
        places[plan.traces].reshape(-1, 4),
        _signed(plan.factors, len(plan.traces)),
        partners,
        entries,
        places[plan.pieces] if _longer(plan) else numpy.zeros((0, 2)),
    )
    bilinear = partners[partners[:, 3] > 0].astype(int)
    kinds = tuple(sorted({int(2 * (row[3] - 1) + row[1]) for row in bilinear}))
    return Program(plan, tuple(numpy.ascontiguousarray(t, dtype="int64") for t in tables), shares, _used(plan), kinds)


def surroundings(made: Program | None, plan: LinkPlan, rows: Array, reads: Array, coefficients: Array) -> Surroundings:
    """Return `link_potential.surroundings` of active links, by the kernel where `made` is one and it serves.

    `rows`: all links `(rows, N, N, batch)`; `reads`: the rows that the plan reads, `(links, active)`.
    """
    if made is not None:
        found = _called(made, rows, reads, coefficients)
        if found is not None:
            return found
    return link_potential.surroundings(plan, gathered(rows, reads), coefficients)


def gathered(rows: Array, reads: Array) -> Array:
    """Return the links that are read, `(links, N, N, active, batch)`."""
    xp = array_namespace(rows)
    links = xp.reshape(xp.take(rows, xp.reshape(reads, (-1,)), axis=0), (*reads.shape, *rows.shape[1:]))
    return backends.of(rows).materialise(xp.permute_dims(links, (0, 2, 3, 1, 4)))


def _called(made: Program, rows: Array, reads: Array, coefficients: Array) -> Surroundings | None:
    plan, n, xp = made.plan, rows.shape[1], array_namespace(rows)
    lanes = (reads.shape[1], rows.shape[-1])
    single, bilinear, conjugate, pieces, factors = made.numbers
    shapes = (
        (single * n, n, *lanes),
        (bilinear * n, n, n, n, *lanes),
        (conjugate * n, n, n, n, *lanes),
        (pieces, n, n, *lanes),
        (factors, *lanes),
    )
    like = tuple(xp.empty(shape, dtype=rows.dtype, device=backends.place(rows)) for shape in shapes)

    def twin(rows: Array, reads: Array, coefficients: Array) -> tuple[Array, ...]:
        links = gathered(rows, reads)
        around, z = link_potential.with_factors(plan, links, coefficients)
        given = (around.single, *around.fixed, around.pieces, z[:factors, ...])
        return tuple(x if x is not None else xp.zeros(s, dtype=rows.dtype) for x, s in zip(given, shapes, strict=True))

    work = PASSES * math.prod(reads.shape) * math.prod(rows.shape[1:])
    arrays = (rows, reads, coefficients)
    found = backends.of(rows).on_host(partial(write, made), twin, like, *arrays, numbers=work)
    if found is None:
        return None
    v, s, h, strings, z = found
    fixed: Forms = (s if bilinear else None, h if conjugate else None)
    return Surroundings(v if single else None, strings, fixed, link_potential.longer(plan, coefficients, z, n))


def write(
    made: Program, into: Sequence[numpy.ndarray], rows: numpy.ndarray, reads: numpy.ndarray, numbers: numpy.ndarray
) -> None:
    """Write V, S, H, the pieces and z into arrays of the shapes of `surroundings`; under `vmap` all have further axes in front."""
    for place in numpy.ndindex(rows.shape[: rows.ndim - 4]):
        _write(made, [x[place] for x in into], rows[place], reads[place], numbers[place])


def _write(
    made: Program, into: Sequence[numpy.ndarray], rows: numpy.ndarray, reads: numpy.ndarray, numbers: numpy.ndarray
) -> None:
    from haarflow.flows.loops import link_bodies, link_kernel_loops

    n, batch, kind = rows.shape[1], rows.shape[-1], precision(rows)
    if not batch or not reads.size:
        return
    register = Register(kind, BYTES // (8 if kind == "float64" else 4))
    tables = made.tables
    store = numpy.empty((len(reads) + len(tables[0]) + 2, 2 * n * n, register.width), dtype=kind)
    store[len(reads)] = 0.0
    store[len(reads), :: 2 * (n + 1)] = 1.0
    lanes = reads.shape[1] * batch
    shapes = ((-1, lanes, 2), (n * n, n * n, lanes, 2), (n * n, n * n, lanes, 2), (-1, n * n, lanes, 2), (-1, lanes, 2))
    results = tuple(
        x.view(kind).reshape(shape if x.size else (0, *(1,) * (len(shape) - 2), 2))
        for x, shape in zip(into, shapes, strict=True)
    )
    link_kernel_loops.surroundings(
        numpy.ascontiguousarray(rows).view(kind).reshape(len(rows), n * n, batch, 2),
        numpy.ascontiguousarray(reads),
        numpy.ascontiguousarray(numbers),
        tables,
        made.shares.astype(kind),
        link_bodies.addresses(n, register, batch, made.kinds),
        store,
        numpy.empty((2, 2 * n**4, register.width), dtype=kind),
        results,
    )


def _terms(
    places: numpy.ndarray, sums: Sums, kind: int, divisor: int, rows: numpy.ndarray
) -> tuple[numpy.ndarray, ...]:
    """The A, the terms and the shares of one kind of sum; its rows are those of `rows`, numbered as in the plan."""
    counts = numpy.repeat(*numpy.asarray(sums.groups).T[::-1])
    partners, others = (places[rows[part]] for part in (sums.partners, sums.others))
    kinds: numpy.ndarray = numpy.full(len(counts), kind)
    group = numpy.repeat(numpy.arange(len(counts)), counts)
    order = numpy.lexsort((others[:, 1], others[:, 0], group))  # terms with the same B one after another
    same = numpy.column_stack([group, others])[order]
    last = numpy.append((same[1:] != same[:-1]).any(axis=1), True)
    entries = numpy.column_stack([sums.owners[order], sums.factors[order], others[order], last])
    return numpy.column_stack([partners, counts, kinds]), entries, sums.shares[order] / divisor


def _nothing() -> tuple[numpy.ndarray, ...]:
    return numpy.zeros((0, 4)), numpy.zeros((0, 5)), numpy.zeros(0)


def _stored(links: int, paths: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The place of every row of the plan in the store, (row, 1 for an adjoint matrix), and the products (left, right) of rows
    that are made: the store holds links, one and paths, but no adjoint links, and of two opposite paths only the first.
    """
    places = [(row, 0) for row in range(links)] + [(row, 1) for row in range(links)] + [(links, 0)]
    steps: list[tuple[tuple[int, int], ...]] = [(place,) for place in places[:-1]] + [()]
    known: dict[tuple[tuple[int, int], ...], int] = {}
    made: list[tuple[int, int]] = []
    for left, right in paths.tolist():
        path = steps[left] + steps[right]
        back = tuple((row, 1 - adjoint) for row, adjoint in reversed(path))
        steps.append(path)
        if back in known:
            places.append((known[back], 1))
        else:
            known[path] = links + 1 + len(made)
            made.append((left, right))
            places.append((known[path], 0))
    return numpy.asarray(places), numpy.asarray(made, dtype=int).reshape(-1, 2)


def _signed(table: numpy.ndarray, traces: int) -> numpy.ndarray:
    """Factors by the rows of traces, -1 - r for conjugate ones; one is the row behind all traces."""
    one, conjugate = table == 2 * traces, (table >= traces) & (table < 2 * traces)
    return numpy.where(one, traces, numpy.where(conjugate, traces - 1 - table, table))


def _longer(plan: LinkPlan) -> bool:
    return any(pairs.passages > 2 for pairs in plan.pairs)


def _used(plan: LinkPlan) -> tuple[int, ...]:
    """Whether there are V, S and H, and how many pieces and factors the rest of the work needs."""
    kinds = [kind for pairs in plan.pairs if pairs.passages == 2 for kind in zip(KINDS, pairs.kinds, strict=True)]
    signs = [any(sums is not None and kind[1] == sign for kind, sums in kinds) for sign in (1, -1)]
    longer = _longer(plan)
    return (plan.single is not None, *signs, longer * len(plan.pieces), longer * len(plan.factors))
