"""The map Y = kappa^2 H_oe H_eo on odd sites, with its traces: what a hopping expansion of Dhat = 1 - Y is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.acceleration import accelerated
from haarflow.theories.fermions.evenodd import EvenOdd, Halves
from haarflow.theories.fermions.traces import traces
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
        scales = self.kappa ** (2 * numpy.arange(1.0, powers + 1))
        return found * backends.of(found).asarray(scales, dtype=found.dtype)
