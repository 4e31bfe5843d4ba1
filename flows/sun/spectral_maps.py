"""Class maps of SU(2) and SU(3) by free splines in the coordinates (r, v) of the canonical cell (core/groups/weyl_cell.py).

    r -> r'(r),    |v| -> |v'|(|v|; r'),    sign v' = sign v,

by monotone rational-quadratic splines of [0, 1] with all knots and slopes free; the raw parameters of |v| are linear in r',
a + b r'. The walls are fixed, so that the cell is mapped onto itself; log |det dP'/dP| in Haar measure is the sum of the
logarithms of the slopes and of the ratio of the Weyl factors. If all raw parameters vanish it is the identity.

Sources: arXiv:2008.05456 (canonical cells), arXiv:1906.04032 (splines). Shapes: coordinates `(*batch, *lattice)`, raw
parameters with an additional axis, `axis`.
"""

from __future__ import annotations

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.axes import part
from haarflow.core.groups import weyl_cell
from haarflow.flows.splines import MINIMUM, Table, inverse_spline, spline


def channels(n: int, bins: int) -> int:
    """Return the number of raw parameters of a map: 3 bins + 1 for r, and twice as many for v.

    >>> channels(2, 4), channels(3, 4)
    (13, 39)
    """
    return (3 * bins + 1) * (1 if n == 2 else 3)


def bend(direction: str, coordinates: list[Array], raw: Array, bins: int, axis: int) -> tuple[list[Array], Array]:
    """Return coordinates mapped by splines with raw parameters, "forward" or "inverse", and log |det| in Haar measure.

    >>> import numpy as np
    >>> coordinates = [np.asarray([0.3]), np.asarray([-0.5])]
    >>> new, log_det = bend("forward", coordinates, np.zeros((39, 1)), 4, -2)
    >>> [x.round(12).tolist() for x in new], log_det.round(12).tolist()
    ([[0.3], [-0.5]], [0.0])
    """
    xp, run = array_namespace(raw), {"forward": spline, "inverse": inverse_spline}[direction]
    count = 3 * bins + 1
    parts = [part(raw, axis, k * count, (k + 1) * count) for k in range(raw.shape[axis] // count)]
    r, slope = run(coordinates[0], interval(parts[0], bins, axis), axis)
    new, slopes = [r], [slope]
    if len(coordinates) == 2:
        radius, v = (r if direction == "forward" else coordinates[0]), coordinates[1]
        table = interval(parts[1] + parts[2] * xp.expand_dims(radius, axis=axis), bins, axis)
        size, further = run(xp.abs(v), table, axis)
        new, slopes = [r, xp.where(v < 0.0, -size, size)], [slope, further]
    return new, weyl_cell.log_volume(coordinates, new, slopes)


def interval(raw: Array, bins: int, axis: int) -> Table:
    """Return the table of a spline of [0, 1] from bins widths, bins heights and bins + 1 slopes, given by raw parameters along `axis`.

    >>> import numpy as np
    >>> interval(np.zeros((7, 1)), 2, 0).bottom.ravel().tolist()
    [0.0, 0.5]
    """
    left, width = _edges(part(raw, axis, 0, bins), axis)
    bottom, height = _edges(part(raw, axis, bins, 2 * bins), axis)
    slopes = MINIMUM + positive(part(raw, axis, 2 * bins, 3 * bins + 1) + START) * (1 - MINIMUM)
    slopes = backends.of(raw).materialise(slopes)
    return Table(left, width, bottom, height, part(slopes, axis, 0, bins), part(slopes, axis, 1, bins + 1))


def positive(x: Array) -> Array:
    """Return (x + sqrt(x^2 + 1))/2, smooth and positive: close to x for large x, one at x = 3/4."""
    return 0.5 * (x + array_namespace(x).sqrt(x * x + 1.0))


START = 0.75


def _edges(raw: Array, axis: int) -> tuple[Array, Array]:
    """Left edges and sizes of bins that fill [0, 1]."""
    xp, bins, keep = array_namespace(raw), raw.shape[axis], backends.of(raw).materialise
    weight = keep(xp.exp(raw - xp.max(raw, axis=axis, keepdims=True)))
    size = keep(MINIMUM + (1 - MINIMUM * bins) * weight / xp.sum(weight, axis=axis, keepdims=True))
    rows = [0.0 * part(size, axis, 0, 1)]
    for index in range(bins - 1):
        rows.append(rows[-1] + part(size, axis, index, index + 1))
    return keep(xp.concat(rows, axis=axis)), size
