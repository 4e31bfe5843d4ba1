"""Flows of links with one thing wrong each."""

import math
from dataclasses import dataclass

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.core import random
from haarflow.core.groups import matrices, weyl_cell
from haarflow.core.groups.additive import wrap
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import loops
from haarflow.flows import masks
from haarflow.flows.flow import Chain, Repeat, zero_log_det
from haarflow.flows.links import jacobian
from haarflow.flows.links.orientations import EveryPlane, Turn
from haarflow.flows.splines import circular_spline, inverse_circular_spline
from haarflow.flows.sun.gradient_coupling import LoopCoupling
from haarflow.flows.sun.spectral import SpectralCoupling
from haarflow.flows.sun.sweep import ClassSweep
from haarflow.flows.u1.coupling import GaugeCoupling
from haarflow.flows.u1.sweep import Sweep


class Unchecked(GaugeCoupling):
    """A coupling that takes any context loops."""

    def __post_init__(self):
        pass


class LinkReader(GaugeCoupling):
    """The raw numbers depend on a frozen link's angle, which is not gauge invariant."""

    def _raw(self, params, links, condition):
        raw = super()._raw(params, links, condition)
        angle = array_namespace(links).cos(links[(..., slice(0, 1), slice(0, 1), slice(0, 1))])
        return raw * (1.0 + 0.1 * angle)


class OwnLine(GaugeCoupling):
    """The raw numbers depend on the winding line that the active links form."""

    def _raw(self, params, links, condition):
        raw = super()._raw(params, links, condition)
        line = loops.polyakov(links, self.mask[1], links.shape[-2:])
        own = masks.active_sites(line, masks.LinkMask(*self.mask), 2)
        return raw * (1.0 + 0.5 * array_namespace(links).cos(own)[..., None, :, :])


@dataclass(frozen=True)
class OpenSeam:
    """A circular spline whose bins in y end before the seam: an arc of 0.1 is never reached."""

    def init(self, key, dtype="float64"):
        return {"raw": random.normal(key, (13,), dtype)}

    def forward(self, params, x, condition=None):
        y, log_slope = circular_spline(x, self._tables(params, x), 0)
        return self._scaled(y, 1 - 0.1 / (2 * math.pi)), self._total(log_slope + math.log(1 - 0.1 / (2 * math.pi)))

    def inverse(self, params, y, condition=None):
        share = 1 - 0.1 / (2 * math.pi)
        x, log_slope = inverse_circular_spline(self._scaled(y, 1 / share), self._tables(params, y), 0)
        return x, self._total(log_slope - math.log(share))

    def _scaled(self, angle, factor):
        return (wrap(angle) + math.pi) * factor - math.pi

    def _tables(self, params, x):
        raw = array_namespace(x).reshape(params["raw"], (13, *(1,) * x.ndim))
        return raw + 0 * x[None, ...]

    def _total(self, log_slope):
        return array_namespace(log_slope).sum(log_slope, axis=(-3, -2, -1))


@dataclass(frozen=True)
class Arc:
    """y = 0.95 x on angles: an honest slope, but an arc of the circle has no image and no density."""

    def init(self, key, dtype="float64"):
        return {}

    def forward(self, params, x, condition=None):
        return 0.95 * wrap(x), self._log_det(x, 0.95)

    def inverse(self, params, y, condition=None):
        return wrap(y) / 0.95, self._log_det(y, 1 / 0.95)

    def _log_det(self, x, slope):
        return zero_log_det(x, 3) + math.prod(x.shape[-3:]) * math.log(slope)


class OtherColour(LoopCoupling):
    """The log-determinant is that of the links which stand still."""

    def forward(self, params, x, condition=None):
        y, _ = super().forward(params, x, condition)
        other = LoopCoupling(self.n, self.d, self.direction, 1 - self.colour, self.start)
        return y, other.forward(params, x, condition)[1]


class NoAdjoint(LoopCoupling):
    """The log-determinant is that of w alone, det(1 - D): without what the exponential adds."""

    def _move(self, link, staples):
        moved, _ = super()._move(link, staples)
        loop, _ = self._loop(link, staples)
        return moved, jacobian.log_det(self.group, 0.0 * jacobian.step_of(self.group, loop), loop)


class Overreaching(LoopCoupling):
    """Rectangles as long as the period: they hold two links of the colour that moves."""

    def __post_init__(self):
        pass


class Fixed(LoopCoupling):
    """A matrix that is no loop is added to the staples: links are drawn to one."""

    def _loop(self, link, staples):
        loop, own = super()._loop(link, staples)
        return loop + 0.1 * link, own


class NoCurvature(LoopCoupling):
    """The log-determinant leaves out that coefficients depend on the link that moves."""

    def _move(self, link, staples):
        moved, _ = super()._move(link, staples)
        loop, _ = self._loop(link, staples)
        return moved, jacobian.log_det(self.group, jacobian.step_of(self.group, loop), loop)


class BareAngles(ClassSweep):
    """The log-determinant counts eigen-angles alone: without Weyl's factor, the volume of their class."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        return y, log_det - self._volumes(y) + self._volumes(x)

    def _volumes(self, links):
        xp = array_namespace(links)
        loop = loops.plaquette(links, 0, 1, 2, SU(2, 2))
        return xp.sum(xp.log(1.0 - 0.25 * xp.real(matrices.trace(loop, 2)) ** 2)[..., :-1, :], axis=(-2, -1))


class SeesItself(SpectralCoupling):
    """The net looks at the plaquette that moves."""

    def __post_init__(self):
        pass


class FlatCell(SpectralCoupling):
    """The log-determinant is that of the angles: without the ratio of Weyl's factors."""

    def _mapped(self, way, params, place, raw):
        new, log_det = super()._mapped(way, params, place, raw)
        return new, log_det - weyl_cell.log_volume(place, new, [0.0 * x for x in place])


class SitesAlone(Turn):
    """The sites are turned, the directions of the links are not."""

    def _turned(self, links, order):
        turned, log_det = super()._turned(links, order)
        axis = links.ndim - len(order) - self.internal - 1
        return array_namespace(links).take(turned, self._places(turned, order), axis=axis), log_det

    def _places(self, links, order):
        return backends.of(links).asarray([order.index(mu) for mu in range(len(order))], dtype="int32")


class HalfTurned(EveryPlane):
    """A turn of the sites alone between the planes."""

    @property
    def cycle(self):
        inner = Repeat(self.flow, self.d - 1)
        return Repeat(Chain((inner, SitesAlone((*range(1, self.d), 0), self.internal))), self.d)


class OneAxis(EveryPlane):
    """The periods of the flow as it stands in the plane (0, 1), not of the turned ones."""

    @property
    def periods(self):
        return self.flow.periods


class StaleRest(ClassSweep):
    """The way back centres its steps between 1 and the loop that the input has, not the output."""

    def _fill_row(self, way, numbers, beta, links, loops, steps):
        time, space, columns = links
        links = (time, columns if way == "inverse" else space, columns)
        return super()._fill_row(way, numbers, beta, links, loops, steps)


class ForgottenPlaquette(Sweep):
    """The way back takes the table of log-weights alone, without the convolutions of a plaquette."""

    def inverse(self, params, y, condition=None):
        return super().inverse({**params, "plaquette": 0.0 * params["plaquette"]}, y, condition)
