"""The map Y = kappa^2 H_oe H_eo on odd sites, with its traces: what a hopping expansion of Dhat = 1 - Y is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.acceleration import accelerated
from haarflow.theories.fermions.evenodd import EvenOdd, Halves
from haarflow.theories.fermions.traces import clover, densities, odd_sites, traces, winding_line
from haarflow.theories.fermions.wilson import Wilson


@final
@dataclass(frozen=True)
class OddHops:
    """Y of an operator at one hopping parameter kappa; raises ValueError for odd extents.

    >>> OddHops(Wilson((4, 4, 4, 4), n=3), kappa=0.1).bound
    0.6400000000000001
    """

    operator: Wilson
    kappa: float

    def __post_init__(self) -> None:
        _ = self.form

    @property
    def form(self) -> EvenOdd:
        """The even-odd form, with the compiled hop where there is one; raises ValueError for odd extents."""
        return EvenOdd(accelerated(self.operator))

    @property
    def fixed(self) -> dict[str, float]:
        """The couplings by which Y is defined."""
        return {"kappa": self.kappa}

    @property
    def lattice(self) -> tuple[int, ...]:
        """The extents, time first."""
        return self.operator.lattice

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of spinors on the odd sites."""
        return self.form.packed_shape

    @property
    def bound(self) -> float:
        """(2 d kappa)^2: each of the 2 d hops is a projector times two and a unitary link."""
        return (2 * self.operator.d * self.kappa) ** 2

    def prepare(self, links: Array) -> Halves:
        """Return the links of the hops."""
        return self.form.prepare(links)

    def apply(self, prepared: Halves, x: Array) -> Array:
        """Return Y x."""
        return self.kappa**2 * self.form.hop_oe(prepared, self.form.hop_eo(prepared, x))

    def traces(self, links: Array, powers: int) -> Array:
        """Return tr Y^j for j = 1 ... powers, `(*batch, powers)`."""
        found = traces(self.operator, links, powers)
        return found * self._scales(found, powers)

    def densities(self, links: Array, powers: int) -> Array:
        """Return the traces of Y^j over spin and colour at every odd site, `(*batch, powers, V/2)`."""
        found = densities(self.operator, links, powers)
        return found * self._scales(found, powers)[:, None]

    @property
    def contexts(self) -> int:
        """The number of fields of `context`."""
        return 1 + self.operator.d

    def context(self, links: Array) -> Array:
        """Return gauge-invariant fields `(*batch, contexts, *lattice)`: the mean of Re tr U_P / n over the plaquettes at x, and for each
        axis Re tr L / n of the line around it through x, with the sign of the boundary.
        """
        operator, d = self.operator, self.operator.d
        mean = clover(operator, links) / (2 * d * (d - 1))
        lines = [winding_line(operator, links, mu) for mu in range(d)]
        return array_namespace(mean).stack([mean, *lines], axis=-1 - d) / operator.n

    def own(self, field: Array) -> Array:
        """Return the values at the sites of Y of fields `(..., *lattice)`: `(..., V/2)`."""
        return odd_sites(self.operator, field)

    def _scales(self, like: Array, powers: int) -> Array:
        """kappa^{2j}."""
        scales = self.kappa ** (2 * numpy.arange(1.0, powers + 1))
        found: Array = backends.of(like).asarray(scales, dtype=like.dtype)
        return found
