"""Flows of links in every orientation of a plane, one body for all: what is compiled does not grow with their number.

A flow f acts in the plane (0, 1). Turned into the plane (mu, nu) it is R^-1 f R, where R renames the axes such that mu and nu
come first. With A: (0, 1, 2, ..., d-1) -> (0, 2, ..., d-1, 1), which keeps axis 0, and B: (0, 1, ..., d-1) -> (1, ..., d-1, 0),

    (B (A f)^(d-1))^d

meets each of the d (d-1) ordered pairs of axes once and turns nothing in the end: two nested scans. The lattice is turned
with the links, so that all its extents are equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Condition, Flow, Key, Params
from haarflow.flows.flow import Chain, Repeat, zero_log_det
from haarflow.flows.symmetries import common, displacement, periods


@dataclass(frozen=True)
class Turn:
    """Links with renamed axes, and the lattice with them: axis and direction a of the result are `order[a]` of the field.

    `internal` is the number of axes between mu and the lattice, two for SU(N).

    >>> import numpy as np
    >>> y, _ = Turn((1, 2, 0)).forward({}, np.arange(3.0).reshape(1, 3, 1, 1, 1) + np.zeros((1, 3, 4, 5, 6)))
    >>> y.shape, y[0, :, 0, 0, 0].tolist()
    ((1, 3, 5, 6, 4), [1.0, 2.0, 0.0])
    """

    order: tuple[int, ...]
    internal: int = 0

    symmetries = ("charge_conjugation",)

    def __post_init__(self) -> None:
        if sorted(self.order) != list(range(len(self.order))):
            raise ValueError(f"an order of axes names each of 0 ... d - 1 once, got {self.order}")

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return no parameters."""
        return {}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Turn the links; the log-determinant is zero."""
        return self._turned(x, self.order)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Turn the links back."""
        return self._turned(y, tuple(self.order.index(axis) for axis in range(len(self.order))))

    def _turned(self, links: Array, order: tuple[int, ...]) -> tuple[Array, Array]:
        xp, d = array_namespace(links), len(order)
        rest = links.ndim - d
        directions = rest - self.internal - 1
        rows = [links[(slice(None),) * directions + (mu, ...)] for mu in order]
        turned = xp.stack(rows, axis=directions)
        turned = xp.permute_dims(turned, (*range(rest), *(rest + axis for axis in order)))
        return turned, zero_log_det(links, d + self.internal + 1)


@dataclass(frozen=True)
class EveryPlane:
    """A flow of links in d dimensions applied in all d (d-1) orientations of its plane (0, 1), each with separate parameters.

    Its parameters are stacked on two axes: for `k` and `j` the plane is that of axes k and k + j + 1 modulo d. `internal` is
    that of `Turn`. Raises ValueError for d < 2 and for a flow that displaces the field, and at first use for a lattice of
    unequal extents.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.core.groups.sun import SU
    >>> from haarflow.flows.sun.gradient_coupling import LoopCoupling
    >>> flow = EveryPlane(LoopCoupling(2, 3, 0, 1, 0.1), 3, 2)
    >>> x = SU(2, 3).haar(random.key(0, backend), (5, 3, 2, 2, 2, 2, 2))
    >>> y, log_det = flow.forward(flow.init(random.key(1, backend)), x)
    >>> y.shape, log_det.shape
    ((5, 3, 2, 2, 2, 2, 2), (5,))
    """

    flow: Flow
    d: int
    internal: int = 0

    def __post_init__(self) -> None:
        if self.d < 2:
            raise ValueError(f"a plane has two axes: d >= 2 wanted, got d = {self.d}")
        if any(displacement(self.flow)):
            raise ValueError(
                f"a flow in every plane leaves the field where it is, this one displaces it by {displacement(self.flow)}: "
                "add the opposite Translate"
            )

    @property
    def symmetries(self) -> tuple[str, ...]:
        """The symmetries of the flow."""
        return common([self.flow])

    @property
    def periods(self) -> tuple[int, ...]:
        """The least common multiple of the flow's periods, along every axis."""
        return (math.lcm(*periods(self.flow, self.d)),) * self.d

    @property
    def cycle(self) -> Flow:
        """The flow and turns as nested repetitions."""
        around, along = (0, *range(2, self.d), 1), (*range(1, self.d), 0)
        inner = Repeat(Chain((self.flow, Turn(around, self.internal))), self.d - 1)
        return Repeat(Chain((inner, Turn(along, self.internal))), self.d)

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return parameters of the flow for each orientation."""
        return self.cycle.init(key, dtype)

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Apply the flow in one orientation after another."""
        self._check(x)
        return self.cycle.forward(params, x, condition)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Undo it."""
        self._check(y)
        return self.cycle.inverse(params, y, condition)

    def _check(self, links: Array) -> None:
        lattice = tuple(links.shape[-self.d :])
        if len(set(lattice)) > 1:
            raise ValueError(f"a flow in every plane wants a lattice of equal extents, got {lattice}")
