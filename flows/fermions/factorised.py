"""Pseudofermions of Hasenbusch's factors given the gauge links, each by a hopping exponential of its own: an exact conditional flow.

    det(1 - Y) = prod_i det[(1 - r_{i+1} Y)^-1 (1 - r_i Y)],    1 = r_0 > r_1 > ... > r_m > r_{m+1} = 0

With Y = kappa^2 H_oe H_eo and r_i = (k_i / kappa)^2 the factors are those of hopping parameters k_i (Hasenbusch, hep-lat/0107019), and
phi_i = exp(-sum_{j<=J} c_ij (r_i^j - r_{i+1}^j) Y^j / j) chi_i has nearly the weight of the ratio's pseudofermions; no inverse is
needed to draw them. Cut off after J terms, the exponent of factor i lacks (r_i^{J+1} - r_{i+1}^{J+1}) Y^{J+1} / (J+1) and less. As the
fields are independent, -ln ESS is a sum over factors of the squares of what they lack: m + 1 factors with equally spaced r_i^{J+1}
have the (m+1)-th part of that of a single field.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.flows.fermions.hopping import HoppingExponential, Hops, links_of
from haarflow.flows.flow import constant
from haarflow.flows.traits import traits


@dataclass(frozen=True)
class FactorisedHopping:
    """phi_i by a `HoppingExponential` for each factor, fields `(*batch, factors, *hops.shape)`, the lightest factor first.

    `shares` are r_1 > ... > r_m, one fewer than there are factors; parameters `{"coefficients": (factors, order)}`, which start at 1. The
    condition is `{"links": U}`. Raises ValueError for shares that do not fall from 1 to 0.

    >>> import numpy as np
    >>> from haarflow.theories.fermions.hops import OddHops
    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> flow = FactorisedHopping(OddHops(Wilson((4, 4)), kappa=0.1), shares=(0.5,))
    >>> params, links = {"coefficients": np.ones((2, 2))}, {"links": np.zeros((3, 2, 4, 4))}
    >>> chi = np.ones((3, 2, 2, 8)) + 0j
    >>> phi, log_det = flow.forward(params, chi, links)
    >>> back, minus = flow.inverse(params, phi, links)
    >>> bool(np.allclose(back, chi, atol=1e-14)), (log_det + minus).tolist()
    (True, [0.0, 0.0, 0.0])
    """

    hops: Hops
    shares: tuple[float, ...]
    order: int = 2
    largest: float = 1.5

    condition = ("links",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", tuple(map(float, self.shares)))
        if not all(a < b for b, a in pairwise((1.0, *self.shares, 0.0))):
            listed = ", ".join(map(str, self.shares))
            raise ValueError(f"FactorisedHopping wants shares of Y that fall from 1 to 0, got {listed}: order them so")
        _ = self.exponentials

    @property
    def exponentials(self) -> tuple[HoppingExponential, ...]:
        """The conditional flow of each factor's field."""
        ends = pairwise((1.0, *self.shares, 0.0))
        return tuple(HoppingExponential(self.hops, self.order, self.largest, (a, b)) for b, a in ends)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all fields."""
        return (len(self.shares) + 1, *self.hops.shape)

    @property
    def fixed(self) -> dict[str, float] | None:
        """The couplings by which the hops are defined."""
        return traits(self.hops).fixed

    @property
    def hasenbusch(self) -> tuple[float, ...] | None:
        """The hopping parameters k_1 > ... > k_m, where the hops have a kappa."""
        kappa = (self.fixed or {}).get("kappa")
        return None if kappa is None else tuple(kappa * share**0.5 for share in self.shares)

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return coefficients of 1, those of the logarithms."""
        return {"coefficients": constant(key, 1.0, (len(self.shares) + 1, self.order), dtype)}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (phi, log |det dphi/dchi|) of noise chi."""
        return self._applied(params, x, condition, -1.0)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (chi, log |det dchi/dphi|) of the pseudofermions of all factors."""
        return self._applied(params, y, condition, 1.0)

    def _applied(self, params: Params, x: Array, condition: Condition, sign: float) -> tuple[Array, Array]:
        flows, inner = self.exponentials, (slice(None),) * len(self.hops.shape)
        told = flows[0].told(links_of(condition, "FactorisedHopping"))  # once: the hops are those of all factors
        moved = [
            flow.moved(params["coefficients"][i, ...], x[(..., i, *inner)], told, sign) for i, flow in enumerate(flows)
        ]
        fields, log_dets = zip(*moved, strict=True)
        return array_namespace(x).stack(fields, axis=-1 - len(inner)), sum(log_dets[1:], start=log_dets[0])
