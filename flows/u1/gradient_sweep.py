"""A step of all U(1) links along the gradient of the plaquettes, with its exact log-determinant and one number.

Class by class, the links of a direction and colour that share no plaquette move at once,

    theta -> theta - c dS_1/dtheta,     S_1 = -sum_P cos theta_P,     ln det = sum ln(1 - c sum_{P with theta} cos theta_P).

With A = sum over the link's staples V of e^{iV} the step is Kepler's equation psi' = psi - c |A| sin psi for psi =
theta + arg A, whose inverse Newton's method finds. At small c this is a step of Luescher's trivialising flow, for which
c = dbeta/4 in two dimensions at strong coupling (arXiv:0907.5491); as layers of stochastic flows such steps are used in
arXiv:2201.08862.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core.chains.heatbath_u1 import link_colours
from haarflow.core.groups.additive import wrap
from haarflow.core.lattice import loops
from haarflow.core.lattice.geometry import shift
from haarflow.flows.flow import constant

STEEPEST = 0.95  # of c times the number of plaquettes around a link: at 1 the map ceases to be invertible
NEWTON_STEPS = 12

Move = Callable[
    [Array, Array, int, int], tuple[Array, Array]
]  # (c, links, mu, d) -> what is added, log det of each link


@dataclass(frozen=True)
class GradientSweep:
    """One sweep over the links `(*batch, d, *lattice)`, theta -> theta - c dS_1/dtheta; parameters {"c": ()}, at first `start`.

    The number enters as b tanh(c/b) with b = 0.95 / (2 (d - 1)), where the map is invertible. Extents of 2 and more.
    Angles come out in [-pi, pi). Where all extents are even the sweep commutes with translations by two sites; where one is
    odd, the colours of its last sites stand in the way.

    >>> import numpy as np
    >>> y, log_det = GradientSweep(2).forward({"c": np.asarray(0.1)}, np.zeros((1, 2, 4, 4)))
    >>> float(log_det[0] / 32) == float(np.log(1 - 2 * 0.475 * np.tanh(0.1 / 0.475)))
    True
    """

    d: int = 2
    start: float = 0.0

    symmetries = ("gauge", "charge_conjugation")

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return `start`."""
        return {"c": constant(key, self.start, (), dtype)}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the links class by class."""
        return self._sweep(params, x, self._classes(x), _moved)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move them back, the last class first."""
        return self._sweep(params, y, reversed(self._classes(y)), _moved_back)

    def _classes(self, x: Array) -> list[tuple[int, numpy.ndarray]]:
        """Each direction with the sites of each colour."""
        lattice = tuple(x.shape[-self.d :])
        labels = [(mu, *link_colours(lattice, mu)) for mu in range(self.d)]
        return [(mu, places == colour) for mu, places, count in labels for colour in range(count)]

    def _sweep(
        self, params: Params, x: Array, classes: Iterable[tuple[int, numpy.ndarray]], move: Move
    ) -> tuple[Array, Array]:
        xp, d, steepest = array_namespace(x), self.d, STEEPEST / (2.0 * (self.d - 1))
        c, total = steepest * xp.tanh(params["c"] / steepest), 0.0
        for mu, active in classes:
            places = backends.of(x).asarray(active)
            change, log_det = move(c, x, mu, d)
            here = [xp.where(places, change, 0.0 * change) if nu == mu else 0.0 * change for nu in range(d)]
            x = x + xp.stack(here, axis=-1 - d)
            total = total + xp.sum(xp.where(places, log_det, 0.0 * log_det), axis=tuple(range(-d, 0)))
        return wrap(x), total


def _moved(c: Array, x: Array, mu: int, d: int) -> tuple[Array, Array]:
    """What is added to each link along mu, and its part of the log-determinant."""
    force, curvature = 0.0, 0.0
    for nu in (nu for nu in range(d) if nu != mu):
        sine, cosine = backends.of(x).sincos(loops.plaquette(x, mu, nu, d))
        force = force + sine - shift(sine, nu, d, -1)
        curvature = curvature + cosine + shift(cosine, nu, d, -1)
    return -c * force, array_namespace(x).log1p(-c * curvature)


def _moved_back(c: Array, x: Array, mu: int, d: int) -> tuple[Array, Array]:
    """The same of the inverse."""
    xp, backend = array_namespace(x), backends.of(x)
    sine, cosine = backend.sincos(loops.staples(x, mu, d))
    sine, cosine = xp.sum(sine, axis=-1 - d), xp.sum(cosine, axis=-1 - d)
    eccentricity = c * xp.sqrt(sine * sine + cosine * cosine)
    mean = loops.direction(x, mu, d) + xp.atan2(sine, cosine)
    # Danby's start, from which Newton's method converges for every |eccentricity| < 1
    offset = 0.85 * eccentricity * xp.sign(backend.sin(mean))
    for _ in range(NEWTON_STEPS):
        sine, cosine = backend.sincos(mean + offset)
        offset = offset - (offset - eccentricity * sine) / (1.0 - eccentricity * cosine)
    return offset, -xp.log1p(-eccentricity * backend.cos(mean + offset))
