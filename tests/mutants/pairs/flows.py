"""Wrong flows of pseudofermions and of pairs: traces without a loop, determinants of other components, inverses of other maps."""

import math
from dataclasses import dataclass, replace
from typing import Any

from array_api_compat import array_namespace

from haarflow.core.lattice import loops
from haarflow.flows.conditionals import scalars_and_shears_in_turn
from haarflow.flows.fermions.factorised import FactorisedHopping
from haarflow.flows.fermions.hopping import HoppingExponential
from haarflow.flows.fermions.local_hopping import LocalHopping
from haarflow.flows.fermions.shears import ConstantMass
from haarflow.flows.fermions.transport import TransportCoupling
from haarflow.flows.flow import Chain, Model
from haarflow.flows.pairs import Featured, Moves, PairFlow, PairPrior
from haarflow.flows.priors import Gaussian, Noise
from haarflow.flows.scalar.tails import QuarticTail
from haarflow.theories.fermions.hops import OddHops
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.models.yukawa import yukawa_pairs
from haarflow.verification.joint_objects import SMALL, as_rows
from haarflow.verification.pair_objects import AtLinks, Parted, Scaled, Stacked
from tests.mutants import Mutant

JACOBIAN = ("log_det_by_differences",)


@dataclass(frozen=True)
class Hops:
    """The map of odd sites, for parts of it to be replaced."""

    operator: Any
    kappa: float

    @property
    def right(self):
        return OddHops(self.operator, self.kappa)

    @property
    def shape(self):
        return self.right.shape

    @property
    def bound(self):
        return self.right.bound

    def prepare(self, links):
        return self.right.prepare(links)

    def apply(self, prepared, x):
        return self.right.apply(prepared, x)

    def traces(self, links, powers):
        return self.right.traces(links, powers)


class WithoutLines(Hops):
    """The straight lines that close after four links are forgotten, which no lattice of six would show."""

    def traces(self, links, powers):
        return super().traces(links, powers) - self.kappa**4 * self.lines(links)

    def lines(self, links):
        xp, lattice = array_namespace(links), self.operator.lattice
        total = 0.0 * links[..., 0, 0, 0]
        for mu in range(2):
            sign = -1.0 if mu == 0 and self.operator.antiperiodic else 1.0
            line = loops.polyakov(links, mu, lattice, loops.COVER)
            total = total + sign * 16.0 * xp.sum(xp.cos(line), axis=(-2, -1))
        return xp.stack([0.0 * total, total], axis=-1)


class PeriodicLines(WithoutLines):
    """Lines in time have the sign of periodic fermions."""

    def lines(self, links):
        return super().lines(links) - PeriodicHops(self.operator, 1.0).lines(links)


class PeriodicHops(WithoutLines):
    """The lines of the periodic operator."""

    def lines(self, links):
        return WithoutLines(Wilson(self.operator.lattice, antiperiodic=False), 1.0).lines(links)


class ComplexDeterminant(HoppingExponential):
    """The determinant of the complex map, one power too few for its real components."""

    def _applied(self, params, x, condition, sign):
        y, log_det = super()._applied(params, x, condition, sign)
        return y, 0.5 * log_det


class SameSign(HoppingExponential):
    """The inverse has the exponent of the map itself."""

    def inverse(self, params, y, condition=None):
        x, log_det = self.forward(params, y, condition)
        return x, -log_det


class FewTerms(HoppingExponential):
    """Taylor's series ends after three terms."""

    def _steps(self, dtype):
        return 1, 3


class OfOneFactor(FactorisedHopping):
    """The determinant of the lightest factor alone."""

    def _applied(self, params, x, condition, sign):
        y, _ = super()._applied(params, x, condition, sign)
        first = self.exponentials[0]
        return y, first.moved(params["coefficients"][0, ...], x[..., 0, :, :], first.told(condition["links"]), sign)[1]


class FactorsReversed(FactorisedHopping):
    """The way back takes the factors from the heaviest on."""

    def inverse(self, params, y, condition=None):
        return replace(self, shares=tuple(1.0 - share for share in self.shares[::-1])).right(params, y, condition)

    def right(self, params, y, condition):
        return super().inverse(params, y, condition)


class MeanCoefficients(LocalHopping):
    """The determinant takes the mean of each coefficient over the sites, and the whole trace."""

    def _applied(self, params, x, condition, sign):
        y, _ = super()._applied(params, x, condition, sign)
        xp, links = array_namespace(x), condition["links"]
        mean = xp.mean(self.coefficients(params, links), axis=-1)
        traces = self.hops.traces(links, self.order)
        terms = [mean[..., j] * traces[..., j] / (j + 1) for j in range(self.order)]
        return y, 2.0 * sign * sum(terms) + 0.0 * xp.abs(x[..., 0, 0])


class SitesReversed(OddHops):
    """What the net gives is told the odd sites in the wrong order, in the determinant alone."""

    def densities(self, links, powers):
        return array_namespace(links).flip(super().densities(links, powers), axis=-1)


def local(kind=LocalHopping, hops=OddHops):
    """A model of pseudofermions by an exponential with the coefficients of a net."""

    def make(lattice):
        flow = kind(hops(Wilson(lattice), 0.2), 2, hidden=(3,), final_scale=4.0)
        return Model(Parted(Noise(flow.shape)), AtLinks(flow))

    return make


def factored(kind):
    """A model of the pseudofermions of two factors, by another flow."""

    def make(lattice):
        flow = kind(OddHops(Wilson(lattice), 0.2), (0.3,))
        return Model(Parted(Noise(flow.shape)), AtLinks(flow))

    return make


class MarginalOnly(PairFlow):
    """The log-determinant leaves out the conditional flow."""

    def forward(self, params, x, condition=None):
        y, _ = super().forward(params, x, condition)
        return y, self.marginal.forward(params["marginal"], x.U, condition)[1]


class ToldTheNoise(PairFlow):
    """On the way back the conditional flow is told the links before their map."""

    def inverse(self, params, y, condition=None):
        x, log_det = super().inverse(params, y, condition)
        chi, _ = self.conditional.inverse(params["conditional"], y.phi, {"links": x.U})
        return x._replace(phi=chi), log_det


def at_links(kind=HoppingExponential, hops=OddHops):
    """A model of pseudofermions at fixed links, with another flow or other hops."""

    def make(lattice):
        map_of_odd_sites = hops(Wilson(lattice), 0.2)
        return Model(Parted(Noise(map_of_odd_sites.shape)), AtLinks(kind(map_of_odd_sites, 2)))

    return make


class ReadsWhatMoves(TransportCoupling):
    """The moved components come along paths from active ones, too."""

    def forward(self, params, x, condition=None):
        moved = self._active(self._transported(params, x, self._links(condition)))
        return x + (math.exp(self.start[0]) - 1.0) * self._active(x) + moved, self._log_det(params, x, 1.0)


class HalfTheComponents(TransportCoupling):
    """The determinant of complex components."""

    def _log_det(self, params, x, sign):
        return 0.5 * super()._log_det(params, x, sign)


class ScaledTwice(TransportCoupling):
    """The way back scales what was transported, not what was scaled."""

    def inverse(self, params, y, condition=None):
        active = self._active(y)
        frozen = y - active
        moved = self._active(self._transported(params, frozen, self._links(condition)))
        return frozen + math.exp(-self.start[0]) * active - moved, self._log_det(params, y, -1.0)


def transported(kind):
    """A model of pseudofermions at fixed links, by another transport coupling."""

    def make(lattice):
        flow = kind(lattice, start=(0.3, 0.2))
        return Model(Parted(Noise(flow.shape)), AtLinks(flow, OddHops(Wilson(lattice), 0.0)))

    return make


class ForgetsThePseudofermions(Featured):
    """The log-determinant is that of a layer that is told nothing."""

    def forward(self, params, x, condition=None):
        y, _ = super().forward(params, x, condition)
        return y, super().forward(params, x, {"pseudofermions": 0.0 * condition["pseudofermions"]})[1]


class ToldWhatItMoves(Moves):
    """A layer that is told the field that it moves in place of the other one."""

    def _moved(self, apply, params, x, condition):
        own, log_det = apply(params, x.U, {"pseudofermions": x.U[..., None, :, :] + 0.0 * x.phi})
        return x._replace(U=own), log_det


class OfOneFlavour(ConstantMass):
    """The determinant of one flavour for any number of them."""

    def _log_det(self, params, x):
        return super()._log_det(params, x[..., :1, :, :])


def in_turn(kind=Moves, told=Featured):
    """A joint flow with another layer of the scalar field."""

    def make(lattice):
        model = scalars_and_shears_in_turn(lattice, yukawa_pairs(lattice).free, **SMALL)
        scalars, pseudofermions, layer, last = model.flow.flows
        wrong = kind("U", told(layer.flow.flow, layer.flow.bilinears))
        return as_rows(Model(model.prior, Chain((scalars, pseudofermions, wrong, last))))

    return make


def two_flavours(lattice):
    """Two pseudofermion fields of a constant mass, with a wrong determinant."""
    fermions = yukawa_pairs(lattice).free(0.8)
    return Model(Gaussian((2, *lattice)), OfOneFlavour(fermions))


def paired(kind):
    """A model of pairs of real fields, by another flow."""
    return lambda lattice: Model(
        Parted(PairPrior(Gaussian(lattice), Gaussian(lattice))), Stacked(kind(QuarticTail(2), Scaled()))
    )


TWO, FOUR = {"lattice": (2, 2)}, {"lattice": (4, 4)}

MUTANTS: tuple[Mutant, ...] = (
    Mutant("traces without lines of four links", "model", at_links(hops=WithoutLines), JACOBIAN, FOUR),
    Mutant("lines in time of periodic fermions", "model", at_links(hops=PeriodicLines), JACOBIAN, FOUR),
    Mutant("the determinant of complex components", "model", at_links(ComplexDeterminant), JACOBIAN, TWO),
    Mutant("an exponential that is its own inverse", "model", at_links(SameSign), ("round_trip",), TWO),
    Mutant("an exponential of three terms", "model", at_links(FewTerms), ("round_trip",), TWO),
    Mutant("factors with the determinant of the lightest", "model", factored(OfOneFactor), JACOBIAN, FOUR),
    Mutant("factors in another order on the way back", "model", factored(FactorsReversed), ("round_trip",), FOUR),
    Mutant("a net's coefficients averaged in the determinant", "model", local(MeanCoefficients), JACOBIAN, FOUR),
    Mutant("a net's coefficients at other sites", "model", local(hops=SitesReversed), JACOBIAN, FOUR),
    Mutant("paths from active components", "model", transported(ReadsWhatMoves), ("round_trip",), FOUR),
    Mutant("the determinant of transported complex ones", "model", transported(HalfTheComponents), JACOBIAN, TWO),
    Mutant("a way back that scales too late", "model", transported(ScaledTwice), ("round_trip",), FOUR),
    Mutant("pairs without the conditional log-det", "model", paired(MarginalOnly), JACOBIAN, TWO),
    Mutant(
        "a layer whose log-det forgets the pseudofermions",
        "model",
        in_turn(told=ForgetsThePseudofermions),
        JACOBIAN,
        TWO,
    ),
    Mutant("a layer told what it moves", "model", in_turn(ToldWhatItMoves), ("round_trip", *JACOBIAN), TWO),
    Mutant("pseudofermions with the determinant of one flavour", "model", two_flavours, JACOBIAN, TWO),
    Mutant("a conditional flow told the noise", "model", paired(ToldTheNoise), ("round_trip",), TWO),
)
