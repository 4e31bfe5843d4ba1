"""One mask's step of a flow along loops as a coupling: its links move, all others stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy
from array_api_compat import array_namespace

from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.flows.links import layout
from haarflow.flows.loops import masked
from haarflow.flows.loops.flow import LoopFlow


@dataclass(frozen=True)
class LoopStep:
    """The step of mask number `mask` from b = 0 to `size`, explicit or implicit, with the coefficients of `flow` at b = 0.

    >>> LoopStep(LoopFlow(2, 2, 1), mask=1).moves((2, 2))[0].tolist()
    [[False, True], [False, True]]
    """

    flow: LoopFlow
    mask: int = 0
    size: float = 1.0
    implicit: bool = False

    symmetries = ("gauge", "charge_conjugation")

    @property
    def n(self) -> int:
        """The N of the links' group SU(N)."""
        return self.flow.n

    def moves(self, lattice: tuple[int, ...]) -> numpy.ndarray:
        """Return which links move, booleans `(d, *lattice)`."""
        part = self._part(lattice)
        moving: numpy.ndarray = part.writes[0] >= part.writes.shape[1]
        return moving.reshape(len(lattice), *lattice)

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the flow's own coefficients."""
        return self.flow.init(key, dtype)

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the links of the mask."""
        return self._moved(params, x, self.size, self.implicit)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move them back."""
        return self._moved(params, y, -self.size, not self.implicit)

    def _moved(self, params: Params, links: Array, size: float, implicit: bool) -> tuple[Array, Array]:
        d, lattice = self.flow.d, tuple(links.shape[-self.flow.d :])
        rows, numbers = layout.rows(links, d), size * params["coefficients"][0, :, None]
        start = rows, array_namespace(links).zeros_like(rows[0, 0, 0, :], dtype=numbers.dtype)
        moved, log_det = masked.half_step(self.n, (self._part(lattice),), start, numbers, implicit)
        shape = tuple(links.shape[: -d - 3])
        return layout.links_of(moved, tuple(links.shape), d), array_namespace(links).reshape(log_det, shape)

    def _part(self, lattice: tuple[int, ...]) -> masked.Masks:
        """The mask by itself."""
        number = self.mask
        for part in masked.masks(self.flow.products, tuple(lattice)):
            if number < len(part.reads):
                one = slice(number, number + 1)
                return masked.Masks(part.plan, *(table[one, ...] for table in part[1:]))
            number -= len(part.reads)
        raise ValueError(f"a sweep on {lattice} has {self.mask - number} masks, got number {self.mask}")
