"""The hop of Wilson's operator as one compiled kernel, for arrays in host memory: `hopping.Hopping` with another layout.

Sites are taken in rows along the last axis. Links are laid out once: for each row those of all its sites, real and
imaginary parts apart, so that a hop reads them in the order in which they lie. On the whole lattice a backward link is read as the
adjoint one of its own row, which is still in the cache: five links a site come from memory in four dimensions, not eight. Real links are such rows, complex ones belong to
the array code of theories/fermions/hopping.py, which serves where there is no host memory or the work is too small; both
agree to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.groups.matrices import complex_array, dagger, precision
from haarflow.theories.compiled import hop_kernel
from haarflow.theories.compiled.hop_kernel import link_sets, row_shape
from haarflow.theories.fermions import hopping
from haarflow.theories.fermions.hopping import Sites

Shape = tuple[int, ...]

ROW_AXES = 3
WORK = 0.25  # of the array code for a complex number of the links, in passes as `on_host` counts them: it decides when a call pays


def prepare(links: Array, sites: Sites) -> Array:
    """Return complex links at flat sites as real rows `(*batch, rows, sets 2 n^2, extent)` where the kernel serves, else as
    they are."""
    xp, (rows, extent) = array_namespace(links), row_shape(sites)
    shape = (*links.shape[: links.ndim - sites.link_axes], rows, len(link_sets(sites)) * 2 * sites.n**2, extent)
    real = xp.float32 if precision(links) == "float32" else xp.float64
    like = (xp.empty(shape, dtype=real, device=backends.place(links)),)
    work, twin = partial(write_rows, sites), lambda links: (in_rows(links, sites),)
    found = backends.of(links).on_host(work, twin, like, links, numbers=WORK * math.prod(links.shape))
    return links if found is None else found[0]


def axes(links: Array, sites: Sites) -> int:
    """Return the axes of prepared links behind the batch."""
    return ROW_AXES if are_rows(links) else sites.link_axes


def are_rows(links: Array) -> bool:
    """Return whether links are laid out in rows, that is whether an array is real."""
    kind: Any = type(links.dtype)
    return _is_real(kind, links.dtype)


@cache
def _is_real(kind: type, dtype: Any) -> bool:
    """By the type's name, which takes long to make; types of different backends are kept apart by their `kind`."""
    return "complex" not in str(dtype)


def hop(links: Array, psi: Array, sites: Sites, sign: int = 1, base: Array | None = None, factor: Any = None) -> Array:
    """Return `hopping.hop` of links as `prepare` gives them; spinors that are real or of another precision are left to it."""
    if not are_rows(links):
        return hopping.hop(links, psi, sites, sign, base, factor)

    def plain(rows: Array, psi: Array, *added: Array) -> tuple[Array]:
        return (hopping.hop(from_rows(rows, sites), psi, sites, sign, *added),)

    arrays: Sequence[Array] = (links, psi) if base is None else (links, psi, base, _number(factor, psi))
    batches = [tuple(x.shape[: x.ndim - own]) for x, own in zip(arrays, _own(sites)[: len(arrays)], strict=True)]
    if len({len(batch) for batch in batches}) > 1:
        arrays, batches = _of_one_rank(arrays, batches)
    found = None
    if precision(links) == precision(psi) and not are_rows(psi):
        like, work = _result(arrays[1], batches), partial(hop_kernel.hop, sites, sign)
        found = backends.of(psi).on_host(work, plain, (like,), *arrays)
    return plain(*arrays)[0] if found is None else found[0]


def _number(factor: Any, psi: Array) -> Array:
    """A factor as a real array of psi's precision."""
    xp = array_namespace(psi)
    if hasattr(factor, "dtype"):
        return xp.astype(factor, xp.float32 if precision(psi) == "float32" else xp.float64)
    return backends.of(psi).asarray(numpy.asarray(factor), dtype=precision(psi))


def _of_one_rank(arrays: Sequence[Array], batches: list[Shape]) -> tuple[list[Array], list[Shape]]:
    """The arrays with as many batch axes as the one that has most: under `vmap` a further axis then stands in front of all."""
    rank = max(map(len, batches))
    wide = [(1,) * (rank - len(batch)) + batch for batch in batches]
    return [
        array_namespace(x).reshape(x, more + tuple(x.shape[len(batch) :]))
        for x, batch, more in zip(arrays, batches, wide, strict=True)
    ], wide


def _result(psi: Array, batches: list[Shape]) -> Array:
    """An array of the result's shape and type."""
    lead = numpy.broadcast_shapes(*batches) if len(set(batches)) > 1 else batches[1]
    if lead == batches[1]:
        return psi
    shape = (*lead, *psi.shape[len(batches[1]) :])
    return array_namespace(psi).empty(shape, dtype=psi.dtype, device=backends.place(psi))


def _own(sites: Sites) -> tuple[int, int, int, int]:
    """The axes behind the batch of links, psi, base and factor."""
    return ROW_AXES, sites.spinor_axes, sites.spinor_axes, 0


def write_rows(sites: Sites, into: Sequence[numpy.ndarray], links: numpy.ndarray) -> None:
    """Write `in_rows`."""
    into[0][...] = in_rows(links, sites)


def in_rows(links: Array, sites: Sites) -> Array:
    """Return complex links `(*batch, 2 d, [n, n,] sites)` as real rows `(*batch, rows, sets 2 n^2, extent)`, see `link_sets`.

    >>> in_rows(numpy.ones((4, 3, 3, 8)) + 0j, Sites((2, 4), n=3)).shape
    (2, 54, 4)
    """
    xp, (rows, extent) = array_namespace(links), row_shape(sites)
    batch = tuple(links.shape[: links.ndim - sites.link_axes])
    behind, entries = (slice(None),) * (sites.link_axes - 1), len(link_sets(sites)) * sites.n**2
    kept = xp.stack([links[(..., row, *behind)] for row in link_sets(sites)], axis=-sites.link_axes)
    parts = xp.stack([xp.real(kept), xp.imag(kept)], axis=-2)
    parts = xp.reshape(parts, (*batch, entries * 2, rows, extent))
    count = len(batch)
    return xp.permute_dims(parts, (*range(count), count + 1, count, count + 2))


def from_rows(rows: Array, sites: Sites) -> Array:
    """Return complex links at flat sites, the inverse of `in_rows`.

    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> links = Wilson((2, 4)).doubled(numpy.arange(16.0).reshape(2, 2, 4))
    >>> bool((from_rows(in_rows(links, Sites((2, 4))), Sites((2, 4))) == links).all())
    True
    """
    xp, (count, extent) = array_namespace(rows), row_shape(sites)
    batch = tuple(rows.shape[: rows.ndim - ROW_AXES])
    axes = len(batch)
    parts = xp.permute_dims(rows, (*range(axes), axes + 1, axes, axes + 2))
    colours = () if sites.n == 1 else (sites.n, sites.n)
    parts = xp.reshape(parts, (*batch, len(link_sets(sites)), *colours, 2, count * extent))
    links = complex_array(parts[..., 0, :], parts[..., 1, :])
    return links if sites.parity is not None else _with_backward(links, sites)


def _with_backward(links: Array, sites: Sites) -> Array:
    """The forward links and the backward one of the last axis with the other backward links, adjoint ones one site back."""
    xp, behind, d = array_namespace(links), (slice(None),) * (sites.link_axes - 1), sites.d
    found, table = [links[(..., row, *behind)] for row in range(d)], backends.of(links).asarray(sites.table)
    for mu in range(d - 1):
        forward = found[mu]
        reverse = xp.conj(forward) if sites.n == 1 else dagger(forward, 1)
        found.append(xp.take(reverse, table[d + mu, :], axis=-1))
    return xp.stack([*found, links[(..., d, *behind)]], axis=-sites.link_axes)
