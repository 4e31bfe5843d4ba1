"""A flow and its prior as one backend compiles them, and what a law asks of a batch: one shape, whatever its size.

Engines that compile for each shape see one batch of CHUNK fields: it is cut into chunks, the last one filled up.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy

from haarflow import backends
from haarflow.backends.protocol import Backend
from haarflow.backends.types import Array, Condition, Flow, Group, Params
from haarflow.core.groups.matrices import precision
from haarflow.core.laws.law import compiled, to_host
from haarflow.flows.laws.cache import recalled
from haarflow.flows.laws.footprint import rows_at_once
from haarflow.flows.traits import traits

CHUNK = 256
TANGENT = 4  # times the memory of a flow, for a flow and its tangent


@dataclasses.dataclass(frozen=True)
class Bound:
    """A flow whose functions are compiled by one backend; `axes` counts those of a field."""

    flow: Any
    backend: Backend
    axes: int

    def init(self, key: Array, dtype: str = "float64") -> Params:
        """Return the flow's own parameters."""
        return self.flow.init(key, dtype)

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return the flow's (y, log_det)."""
        return self._apply("forward", params, x, condition)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return the flow's (x, log_det) of the inverse."""
        return self._apply("inverse", params, y, condition)

    def tangent(
        self, params: Params, x: Array, dx: Array, condition: Condition = None
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return (y, log_det) and their derivatives along `dx`; on JAX of one field without batch axes."""
        result: tuple[tuple[Any, ...], tuple[Any, ...]] = traced(self.backend.jit, self.flow, "tangent").function(
            params, x, dx, condition
        )
        return result

    def along(
        self, params: Params, x: Array, directions: Any, condition: Condition = None
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return (y, log_det) of one field, and on the host their derivatives along each of the directions `(n, *shape)`.

        On JAX one program of `tangent` takes the directions one by one, elsewhere a batch takes them at once.
        """
        asarray = self.backend.asarray
        if self.backend.name == "jax":
            found = [self.tangent(params, x, asarray(dx, dtype=x.dtype), condition) for dx in directions]
            columns = zip(*(change for _, change in found), strict=True)
            return found[-1][0], tuple(numpy.stack([to_host(part) for part in parts]) for parts in columns)
        rows = asarray(numpy.broadcast_to(to_host(x), (len(directions), *x.shape)).copy(), dtype=x.dtype)
        most = rows_at_once(self.flow, self.flow.forward, params, rows, condition, self.axes)
        step = len(directions) if most == len(directions) else max(most // TANGENT, 1)
        parts = []
        for n in range(0, len(directions), step):
            part = asarray(directions[n : n + step], dtype=x.dtype)
            (y, log_det), change = self.tangent(params, rows[n : n + step, ...], part, condition)
            parts.append(tuple(to_host(column) for column in change))
        return (y[0, ...], log_det[0]), tuple(numpy.concatenate(columns) for columns in zip(*parts, strict=True))

    def traces(self, method: str) -> int:
        """Return how often the Python code of a method has run since the flow was bound."""
        return len(traced(self.backend.jit, self.flow, method).runs)

    def _apply(self, method: str, params: Params, x: Array, condition: Condition) -> tuple[Array, Array]:
        result: tuple[Array, Array] = recalled(partial(self._computed, method), (self, method), params, x, condition)
        return result

    def _computed(self, method: str, params: Params, x: Array, condition: Condition) -> tuple[Array, Array]:
        """One batch if nothing is compiled and it fits into memory; otherwise chunks of one shape."""
        plain = self._plain(method)
        most = rows_at_once(self.flow, plain, params, x, condition, self.axes)
        if not compiles(self.backend):
            if x.ndim == self.axes or most >= math.prod(tuple(x.shape)[: x.ndim - self.axes]):
                return plain(params, x, condition)
            return in_chunks(lambda part, values: plain(params, part, values), x, condition, self.axes, most)
        if x.ndim == self.axes:
            return self._single(method, params, x, condition)
        function, rows = (
            traced(self.backend.jit, self.flow, method).function,
            math.prod(tuple(x.shape)[: x.ndim - self.axes]),
        )
        chunk = CHUNK if most >= rows else min(CHUNK, most)
        return in_chunks(lambda part, values: function(params, part, values), x, condition, self.axes, chunk)

    def _plain(self, method: str) -> Callable[..., tuple[Array, Array]]:
        result: Callable[..., tuple[Array, Array]] = self.flow.forward if method == "forward" else self.flow.inverse
        return result

    def _single(self, method: str, params: Params, x: Array, condition: Condition) -> tuple[Array, Array]:
        """The result for one field, by a further program; a coupling's program exists, as the laws differentiate it."""
        if self.backend.name != "jax":
            return self._plain(method)(params, x, condition)
        if method == "forward" and traits(self.flow).moves is not None:
            return self.tangent(params, x, 0 * x, condition)[0]
        result: tuple[Array, Array] = traced(self.backend.jit, self.flow, method).function(params, x, condition)
        return result


@dataclasses.dataclass(frozen=True)
class BoundPrior:
    """A prior on a backend that compiles for each shape: its density is compiled once, its draws come from NumPy.

    The backend's own draws are checked by the law `prior_draws`.
    """

    prior: Any
    backend: Backend

    @property
    def lattice(self) -> tuple[int, ...]:
        """The prior's lattice."""
        return tuple(self.prior.lattice)

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one configuration."""
        result: tuple[int, ...] = self.prior.field_shape
        return result

    @property
    def group(self) -> Group:
        """The group of the field's values."""
        group: Group = self.prior.group
        return group

    def sample(self, key: Array, n: int, dtype: str = "float64") -> Array:
        """Return the prior's draws."""
        host = backends.get("numpy")
        drawn = self.prior.sample(host.asarray(to_host(key)), n, dtype)
        return self.backend.asarray(drawn, dtype=drawn.dtype.name)

    def log_density(self, x: Array) -> Array:
        """Return the prior's log-density."""
        axes = len(self.prior.field_shape)
        function = compiled(self.backend.jit, self.prior, "log_density")
        return in_chunks(lambda part, _: (part, function(part)), x, None, axes)[1]


def bind_model(model: Any, backend: Backend) -> Any:
    """Return a model with its flow bound to a backend, and its prior too on a backend that compiles."""
    flow = bind(model.flow, backend, len(model.prior.field_shape))
    prior = BoundPrior(model.prior, backend) if compiles(backend) and flow is not model.flow else model.prior
    return dataclasses.replace(model, prior=prior, flow=flow)


@dataclasses.dataclass(frozen=True, eq=False)
class Unhashable:
    """An unhashable flow, equal only to itself."""

    flow: Flow

    def init(self, key: Array, dtype: str = "float64") -> Params:
        """Return the flow's own parameters."""
        return self.flow.init(key, dtype)

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return the flow's (y, log_det)."""
        result: tuple[Array, Array] = self.flow.forward(params, x, condition)
        return result

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return the flow's (x, log_det) of the inverse."""
        result: tuple[Array, Array] = self.flow.inverse(params, y, condition)
        return result


_unhashable: dict[int, Unhashable] = {}  # by identity; each entry keeps its flow alive, so that its id is not reused


def bind(flow: Flow, backend: Backend, axes: int) -> Bound:
    """Return the flow with its functions compiled by a backend; a bound flow is returned as it is."""
    if isinstance(flow, Bound):
        return flow
    try:
        hash(flow)
    except TypeError:
        flow = _unhashable.setdefault(id(flow), Unhashable(flow))
    return Bound(flow, backend, axes)


def unbound(flow: Flow) -> Any:
    """Return the flow inside the wrappers that `bind` put around it."""
    inner = flow.flow if isinstance(flow, Bound) else flow
    return inner.flow if isinstance(inner, Unhashable) else inner


def compiles(backend: Backend) -> bool:
    """Return whether a backend's `jit` compiles.

    >>> compiles(backends.get("numpy"))
    False
    """
    return backend.jit(compiles) is not compiles


class Traced(NamedTuple):
    """A compiled function, and one entry for each time its Python code ran."""

    function: Callable[..., Any]
    runs: list[None]


@lru_cache(maxsize=1024)
def traced(jit: Callable[..., Any], flow: Flow, method: str) -> Traced:
    """Return a flow's compiled method, cached by the flow, so that no law compiles it again."""
    runs: list[None] = []
    apply = flow.inverse if method == "inverse" else flow.forward

    def plain(params: Params, x: Array, condition: Condition) -> tuple[Array, Array]:
        runs.append(None)
        result: tuple[Array, Array] = apply(params, x, condition)
        return result

    def tangent(params: Params, x: Array, dx: Array, condition: Condition) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        runs.append(None)
        result: tuple[tuple[Any, ...], tuple[Any, ...]] = backends.of(x).jvp(
            lambda x: tuple(apply(params, x, condition)), x, dx
        )
        return result

    # PyTorch's compiler does not trace forward mode, and guards the objects it sees: a growing list would recompile.
    if "torch" in jit.__module__:
        return Traced(tangent if method == "tangent" else jit(apply), runs)
    return Traced(jit(tangent if method == "tangent" else plain), runs)


def in_chunks(
    function: Callable[..., tuple[Array, Array]], x: Array, condition: Condition, axes: int, chunk: int = CHUNK
) -> tuple[Array, Array]:
    """Return `function(x, condition)` of any batch, computed `chunk` fields at a time."""
    backend, host = backends.of(x), to_host(x)
    batch, shape = host.shape[: host.ndim - axes], host.shape[host.ndim - axes :]
    rows = host.reshape(-1, *shape)
    values = {name: numpy.broadcast_to(to_host(value), batch).reshape(-1) for name, value in (condition or {}).items()}
    found = []
    for start in range(0, len(rows), chunk):
        index = numpy.arange(start, start + chunk) % len(rows)
        part = {name: backend.asarray(value[index], dtype=precision(x)) for name, value in values.items()} or None
        y, log_det = function(backend.asarray(rows[index], dtype=x.dtype), part)
        found.append((to_host(y), to_host(log_det)))
    whole = [numpy.concatenate(parts)[: len(rows)] for parts in zip(*found, strict=True)]
    y, log_det = whole[0].reshape(host.shape), whole[1].reshape(batch)
    return backend.asarray(y, dtype=y.dtype.name), backend.asarray(log_det, dtype=log_det.dtype.name)


def repeated(condition: Condition, number: int, times: int) -> Condition:
    """Return the condition of one member of the batch for `times` fields.

    >>> repeated({"beta": numpy.asarray([1.0, 2.0])}, 1, 3)
    {'beta': array([2., 2., 2.])}
    """
    if condition is None:
        return None
    found = {}
    for name, value in condition.items():
        host = to_host(value)
        one = host[number] if host.ndim else host
        found[name] = backends.of(value).asarray(numpy.full(times, one), dtype=value.dtype) if host.ndim else value
    return found


def member(condition: Condition, number: int) -> Condition:
    """Return the condition of one member of the batch, as numbers without axes."""
    return condition and {n: value[number] if numpy.ndim(value) else value for n, value in condition.items()}
