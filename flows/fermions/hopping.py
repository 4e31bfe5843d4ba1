"""A pseudofermion field given the gauge links, by the exponential of a hopping series: an exact conditional flow.

    phi = A chi,   A = exp(-sum_{j=1}^{J} c_j Y^j / j),   log det A = -sum_j c_j tr Y^j / j

for any linear map Y(U) whose traces are known. With Y = kappa^2 H_oe H_eo and c_j = 1, A is ln Dhat = ln(1 - Y) cut off after J
terms, so that phi has nearly the distribution e^{-phi^+ (Dhat Dhat^+)^-1 phi}. Gauge covariance is that of Y; the inverse has
the opposite sign in the exponent. Learned pseudofermion flows: arXiv:2207.08945.

log_det is that of a map of real components, 2 Re log det A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core.broadcasting import of_type
from haarflow.core.groups.matrices import precision
from haarflow.flows.fermions.exponential import exponential, steps_and_terms
from haarflow.flows.flow import constant, zero_log_det
from haarflow.flows.traits import traits


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


class Told(NamedTuple):
    """What a conditional flow reads of the gauge links: what the hops read, and Re tr Y^j, `(*batch, powers)`."""

    prepared: Any
    traces: Array


def links_of(condition: Condition, name: str) -> Array:
    """Return the links that a conditional flow of that name is told; raises ValueError where there are none."""
    if not condition or "links" not in condition:
        raise ValueError(f'{name} wants the gauge field as its condition, {{"links": U}}')
    links: Array = condition["links"]
    return links


@dataclass(frozen=True)
class HoppingExponential:
    """phi = exp(-sum_j c_j (b^j - a^j) Y^j / j) chi; parameters `{"coefficients": (order,)}`, which start at 1.

    Fields are complex `(*batch, *hops.shape)`; the condition is `{"links": U}`. `between` = (a, b), by default (0, 1): the series
    is that of ln(1 - b Y) - ln(1 - a Y), a ratio of determinants. Coefficients above `largest` in modulus, for
    which the Taylor series would be too short, give NaN. Raises ValueError for an order below 1, and unless 0 <= a < b <= 1.

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
    between: tuple[float, float] = (0.0, 1.0)

    condition = ("links",)
    hasenbusch = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "between", tuple(map(float, self.between)))
        if int(self.order) != self.order or self.order < 1:
            raise ValueError(f"HoppingExponential wants an order of 1 or more, got {self.order!r}")
        if not 0.0 <= self.between[0] < self.between[1] <= 1.0:
            raise ValueError(f"HoppingExponential lies between two parts 0 <= a < b <= 1 of Y, got {self.between}")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one field."""
        return self.hops.shape

    @property
    def fixed(self) -> dict[str, float] | None:
        """The couplings by which the hops are defined."""
        return traits(self.hops).fixed

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return coefficients of 1, those of the logarithms."""
        return {"coefficients": constant(key, 1.0, (self.order,), dtype)}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (phi, log |det dphi/dchi|) of noise chi."""
        return self._applied(params, x, condition, -1.0)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (chi, log |det dchi/dphi|) of a pseudofermion field."""
        return self._applied(params, y, condition, 1.0)

    def told(self, links: Array) -> Told:
        """Return what `moved` reads of the links, which exponentials of the same hops share."""
        return Told(self.hops.prepare(links), self.hops.traces(links, self.order))

    def moved(self, coefficients: Array, x: Array, told: Told, sign: float) -> tuple[Array, Array]:
        """Return exp(sign sum_j c_j (b^j - a^j) Y^j / j) x with the log-determinant."""
        xp = array_namespace(x)
        given = xp.where(xp.abs(coefficients) <= self.largest, coefficients, math.nan)
        series = [given[j, ...] * (sign * part) for j, part in enumerate(self._parts())]
        log_det = zero_log_det(x, len(self.hops.shape))  # of the batch of both, fields and links
        for j, c in enumerate(series):
            log_det = log_det + 2.0 * c * told.traces[..., j]
        steps, count = self._steps(precision(x))
        parts = [of_type(c / steps, x) for c in series]
        return exponential(partial(self._polynomial, told.prepared, parts), x, steps, count), log_det

    def _applied(self, params: Params, x: Array, condition: Condition, sign: float) -> tuple[Array, Array]:
        told = self.told(links_of(condition, "HoppingExponential"))
        return self.moved(params["coefficients"], x, told, sign)

    def _parts(self) -> list[float]:
        """(b^j - a^j) / j, what the coefficients multiply."""
        a, b = self.between
        return [(b**j - a**j) / j for j in range(1, self.order + 1)]

    def _steps(self, dtype: str) -> tuple[int, int]:
        """Into how many steps the exponent is divided, and the terms of each series."""
        size = sum(part * self.hops.bound ** (j + 1) for j, part in enumerate(self._parts()))
        return steps_and_terms(self.largest * size, dtype)

    def _polynomial(self, prepared: Any, series: list[Array], x: Array) -> Array:
        """sum_j series_j Y^j x, j = 1 ... J, with J products."""
        result = self.hops.apply(prepared, series[-1] * x)
        for c in reversed(series[:-1]):
            result = self.hops.apply(prepared, c * x + result)
        return result
