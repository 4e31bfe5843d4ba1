"""Flows: bijections with their log-determinant, and how they compose.

A flow is a frozen definition (numbers, strings, tuples) beside a nested dict of parameters:
`init(key, dtype) -> params`, `forward(params, x, condition=None) -> (y, log_det)` with log_det = log |det dy/dx| of
the batch's shape, `inverse` likewise with log |det dx/dy|. A definition holds no lattice: another volume is the same
flow under another prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.tree import leaves, tree_map
from haarflow.backends.types import Array, Condition, Params
from haarflow.backends.types import Flow as Flow
from haarflow.backends.types import Prior as Prior
from haarflow.core import random
from haarflow.flows.symmetries import SYMMETRIES, common, common_periods, total_displacement

WRITTEN_OUT = 2  # bodies: on JAX a gradient through a scan of so few took up to 1.9 times as long


@dataclass(frozen=True)
class Chain:
    """Flows applied one after another; parameters {"0": ..., "1": ...}.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.flow import Chain, Translate
    >>> flow = Chain((Translate((1,)), Translate((-1,))))
    >>> y, log_det = flow.forward({"0": {}, "1": {}}, backend.asarray([[1.0, 2.0, 3.0]]))
    >>> y.tolist(), log_det.tolist()
    ([[1.0, 2.0, 3.0]], [0.0])
    """

    flows: tuple[Any, ...]

    @property
    def symmetries(self) -> tuple[str, ...]:
        """The symmetries that all flows have."""
        return common(self.flows)

    @property
    def periods(self) -> tuple[int, ...]:
        """The steps along each axis under which all flows commute."""
        return common_periods(self.flows)

    @property
    def displacement(self) -> tuple[int, ...]:
        """By how many sites the field ends up further."""
        return total_displacement(self.flows)

    def init(self, key: Array, dtype: str = "float64") -> Params:
        """Return the parameters of every flow, each from its own key."""
        keys = random.split(key, max(len(self.flows), 1))
        return {str(number): flow.init(keys[number, :], dtype) for number, flow in enumerate(self.flows)}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Apply the flows in order."""
        return self._apply("forward", range(len(self.flows)), params, x, condition)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Undo the flows from the last to the first."""
        return self._apply("inverse", reversed(range(len(self.flows))), params, y, condition)

    def _apply(self, direction: str, order: Any, params: Params, x: Array, condition: Condition) -> tuple[Array, Array]:
        total = None
        for number in order:
            x, log_det = getattr(self.flows[number], direction)(params[str(number)], x, condition)
            total = log_det if total is None else total + log_det
        if total is None:
            raise ValueError("a Chain of no flows has no batch shape for its log-determinant: give at least one flow")
        return x, total


@dataclass(frozen=True)
class Repeat:
    """One flow applied n times with parameters of its own each time, stacked on axis 0 and scanned.

    The body compiles once however deep the flow is; up to WRITTEN_OUT times it is written out. With `recompute` a gradient keeps the field between the bodies alone
    and computes what happened inside each of them again: less memory for more time, the same numbers.
    """

    flow: Any
    n: int
    recompute: bool = False

    @property
    def symmetries(self) -> tuple[str, ...]:
        """The symmetries of the body."""
        return common([self.flow])

    @property
    def periods(self) -> tuple[int, ...]:
        """The steps along each axis under which the body commutes."""
        return common_periods([self.flow])

    @property
    def displacement(self) -> tuple[int, ...]:
        """By how many sites the field ends up further."""
        return total_displacement([self.flow] * self.n)

    def init(self, key: Array, dtype: str = "float64") -> Params:
        """Return the body's parameters n times, stacked on axis 0."""
        xp = array_namespace(key)
        keys = random.split(key, self.n)
        each = [self.flow.init(keys[number, :], dtype) for number in range(self.n)]
        return tree_map(lambda *rows: xp.stack(rows, axis=0), *each)

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Apply the body with the first parameters, then the second, and so on."""
        return self._scan("forward", params, x, condition)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Undo the body from the last parameters to the first."""
        flipped = tree_map(lambda p: array_namespace(p).flip(p, axis=0), params)
        return self._scan("inverse", flipped, y, condition)

    def _scan(self, direction: str, params: Params, x: Array, condition: Condition) -> tuple[Array, Array]:
        apply, backend = getattr(self.flow, direction), backends.of(x)

        def body(x: Array, params: Params) -> tuple[Array, Array]:
            return apply(params, x, condition)

        body = backend.checkpoint(body) if self.recompute else body
        scan = _written_out if 0 < self.n <= WRITTEN_OUT else backend.scan
        x, log_dets = scan(body, x, params, length=self.n)
        return x, array_namespace(x).sum(log_dets, axis=0)


def _written_out(body: Any, x: Array, params: Params, length: int) -> tuple[Array, Array]:
    """What the backends' `scan` does, without a loop that stacks what a gradient needs of its steps."""
    log_dets = []
    for number in range(length):
        x, log_det = body(x, tree_map(itemgetter((number, ...)), params))
        log_dets.append(log_det)
    return x, array_namespace(x).stack(log_dets, axis=0)


@dataclass(frozen=True)
class Translate:
    """The field moved by `shifts` sites along the lattice axes, y(x + shift) = x(x): masks stand still, fields move.

    `internal` counts the axes between batch and lattice (a gauge field has one).
    """

    shifts: tuple[int, ...]
    internal: int = 0

    symmetries = SYMMETRIES

    @property
    def periods(self) -> tuple[int, ...]:
        """Translations by one site."""
        return (1,) * len(self.shifts)

    @property
    def displacement(self) -> tuple[int, ...]:
        """The shifts themselves."""
        return self.shifts

    def init(self, key: Array, dtype: str = "float64") -> Params:
        """Return no parameters."""
        return {}

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the field by `shifts`; the log-determinant is zero."""
        return self._roll(x, self.shifts)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Move the field back."""
        return self._roll(y, tuple(-steps for steps in self.shifts))

    def _roll(self, x: Array, shifts: tuple[int, ...]) -> tuple[Array, Array]:
        xp, d = array_namespace(x), len(shifts)
        moving = [(steps, axis - d) for axis, steps in enumerate(shifts) if steps]
        if moving:
            x = xp.roll(x, tuple(steps for steps, _ in moving), axis=tuple(axis for _, axis in moving))
        return x, zero_log_det(x, d + self.internal)


def constant(key: Array, value: float, shape: tuple[int, ...], dtype: str) -> Array:
    """Return a parameter that starts at `value`, on the key's device."""
    xp = array_namespace(key)
    return xp.full(shape, value, dtype=getattr(xp, dtype), device=backends.place(key))


def zero_log_det(x: Array, field_axes: int) -> Array:
    """Return real zeros of the batch's shape: the log-determinant of a map that keeps volumes."""
    xp = array_namespace(x)
    return xp.zeros_like(xp.abs(x[(..., *(0,) * field_axes)]))


@dataclass(frozen=True)
class Model:
    """A prior pushed through a flow: log q(y) = log r(x) - log |det dy/dx|."""

    prior: Any
    flow: Any

    @property
    def symmetries(self) -> tuple[str, ...]:
        """The symmetries of the density: those that the prior and the flow share."""
        return common([self.prior, self.flow])

    def init(self, key: Array, dtype: str = "float64") -> Params:
        """Return fresh parameters of the flow."""
        return self.flow.init(key, dtype)

    def sample(self, params: Params, key: Array, n: int, condition: Condition = None) -> tuple[Array, Array]:
        """Return n fields `(n, *field_shape)` and their log-densities `(n,)`."""
        x = self.prior.sample(key, n, precision(params))
        y, log_det = self.flow.forward(params, x, condition)
        return y, self.prior.log_density(x) - log_det

    def log_density(self, params: Params, y: Array, condition: Condition = None) -> Array:
        """Return log q(y) `(*batch,)` by one inverse pass."""
        x, log_det = self.flow.inverse(params, y, condition)
        return self.prior.log_density(x) + log_det


def precision(params: Params) -> str:
    """Return the floating type's name of a parameter tree, float64 where it has no leaves."""
    found = leaves(params)
    if not found:
        return "float64"
    return "float32" if found[0].dtype == array_namespace(found[0]).float32 else "float64"
