"""Mixtures, symmetrised models, weighted draws and estimators of ln Z with one thing wrong each, and the laws that must see it."""

import math
from dataclasses import dataclass
from typing import Any

import numpy
from array_api_compat import array_namespace

from haarflow.core import random
from haarflow.core.statistics import Estimate, bennett, elbo, log_z
from haarflow.flows.flow import IMAGE, Model, zero_log_det
from haarflow.flows.images import chosen
from haarflow.flows.mixtures import COMPONENT, Mixture, symmetrised
from haarflow.flows.priors import Gaussian
from haarflow.flows.scalar.momentum import MomentumScaling
from haarflow.verification.weight_objects import MASS, free, gradient, shifted, told, well
from tests.mutants import Mutant, spins


class OwnImage(Model):
    """Draws are images of the flow's, the density is that of the flow alone at the image: the average is forgotten."""

    def sample(self, params, key, n, condition=None):
        y, _ = Model(self.prior, self.flow).sample(params, key, n, condition)
        y = chosen(self.images.of(y, self.prior.group, self.prior.lattice), random.fold_in(key, IMAGE))
        return y, self.log_density(params, y, condition)

    def log_density(self, params, y, condition=None):
        return self._log_density(params, y, condition)


class ComponentsDensity(Mixture):
    """A draw reports the density of the component that it came from."""

    def sample(self, params, key, n, condition=None):
        drawn = [
            model.sample(params[str(k)], random.fold_in(key, k), n, condition) for k, model in enumerate(self.models)
        ]
        stack = array_namespace(key).stack
        pair = [stack(parts, axis=0) for parts in zip(*drawn, strict=True)]
        return tuple(chosen(part, random.fold_in(key, COMPONENT), self.weights) for part in pair)


class EvenHanded(Mixture):
    """Draws are chosen evenly, whatever the weights."""

    def sample(self, params, key, n, condition=None):
        y, _ = Mixture(self.models).sample(params, key, n, condition)
        return y, self.log_density(params, y, condition)


class Largest(Mixture):
    """The density is that of the likeliest component."""

    def log_density(self, params, y, condition=None):
        xp = array_namespace(y)
        rows = [model.log_density(params[str(k)], y, condition) for k, model in enumerate(self.models)]
        return xp.max(xp.stack(rows, axis=0), axis=0)


class Lopsided(Mixture):
    """It claims the symmetry of a mixture whose components are images of one another."""

    @property
    def symmetries(self):
        return ("Z2",)


@dataclass(frozen=True)
class Growing(Mixture):
    """A definition that changes whenever it is made from its own fields."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "weights", self.weights[::-1])


class NoDeterminant(MomentumScaling):
    """The propagator's determinant is left out."""

    def forward(self, params, x, condition=None):
        return super().forward(params, x, condition)[0], zero_log_det(x, self.d)


@dataclass(frozen=True)
class DeterminantElsewhere:
    """A flow whose log-determinant is that at beta = 1, whatever it is told."""

    flow: Any
    symmetries = ()

    def init(self, key, dtype="float64"):
        return self.flow.init(key, dtype)

    def forward(self, params, x, condition=None):
        return self.flow.forward(params, x, condition)[0], self.flow.forward(params, x, {"beta": 1.0})[1]

    def inverse(self, params, y, condition=None):
        return self.flow.inverse(params, y, condition)


def elsewhere(lattice):
    whole = gradient(lattice)
    return told(lattice, Model(whole.prior, DeterminantElsewhere(whole.flow)))


def two_wells(kind):
    return lambda lattice: kind((well(lattice, 0.8), well(lattice, -0.8, 0.6)), (0.8, 0.2))


def averaged(lattice):
    whole = symmetrised(well(lattice, 0.8), ("Z2",))
    return OwnImage(whole.prior, whole.flow, whole.images)


def forgetful(lattice):
    whole = symmetrised(shifted(lattice), ("Z2",))
    return free(lattice, OwnImage(whole.prior, whole.flow, whole.images))


def by_propagator(flow):
    return lambda lattice: free(lattice, Model(Gaussian(lattice), flow), perfect=True)


def wrong_ratio(log_w, target_log_w):
    """Bennett's equation with sums in the place of means and no ln(n_p/n_q): right only for as many draws of both sides."""
    own, target = numpy.asarray(log_w), numpy.ravel(target_log_w)
    off = math.log(target.size / own.size)
    found = bennett(own, target_log_w)
    return found._replace(value=found.value + off)


def of_the_mean(log_w, target_log_w):
    """The mean of log w, a bound, in the place of the log of the mean."""
    return elbo(log_w)


def of_the_largest(log_w, target_log_w):
    """Plain exponentials, which overflow."""
    with numpy.errstate(over="ignore"):
        mean = float(numpy.mean(numpy.exp(log_w)))
    return Estimate(math.log(mean) if math.isfinite(mean) else math.inf, log_z(log_w).error)


TWO = {"lattice": (2, 2)}
MUTANTS: tuple[Mutant, ...] = (
    Mutant("a symmetrised model that forgets the average", "density", averaged, ("draws_follow_the_density",), TWO),
    Mutant(
        "a mixture with its component's density",
        "density",
        two_wells(ComponentsDensity),
        ("sample_is_its_density",),
        TWO,
    ),
    Mutant("a mixture drawn evenly", "density", two_wells(EvenHanded), ("draws_follow_the_density",), TWO),
    Mutant(
        "a mixture with its likeliest density",
        "density",
        two_wells(Largest),
        ("integrates_to_one", "draws_follow_the_density"),
        TWO,
    ),
    Mutant(
        "a mixture of two unlike wells called symmetric", "density", two_wells(Lopsided), ("invariant_density",), TWO
    ),
    *spins.DENSITIES,
    Mutant("a mixture whose weights do not stay", "density", two_wells(Growing), ("file_keeps_the_model",), TWO),
    Mutant(
        "a propagator without its determinant",
        "weights",
        by_propagator(NoDeterminant(2, 0, MASS)),
        ("perfect_weights", "mean_weight_is_z"),
        TWO,
    ),
    Mutant(
        "a propagator of a slightly wrong mass",
        "weights",
        by_propagator(MomentumScaling(2, 0, 1.001 * MASS)),
        ("perfect_weights",),
        TWO,
    ),
    Mutant("weights that forget the average", "weights", forgetful, ("mean_weight_is_z",), TWO),
    Mutant(
        "weights above what ln Z allows", "weights", by_propagator(NoDeterminant(2, 0, MASS)), ("bounds_in_order",), TWO
    ),
    Mutant(
        "a conditional flow with the determinant of one coupling",
        "weights",
        elsewhere,
        ("slope_is_the_action",),
        TWO,
    ),
    Mutant(
        "Bennett's bridge with a wrong ratio of draws",
        "estimator",
        lambda _: wrong_ratio,
        ("equal_weights", "known_log_z"),
    ),
    Mutant("the mean of log w for the log of the mean", "estimator", lambda _: of_the_mean, ("known_log_z",)),
    Mutant("a mean that overflows", "estimator", lambda _: of_the_largest, ("moves_with_the_weights",)),
)
