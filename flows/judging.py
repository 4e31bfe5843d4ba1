"""What the laws of a flow share: fields and parameters of a `Given`, compiled functions, and how far rounding carries.

A law is checked on a flow whose functions the backend has compiled once (`bind`). Engines that compile for each shape
see one batch of CHUNK fields, whatever a law asks for: it is cut into chunks, the last one filled up.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy

from haarflow import backends
from haarflow.core import random
from haarflow.core.law import EPSILON, Given, precision_of, to_host
from haarflow.core.tree import tree_map

Array = Any
Params = Any
Condition = dict[str, Any] | None

CHUNK = 64
HALVINGS = 5
TALL = 1e3
SPREAD = {"zero": 0.0, "small": 0.03, "one": 0.3, "large": 1.0}
UNITS = 512
ROUNDING = f"{UNITS} units in the last place, times how far the result moves with its argument"


class Case(NamedTuple):
    """A flow on concrete input: what every law of a flow gets. `x` is `(batch, *field_shape)`."""

    flow: Any
    params: Params
    x: Array
    condition: Condition
    group: Any


def case(model: Any, given: Given, salt: int = 0, share: float = 1.0) -> Case:
    """Return a model's flow with the parameters, fields and condition of a `Given`, bound to its backend.

    Large parameters of real fields are halved until the flow and its inverse make no numbers beyond TALL of numbers of
    size one: stacked affine couplings multiply by e^s with s linear in what the last one made. What is not a number at
    all for another reason does not become one.
    """
    flow, group = bind(model.flow, given.backend, len(model.prior.field_shape)), model.prior.group
    x, values = field(model, given, salt), conditions(model, given)
    plain = field(model, dataclasses.replace(given, style="haar"), 9)
    for halvings in range(HALVINGS):
        params = parameters(model, given, share * 0.5**halvings)
        if given.size != "large" or group.name != "Real" or _is_tame(flow, params, plain, values):
            break
    return Case(flow, params, x, values, group)


def _is_tame(flow: Any, params: Params, x: Array, condition: Condition) -> bool:
    ends = [apply(params, x, condition) for apply in (flow.forward, flow.inverse)]
    ends += [flow.inverse(params, ends[0][0], condition), flow.forward(params, ends[1][0], condition)]
    return sum(size(part) for end in ends for part in end) < TALL


def parameters(model: Any, given: Given, share: float = 1.0) -> Params:
    """Return parameters as `init` draws them, moved by normal numbers; the size zero is all zero.

    The spread is that of the size over the root of how many inputs a weight has: SPREAD is about that of an output. In
    the end all numbers are multiplied by `share`, that is moved towards the size zero.

    >>> from haarflow.flows.flow import Model
    >>> from haarflow.flows.priors import Gaussian
    >>> from haarflow.flows.tails import QuarticTail
    >>> float(parameters(Model(Gaussian((2,)), QuarticTail(1)), Given(size="zero"))["log_c"])
    0.0
    """
    host, generator = backends.get("numpy"), given.generator(7)
    fresh = model.init(random.key(given.seed, host), given.dtype)
    keep, spread = float(given.size != "zero"), SPREAD[given.size]

    def moved(leaf: Array) -> Array:
        start = to_host(leaf)
        inputs = math.sqrt(max(math.prod(start.shape[1:]), 1))
        return given.array(share * (keep * start + spread / inputs * generator.standard_normal(start.shape)))

    return tree_map(moved, fresh)


def field(model: Any, given: Given, salt: int = 0) -> Array:
    """Return fields of the style that is given; huge numbers are for parameters near the identity.

    An affine coupling multiplies by e^s with s linear in its context: at 30 and with large weights it overflows.
    """
    bounded = model.prior.group.name != "Real" or given.size in ("zero", "small")
    style = "haar" if given.style == "huge" and not bounded else given.style
    return dataclasses.replace(given, style=style).field(model.prior.group, model.prior.field_shape, salt)


def condition_names(flow: Any) -> tuple[str, ...]:
    """Return the couplings that a flow or any of its parts is conditioned on.

    >>> from haarflow.flows.flow import Chain
    >>> from haarflow.flows.tails import QuarticTail
    >>> condition_names(Chain((QuarticTail(2), QuarticTail(2, condition=("lam",)))))
    ('lam',)
    """
    names = list(getattr(flow, "condition", ()) or ())
    if dataclasses.is_dataclass(flow):
        for entry in dataclasses.fields(flow):
            value = getattr(flow, entry.name)
            parts = value if isinstance(value, tuple) else (value,)
            names += [name for part in parts if dataclasses.is_dataclass(part) for name in condition_names(part)]
    return tuple(dict.fromkeys(names))


def conditions(model: Any, given: Given) -> Condition:
    """Return a batch of values between 1/2 and 2 for every coupling the flow is conditioned on, None for none."""
    generator = given.generator(8)
    names = condition_names(model.flow)
    return {name: given.array(generator.uniform(0.5, 2.0, given.batch)) for name in names} or None


@dataclasses.dataclass(frozen=True)
class Bound:
    """A flow whose functions are compiled by one backend; `axes` counts those of a field."""

    flow: Any
    backend: Any
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

    def tangent(self, params: Params, x: Array, dx: Array, condition: Condition = None) -> tuple[tuple, tuple]:
        """Return (y, log_det) of one field without batch axes, and how they change along `dx`."""
        return traced(self.backend.jit, self.flow, "tangent").function(params, x, dx, condition)

    def traces(self, method: str) -> int:
        """Return how often the Python code of a method has run since it was bound."""
        return len(traced(self.backend.jit, self.flow, method).runs)

    def _apply(self, method: str, params: Params, x: Array, condition: Condition) -> tuple[Array, Array]:
        if not compiles(self.backend):
            return getattr(self.flow, method)(params, x, condition)
        if x.ndim == self.axes:
            return self._alone(method, params, x, condition)
        function = traced(self.backend.jit, self.flow, method).function
        return in_chunks(lambda part, values: function(params, part, values), x, condition, self.axes)

    def _alone(self, method: str, params: Params, x: Array, condition: Condition) -> tuple[Array, Array]:
        if method == "forward" and self.backend.name == "jax":
            return self.tangent(params, x, 0 * x, condition)[0]
        return getattr(self.flow, method)(params, x, condition)


def bind(flow: Any, backend: Any, axes: int) -> Any:
    """Return the flow with its functions compiled by a backend; a flow that is bound already, or cannot be hashed, as is."""
    try:
        hash(flow)
    except TypeError:
        return flow
    return flow if isinstance(flow, Bound) else Bound(flow, backend, axes)


def unbound(flow: Any) -> Any:
    """Return the flow itself, free of what `bind` put around it."""
    return flow.flow if isinstance(flow, Bound) else flow


def compiles(backend: Any) -> bool:
    """Return whether a backend's `jit` is more than the function itself.

    >>> compiles(backends.get("numpy"))
    False
    """
    return backend.jit(compiles) is not compiles


class Traced(NamedTuple):
    """A compiled function, and one entry for each time its Python code ran."""

    function: Callable
    runs: list[None]


@lru_cache(maxsize=1024)
def traced(jit: Callable, flow: Any, method: str) -> Traced:
    """Return a flow's method compiled, the same for the same flow: no law compiles twice."""
    runs: list[None] = []
    apply = getattr(flow, "forward" if method == "tangent" else method)

    def plain(params: Params, x: Array, condition: Condition) -> tuple[Array, Array]:
        runs.append(None)
        return apply(params, x, condition)

    def tangent(params: Params, x: Array, dx: Array, condition: Condition) -> tuple[tuple, tuple]:
        runs.append(None)
        return backends.of(x).jvp(lambda x: tuple(apply(params, x, condition)), x, dx)

    # PyTorch's compiler does not trace forward mode.
    compiler = jit if method != "tangent" or "torch" not in getattr(jit, "__module__", "") else (lambda f: f)
    return Traced(compiler(tangent if method == "tangent" else plain), runs)


def in_chunks(function: Callable, x: Array, condition: Condition, axes: int) -> tuple[Array, Array]:
    """Return `function(x, condition)` of any batch, computed CHUNK fields at a time."""
    backend, host = backends.of(x), to_host(x)
    batch, shape = host.shape[: host.ndim - axes], host.shape[host.ndim - axes :]
    rows = host.reshape(-1, *shape)
    values = {name: numpy.broadcast_to(to_host(value), batch).reshape(-1) for name, value in (condition or {}).items()}
    found = []
    for start in range(0, len(rows), CHUNK):
        index = numpy.arange(start, start + CHUNK) % len(rows)
        part = {name: backend.asarray(value[index], dtype=x.dtype) for name, value in values.items()} or None
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
    return condition and {n: value[number] if getattr(value, "ndim", 0) else value for n, value in condition.items()}


def apart(group: Any, a: Array, b: Array) -> numpy.ndarray:
    """Return a - b on the host in float64, along the group: angles by the shorter way round."""
    one, other = (to_host(part).astype("float64") for part in (a, b))
    return numpy.asarray(group.log(group.compose(one, group.inverse(other))))


def nearby(x: Array, seed: int = 0) -> Array:
    """Return a field with every value moved by up to UNITS units in the last place of its size, of 1 at least.

    By unlike amounts: equal ones cancel in differences of links.
    """
    host, generator = to_host(x), numpy.random.default_rng(seed)
    coins = generator.choice([-1.0, 1.0], host.shape) * generator.uniform(0.5, 1.0, host.shape)
    step = UNITS * EPSILON[precision_of(x)] * numpy.maximum(numpy.abs(host), 1.0)
    return backends.of(x).asarray((host + coins * step).astype(host.dtype), dtype=x.dtype)


class Reach(NamedTuple):
    """How far rounding may carry the two results of a map, on the host: each component of the field, and log_det."""

    field: numpy.ndarray
    log_det: numpy.ndarray


def reach(function: Callable, x: Array, group: Any, result: tuple | None = None) -> Reach:
    """Return how far rounding carries `function(x) -> (y, log_det)`: UNITS units in the last place of its results and
    four times the change of each number when the argument moves by as many.

    One number at a time, so that a steep place, or a jump, excuses itself alone.
    """
    y, log_det = function(x) if result is None else result
    unit = UNITS * EPSILON[precision_of(x)]
    n = math.prod(tuple(y.shape)) / max(math.prod(tuple(log_det.shape)), 1)
    field, rest = unit * _at_least(y, 1.0), unit * _at_least(log_det, max(n, 1.0))
    for seed in (0, 1):
        z, other = function(nearby(x, seed))
        field = numpy.maximum(field, unit + 4 * numpy.abs(apart(group, z, y)))
        rest = numpy.maximum(rest, unit + 4 * numpy.abs(to_host(other).astype("float64") - to_host(log_det)))
    return Reach(field, rest)


class Worst(NamedTuple):
    """The difference that is largest in units of what rounding may do there, and that."""

    residual: float
    allowed: float

    @property
    def ratio(self) -> float:
        """One in units of the other, infinity for what is not a number."""
        return largest_of([self.residual / self.allowed])


def worst(difference: Any, allowed: Any) -> Worst:
    """Return the worst place of a difference; NaN and infinity anywhere are worst of all.

    >>> worst([1.0, -3.0], [0.5, 2.0])
    Worst(residual=1.0, allowed=0.5)
    """
    off = numpy.abs(to_host(difference).astype("float64"))
    limit = numpy.broadcast_to(to_host(allowed).astype("float64"), off.shape)
    if off.size == 0:
        return Worst(0.0, 1.0)
    ratios = numpy.where(numpy.isfinite(off / limit), off / limit, numpy.inf)
    place = int(numpy.argmax(ratios))
    return Worst(float(off.ravel()[place]), float(limit.ravel()[place]))


def _at_least(x: Array, least: float) -> numpy.ndarray:
    return numpy.maximum(numpy.abs(to_host(x).astype("float64")), least)


def size(x: Any) -> float:
    """Return the largest |x|, NaN where there is one."""
    return float(numpy.max(numpy.abs(to_host(x).astype("float64")), initial=0.0))


def largest_of(numbers: Any) -> float:
    """Return the largest of some numbers, infinity where one is NaN, 0 for none.

    >>> largest_of([1.0, float("nan")])
    inf
    """
    found = [math.inf if math.isnan(number) else number for number in numbers]
    return max(found, default=0.0)
