"""Host tables of the class maps from Haar measure to e^{(kappa/N) Re tr X} on SU(2) and SU(3), by quadrature.

In the coordinates (r, v) of `core.weyl_cell` it is the Rosenblatt map: r by its marginal distribution, then v by its
conditional distribution. Both tables contain, at nodes of kappa (and of r), the bins of a monotone spline that is exact at
its knots:

    radial:   knots of r after the map, equidistant; the table gives the r of Haar measure that they come from,
              F_0(x_k) = F_kappa(y_k), and the slopes dy/dx = f_0/f_kappa there;
    angular:  knots of |v|, equidistant; the table gives the |w| of density (15/16) (1 - w^2)^2 that they correspond to.

Like all these densities, the reference density of w has double zeros at the walls v = +-1, so that all slopes are finite.
Tilts: kappa_j = TURN (e^{STEP j} - 1), up to about 47.
"""

from __future__ import annotations

import numpy

from haarflow.backends.host_table import host_table

STEP, TURN, NODES = 0.08, 2.0, 41
BINS = 32  # of r
ARCS, RADII = 8, 33  # bins of |v|, nodes of r at which they are tabulated
FINE = 8192  # points of the inverse distribution function of Haar measure
NEAR = 1e-4  # distance at which densities are evaluated in place of the wall itself
POINTS = 12


def tilts() -> numpy.ndarray:
    """Return the nodes of kappa.

    >>> tilts()[[0, 1, -1]].round(3).tolist()
    [0.0, 0.167, 47.065]
    """
    nodes: numpy.ndarray = TURN * numpy.expm1(STEP * numpy.arange(NODES))
    return nodes


@host_table
def radial(n: int) -> numpy.ndarray:
    """Return the bins of r: left edges, widths and the logarithms of slopes at all knots, `(3 BINS + 1, NODES)`.

    >>> table = radial(3)
    >>> table.shape, table[1, [0, 20, 40]].round(3).tolist()
    ((97, 41), [0.031, 0.064, 0.153])
    """
    y = numpy.linspace(0.0, 1.0, BINS + 1)
    nodes, weights = _gauss(y)
    mass = (_marginals(n, nodes.ravel()).reshape(NODES, *nodes.shape) * weights).sum(axis=-1)
    below = numpy.concatenate([numpy.zeros((NODES, 1)), mass.cumsum(axis=1)], axis=1)
    above = numpy.concatenate([mass[:, ::-1].cumsum(axis=1)[:, ::-1], numpy.zeros((NODES, 1))], axis=1)
    total = below[:, -1:]
    x = _haar_quantiles(n, below / total, above / total)
    haar = _marginal(n, x[:, 1:-1], numpy.zeros(1))[0] / total[0]
    inner = numpy.log(haar / (_marginals(n, y[1:-1]) / total))
    ends = _marginals(n, numpy.asarray([NEAR, 1.0 - NEAR])) / total
    power = numpy.asarray([3.0 if n == 2 else 8.0, 3.0])  # F ~ r^power at the ends
    outer = (numpy.log(ends[0]) - numpy.log(ends)) / power
    slopes = numpy.concatenate([outer[:, :1], inner, outer[:, 1:]], axis=1)
    return numpy.concatenate([x[:, :-1], numpy.diff(x, axis=1), slopes], axis=1).T


@host_table
def angular() -> numpy.ndarray:
    """Return the bins of |v| for SU(3): edges, widths, logarithms of slopes dw/dv, `(3 ARCS + 1, NODES * RADII)`.

    >>> angular()[:8, 0].round(6).tolist()
    [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875]
    """
    v, r = numpy.linspace(0.0, 1.0, ARCS + 1), numpy.linspace(0.0, 1.0, RADII)
    r = numpy.clip(r, NEAR, 1.0 - NEAR)[:, None, None]
    nodes, weights = _gauss(v)
    mass = (_density(3, r, tilts(), v=nodes) * weights).sum(axis=-1)
    total = mass.sum(axis=-1, keepdims=True)
    below = numpy.concatenate([0.0 * total, mass.cumsum(axis=-1)], axis=-1) / total
    above = numpy.concatenate([mass[..., ::-1].cumsum(axis=-1)[..., ::-1], 0.0 * total], axis=-1) / total
    w = _reference_quantiles(below, above)
    inner = _density(3, r[..., 0], tilts(), v=v[:-1]) / total / _reference(w[..., :-1])
    last = _density(3, r[..., 0], tilts(), v=numpy.asarray([1.0 - NEAR])) / total / _reference(1.0 - NEAR)
    slopes = numpy.concatenate([numpy.log(inner), numpy.log(last) / 3.0], axis=-1)
    rows = numpy.concatenate([w[..., :-1], numpy.diff(w, axis=-1), slopes], axis=-1)
    return rows.reshape(NODES * RADII, -1).T.copy()


def mean_trace(n: int, beta: float) -> float:
    """Return <Re tr X / N> under the weight e^{(beta/N) Re tr X}, beta between the first tilt and the last.

    >>> round(mean_trace(2, 2.2), 3), round(mean_trace(3, 6.0), 3)
    (0.464, 0.423)
    """
    nodes, weights = _gauss(numpy.linspace(0.0, 1.0, BINS + 1))
    step = 1e-3
    ends = numpy.asarray([beta - step, beta + step])
    z = (_marginal(n, nodes.ravel(), ends) * weights.ravel()).sum(axis=-1)
    return 1.0 + float(numpy.log(z[1] / z[0])) / (2.0 * step)


def _gauss(edges: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Nodes and weights of Gauss-Legendre quadrature in each bin, `(bins, POINTS)`."""
    x, w = numpy.polynomial.legendre.leggauss(POINTS)
    half = 0.5 * numpy.diff(edges)[:, None]
    return edges[:-1, None] + half * (1.0 + x), half * w


def _density(n: int, r: numpy.ndarray, kappa: numpy.ndarray, v: numpy.ndarray | float = 0.0) -> numpy.ndarray:
    """The density in (r, v), `(kappa, *shape)`, times e^{-kappa}."""
    half, kappa = numpy.pi * r, kappa.reshape(-1, *(1,) * numpy.broadcast(r, v).ndim)
    if n == 2:
        density: numpy.ndarray = numpy.sin(half) ** 2 * numpy.exp(kappa * (numpy.cos(half) - 1.0))
        return density
    sines = numpy.sin(half) * numpy.sin(0.5 * half * (1.0 + v)) * numpy.sin(0.5 * half * (1.0 - v))
    angles = [half / 3.0 * (3.0 + v), -2.0 * half / 3.0 * v, half / 3.0 * (v - 3.0)]
    density = r * sines**2 * numpy.exp(kappa / 3.0 * sum(numpy.cos(angle) - 1.0 for angle in angles))
    return density


def _marginal(n: int, r: numpy.ndarray, kappa: numpy.ndarray) -> numpy.ndarray:
    """The density integrated over v."""
    if n == 2:
        return _density(n, r, kappa)
    v, weights = (part[0] for part in _gauss(numpy.asarray([0.0, 1.0])))
    terms = (2.0 * w * _density(n, r, kappa, point) for point, w in zip(v, weights, strict=True))
    return numpy.asarray(sum(terms))


def _marginals(n: int, r: numpy.ndarray) -> numpy.ndarray:
    return _marginal(n, r, tilts())


def _haar_quantiles(n: int, below: numpy.ndarray, above: numpy.ndarray) -> numpy.ndarray:
    """r of Haar measure with these probabilities below and above it, by a power law towards either end."""
    edges = numpy.linspace(0.0, 1.0, FINE + 1)
    nodes, weights = _gauss(edges)
    mass = (_marginal(n, nodes, numpy.zeros(1))[0] * weights).sum(axis=-1)
    mass = mass / mass.sum()
    return _quantiles(edges, mass, below, above)


def _reference_quantiles(below: numpy.ndarray, above: numpy.ndarray) -> numpy.ndarray:
    """|w| of the reference density with these probabilities below and above it."""
    edges = numpy.linspace(0.0, 1.0, FINE + 1)
    nodes, weights = _gauss(edges)
    return _quantiles(edges, (_reference(nodes) * weights).sum(axis=-1), below, above)


def _reference(w: numpy.ndarray | float) -> numpy.ndarray:
    return numpy.asarray(15.0 / 8.0 * (1.0 - w * w) ** 2)


def _quantiles(edges: numpy.ndarray, mass: numpy.ndarray, below: numpy.ndarray, above: numpy.ndarray) -> numpy.ndarray:
    first, last = numpy.log(mass.cumsum()), numpy.log(mass[::-1].cumsum())
    left, right = numpy.log(edges[1:]), numpy.log(1.0 - edges[:-1])[::-1]
    with numpy.errstate(divide="ignore"):
        low, high = numpy.log(below), numpy.log(above)
    lower = numpy.exp(_straight(low, first, left))
    upper = 1.0 - numpy.exp(_straight(high, last, right))
    quantiles: numpy.ndarray = numpy.where(below < 0.5, lower, upper)
    return quantiles


def _straight(x: numpy.ndarray, xs: numpy.ndarray, ys: numpy.ndarray) -> numpy.ndarray:
    """Linear interpolation through the points, extrapolated before the first: a power law. -inf stays -inf."""
    slope = (ys[1] - ys[0]) / (xs[1] - xs[0])
    with numpy.errstate(invalid="ignore"):
        y: numpy.ndarray = numpy.where(x < xs[0], ys[0] + slope * (x - xs[0]), numpy.interp(x, xs, ys))
    return y
