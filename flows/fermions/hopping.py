"""A pseudofermion field given the gauge links, by the exponential of a hopping series: an exact conditional flow.

    phi = A chi,   A = exp(-sum_{j=1}^{J} c_j Y^j / j),   log det A = -sum_j c_j tr Y^j / j

for any linear map Y(U) whose traces are known. With Y = kappa^2 H_oe H_eo and c_j = 1, A is ln Dhat = ln(1 - Y) cut off after J
terms, so that phi has nearly the distribution e^{-phi^+ (Dhat Dhat^+)^-1 phi}. Gauge covariance is that of Y; the inverse has
the opposite sign in the exponent. Learned pseudofermion flows: arXiv:2207.08945.

log_det is that of a map of real components, 2 Re log det A. The exponential is applied in short steps, each a Taylor series
with so many terms that what is left out is below rounding, by the bound of |Y|.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core.broadcasting import of_type
from haarflow.core.groups.matrices import precision
from haarflow.flows.flow import constant, zero_log_det
from haarflow.flows.traits import traits

ROUNDING = {"float64": 2.0**-54, "float32": 2.0**-26}
STEP = 1.5  # the largest exponent of one Taylor series: beyond, its terms are larger than their sum


class Hops(Protocol):
    """A linear map Y(U) of fields `(*batch, *shape)` with its traces; a frozen value.

    `bound` is a number that |Y| does not exceed for any links.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one field."""
        ...

    @property
    def bound(self) -> float:
        """A bound of the norm of Y."""
        ...

    def prepare(self, links: Array) -> Any:
        """Return what `apply` reads."""
        ...

    def apply(self, prepared: Any, x: Array) -> Array:
        """Return Y x."""
        ...

    def traces(self, links: Array, powers: int) -> Array:
        """Return Re tr Y^j for j = 1 ... powers, `(*batch, powers)`."""
        ...


@dataclass(frozen=True)
class HoppingExponential:
    """phi = exp(-sum_j c_j Y^j / j) chi; parameters `{"coefficients": (order,)}`, which start at 1.

    Fields are complex `(*batch, *hops.shape)`; the condition is `{"links": U}`. Coefficients above `largest` in modulus, for
    which the series would be too short, give NaN. Raises ValueError for an order below 1.

    >>> import numpy as np
    >>> from haarflow.flows.fermions.hopping import HoppingExponential
    >>> from haarflow.theories.fermions.hops import OddHops
    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> flow = HoppingExponential(OddHops(Wilson((4, 4)), kappa=0.1), order=2)
    >>> chi, links = np.ones((3, 2, 8)) + 0j, {"links": np.zeros((3, 2, 4, 4))}
    >>> phi, log_det = flow.forward({"coefficients": np.ones(2)}, chi, links)
    >>> back, minus = flow.inverse({"coefficients": np.ones(2)}, phi, links)
    >>> bool(np.allclose(back, chi, atol=1e-14)), (log_det + minus).tolist()
    (True, [0.0, 0.0, 0.0])
    """

    hops: Hops
    order: int = 2
    largest: float = 1.5

    condition = ("links",)

    def __post_init__(self) -> None:
        if int(self.order) != self.order or self.order < 1:
            raise ValueError(f"HoppingExponential wants an order of 1 or more, got {self.order!r}")

    @property
    def fixed(self) -> dict[str, float] | None:
        """The couplings by which the hops are defined."""
        return traits(self.hops).fixed

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return coefficients of 1, those of ln(1 - Y)."""
        return {"coefficients": constant(key, 1.0, (self.order,), dtype)}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (phi, log |det dphi/dchi|) of noise chi."""
        return self._applied(params, x, condition, -1.0)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (chi, log |det dchi/dphi|) of a pseudofermion field."""
        return self._applied(params, y, condition, 1.0)

    def _applied(self, params: Params, x: Array, condition: Condition, sign: float) -> tuple[Array, Array]:
        """exp(sign sum_j c_j Y^j / j) x with the log-determinant."""
        if not condition or "links" not in condition:
            raise ValueError('HoppingExponential wants the gauge field as its condition, {"links": U}')
        xp, links, given = array_namespace(x), condition["links"], params["coefficients"]
        given = xp.where(xp.abs(given) <= self.largest, given, math.nan)
        series = [given[j, ...] * (sign / (j + 1)) for j in range(self.order)]
        traces = self.hops.traces(links, self.order)
        log_det = zero_log_det(x, len(self.hops.shape))  # of the batch of both, fields and links
        for j, c in enumerate(series):
            log_det = log_det + 2.0 * c * traces[..., j]
        prepared, (steps, count) = self.hops.prepare(links), self._steps(precision(x))
        parts = [of_type(c / steps, x) for c in series]
        for _ in range(steps):
            x = self._exponential(prepared, parts, x, count)
        return x, log_det

    def _steps(self, dtype: str) -> tuple[int, int]:
        """Into how many steps the exponent is divided, and the terms of each series."""
        size = self.largest * sum(self.hops.bound**j / j for j in range(1, self.order + 1))
        steps = max(1, math.ceil(size / STEP))
        return steps, terms(size / steps, ROUNDING[dtype])

    def _exponential(self, prepared: Any, series: list[Array], x: Array, count: int) -> Array:
        """exp(X) x with X = sum_j series_j Y^j, by Horner's rule."""
        factors = backends.of(x).asarray([1.0 / n for n in range(count, 0, -1)], dtype=precision(x))

        def term(result: Array, factor: Array) -> tuple[Array, None]:
            return x + of_type(factor, x) * self._polynomial(prepared, series, result), None

        return backends.of(x).scan(term, x, factors)[0]

    def _polynomial(self, prepared: Any, series: list[Array], x: Array) -> Array:
        """sum_j series_j Y^j x, j = 1 ... J, with J products."""
        result = self.hops.apply(prepared, series[-1] * x)
        for c in reversed(series[:-1]):
            result = self.hops.apply(prepared, c * x + result)
        return result


@lru_cache(maxsize=64)
def terms(size: float, rounding: float) -> int:
    """Return how many terms of e^size leave less than rounding.

    >>> terms(1.0, 2.0**-54)
    19
    """
    n, rest = 0, 1.0
    while rest > rounding:
        n += 1
        rest *= size / n
    return n
