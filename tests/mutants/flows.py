"""Flows, models and priors with one thing wrong each, and the laws that must see it."""

import math
from dataclasses import dataclass, replace
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.core import random
from haarflow.core.groups import matrices, weyl_cell
from haarflow.core.groups.additive import wrap
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import loops
from haarflow.flows.flow import Chain, Model, Repeat, zero_log_det
from haarflow.flows.links import jacobian
from haarflow.flows.links.orientations import EveryPlane, Turn
from haarflow.flows.priors import FreeField, Gaussian, HaarLinks, UniformLinks
from haarflow.flows.scalar.affine import AffineCoupling
from haarflow.flows.scalar.nets import CheckerboardNet
from haarflow.flows.scalar.tails import QuarticTail, inverse_quartic_tail, quartic_tail
from haarflow.flows.splines import circular_spline, inverse_circular_spline
from haarflow.flows.sun.gradient_coupling import LoopCoupling
from haarflow.flows.sun.spectral import SpectralCoupling
from haarflow.flows.sun.sweep import ClassSweep
from haarflow.flows.u1.coupling import GaugeCoupling
from haarflow.verification.flow_objects import HALF, HALVES, SPACE, WHOLE, by_loops, halving
from tests.mutants import Mutant, autoregressive, hidden, loop_flows, spins
from tests.mutants.pairs import flows as pairs

JACOBIAN = ("log_det_by_differences", "log_det_by_autodiff")
NET = CheckerboardNet(2, hidden=(3,), reach=3, final_scale=0.5)


class SignSlip(AffineCoupling):
    """The log-determinants of both directions have the wrong sign."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        return y, -log_det

    def inverse(self, params, y, condition=None):
        x, log_det = super().inverse(params, y, condition)
        return x, -log_det


class WrongSublattice(AffineCoupling):
    """The log-determinant is that of the sites which stand still."""

    def forward(self, params, x, condition=None):
        y, _ = super().forward(params, x, condition)
        return y, AffineCoupling(self.net, 1 - self.parity, self.tail).forward(params, x, condition)[1]


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


class RoughInverse(AffineCoupling):
    """An inverse good to 1e-5."""

    def inverse(self, params, y, condition=None):
        x, log_det = super().inverse(params, y, condition)
        return x + 1e-5 * array_namespace(x).sin(x), log_det


class SingleOneWay(AffineCoupling):
    """The way back sees the net in another precision than the way there."""

    def inverse(self, params, y, condition=None):
        return AffineCoupling(replace(self.net, net_precision="float32"), self.parity, self.tail).inverse(
            params, y, condition
        )


class NoMinus(AffineCoupling):
    """The inverse gives the forward map's log-determinant."""

    def inverse(self, params, y, condition=None):
        x, log_det = super().inverse(params, y, condition)
        return x, -log_det


class PeriodOne(AffineCoupling):
    """A checkerboard that claims translations by one site."""

    @property
    def periods(self):
        return (1,) * self.net.d


class Biased(AffineCoupling):
    """A shift that does not change sign with the field, though Z2 is declared."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        return y + 1e-3, log_det

    def inverse(self, params, y, condition=None):
        return super().inverse(params, y - 1e-3, condition)


class WrongTail(QuarticTail):
    """The tail's slope has the exponent 1.2 in place of 5/4, in both directions."""

    def forward(self, params, x, condition=None):
        return self._wrong(params, x, quartic_tail, 1.0)

    def inverse(self, params, y, condition=None):
        return self._wrong(params, y, inverse_quartic_tail, -1.0)

    def _wrong(self, params, x, map, sign):
        xp = array_namespace(x)
        c = xp.exp(params["log_c"])
        y, log_slope = map(x, c)
        u = x if sign > 0 else y
        log_slope = log_slope + sign * 0.05 * xp.log(1 + c * u * u)
        return y, xp.sum(log_slope, axis=tuple(range(-self.d, 0)))


class Forgetful(Chain):
    """The first flow's log-determinant is left out."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        return y, log_det - self.flows[0].forward(params["0"], x, condition)[1]

    def inverse(self, params, y, condition=None):
        x, log_det = super().inverse(params, y, condition)
        return x, log_det + self.flows[0].forward(params["0"], x, condition)[1]


class Mixing(AffineCoupling):
    """Every field is shifted by the mean over the batch of the frozen sites."""

    def forward(self, params, x, condition=None):
        shift, active = self._shift(x)
        y, log_det = super().forward(params, x, condition)
        return y + shift * active, log_det

    def inverse(self, params, y, condition=None):
        shift, active = self._shift(y)
        return super().inverse(params, y - shift * active, condition)

    def _shift(self, x):
        xp, d = array_namespace(x), self.net.d
        active = backends.of(x).asarray(self.moves(tuple(x.shape[-d:])) + 0.0, dtype=x.dtype)
        return 1e-3 * xp.mean(x * (1 - active)), active


class Spoiler(AffineCoupling):
    """It writes its result into the field it was given."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        x += y - x
        return x, log_det


class Promoting(QuarticTail):
    """A tail that computes in double precision whatever it is given."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        xp = array_namespace(x)
        return xp.astype(y, xp.float64), log_det


class HalfHearted(QuarticTail):
    """A tail that is another one where the engine is not NumPy."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        return (y, log_det) if backends.of(x).name == "numpy" else (y * (1 + 1e-9), log_det)


class DoubleInit(AffineCoupling):
    """`init` gives double precision whatever is asked for."""

    def init(self, key, dtype="float64"):
        return super().init(key, "float64")


class LevelSlip(QuarticTail):
    """Both log-determinants are off by the same constant: the density is not normalised."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        return y, log_det + 0.3

    def inverse(self, params, y, condition=None):
        x, log_det = super().inverse(params, y, condition)
        return x, log_det - 0.3


@dataclass(frozen=True)
class Growing(QuarticTail):
    """A definition that changes whenever it is made from its own fields."""

    def __post_init__(self):
        object.__setattr__(self, "strength", 2 * self.strength)


class NoLogDet(Model):
    """`sample` gives the prior's density of what went in."""

    def sample(self, params, key, n, condition=None):
        x = self.prior.sample(key, n)
        y, log_det = self.flow.forward(params, x, condition)
        return y, self.prior.log_density(x) + 0 * log_det


class Unnormalised(Gaussian):
    """A density 5% too high."""

    def log_density(self, x):
        return super().log_density(x) + 0.05


class WrongWidth(FreeField):
    """Draws of another mass than the density's."""

    def sample(self, key, n, dtype="float64"):
        return FreeField(self.lattice, 2 * self.m2).sample(key, n, dtype)


class ArcPrior(UniformLinks):
    """Angles that leave out an arc, with the density of the whole circle."""

    def sample(self, key, n, dtype="float64"):
        return 0.95 * super().sample(key, n, dtype)


class OffRange(UniformLinks):
    """Angles in (0, 2 pi)."""

    def sample(self, key, n, dtype="float64"):
        return super().sample(key, n, dtype) + math.pi


class Sloped(Gaussian):
    """A density that is not translation invariant, though it says so."""

    def log_density(self, x):
        return super().log_density(x) - 0.1 * x[(..., *(0,) * len(self.lattice))] ** 2


class MixingPrior(Gaussian):
    """A density that looks at the whole batch."""

    def log_density(self, x):
        return super().log_density(x - 1e-3 * array_namespace(x).mean(x))


class MissingArc(UniformLinks):
    """The density is zero where the first plaquette lies in one eighth of the circle, and 1 elsewhere."""

    def log_density(self, x):
        flux = wrap(loops.plaquette(x, 0, 1, 2)[..., 0, 0])
        return array_namespace(x).where(flux < 0.75 * math.pi, 0.0 * flux, 0.0 * flux - 700.0)


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


class Condensed(HaarLinks):
    """Links nearer to one than Haar's, with Haar's density."""

    def sample(self, key, n, dtype="float64"):
        u = super().sample(key, n, dtype)
        return self.group.project(u + 0.5 * matrices.identity(u, len(self.lattice)))


class Swollen(HaarLinks):
    """Matrices that are not unitary."""

    def sample(self, key, n, dtype="float64"):
        return 1.001 * super().sample(key, n, dtype)


@dataclass(frozen=True)
class OuterProduct(QuarticTail):
    """A factor of each configuration, broadcast against the batch: y is (B, B, *lattice)."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        return (1.0 + 0.0 * log_det)[..., *(None,) * x.ndim] * y, log_det


@dataclass(frozen=True)
class ColumnLogDet(QuarticTail):
    """log_det with an axis too many."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        return y, log_det[..., None]


def affine(kind, **options: Any):
    return lambda lattice: Model(Gaussian(lattice), kind(NET, **options))


def links(flow):
    return lambda lattice: Model(UniformLinks(lattice), flow)


def sites(flow):
    return lambda lattice: Model(Gaussian(lattice), flow)


# In three dimensions the loop (2, 1) next to the active link along 2 holds another active one.
READS_ACTIVE = (((2, 1), (1, 1), (0, 1, 0)),)
SEEN = ("round_trip", "support")
SPLINE_3D: dict[str, Any] = {"map": "spline", "pieces": 3, "hidden": (3,)}
THREE = {"lattice": (2, 2, 2)}
TWO = {"lattice": (2, 2)}

MUTANTS: tuple[Mutant, ...] = (
    Mutant("sign slip in the log-det", "model", affine(SignSlip), (*JACOBIAN, "frozen_components"), TWO),
    Mutant("log-det of the wrong sublattice", "model", affine(WrongSublattice), (*JACOBIAN, "log_dets_cancel"), TWO),
    Mutant(
        "a mask that reads a link it updates",
        "model",
        links(Unchecked(2, HALVES, (HALF,), "moebius", 2, hidden=(3,), active=HALF)),
        (*JACOBIAN, "round_trip"),
        TWO,
    ),
    Mutant(
        "a context that reads an active link in d = 3",
        "model",
        links(Unchecked(3, SPACE, READS_ACTIVE, **SPLINE_3D)),
        (*JACOBIAN, "frozen_components", "round_trip"),
        THREE,
    ),
    Mutant("bins that leave a gap at the seam", "model", links(OpenSeam()), ("support",), {**TWO, "style": "seam"}),
    Mutant("a flow that misses an arc", "model", links(Arc()), ("support",), {**TWO, "style": "seam"}),
    Mutant(
        "a feature that is not gauge invariant",
        "model",
        links(LinkReader(2, HALVES, (WHOLE,), "moebius", 2, hidden=(3,), active=HALF)),
        ("equivariance", "invariant_density"),
        {"lattice": (4, 2)},
    ),
    Mutant("an inverse good to 1e-5", "model", affine(RoughInverse), SEEN, TWO),
    Mutant("a net in single precision on the way back alone", "model", affine(SingleOneWay), ("round_trip",), TWO),
    Mutant(
        "an inverse without the minus",
        "model",
        affine(NoMinus),
        ("log_dets_cancel", "sample_is_its_density", "integrates_to_one"),
        TWO,
    ),
    Mutant("translations by one with period two", "model", affine(PeriodOne), ("equivariance",), {"lattice": (4, 4)}),
    Mutant(
        "a turn that forgets the directions",
        "model",
        links(HalfTurned(halving("moebius", 1), 2)),
        ("equivariance",),
        TWO,
    ),
    Mutant(
        "the periods of one plane in all",
        "model",
        links(OneAxis(halving("moebius", 1), 2)),
        ("equivariance",),
        TWO,
    ),
    Mutant("a bias odd under Z2", "model", affine(Biased), ("equivariance", "invariant_density"), TWO),
    Mutant("a tail of the wrong slope", "model", sites(WrongTail(2)), (*JACOBIAN, "integrates_to_one"), TWO),
    Mutant(
        "a chain that forgets a log-det",
        "model",
        sites(Forgetful((QuarticTail(2, 0.5), QuarticTail(2, 2.0, expand=True)))),
        (*JACOBIAN, "integrates_to_one"),
        TWO,
    ),
    Mutant("a flow that mixes the batch", "model", affine(Mixing), ("batch_is_its_members",), TWO),
    Mutant("a flow that writes into its input", "model", affine(Spoiler), ("inputs_unchanged",), TWO),
    Mutant(
        "a flow that leaves single precision",
        "model",
        sites(Promoting(2)),
        ("equals_numpy",),
        {**TWO, "dtype": "float32"},
    ),
    Mutant("another flow on another engine", "model", sites(HalfHearted(2)), ("equals_numpy",), TWO),
    Mutant(
        "parameters in double precision",
        "model",
        affine(DoubleInit),
        ("fresh_parameters",),
        {**TWO, "dtype": "float32"},
    ),
    Mutant(
        "a log-det off by a constant",
        "model",
        sites(LevelSlip(2)),
        (*JACOBIAN, "integrates_to_one", "draws_have_the_density"),
        TWO,
    ),
    Mutant("a factor broadcast against the batch", "model", sites(OuterProduct(2)), ("shapes", "round_trip"), TWO),
    Mutant("a log-det with an axis too many", "model", sites(ColumnLogDet(2)), ("shapes", "log_dets_cancel"), TWO),
    Mutant("a definition that does not stay", "model", sites(Growing(2)), ("file_keeps_the_model",), TWO),
    Mutant(
        "a sample without its log-det",
        "model",
        lambda lattice: NoLogDet(Gaussian(lattice), QuarticTail(2)),
        ("sample_is_its_density",),
        TWO,
    ),
    Mutant("log-det of the other colour", "model", by_loops(OtherColour(2, 2, 1, 0, 0.4)), JACOBIAN, TWO),
    Mutant(
        "a log-det without the exponential's part",
        "model",
        by_loops(NoAdjoint(2, 2, 1, 0, 0.4)),
        JACOBIAN,
        {"lattice": (2, 2)},
    ),
    Mutant(
        "staples that hold links which move",
        "model",
        by_loops(Overreaching(2, 2, 1, 0, 0.4, reach=2)),
        (*JACOBIAN, "frozen_components", "round_trip"),
        TWO,
    ),
    Mutant("a coefficient taken for constant", "model", by_loops(NoCurvature(2, 2, 1, 0, 0.4, own=1)), JACOBIAN, TWO),
    Mutant(
        "links drawn to one",
        "model",
        by_loops(Fixed(2, 2, 1, 0, 0.4)),
        ("equivariance", "invariant_density"),
        TWO,
    ),
    Mutant("matrices drawn to one", "prior", lambda lattice: Condensed(lattice, 2), ("prior_moments",), TWO),
    Mutant("matrices that are not unitary", "prior", lambda lattice: Swollen(lattice, 2), ("prior_draws",), TWO),
    Mutant("a density 5% too high", "prior", Unnormalised, ("integrates_to_one",), TWO),
    Mutant("eigen-angles without Weyl's factor", "model", by_loops(BareAngles(2, 2.0, closings=1)), JACOBIAN, TWO),
    Mutant(
        "a spectrum without Weyl's factor", "model", by_loops(FlatCell(2, 2, HALVES, (WHOLE,), 3, (3,))), JACOBIAN, TWO
    ),
    Mutant(
        "a coupling that sees its own plaquette",
        "model",
        by_loops(SeesItself(2, 2, HALVES, (((1, 0), (1, 1), (0, 0)),), 3, (3,))),
        ("round_trip", *JACOBIAN),
        TWO,
    ),
    Mutant(
        "a loop made of the links before",
        "model",
        by_loops(StaleRest(2, 2.0, closings=1)),
        ("round_trip",),
        TWO,
    ),
    *autoregressive.MUTANTS,
    *spins.FLOWS,
    *loop_flows.MUTANTS,
    *pairs.MUTANTS,
    *hidden.FLOWS,
    Mutant("a density missing an arc of the circle", "prior", MissingArc, ("integrates_to_one",), TWO),
    Mutant("draws of another mass", "prior", WrongWidth, ("prior_moments",), TWO),
    Mutant("draws that miss an arc", "prior", ArcPrior, ("prior_moments",), TWO),
    Mutant("angles out of range", "prior", OffRange, ("prior_draws",), TWO),
    Mutant("a density that mixes the batch", "prior", MixingPrior, ("prior_draws",), TWO),
    Mutant("a density with a favourite site", "prior", Sloped, ("invariant_density",), {"lattice": (3, 2)}),
)

# What each mutant would be were it right: it must pass the laws that the mutant fails.
HEALTHY = {
    "model": affine(AffineCoupling),
    "prior": Gaussian,
    "links": links(halving("moebius", 2)),
    "matrices": by_loops(LoopCoupling(2, 2, 1, 0, 0.4)),
    "spectra": by_loops(SpectralCoupling(2, 2, HALVES, (WHOLE,), 3, (3,))),
    "autoregressive": autoregressive.HEALTHY,
    "spins": spins.HEALTHY,
    "sweep of matrices": by_loops(ClassSweep(2, 2.0, closings=1)),
}

# A mutant that cannot be wrong on an engine: JAX's arrays are never written to, and NumPy is the measure itself.
IMPOSSIBLE = {
    ("a flow that writes into its input", "jax"),
    ("another flow on another engine", "numpy"),
    ("another flow on another engine", "readonly"),
}
