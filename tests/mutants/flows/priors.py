"""Priors with one thing wrong each."""

import math

from array_api_compat import array_namespace

from haarflow.core.groups import matrices
from haarflow.core.groups.additive import wrap
from haarflow.core.lattice import loops
from haarflow.flows.priors import FreeField, Gaussian, HaarLinks, UniformLinks


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


class Condensed(HaarLinks):
    """Links nearer to one than Haar's, with Haar's density."""

    def sample(self, key, n, dtype="float64"):
        u = super().sample(key, n, dtype)
        return self.group.project(u + 0.5 * matrices.identity(u, len(self.lattice)))


class Swollen(HaarLinks):
    """Matrices that are not unitary."""

    def sample(self, key, n, dtype="float64"):
        return 1.001 * super().sample(key, n, dtype)
