"""The loops of the compiled surroundings of links over active links and batch; see flows/loops/link_kernel.py."""

from __future__ import annotations

import numpy

from haarflow.backends.compiled.loops import call, loop
from haarflow.backends.types import Array


@loop
def surroundings(
    links: Array,
    reads: Array,
    numbers: Array,
    program: tuple[Array, ...],
    shares: Array,
    bodies: tuple[tuple[int, ...], ...],
    store: Array,
    forms: Array,
    into: tuple[Array, ...],
) -> None:
    """Write V, S, H, the pieces and the factors z of every active link.

    `links` `(rows, N^2, batch, 2)`; `reads` `(links, active)`; `numbers` `(products, batch or 1)`; `store` holds the matrices
    of as many lanes as a register has numbers, `(row, 2 N^2, lanes)`, in the last of its rows a sum; `forms`
    `(2, 2 N^4, lanes)`. Results are `(entries..., lanes, 2)`, lanes over active links and batch.
    """
    paths, traces, factors, partners, entries, pieces = program
    width, batch, components = store.shape[2], links.shape[2], links.shape[1]
    single_sum = numpy.empty((2 * components, width), dtype=store.dtype)
    tr = numpy.empty((len(traces) + 1, 2, width), dtype=store.dtype)
    z = numpy.empty((len(factors), 2, width), dtype=store.dtype)
    own = numpy.empty((len(numbers), width), dtype=store.dtype)
    active, member = numpy.empty(width, dtype=numpy.int64), numpy.empty(width, dtype=numpy.int64)
    tr[len(traces), 0] = 1.0
    tr[len(traces), 1] = 0.0
    for first in range(0, reads.shape[1] * batch, width):
        lanes = min(width, reads.shape[1] * batch - first)
        _chosen(first, lanes, batch, numbers, active, member, own)
        whole = active[0] == active[-1] and lanes == width  # one link's members of the batch, one after another
        _loaded(links, reads, active, member, whole, bodies[5][0], store)
        _followed(paths, bodies[0], reads.shape[0], store)
        _closed(traces, bodies[2], store, tr)
        for p in range(len(factors)):
            _multiplied(tr, factors[p], z[p])
        _derived(partners, entries, shares, own, z, bodies, store, single_sum, forms)
        _written(single_sum, forms, z, store, pieces, into, first, lanes)


@loop
def _chosen(first: int, lanes: int, batch: int, numbers: Array, active: Array, member: Array, own: Array) -> None:
    """Set the active link, the member of the batch and the coefficients of every lane."""
    for lane in range(len(active)):
        number = first + min(lane, lanes - 1)  # lanes beyond the last link repeat it
        active[lane], member[lane] = number // batch, number % batch
        for owner in range(len(numbers)):
            own[owner, lane] = numbers[owner, min(member[lane], numbers.shape[1] - 1)]


@loop
def _loaded(links: Array, reads: Array, active: Array, member: Array, whole: bool, read: int, store: Array) -> None:
    """Read the links of a register's lanes, by a body where they lie one after another."""
    if not whole:
        _gathered(links, reads, active, member, store)
        return
    end = store.shape[2] * store.itemsize
    for row in range(len(reads)):
        near = links.ctypes.data + reads[row, active[0]] * links.strides[0] + member[0] * links.strides[2]
        call(read, end, (near, store.ctypes.data + row * store.strides[0]))


@loop
def _gathered(links: Array, reads: Array, active: Array, member: Array, store: Array) -> None:
    """Read the links of a register's lanes."""
    for row in range(len(reads)):
        for lane in range(len(active)):
            link = links[reads[row, active[lane]], :, member[lane], :]
            for c in range(links.shape[1]):
                store[row, 2 * c, lane] = link[c, 0]
                store[row, 2 * c + 1, lane] = link[c, 1]


@loop
def _followed(paths: Array, products: tuple[int, ...], count: int, store: Array) -> None:
    """Multiply matrices of the store along the paths; the `count` links and 1 come before them."""
    start, apart, end = store.ctypes.data, store.strides[0], store.shape[2] * store.itemsize
    for p in range(len(paths)):
        a, s, b, t = paths[p]
        call(products[2 * s + t], end, (start + (count + 1 + p) * apart, start + a * apart, start + b * apart))


@loop
def _closed(traces: Array, closed: tuple[int, ...], store: Array, tr: Array) -> None:
    """Write the traces of products of two matrices of the store."""
    start, apart, end = store.ctypes.data, store.strides[0], store.shape[2] * store.itemsize
    for p in range(len(traces)):
        a, s, b, t = traces[p]
        call(closed[2 * s + t], end, (tr.ctypes.data + p * tr.strides[0], start + a * apart, start + b * apart))


@loop
def _multiplied(traces: Array, rows: Array, into: Array) -> None:
    """The product of traces, of which a negative row -1 - r means the conjugate of row r."""
    for lane in range(into.shape[1]):
        real, imaginary = 1.0, 0.0
        for row in rows:
            sign, place = (1.0, row) if row >= 0 else (-1.0, -1 - row)
            x, y = traces[place, 0, lane], sign * traces[place, 1, lane]
            real, imaginary = real * x - imaginary * y, real * y + imaginary * x
        into[0, lane] = real
        into[1, lane] = imaginary


@loop
def _derived(
    partners: Array,
    entries: Array,
    shares: Array,
    own: Array,
    z: Array,
    bodies: tuple[tuple[int, ...], ...],
    store: Array,
    single_sum: Array,
    forms: Array,
) -> None:
    """Add A times its sum of weighted B, for every partner A, to V or to one of the forms; the sum is the store's last row."""
    _, added, _, multiples, outer, _ = bodies
    start, apart, width = store.ctypes.data, store.strides[0], store.shape[2]
    end, last = width * store.itemsize, store.shape[0] - 1
    total, weight = start + last * apart, numpy.empty((2, width), dtype=store.dtype)
    single_sum[:] = 0.0
    forms[:] = 0.0
    entry = 0
    for p in range(len(partners)):
        a, s, terms, kind = partners[p]
        store[last] = 0.0
        weight[:] = 0.0
        for _ in range(terms):
            owner, factor, b, t, complete = entries[entry]
            for lane in range(width):
                c = own[owner, lane] * shares[entry]
                weight[0, lane] += c * z[factor, 0, lane]
                weight[1, lane] += c * z[factor, 1, lane]
            entry += 1
            if complete:
                call(multiples[t], end, (total, weight.ctypes.data, start + b * apart))
                weight[:] = 0.0
        if kind == 0:
            call(added[s], end, (single_sum.ctypes.data, start + a * apart, total))
        else:
            form = forms.ctypes.data + ((kind - 1) % 2) * forms.strides[0]
            call(outer[2 * (kind - 1) + s], end, (form, start + a * apart, total))


@loop
def _written(
    single_sum: Array,
    forms: Array,
    z: Array,
    store: Array,
    pieces: Array,
    into: tuple[Array, ...],
    first: int,
    lanes: int,
) -> None:
    """Write the results of a register's lanes."""
    single, bilinear, conjugate, pieces_out, factors_out = into
    components = len(single_sum) // 2
    for c in range(components if len(single) else 0):
        _put(single_sum, c, single[c], first, lanes)
    for p in range(len(pieces)):
        for c in range(components):
            if pieces[p, 1]:  # the adjoint of a path
                _put_adjoint(store[pieces[p, 0]], c, pieces_out[p], first, lanes)
            else:
                _put(store[pieces[p, 0]], c, pieces_out[p, c], first, lanes)
    for p in range(len(factors_out)):
        _put(z[p], 0, factors_out[p], first, lanes)
    if len(bilinear):
        _mirrored(forms[0], 1.0, bilinear, first, lanes)
    if len(conjugate):
        _mirrored(forms[1], -1.0, conjugate, first, lanes)


@loop
def _put(store: Array, component: int, into: Array, first: int, lanes: int) -> None:
    for lane in range(lanes):
        into[first + lane, 0] = store[2 * component, lane]
        into[first + lane, 1] = store[2 * component + 1, lane]


@loop
def _put_adjoint(store: Array, component: int, into: Array, first: int, lanes: int) -> None:
    n = round(numpy.sqrt(into.shape[0]))
    i, j = component // n, component % n
    for lane in range(lanes):
        into[j * n + i, first + lane, 0] = store[2 * component, lane]
        into[j * n + i, first + lane, 1] = -store[2 * component + 1, lane]


@loop
def _mirrored(form: Array, sign: float, into: Array, first: int, lanes: int) -> None:
    """A form plus its transpose, or its adjoint for sign -1."""
    size = into.shape[0]
    for a in range(size):
        for b in range(size):
            ab, ba = 2 * (a * size + b), 2 * (b * size + a)
            for lane in range(lanes):
                into[a, b, first + lane, 0] = form[ab, lane] + form[ba, lane]
                into[a, b, first + lane, 1] = form[ab + 1, lane] + sign * form[ba + 1, lane]
