"""A pseudofermion field given the scalar field, by shears between even and odd sites: an exact conditional flow.

    chi = (D + mu) L S U eta,    M = D + g phi = (D + mu)(1 + E),    E = (D + mu)^-1 (g phi - mu),    mu = a g mean(phi)

U adds b E eta of the odd sites to the even ones, L adds c E eta of the even sites to the odd ones, S multiplies each site by
e^s with s = p / (1 + p^2)^(1/4) and a polynomial p of g phi - mu at the site and around it. Were E without its even-even and
odd-odd blocks, L S U = 1 + E would be exact with b = c = 1 and S = 1 - E_oe E_eo on the odd sites: the even-odd form of the
determinant, which here divides by no scalar field. log_det = ln det(D + mu) + sum s for each real field, whatever the parameters.
A `bare` layer is L S U alone, at first the identity: it follows another map of the same field. Learned pseudofermion flows:
arXiv:2207.08945.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core.lattice.geometry import shift
from haarflow.flows.flow import constant, zero_log_det


@runtime_checkable
class FreeFermions(Protocol):
    """D + m of real fields `(*batch, *lattice)` with masses `(*batch,)`, odd under hops, for a scalar field of coupling g."""

    @property
    def lattice(self) -> tuple[int, ...]:
        """The extents."""
        ...

    @property
    def g(self) -> float:
        """The coupling of the scalar field."""
        ...

    def apply(self, mass: Array, x: Array) -> Array:
        """Return (D + m) x."""
        ...

    def solve(self, mass: Array, x: Array) -> Array:
        """Return (D + m)^-1 x."""
        ...

    def log_det(self, mass: Array) -> Array:
        """Return ln det(D + m)."""
        ...


def tamed(x: Array) -> Array:
    """Return x / (1 + x^2)^(1/4), which is x where small and grows like sqrt|x|: squares of large fields stay finite in e^s.

    >>> import numpy as np
    >>> tamed(np.asarray([1e-3, -1e8])).round(6).tolist()
    [0.001, -10000.0]
    """
    xp = array_namespace(x)
    return x / xp.sqrt(xp.sqrt(1.0 + x * x))


@dataclass(frozen=True)
class Shears:
    """The flow of chi `(*batch, flavours, *lattice)`; the condition is `{"links": phi}`, the scalar field `(*batch, *lattice)`.

    Parameters: `mass`, a; `shears` (2,), b and c; `scales` (2, 4), for even and odd sites the coefficients of delta, delta times its
    neighbours, delta^2 and 1 in p, with delta = g phi - mu. They start at the leading order, a = b = c = 1 and p = 0; with `bare`, which
    leaves out D + mu, at b = c = 0.

    >>> import numpy as np
    >>> from haarflow.theories.fermions.staggered.free_staggered import FreeStaggered
    >>> from haarflow.theories.fermions.staggered.staggered import Staggered
    >>> flow = Shears(FreeStaggered(Staggered((4, 4)), g=0.5))
    >>> params = {"mass": np.ones(()), "shears": np.ones(2), "scales": np.ones((2, 4))}
    >>> eta, given = np.ones((3, 2, 4, 4)), {"links": np.arange(48.0).reshape(3, 4, 4) / 48.0}
    >>> chi, log_det = flow.forward(params, eta, given)
    >>> back, minus = flow.inverse(params, chi, given)
    >>> bool(np.allclose(back, eta)), bool(np.allclose(log_det, -minus))
    (True, True)
    """

    free: FreeFermions
    bare: bool = False

    condition = ("links",)

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the parameters of the leading order, or of the identity."""
        sizes = {"mass": (1.0, ()), "shears": (0.0 if self.bare else 1.0, (2,)), "scales": (0.0, (2, 4))}
        return {name: constant(key, value, shape, dtype) for name, (value, shape) in sizes.items()}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (chi, log |det dchi/deta|) of noise eta."""
        mass, delta, log_scale = self._given(params, x, condition)
        even, odd = self._parities(x)
        x = x + params["shears"][0] * even * self.free.solve(mass, delta * odd * x)
        x = array_namespace(x).exp(log_scale) * x
        x = x + params["shears"][1] * odd * self.free.solve(mass, delta * even * x)
        return x if self.bare else self.free.apply(mass, x), self._log_det(mass, log_scale, x)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (eta, log |det deta/dchi|) of pseudofermions chi."""
        mass, delta, log_scale = self._given(params, y, condition)
        even, odd = self._parities(y)
        x = y if self.bare else self.free.solve(mass, y)
        x = x - params["shears"][1] * odd * self.free.solve(mass, delta * even * x)
        x = array_namespace(x).exp(-log_scale) * x
        x = x - params["shears"][0] * even * self.free.solve(mass, delta * odd * x)
        return x, -self._log_det(mass, log_scale, y)

    def _given(self, params: Params, x: Array, condition: Condition) -> tuple[Array, Array, Array]:
        """The mass `(*batch, 1)`, delta and s `(*batch, 1, *lattice)`."""
        if not condition or "links" not in condition:
            raise ValueError('Shears wants the scalar field as its condition, {"links": phi}')
        xp, d = array_namespace(x), len(self.free.lattice)
        field = self.free.g * condition["links"][(..., None, *(slice(None),) * d)]
        mass = params["mass"] * xp.mean(field, axis=tuple(range(-d, 0)))
        delta = field - mass[(..., *(None,) * d)]
        around = sum(shift(delta, mu, d, step) for mu in range(d) for step in (1, -1))
        features = (delta, delta * around, delta * delta, xp.ones_like(delta))
        scales = [
            parity * sum(params["scales"][row, i] * feature for i, feature in enumerate(features))
            for row, parity in enumerate(self._parities(x))
        ]
        return mass, delta, tamed(scales[0] + scales[1])

    def _parities(self, x: Array) -> tuple[Array, Array]:
        """1 on the even sites and 0 on the odd ones, and the reverse."""
        odd = numpy.indices(self.free.lattice).sum(axis=0) % 2
        backend = backends.of(x)
        return backend.asarray(1.0 - odd, dtype=x.dtype), backend.asarray(1.0 * odd, dtype=x.dtype)

    def _log_det(self, mass: Array, log_scale: Array, x: Array) -> Array:
        """ln det(D + mu) + sum s, for each of the flavours."""
        xp, d = array_namespace(x), len(self.free.lattice)
        one = xp.sum(log_scale, axis=tuple(range(-d, 0)))
        one = one if self.bare else one + self.free.log_det(mass)
        return zero_log_det(x, d + 1) + float(x.shape[-d - 1]) * one[..., 0]  # of the batch of both fields


@dataclass(frozen=True)
class ConstantMass:
    """chi = e^s (D + m) eta of noise eta `(*batch, flavours, *lattice)`: what pseudofermions are without being told of a scalar field.

    Parameters `mass`, m, and `scale`, s, at first 1 and 0. As D is antisymmetric, the covariance depends on m^2 alone.

    >>> import numpy as np
    >>> from haarflow.theories.fermions.staggered.free_staggered import FreeStaggered
    >>> from haarflow.theories.fermions.staggered.staggered import Staggered
    >>> flow = ConstantMass(FreeStaggered(Staggered((4, 4)), g=0.5))
    >>> params, eta = {"mass": np.asarray(0.3), "scale": np.asarray(0.1)}, np.ones((3, 2, 4, 4))
    >>> chi, log_det = flow.forward(params, eta)
    >>> back, minus = flow.inverse(params, chi)
    >>> bool(np.allclose(back, eta)), bool(np.allclose(log_det, -minus))
    (True, True)
    """

    free: FreeFermions

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return m = 1 and s = 0."""
        return {"mass": constant(key, 1.0, (), dtype), "scale": constant(key, 0.0, (), dtype)}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (chi, log |det dchi/deta|)."""
        y = array_namespace(x).exp(params["scale"]) * self.free.apply(params["mass"], x)
        return y, self._log_det(params, x)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (eta, log |det deta/dchi|)."""
        x = self.free.solve(params["mass"], array_namespace(y).exp(-params["scale"]) * y)
        return x, -self._log_det(params, y)

    def _log_det(self, params: Params, x: Array) -> Array:
        lattice = self.free.lattice
        one = self.free.log_det(params["mass"]) + math.prod(lattice) * params["scale"]
        return zero_log_det(x, len(lattice) + 1) + float(x.shape[-len(lattice) - 1]) * one
