"""Class maps of SU(2) and SU(3) from Haar measure to the density e^{kappa (Re tr X / N - 1)}, kappa an array or a number.

A class map X = V diag(e^{i theta}) V^+ -> V diag(e^{i theta'}) V^+ acts on the coordinates (r, v) of the canonical cell
(core/groups/weyl_cell.py). This one is the Rosenblatt map for the weight of one plaquette, by monotone rational-quadratic splines

    r -> r'(r; kappa),      v -> w(v; r, 0) -> v'(w; r', kappa),

with the tables of flows/sun/class_map_tables.py, interpolated linearly in kappa and r. As r' does not depend on v, the Jacobian is
triangular; with the Weyl factor h, the density of Haar measure in the coordinates,

    log |det dX'/dX| = ln h(r', v') - ln h(r, v) + ln dr'/dr + ln dv'/dv,

which is exact for this map whatever the tables contain: their error, 1e-3 in the log-density, affects only its density. The
map commutes with charge conjugation, v -> -v. Sources: canonical cells, arXiv:2008.05456; splines, arXiv:1906.04032.
"""

from __future__ import annotations

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.broadcasting import of_rank
from haarflow.core.groups import eigenframes, weyl_cell
from haarflow.flows.splines import Table, inverse_spline, spline
from haarflow.flows.sun import class_map_tables
from haarflow.flows.sun.class_map_tables import ARCS, BINS, NODES, RADII, STEP, TURN

Coordinates = list[Array]


def tilt(direction: str, coordinates: Coordinates, kappa: Array) -> tuple[Coordinates, Array]:
    """Return coordinates mapped "forward", from Haar measure to the tilted density, or "inverse", and log |det|.

    `kappa` broadcasts with the coordinates; values beyond the last tabulated one, 47, are replaced by it.

    >>> import numpy as np
    >>> haar = [np.asarray([0.5, 0.9])]
    >>> image, log_det = tilt("forward", haar, np.asarray(2.2))
    >>> back, other = tilt("inverse", image, np.asarray(2.2))
    >>> image[0].round(3).tolist(), bool(np.abs(back[0] - haar[0]).max() < 1e-14)
    ([0.313, 0.77], True)
    """
    xp = array_namespace(coordinates[0])
    kappa = 0.0 * coordinates[0] + of_rank(kappa, coordinates[0].ndim)
    level = xp.log1p(kappa / TURN) / STEP
    run = {"forward": spline, "inverse": inverse_spline}[direction]
    r, log_slope = run(coordinates[0], _radial(len(coordinates) + 1, level), axis=0)
    new, slopes = [r], [log_slope]
    if len(coordinates) == 2:
        haar, tilted = (coordinates[0], r) if direction == "forward" else (r, coordinates[0])
        tables = [_angular(0.0 * level, haar), _angular(level, tilted)]
        first, second = tables if direction == "forward" else tables[::-1]
        v = coordinates[1]
        size = xp.abs(v)
        w, up = spline(size, first, axis=0)
        turned, down = inverse_spline(w, second, axis=0)
        new, slopes = [r, xp.where(v < 0.0, -turned, turned)], [log_slope, up + down]
    return new, weyl_cell.log_volume(coordinates, new, slopes)


def tilted(direction: str, u: Array, kappa: Array, d: int = 0) -> tuple[Array, Array]:
    """Return the images of matrices `(*batch, N, N, *lattice)` and log |det| `(*batch, *lattice)` in Haar measure.

    >>> import numpy as np
    >>> moved, _ = tilted("forward", np.diag([1j, -1j]), 2.2)
    >>> round(float(np.angle(moved[0, 0]) / np.pi), 3)
    0.313
    """
    frame = eigenframes.frame_of(u, d)
    keep = backends.of(u).materialise
    old = [keep(x) for x in weyl_cell.coordinates(frame.angles)]
    new, log_det = tilt(direction, old, kappa)
    new = [keep(x) for x in new]
    return eigenframes.rebuilt(frame, weyl_cell.angles_at(old), weyl_cell.angles_at(new), d), log_det


def _radial(n: int, level: Array) -> Table:
    """The spline of r, interpolated between the nodes of kappa."""
    nodes, weights = _neighbours(level, NODES)
    rows = _rows(class_map_tables.radial(n), level)
    mean = sum(_taken(rows, node) * weight[None, ...] for node, weight in zip(nodes, weights, strict=True))
    return _bins(mean, BINS, 1.0 / BINS, fixed="output")


def _angular(level: Array, r: Array) -> Table:
    """The spline of |v|, interpolated between the nodes of kappa and of r."""
    rows, mean = _rows(class_map_tables.angular(), level), 0.0
    radii = list(zip(*_neighbours(r * float(RADII - 1), RADII), strict=True))
    for node, weight in zip(*_neighbours(level, NODES), strict=True):
        for radius, part in radii:
            mean = mean + _taken(rows, node * RADII + radius) * (weight * part)[None, ...]
    return _bins(mean, ARCS, 1.0 / ARCS, fixed="input")


def _bins(rows: Array, bins: int, width: float, fixed: str) -> Table:
    """The table of a spline with equidistant knots in its input or output, from edges, widths and log-slopes on the other side."""
    xp, rows = array_namespace(rows), backends.of(rows).materialise(rows)
    left, size, slopes = rows[:bins, ...], rows[bins : 2 * bins, ...], xp.exp(rows[2 * bins :, ...])
    even = xp.reshape(
        xp.arange(bins, dtype=rows.dtype, device=backends.place(rows)) * width, (bins, *(1,) * (rows.ndim - 1))
    )
    even, step = even + 0.0 * left, width + 0.0 * size
    knots = (left, size, even, step) if fixed == "output" else (even, step, left, size)
    return Table(*knots, slopes[:-1, ...], slopes[1:, ...])


def _neighbours(x: Array, nodes: int) -> tuple[list[Array], list[Array]]:
    """The nodes on either side of x and the weights of linear interpolation; x is kept within 0 ... nodes - 1."""
    xp = array_namespace(x)
    x = xp.where(x < 0.0, 0.0 * x, xp.where(x > nodes - 1.0, 0.0 * x + (nodes - 1.0), x))
    low = xp.astype(xp.floor(x), xp.int32)
    low = xp.where(low > nodes - 2, 0 * low + (nodes - 2), low)
    part = x - xp.astype(low, x.dtype)
    return [low, low + 1], [1.0 - part, part]


def _rows(table: numpy.ndarray, like: Array) -> Array:
    return backends.of(like).asarray(table, dtype=like.dtype)


def _taken(rows: Array, index: Array) -> Array:
    xp = array_namespace(rows)
    return xp.reshape(xp.take(rows, xp.reshape(index, (-1,)), axis=1), (rows.shape[0], *index.shape))
