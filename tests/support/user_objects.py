"""What users bring to `haarflow verify`: minimal theories, angles on sites, flows with common mistakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.core import random
from haarflow.core.groups.additive import U1, Real
from haarflow.core.groups.matrices import complex_array
from haarflow.core.lattice.geometry import shift
from haarflow.core.parts import Symmetries
from haarflow.theories.theory import autodiff_force, couplings_for


def site_sum(x, d=2):
    """The sum over the last d axes."""
    return array_namespace(x).sum(x, axis=tuple(range(-d, 0)))


@dataclass(frozen=True)
class Least:
    """A theory with only a lattice, a group and an action."""

    lattice: tuple[int, ...]
    group = Real()

    def action(self, phi, couplings=None):
        return 0.5 * site_sum(phi**2, len(self.lattice))


@dataclass(frozen=True)
class GaussianTheory:
    """A one-line action, with the force by automatic differentiation."""

    lattice: tuple[int, ...]
    group = Real()
    couplings = {"m2": 1.0}  # noqa: RUF012 (as a user writes it)
    force = autodiff_force

    def action(self, phi, couplings=None):
        return 0.5 * site_sum(couplings_for(self, phi, couplings)["m2"] * phi**2, len(self.lattice))


@dataclass(frozen=True)
class DifferentiatedInside(GaussianTheory):
    """The same, with a method that calls `autodiff_force`."""

    def force(self, phi, couplings=None):
        return autodiff_force(self, phi, couplings)


@dataclass(frozen=True)
class XY:
    """The O(2) model with angles on sites: S = -beta sum cos(theta(x+mu) - theta(x))."""

    lattice: tuple[int, ...]
    group = U1()
    couplings = {"beta": 1.0}  # noqa: RUF012 (as a user writes it)
    force = autodiff_force
    symmetries = Symmetries(("translation", "reflection", "hypercubic", "charge_conjugation"))

    def action(self, theta, couplings=None):
        xp, d = array_namespace(theta), len(self.lattice)
        beta = couplings_for(self, theta, couplings)["beta"]
        return -site_sum(beta * sum(xp.cos(shift(theta, mu, d) - theta) for mu in range(d)), d)

    def observables(self, theta, couplings=None):
        xp, d = array_namespace(theta), len(self.lattice)
        return {"mx": site_sum(xp.cos(theta), d), "my2": site_sum(xp.sin(theta), d) ** 2}


@dataclass(frozen=True)
class UniformSites:
    """Haar-distributed angles on sites."""

    lattice: tuple[int, ...]
    group = U1()
    symmetries = ("translation", "reflection", "hypercubic", "charge_conjugation")

    @property
    def field_shape(self):
        return self.lattice

    def sample(self, key, n, dtype="float64"):
        return U1().haar(key, (n, *self.lattice), dtype)

    def log_density(self, theta):
        return site_sum(0.0 * theta, len(self.lattice))


@dataclass(frozen=True)
class CircleMap:
    """A Moebius map of the circle at every site."""

    d: int = 2
    symmetries = ("translation", "reflection", "hypercubic", "charge_conjugation")

    def init(self, key, dtype="float64"):
        return {"a": 0.1 * random.normal(key, (), dtype)}

    def forward(self, params, theta, condition=None):
        return self._turned(params["a"], theta)

    def inverse(self, params, theta, condition=None):
        return self._turned(-params["a"], theta)

    def _turned(self, a, x):
        xp = array_namespace(x, a)
        r = xp.tanh(a)
        y = x + 2.0 * xp.atan2(r * xp.sin(x), 1.0 - r * xp.cos(x))
        slope = (1.0 - r * r) / (1.0 + r * r - 2.0 * r * xp.cos(x))
        return U1().project(y), site_sum(xp.log(slope), self.d)


@dataclass(frozen=True)
class OddCircleMap(CircleMap):
    """A map with a bias, which breaks theta -> -theta but declares charge conjugation."""

    def _turned(self, a, x):
        y, log_det = super()._turned(a, x)
        return U1().project(y + 3.0 * a), log_det

    def inverse(self, params, theta, condition=None):
        return super()._turned(-params["a"], theta - 3.0 * params["a"])


@dataclass(frozen=True)
class AngleCoupling:
    """A checkerboard coupling: even sites are rotated by an angle that depends on their odd neighbours."""

    symmetries = ("translation",)
    periods = (2, 2)

    def init(self, key, dtype="float64"):
        return {"c": random.normal(key, (), dtype)}

    def forward(self, params, theta, condition=None):
        return self._turned(params["c"], theta)

    def inverse(self, params, theta, condition=None):
        return self._turned(-params["c"], theta)

    def _turned(self, c, x):
        xp = array_namespace(x)
        ones = xp.cumulative_sum(xp.ones_like(x[(0,) * (x.ndim - 2)]), axis=0)
        parity = (ones + xp.cumulative_sum(xp.ones_like(ones), axis=1)) % 2.0
        odd = xp.sin(parity * x)
        around = sum(shift(odd, mu, 2, step) for mu in range(2) for step in (1, -1))
        return U1().project(x + c * (1.0 - parity) * around), 0.0 * site_sum(x)


class Scaling:
    """A correct flow written as an ordinary unhashable class, without symmetries."""

    __hash__ = None

    def __eq__(self, other):
        return self is other

    def init(self, key, dtype="float64"):
        return {"a": random.normal(key, (), dtype)}

    def forward(self, params, x, condition=None):
        return x * array_namespace(x).exp(params["a"]), site_sum(0.0 * x + params["a"])

    def inverse(self, params, y, condition=None):
        return y * array_namespace(y).exp(-params["a"]), site_sum(0.0 * y - params["a"])


class AccidentalOuterProduct(Scaling):
    """A factor per configuration is broadcast against the batch, so y is (B, B, 8, 8)."""

    def forward(self, params, x, condition=None):
        per_configuration = site_sum(0.0 * x) + params["a"]
        factors = array_namespace(x).exp(per_configuration)[..., None, None, None]
        return factors * x, 64.0 * per_configuration


class OddLogDet(Scaling):
    """log_det does not have the batch's shape."""

    SHAPES = {  # noqa: RUF012 (a constant)
        "column": lambda log_det: log_det[..., None],
        "one": lambda log_det: log_det[:1],
        "sum": lambda log_det: array_namespace(log_det).sum(log_det),
        "a float": lambda log_det: float(log_det[0]),
    }

    def __init__(self, kind):
        self.kind = kind

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x)
        return y, self.SHAPES[self.kind](log_det)

    def inverse(self, params, y, condition=None):
        x, log_det = super().inverse(params, y)
        return x, self.SHAPES[self.kind](log_det)


class ForwardOnly(Scaling):
    """Returns the field without its log_det."""

    def forward(self, params, x, condition=None):
        return x


class Stumbling(Scaling):
    """An inverse that uses a misspelt name."""

    def inverse(self, params, y, condition=None):
        return y * params["b"], y


@dataclass(frozen=True)
class NoInverse:
    """An unfinished flow without an inverse."""

    def init(self, key, dtype="float64"):
        return {}

    def forward(self, params, x, condition=None):
        return x, site_sum(0.0 * x)


@dataclass(frozen=True)
class Staggered:
    """D = 1 - kappa H with H psi = sum_mu eta_mu(x) [U_mu(x) psi(x+mu) - U_mu(x-mu)^* psi(x-mu)], eta = 1, (-1)^t."""

    lattice: tuple[int, int]
    backward: int = -1  # the sign of the charge on the way back
    group = U1()

    @property
    def field_shape(self):
        return (2, *self.lattice)

    @property
    def spinor_shape(self):
        return self.lattice

    def prepare(self, field):
        return field

    def hop(self, field, psi):
        xp, total = array_namespace(psi), 0.0
        for mu in (0, 1):
            theta = field[..., mu, :, :]
            there = complex_array(xp.cos(theta), xp.sin(theta)) * shift(psi, mu, 2)
            back = self.backward * shift(theta, mu, 2, -1)
            total = total + self.eta(psi, mu) * (
                there - complex_array(xp.cos(back), xp.sin(back)) * shift(psi, mu, 2, -1)
            )
        return total

    def eta(self, psi, mu):
        signs = numpy.indices(self.lattice)[0] % 2 * (-2.0 * mu) + 1.0
        return backends.of(psi).asarray(signs + 0j, dtype=psi.dtype)

    def apply(self, field, kappa, psi):
        factor = kappa if isinstance(kappa, float) else kappa[..., None, None]
        return psi - factor * self.hop(field, psi)

    def adjoint(self, field, kappa, psi):
        return psi + kappa * self.hop(field, psi)

    def hop_force(self, field, x, y):
        """d/dtheta 2 Re x^+ H y."""
        xp, forces = array_namespace(y), []
        for mu in (0, 1):
            theta = field[..., mu, :, :]
            link, here, there = complex_array(xp.cos(theta), xp.sin(theta)), self.eta(y, mu), self.eta(x, mu)
            forward = xp.conj(x) * here * link * shift(y, mu, 2)
            backward = xp.conj(shift(x, mu, 2)) * shift(there, mu, 2) * xp.conj(link) * y
            forces.append(-2.0 * xp.imag(forward + backward))
        return xp.stack(forces, axis=-3)
