"""Class maps of SU(2) and SU(3) from Haar measure to the density e^{kappa (Re tr X / N - 1)}, kappa an array or a number.

A class map X = V diag(e^{i theta}) V^+ -> V diag(e^{i theta'}) V^+ acts on the coordinates (r, v) of the canonical cell
(core/weyl_cell.py). This is Rosenblatt's for the weight of one plaquette: monotone rational-quadratic splines

    r -> r'(r; kappa),      v -> w(v; r, 0) -> v'(w; r', kappa),

through the tables of flows/tilt_tables.py, linear in between the tabulated kappa and r. As r' does not depend on v,
the Jacobian is triangular; with Weyl's factor h, the density of Haar measure in the coordinates,

    log |det dX'/dX| = ln h(r', v') - ln h(r, v) + ln dr'/dr + ln dv'/dv,

which is exact for this map whatever the tables hold; their error, 1e-3 in the log-density, is one of its density.
The map commutes with charge conjugation, v -> -v. Sources: canonical cells, arXiv:2008.05456; splines, arXiv:1906.04032.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core import eigenframes, weyl_cell
from haarflow.flows import tilt_tables
from haarflow.flows.splines import Table, inverse_spline, spline
from haarflow.flows.tilt_tables import ARCS, BINS, NODES, RADII, STEP, TURN

Place = list[Array]


def tilt(way: str, place: Place, kappa: Array) -> tuple[Place, Array]:
    """Map coordinates "forward", from Haar measure to the tilted density, or "inverse"; returns also log |det|.

    `kappa` broadcasts with the coordinates; beyond the last tabulated one, 47, that counts.

    >>> import numpy as np
    >>> place = [np.asarray([0.5, 0.9])]
    >>> there, log_det = tilt("forward", place, np.asarray(2.2))
    >>> back, other = tilt("inverse", there, np.asarray(2.2))
    >>> there[0].round(3).tolist(), bool(np.abs(back[0] - place[0]).max() < 1e-14)
    ([0.313, 0.77], True)
    """
    xp = array_namespace(place[0])
    kappa = 0.0 * place[0] + kappa
    level = xp.log1p(kappa / TURN) / STEP
    run = {"forward": spline, "inverse": inverse_spline}[way]
    r, log_slope = run(place[0], _radial(len(place) + 1, level), axis=0)
    new, slopes = [r], [log_slope]
    if len(place) == 2:
        haar, tilted = (place[0], r) if way == "forward" else (r, place[0])
        tables = [_angular(0.0 * level, haar), _angular(level, tilted)]
        first, second = tables if way == "forward" else tables[::-1]
        v = place[1]
        size = xp.abs(v)
        w, up = spline(size, first, axis=0)
        turned, down = inverse_spline(w, second, axis=0)
        new, slopes = [r, xp.where(v < 0.0, -turned, turned)], [log_slope, up + down]
    return new, weyl_cell.log_volume(place, new, slopes)


def tilted(way: str, u: Array, kappa: Array, d: int = 0) -> tuple[Array, Array]:
    """Map matrices `(*batch, N, N, *lattice)`; returns them and log |det| `(*batch, *lattice)` in Haar measure.

    >>> import numpy as np
    >>> moved, _ = tilted("forward", np.diag([1j, -1j]), 2.2)
    >>> round(float(np.angle(moved[0, 0]) / np.pi), 3)
    0.313
    """
    frame = eigenframes.frame_of(u, d)
    keep = backends.of(u).materialise
    place = [keep(x) for x in weyl_cell.coordinates(frame.angles)]
    new, log_det = tilt(way, place, kappa)
    new = [keep(x) for x in new]
    return eigenframes.rebuilt(frame, weyl_cell.angles_at(place), weyl_cell.angles_at(new), d), log_det


def _radial(n: int, level: Array) -> Table:
    """The spline of r at places between the nodes of kappa."""
    nodes, weights = _neighbours(level, NODES)
    rows = _rows(tilt_tables.radial(n), level)
    found = sum(_taken(rows, node) * weight for node, weight in zip(nodes, weights, strict=True))
    return _bins(found, BINS, 1.0 / BINS, fixed="output")


def _angular(level: Array, r: Array) -> Table:
    """The spline of |v| at places between the nodes of kappa and of r."""
    rows, found = _rows(tilt_tables.angular(), level), 0.0
    radii = list(zip(*_neighbours(r * float(RADII - 1), RADII), strict=True))
    for node, weight in zip(*_neighbours(level, NODES), strict=True):
        for radius, part in radii:
            found = found + _taken(rows, node * RADII + radius) * (weight * part)
    return _bins(found, ARCS, 1.0 / ARCS, fixed="input")


def _bins(rows: Array, bins: int, width: float, fixed: str) -> Table:
    """The table of a spline with equidistant knots in its input or output, from edges, widths, log-slopes of the other."""
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


def _rows(table: Any, like: Array) -> Array:
    return backends.of(like).asarray(table, dtype=like.dtype)


def _taken(rows: Array, index: Array) -> Array:
    xp = array_namespace(rows)
    return xp.reshape(xp.take(rows, xp.reshape(index, (-1,)), axis=1), (rows.shape[0], *index.shape))
