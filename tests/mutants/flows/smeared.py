"""Flows along smeared potentials with one thing wrong each."""

import numpy

from haarflow import backends
from haarflow.flows.flow import Model
from haarflow.flows.priors import Gaussian
from haarflow.flows.scalar.smeared import SmearedPotentials
from tests.mutants import Mutant


def small(kind, steps=1):
    return lambda lattice: Model(Gaussian(lattice), kind(2, smearings=(0.5, 2.0), terms=3, degree=1, steps=steps))


class OpenLoop(SmearedPotentials):
    """The divergence has G_s(0) in place of (G_s^2)(0): the field is smeared once, not twice."""

    def _smearing(self, params, k, x):
        found, trace = super()._smearing(params, k, x), 1.0
        for matrix in found.matrices:
            trace = trace * matrix[0, 0]
        return found._replace(closed=trace)


class SmearedOnce(SmearedPotentials):
    """The force is not smeared back onto the field."""

    def _velocity(self, params, smeared, time, field):
        divergence = super()._velocity(params, smeared, time, field)[1]
        parts = [self._force(params["C"][:, k, :], one.log_w, time, field)[0] for k, one in enumerate(smeared)]
        return sum(parts), divergence


class LateReturn(SmearedPotentials):
    """The way back is a little shorter than the way there."""

    def inverse(self, params, y, condition=None):
        return super().inverse({**params, "C": 0.98 * params["C"]}, y, condition)


class OneCorner(SmearedPotentials):
    """The force is twice as strong at one site."""

    def _velocity(self, params, smeared, time, field):
        velocity, divergence = super()._velocity(params, smeared, time, field)
        lattice = field.shape[field.ndim - self.d :]
        weights = 1.0 + numpy.eye(1, numpy.prod(lattice)).reshape(lattice)
        return velocity * backends.of(field).asarray(weights, dtype=field.dtype), divergence


WORDS = {"lattice": (3, 2), "size": "small"}
MUTANTS = (
    Mutant("a divergence smeared once", "model", small(OpenLoop), ("integration_order",), WORDS),
    Mutant("a force that is not smeared", "model", small(SmearedOnce), ("integration_order",), WORDS),
    Mutant("a way back along a weaker force", "model", small(LateReturn), ("reversal_order",), WORDS),
    Mutant("a force with a favourite site", "model", small(OneCorner), ("equivariance",), WORDS),
)
