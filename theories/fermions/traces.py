"""Traces of powers of the even-odd hop, tr (H_oe H_eo)^j: loops of 2 j links, by which a hopping expansion knows its determinant.

tr (H_oe H_eo)^j = 1/2 tr H^{2j}. A path that turns back has (1 - gamma_mu)(1 + gamma_mu) = 0, so that without extents of 2

    tr H_oe H_eo     = 0
    tr (H_oe H_eo)^2 = -8 s sum_P Re tr U_P + 32 s sum_L Re tr L,     s = 2^(d/2) components of a spinor,

with the straight lines L that close after four links where an extent is 4, each with its sign of the boundary. A loop may
begin at four sites and go two ways; its spin trace is -2 s for a plaquette and 8 s for a line. The density of a trace at an odd site x is
the part of it that begins and ends there, -4 s sum_{P through x} Re tr U_P + 16 s sum_{L through x} Re tr L of the second power.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import loops, spinors
from haarflow.core.lattice.geometry import shift
from haarflow.core.lattice.sites import parities
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
    d, spin, group = operator.d, spinors.components(operator.d), _group(operator)
    total = -8.0 * spin * _sum(operator, loops.plaquettes(field, d, group), axes=d + 1)
    for mu in (mu for mu in range(d) if operator.lattice[mu] == 4):
        # a line begins at each of its four sites
        line = array_namespace(field).sum(winding_line(operator, field, mu), axis=tuple(range(-d, 0)))
        total = total + 8.0 * spin * line
    return total


def traces_by_unit_vectors(operator: Wilson, field: Array, powers: int) -> Array:
    """Return what `traces` does for any extents and powers, by applying the hops to every unit vector."""
    return array_namespace(field).sum(densities_by_unit_vectors(operator, field, powers), axis=-1)


def densities(operator: Wilson, field: Array, powers: int) -> Array:
    """Return the traces of (H_oe H_eo)^j over spin and colour at every odd site, j = 1 ... powers, real numbers `(*batch, powers, V/2)`.

    They are gauge invariant, and their sum over sites is `traces`, by whose two ways they are found.

    >>> import numpy as np
    >>> densities(Wilson((4, 4)), np.zeros((2, 4, 4)), 2)[1].tolist()
    [-32.0, -32.0, -32.0, -32.0, -32.0, -32.0, -32.0, -32.0]
    """
    if powers > CLOSED_FORMS or 2 in operator.lattice:
        return densities_by_unit_vectors(operator, field, powers)
    spin, around = spinors.components(operator.d), clover(operator, field)
    total = -4.0 * spin * around
    for mu in (mu for mu in range(operator.d) if operator.lattice[mu] == 4):
        total = total + 16.0 * spin * winding_line(operator, field, mu)
    xp, squared = array_namespace(total), odd_sites(operator, total)
    return xp.stack([xp.zeros_like(squared), squared][:powers], axis=-2)


def densities_by_unit_vectors(operator: Wilson, field: Array, powers: int) -> Array:
    """Return what `densities` does for any extents and powers, by applying the hops to every unit vector."""
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
        diagonal = xp.real(xp.linalg.diagonal(matrix))
        found.append(xp.sum(xp.reshape(diagonal, (*diagonal.shape[:-1], -1, shape[-1])), axis=-2))
    return xp.stack(found, axis=-2)


def clover(operator: Wilson, field: Array) -> Array:
    """Return the sum of Re tr U_P over the 2 d (d - 1) plaquettes with a corner at x, `(*batch, *lattice)`.

    >>> import numpy as np
    >>> clover(Wilson((4, 4)), np.zeros((2, 4, 4)))[0, 0]
    np.float64(4.0)
    """
    d, group = operator.d, _group(operator)
    total: Any = 0.0
    for mu, nu in loops.planes(d):
        corner = _real_trace(operator, loops.plaquette(field, mu, nu, d, group))
        pair = corner + shift(corner, mu, d, -1)
        total = total + pair + shift(pair, nu, d, -1)
    return total


def winding_line(operator: Wilson, field: Array, mu: int) -> Array:
    """Return Re tr of the line around axis mu through x, with the sign of the boundary, `(*batch, *lattice)`.

    >>> import numpy as np
    >>> [winding_line(Wilson((4, 4)), np.zeros((2, 4, 4)), mu)[0, 0].item() for mu in (0, 1)]
    [-1.0, 1.0]
    """
    sign = -1.0 if operator.antiperiodic and mu == 0 else 1.0
    return sign * _real_trace(operator, loops.polyakov(field, mu, operator.lattice, _group(operator)))


def odd_sites(operator: Wilson, field: Array) -> Array:
    """Return the values of fields `(..., *lattice)` at the odd sites, `(..., V/2)`.

    >>> import numpy as np
    >>> odd_sites(Wilson((2, 2)), np.arange(4.0).reshape(2, 2)).tolist()
    [1.0, 2.0]
    """
    xp, odd = array_namespace(field), backends.of(field).asarray(parities(operator.lattice)[1])
    return xp.take(xp.reshape(field, (*field.shape[: field.ndim - operator.d], -1)), odd, axis=-1)


def _group(operator: Wilson) -> Any:
    """The group by which loops are multiplied; angles are summed."""
    return loops.COVER if operator.n == 1 else operator.group


def _real_trace(operator: Wilson, loop: Array) -> Array:
    """Re tr of loops, a cosine of angles."""
    group = operator.group
    found: Array = (
        array_namespace(loop).real(group.trace(loop)) if isinstance(group, SU) else backends.of(loop).cos(loop)
    )
    return found


def _sum(operator: Wilson, loop: Array, axes: int) -> Array:
    """The sum of Re tr of loops over their last axes, planes and lattice."""
    summed: Array = array_namespace(loop).sum(_real_trace(operator, loop), axis=tuple(range(-axes, 0)))
    return summed
