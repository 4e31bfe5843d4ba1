"""A theory of two arrays, U(1) links and a complex scalar: scalar electrodynamics without self-coupling."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow.core import random
from haarflow.core.groups.additive import U1, Complex
from haarflow.core.groups.matrices import complex_array
from haarflow.core.lattice.geometry import shift
from haarflow.core.spaces import Space
from haarflow.theories import U1Gauge
from haarflow.theories.theory import couplings_for


class Fields(NamedTuple):
    """Angles of the links `(*batch, d, *lattice)` and the scalar `(*batch, *lattice)`."""

    U: Any
    phi: Any


@dataclass(frozen=True)
class Auto:
    """S = -beta sum cos theta_P + m2 sum |phi|^2 - kappa sum Re phi^*(x) e^{i theta_mu(x)} phi(x + mu), force by autodiff."""

    lattice: tuple[int, ...]
    couplings: ClassVar = {"beta": 1.0, "m2": 3.0, "kappa": 1.0}
    summary = ("plaquette", "density", "hop")

    @property
    def spaces(self):
        lattice = tuple(self.lattice)
        return Fields(Space(U1(), (len(lattice), *lattice)), Space(Complex(), lattice))

    def action(self, field, couplings=None):
        c, d = couplings_for(self, field, couplings, over=0), len(self.lattice)
        xp, axes = array_namespace(field.phi), tuple(range(-d, 0))
        mass = xp.sum(xp.real(field.phi) ** 2 + xp.imag(field.phi) ** 2, axis=axes)
        hops = sum(xp.sum(xp.real(self.hop(field, mu)), axis=axes) for mu in range(d))
        gauge = U1Gauge(self.lattice).action(field.U, {"beta": c["beta"]}) if d > 1 else 0.0
        return gauge + c["m2"] * mass - c["kappa"] * hops

    def hop(self, field, mu):
        """phi^*(x) e^{i theta_mu(x)} phi(x + mu)."""
        xp, d = array_namespace(field.phi), len(self.lattice)
        return xp.conj(field.phi) * self.link(field, mu) * shift(field.phi, mu, d)

    def link(self, field, mu):
        xp, d = array_namespace(field.phi), len(self.lattice)
        theta = field.U[(..., mu) + (slice(None),) * d]
        return complex_array(xp.cos(theta), xp.sin(theta))

    def observables(self, field, couplings=None):
        xp, d = array_namespace(field.phi), len(self.lattice)
        axes = tuple(range(-d, 0))
        plaquette = (
            U1Gauge(self.lattice).observables(field.U)["plaquette"] if d > 1 else 0.0 * xp.real(field.phi[..., 0])
        )
        density = xp.mean(xp.real(field.phi) ** 2 + xp.imag(field.phi) ** 2, axis=axes)
        hop = sum(xp.mean(self.hop(field, mu), axis=axes) for mu in range(d)) / d
        return {"plaquette": plaquette, "density": density, "hop": hop, "action": self.action(field, couplings)}

    def exact(self, couplings=None):
        """<|phi|^2> and the plaquette without hopping; both where there is one dimension and so one loop."""
        c = {**self.couplings, **(couplings or {})}
        if c["kappa"] == 0.0 and len(self.lattice) == 2:
            return {
                "density": 1.0 / c["m2"],
                "hop": 0j,
                "plaquette": U1Gauge(self.lattice).exact({"beta": c["beta"]})["plaquette"],
            }
        return {} if len(self.lattice) > 1 else ring(self.lattice[0], c["m2"], c["kappa"])


@dataclass(frozen=True)
class ScalarQED:
    """The same with the force by hand."""

    lattice: tuple[int, ...]
    couplings = Auto.couplings
    summary = Auto.summary

    @property
    def auto(self):
        return Auto(self.lattice)

    @property
    def spaces(self):
        return self.auto.spaces

    def action(self, field, couplings=None):
        return self.auto.action(field, couplings)

    def observables(self, field, couplings=None):
        return self.auto.observables(field, couplings)

    def exact(self, couplings=None):
        return self.auto.exact(couplings)

    def force(self, field, couplings=None):
        d = len(self.lattice)
        xp, c = array_namespace(field.phi), couplings_for(self, field, couplings, over=d)
        # kappa may differ from chain to chain
        links = xp.stack([c["kappa"] * xp.imag(self.auto.hop(field, mu)) for mu in range(d)], axis=-d - 1)
        if d > 1:
            beta = couplings_for(self, field, couplings, over=0)["beta"]
            links = links + U1Gauge(self.lattice).force(field.U, {"beta": beta})
        forward = [self.auto.link(field, mu) * shift(field.phi, mu, d) for mu in range(d)]
        backward = [shift(xp.conj(self.auto.link(field, mu)) * field.phi, mu, d, -1) for mu in range(d)]
        return Fields(links, 2.0 * c["m2"] * field.phi - c["kappa"] * sum(forward + backward))


def ring(extent, m2, kappa, points=4096):
    """Exact means on a ring: S = phi^+ M phi with eigenvalues m2 - kappa cos((2 pi n + alpha)/extent), alpha the loop's
    angle, of weight 1/det M.
    """
    alpha = 2.0 * numpy.pi * (numpy.arange(points) + 0.5) / points
    cosines = numpy.cos((2.0 * numpy.pi * numpy.arange(extent) + alpha[:, None]) / extent)
    modes = m2 - kappa * cosines
    weight = 1.0 / modes.prod(axis=1)
    means = {"density": (1.0 / modes).mean(axis=1), "hop": (cosines / modes).mean(axis=1)}
    exact = {name: float((weight * mean).sum() / weight.sum()) for name, mean in means.items()}
    return {"density": exact["density"], "hop": complex(exact["hop"])}


@dataclass(frozen=True)
class Uncoupled:
    """Haar links and Gaussian scalars, e^{-m2 |phi|^2}: for kappa = 0 exact but for the gauge action."""

    theory: ScalarQED
    m2: float

    def sample(self, params, key, n, condition=None):
        links, scalars = self.theory.spaces
        u = links.group.haar(random.fold_in(key, 0), (n, *links.shape))
        phi = scalars.group.algebra_normal(random.fold_in(key, 1), (n, *scalars.shape)) / math.sqrt(2 * self.m2)
        return Fields(u, phi), self.log_density(params, Fields(u, phi))

    def log_density(self, params, y, condition=None):
        xp = array_namespace(y.phi)
        squares = xp.sum(xp.real(y.phi) ** 2 + xp.imag(y.phi) ** 2, axis=(-2, -1))
        return math.prod(self.theory.lattice) * math.log(self.m2 / math.pi) - self.m2 * squares
