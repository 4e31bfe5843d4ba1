"""Traces of powers of the even-odd hop, tr (H_oe H_eo)^j: loops of 2 j links, by which a hopping expansion knows its determinant.

tr (H_oe H_eo)^j = 1/2 tr H^{2j}. A path that turns back has (1 - gamma_mu)(1 + gamma_mu) = 0, so that without extents of 2

    tr H_oe H_eo     = 0
    tr (H_oe H_eo)^2 = -8 s sum_P Re tr U_P + 32 s sum_L Re tr L,     s = 2^(d/2) components of a spinor,

with the straight lines L that close after four links where an extent is 4, each with its sign of the boundary. A loop may
begin at four sites and go two ways; its spin trace is -2 s for a plaquette and 8 s for a line.
"""

from __future__ import annotations

import math

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import loops, spinors
from haarflow.theories.fermions.evenodd import EvenOdd, Halves
from haarflow.theories.fermions.wilson import Wilson

CLOSED_FORMS = 2  # powers whose loops are written out


def traces(operator: Wilson, field: Array, powers: int) -> Array:
    """Return tr (H_oe H_eo)^j for j = 1 ... powers, real numbers `(*batch, powers)`.

    By closed forms up to the second power where no extent is 2; else by unit vectors, exact too, at the cost of as many hops
    as there are components on the odd sites for each power.

    >>> import numpy as np
    >>> traces(Wilson((4, 4)), np.zeros((2, 4, 4)), 2).tolist()
    [0.0, -256.0]
    """
    if powers > CLOSED_FORMS or 2 in operator.lattice:
        return traces_by_unit_vectors(operator, field, powers)
    xp, squared = array_namespace(field), squared_trace(operator, field)
    return xp.stack([xp.zeros_like(squared), squared][:powers], axis=-1)


def squared_trace(operator: Wilson, field: Array) -> Array:
    """Return tr (H_oe H_eo)^2 by plaquettes and lines of four links, `(*batch,)`; no extent may be 2."""
    d, spin = operator.d, spinors.components(operator.d)
    group = loops.COVER if operator.n == 1 else operator.group
    total = -8.0 * spin * _sum(operator, loops.plaquettes(field, d, group), axes=d + 1)
    for mu in (mu for mu in range(d) if operator.lattice[mu] == 4):
        sign = -1.0 if operator.antiperiodic and mu == 0 else 1.0
        # a line begins at each of its four sites
        total = total + sign * 8.0 * spin * _sum(operator, loops.polyakov(field, mu, operator.lattice, group), axes=d)
    return total


def traces_by_unit_vectors(operator: Wilson, field: Array, powers: int) -> Array:
    """Return what `traces` does for any extents and powers, by applying the hops to every unit vector."""
    form = EvenOdd(operator)
    xp, shape = array_namespace(field), form.packed_shape
    links, size = form.prepare(field), math.prod(shape)
    behind = (slice(None),) * (links.odd.ndim - (field.ndim - len(operator.field_shape)))
    wide = Halves(*(half[(..., None, *behind)] for half in links))
    units = xp.reshape(xp.eye(size, dtype=links.odd.dtype, device=backends.place(field)), (size, *shape))
    found, columns = [], units
    for _ in range(powers):
        columns = form.hop_oe(wide, form.hop_eo(wide, columns))
        matrix = xp.reshape(columns, (*columns.shape[: -len(shape)], size))
        found.append(xp.real(xp.linalg.trace(matrix)))
    return xp.stack(found, axis=-1)


def _sum(operator: Wilson, loop: Array, axes: int) -> Array:
    """The sum of Re tr of loops over their last axes, planes and lattice."""
    xp, group = array_namespace(loop), operator.group
    traced = xp.real(group.trace(loop)) if isinstance(group, SU) else backends.of(loop).cos(loop)
    summed: Array = xp.sum(traced, axis=tuple(range(-axes, 0)))
    return summed
