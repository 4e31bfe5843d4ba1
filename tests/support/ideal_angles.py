"""The plaquettes of U(1) with open boundaries, which are independent, and the ideal map between two couplings."""

import math
from dataclasses import dataclass

import numpy
from scipy.special import ive

from haarflow.core.groups.additive import U1
from haarflow.core.parts import Local

TERMS, STEPS = 25, 8  # of the Fourier series of the distribution function at beta < 6, of Newton's method


@dataclass(frozen=True)
class OpenPlaquettes:
    """S = -beta sum_x cos theta_x over the angles of the plaquettes of an open lattice."""

    lattice: tuple[int, ...]

    group = U1()

    def action(self, field, couplings=None):
        return self.density(field, couplings).sum(axis=(-2, -1, -3))

    def density(self, field, couplings=None):
        beta = numpy.asarray(couplings["beta"])
        return (-beta.reshape(*beta.shape, 1, 1) * numpy.cos(field))[..., None, :, :]

    @property
    def local(self):
        return Local(self.density, reach=0)

    def exact_sample(self, generator, n, beta):
        return generator.vonmises(0.0, beta, (n, *self.lattice))


@dataclass(frozen=True)
class IdealMap:
    """theta -> F_b^-1(F_a(theta)) of every angle, F the distribution function of the von Mises density; `volume` scales log_det."""

    a: float
    b: float
    volume: float = 1.0

    def forward(self, params, x, condition=None):
        return self._mapped(x, self.a, self.b)

    def inverse(self, params, y, condition=None):
        return self._mapped(y, self.b, self.a)

    def _mapped(self, x, a, b):
        y = _quantile(_distribution(x, a), b, x)
        slopes = a * (numpy.cos(x) - 1.0) - math.log(ive(0, a)) - b * (numpy.cos(y) - 1.0) + math.log(ive(0, b))
        return y, self.volume * slopes.sum(axis=(-2, -1))


def _distribution(x, beta):
    """F(theta) = 1/2 + theta/2pi + sum_n I_n/I_0 sin(n theta)/(n pi)."""
    total = 0.5 + x / (2 * math.pi)
    for n in range(1, TERMS):
        total = total + ive(n, beta) / ive(0, beta) * numpy.sin(n * x) / (n * math.pi)
    return total


def _quantile(u, beta, start):
    """F^-1(u) from a start nearby."""
    y = start
    for _ in range(STEPS):
        density = numpy.exp(beta * (numpy.cos(y) - 1.0)) / (2 * math.pi * ive(0, beta))
        y = numpy.clip(y - (_distribution(y, beta) - u) / density, -math.pi, math.pi)
    return y
