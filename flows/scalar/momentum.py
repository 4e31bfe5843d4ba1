"""Scaling layers: the whole field by one learnt number, or each Fourier mode by a learnt function of phat^2.

    y(p) = f(p) x(p),   log f(p) = sum_k a_k q^k - 1/2 ln 2 (m2 + phat^2),   q = phat^2/2d - 1 in [-1, 1],

with phat^2 = sum_mu 4 sin^2(p_mu/2). The second term is present if a mass is specified: white noise then becomes the free
field of that mass. The map is circulant; it commutes with translations, reflections, axis exchanges and phi -> -phi, and
log_det = sum_p log f(p). Since f depends on the momentum only, it can be used on another volume.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.host_table import host_table
from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core.broadcasting import of_rank
from haarflow.core.lattice.fourier import hartley, momentum_squared
from haarflow.flows.flow import constant, zero_log_det
from haarflow.flows.nets import coupling


@dataclass(frozen=True)
class MomentumScaling:
    """Fourier modes scaled by f(p): exp of a polynomial of degree `order`, times sqrt of the free propagator if m2 > 0.

    `order=0, m2=None` is a global scale. m2 is the initial value of the learnt mass squared; `condition` names couplings
    on which the coefficients and ln m2 depend linearly. Raises ValueError for a mass that is not positive or a negative
    order.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> flow = MomentumScaling(1, order=0)
    >>> y, log_det = flow.forward({"a": backend.asarray([math.log(2.0)])}, backend.asarray([[1.0, 3.0]]))
    >>> y.round(12).tolist(), log_det.round(6).tolist()
    ([[2.0, 6.0]], [1.386294])
    """

    d: int
    order: int = 3
    m2: float | None = None
    condition: tuple[str, ...] = ()

    symmetries = ("translation", "reflection", "hypercubic", "Z2")

    def __post_init__(self) -> None:
        if self.order < 0:
            raise ValueError(f"the order of the polynomial must be at least 0, got {self.order}")
        if self.m2 is not None and not (math.isfinite(self.m2) and self.m2 > 0.0):
            raise ValueError(f"m2 must be positive and finite, or None for no propagator, got {self.m2!r}")

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the coefficients of the identity, or of the free field."""
        params = {"a": constant(key, 0.0, (self.order + 1,), dtype)}
        if self.m2 is not None:
            params["log_m2"] = constant(key, math.log(self.m2), (), dtype)
        if self.condition:
            rows = self.order + 1 + (self.m2 is not None)
            params["slope"] = constant(key, 0.0, (len(self.condition), rows), dtype)
        return params

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Multiply every mode by f(p)."""
        return self._scale(1.0, params, x, condition)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Divide every mode by f(p)."""
        return self._scale(-1.0, params, y, condition)

    def _scale(self, sign: float, params: Params, x: Array, condition: Condition) -> tuple[Array, Array]:
        xp = array_namespace(x)
        log_f = sign * self._log_f(params, x, condition)
        y = hartley(xp.exp(log_f) * hartley(x, self.d), self.d)
        return y, zero_log_det(x, self.d) + xp.sum(log_f, axis=tuple(range(-self.d, 0)))

    def _log_f(self, params: Params, x: Array, condition: Condition) -> Array:
        """log f of all modes, `(1, ..., 1, *lattice)` or, conditioned on batch-shaped couplings, `(*batch, *lattice)`."""
        lattice = tuple(x.shape[x.ndim - self.d :])
        backend, xp = backends.of(x, params["a"]), array_namespace(x)
        q = of_rank(backend.asarray(_reduced(lattice), dtype=x.dtype), x.ndim)
        total = self._coefficient(params, self.order, x, condition) + 0.0 * q
        for power in reversed(range(self.order)):
            total = total * q + self._coefficient(params, power, x, condition)
        if self.m2 is None:
            return total
        m2 = xp.exp(self._coefficient(params, self.order + 1, x, condition))
        return total - 0.5 * xp.log(2.0 * (m2 + 2.0 * self.d * (q + 1.0)))

    def _coefficient(self, params: Params, power: int, x: Array, condition: Condition) -> Array:
        value = params["a"][power] if power <= self.order else params["log_m2"]
        for row, name in enumerate(self.condition):
            value = value + params["slope"][row, power] * coupling(condition, name, x, self.d)
        return value


@host_table
def _reduced(lattice: tuple[int, ...]) -> np.ndarray:
    q: np.ndarray = momentum_squared(lattice) / (2.0 * len(lattice)) - 1.0
    return q
