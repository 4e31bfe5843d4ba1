"""A uniform shift of a scalar field: the expectation value around which the field of an ordered phase fluctuates."""

from __future__ import annotations

from dataclasses import dataclass

from haarflow import backends
from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.flows.flow import constant, zero_log_det


@dataclass(frozen=True)
class UniformShift:
    """y(x) = phi(x) + v on every site, with a learnt v that starts at `start`; it breaks phi -> -phi, and log_det is zero.

    >>> from haarflow.backends import numpy as backend
    >>> y, log_det = UniformShift(1, 2.0).forward({"v": backend.asarray(2.0)}, backend.asarray([[0.5, -1.0]]))
    >>> y.tolist(), log_det.tolist()
    ([[2.5, 1.0]], [0.0])
    """

    d: int
    start: float = 1.0

    symmetries = ("translation", "reflection", "hypercubic")

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return v."""
        return {"v": constant(key, self.start, (), dtype)}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Add v to every site."""
        backends.of(x, params["v"])
        return x + params["v"], zero_log_det(x, self.d)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Subtract v from every site."""
        backends.of(y, params["v"])
        return y - params["v"], zero_log_det(y, self.d)
