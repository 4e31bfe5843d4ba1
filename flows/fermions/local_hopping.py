"""A pseudofermion field given the gauge links, by a hopping exponential whose coefficients a net computes at every site: an exact
conditional flow.

    phi = exp(-Z) chi,    Z = sum_{j<=J} F_j Y^j / j,    F_j = diag f_j(x; U),    f_j(x; U) = c_j (1 + r tanh net_j(x; U))

The net sees gauge-invariant fields alone, so that F_j commutes with gauge transformations and the flow is as covariant as Y. Z is linear in
chi at fixed links, whatever the net is, and det exp = exp tr:

    log det = -2 sum_j (1/j) sum_x f_j(x; U) t_j(x),    t_j(x) = trace of Y^j over spin and colour at x

is exact, with the local traces t_j as gauge-invariant loops through x; the inverse has the opposite sign in the exponent. No site need be frozen,
as for couplings. Before training the net gives 0 and the flow is `HoppingExponential`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core.broadcasting import of_type
from haarflow.core.groups.matrices import precision
from haarflow.flows.fermions.exponential import exponential, steps_and_terms
from haarflow.flows.fermions.hopping import Hops, links_of
from haarflow.flows.flow import constant, zero_log_det
from haarflow.flows.nets import ConvNet
from haarflow.flows.traits import traits


class LocalHops(Hops, Protocol):
    """Hops whose traces are known site by site, with gauge-invariant fields on their lattice; sites are the last axis of `shape`."""

    @property
    def lattice(self) -> tuple[int, ...]:
        """The extents."""
        ...

    @property
    def contexts(self) -> int:
        """The number of fields of `context`."""
        ...

    def context(self, links: Array) -> Array:
        """Return gauge-invariant fields `(*batch, contexts, *lattice)`."""
        ...

    def own(self, field: Array) -> Array:
        """Return the values of fields `(..., *lattice)` at the sites on which Y acts."""
        ...

    def densities(self, links: Array, powers: int) -> Array:
        """Return the traces of Y^j over the components at every site, `(*batch, powers, sites)`."""
        ...


@dataclass(frozen=True)
class LocalHopping:
    """phi = exp(-sum_j F_j Y^j / j) chi of complex fields `(*batch, *hops.shape)`; the condition is `{"links": U}`.

    Parameters `{"coefficients": (order,), "net": ...}`, c_j, at first 1, and those of a convolutional net with `hidden` features and kernels of
    `kernel` sites along each axis, whose last layer is at first scaled by `final_scale`. `reach` is r, below 1. Coefficients c_j above `largest` in modulus
    give NaN. Raises ValueError for an order below 1, a net without features or of an even kernel, and a reach that is not between 0 and 1.

    >>> import numpy as np
    >>> from haarflow import backends
    >>> from haarflow.core import random
    >>> from haarflow.flows.fermions.hopping import HoppingExponential
    >>> from haarflow.theories.fermions.hops import OddHops
    >>> from haarflow.theories.fermions.wilson import Wilson
    >>> hops, links = OddHops(Wilson((4, 4)), kappa=0.1), {"links": np.ones((3, 2, 4, 4))}
    >>> flow, chi = LocalHopping(hops), np.ones((3, 2, 8)) + 0j
    >>> params = flow.init(random.key(0, backends.get("numpy")))
    >>> phi, log_det = flow.forward(params, chi, links)
    >>> plain, other = HoppingExponential(hops).forward(params, chi, links)
    >>> bool(np.allclose(phi, plain, atol=1e-14)), bool(np.allclose(log_det, other))
    (True, True)
    """

    hops: LocalHops
    order: int = 2
    hidden: tuple[int, ...] = (8,)
    kernel: int = 3
    reach: float = 0.5
    largest: float = 1.5
    final_scale: float = 0.0

    condition = ("links",)
    hasenbusch = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if int(self.order) != self.order or self.order < 1:
            raise ValueError(f"LocalHopping wants an order of 1 or more, got {self.order!r}")
        if any(int(n) != n or n < 1 for n in (*self.hidden, self.kernel)) or self.kernel % 2 == 0:
            raise ValueError(
                f"LocalHopping wants a net of 1 or more features in each layer and an odd kernel, got {self.hidden} and {self.kernel!r}"
            )
        if not 0.0 < self.reach < 1.0:
            raise ValueError(
                f"LocalHopping wants a reach between 0 and 1, by which a net moves coefficients, got {self.reach}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one field."""
        return self.hops.shape

    @property
    def net(self) -> ConvNet:
        """The net of the coefficients."""
        channels = (self.hops.contexts, *self.hidden, self.order)
        d = len(self.hops.lattice)
        return ConvNet(d, channels, self.kernel, "silu", final_scale=self.final_scale, separated=True)

    @property
    def fixed(self) -> dict[str, float] | None:
        """The couplings by which the hops are defined."""
        return traits(self.hops).fixed

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return coefficients of 1 and a net, which gives 0 for a final scale of 0."""
        return {"coefficients": constant(key, 1.0, (self.order,), dtype), "net": self.net.init(key, dtype)}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (phi, log |det dphi/dchi|) of noise chi."""
        return self._applied(params, x, condition, -1.0)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (chi, log |det dchi/dphi|) of a pseudofermion field."""
        return self._applied(params, y, condition, 1.0)

    def coefficients(self, params: Params, links: Array) -> Array:
        """Return f_j(x; U), `(*batch, order, sites)`."""
        xp, given = array_namespace(links), params["coefficients"]
        given = xp.where(xp.abs(given) <= self.largest, given, math.nan)
        moved = xp.tanh(self.hops.own(self.net.apply(params["net"], self.hops.context(links))))
        return given[:, None] * (1.0 + self.reach * moved)

    def _applied(self, params: Params, x: Array, condition: Condition, sign: float) -> tuple[Array, Array]:
        """exp(sign sum_j F_j Y^j / j) x with the log-determinant."""
        links = links_of(condition, "LocalHopping")
        fields, densities = self.coefficients(params, links), self.hops.densities(links, self.order)
        series = [fields[..., j, :] * (sign / (j + 1)) for j in range(self.order)]
        log_det = zero_log_det(x, len(self.shape))  # of the batch of both, fields and links
        for j, f in enumerate(series):
            log_det = log_det + 2.0 * array_namespace(x).sum(f * densities[..., j, :], axis=-1)
        steps, count = self._steps(precision(x))
        inner = (None,) * (len(self.shape) - 1)
        parts = [of_type((f / steps)[(..., *inner, slice(None))], x) for f in series]
        return exponential(partial(self._polynomial, self.hops.prepare(links), parts), x, steps, count), log_det

    def _steps(self, dtype: str) -> tuple[int, int]:
        """Into how many steps the exponent is divided, and the terms of each series."""
        size = sum(self.hops.bound**j / j for j in range(1, self.order + 1))
        return steps_and_terms(self.largest * (1.0 + self.reach) * size, dtype)

    def _polynomial(self, prepared: Any, parts: list[Array], x: Array) -> Array:
        """sum_j f_j Y^j x, j = 1 ... J, with J products."""
        power, total = x, 0.0
        for f in parts:
            power = self.hops.apply(prepared, power)
            total = total + f * power
        return total
