"""What the laws of a flow share: fields and parameters of a `Given`, and how far rounding carries.

A law is checked on a flow whose functions the backend has compiled once (flows/laws/compiled_flow.py).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Condition, Flow, Group, Params, Prior
from haarflow.core import random
from haarflow.core.laws.law import EPSILON, Given, fits, in_double, precision_of, to_host
from haarflow.flows.coordinates import apart, components
from haarflow.flows.flow import Model
from haarflow.flows.laws.compiled_flow import Bound, bind
from haarflow.flows.laws.footprint import LEAST, NUMBER
from haarflow.flows.traits import parts_of, traits

HALVINGS = 5
TALL = 1e3
SPREAD = {"zero": 0.0, "small": 0.03, "one": 0.3, "large": 1.0}
UNITS = 512
STEEP = 1e3
ROUNDING = f"{UNITS} units in the last place, times how far the result moves with its argument"


class Case(NamedTuple):
    """A flow on concrete input: what every law of a flow gets. `x` is `(batch, *field_shape)`."""

    flow: Bound
    params: Params
    x: Array
    condition: Condition
    group: Group


def case(model: Model, given: Given, salt: int = 0, share: float = 1.0) -> Case:
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


def _is_tame(flow: Flow, params: Params, x: Array, condition: Condition) -> bool:
    ends = [apply(params, x, condition) for apply in (flow.forward, flow.inverse)]
    ends += [flow.inverse(params, ends[0][0], condition), flow.forward(params, ends[1][0], condition)]
    return sum(size(part) for end in ends for part in end) < TALL


def parameters(model: Model, given: Given, share: float = 1.0) -> Params:
    """Return parameters as `init` draws them, moved by normal numbers; the size zero is all zero.

    The spread is that of the size over the root of how many inputs a weight has: SPREAD is about that of an output. In
    the end all numbers are multiplied by `share`, that is moved towards the size zero.

    >>> from haarflow.flows.flow import Model
    >>> from haarflow.flows.priors import Gaussian
    >>> from haarflow.flows.scalar.tails import QuarticTail
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


def field(model: Model, given: Given, salt: int = 0) -> Array:
    """Return fields of the style that is given; huge numbers are for parameters near the identity.

    An affine coupling multiplies by e^s with s linear in its context: at 30 and with large weights it overflows. Raises
    TooLarge where a batch, and what a law makes of it, is more than a law's memory.
    """
    check_size(model.prior, given.batch)
    bounded = model.prior.group.name != "Real" or given.size in ("zero", "small")
    style = "haar" if given.style == "huge" and not bounded else given.style
    return dataclasses.replace(given, style=style).field(model.prior.group, model.prior.field_shape, salt)


def check_size(prior: Prior, n: int) -> None:
    """Raise TooLarge where n fields of a prior, and what a law makes of them, are more than a law's memory.

    >>> from haarflow.flows.priors import Gaussian
    >>> check_size(Gaussian((8, 8)), 3)
    """
    shape = tuple(prior.field_shape)
    fits(n * LEAST * NUMBER * math.prod(shape), f"{n} fields {shape} and what a law makes of them")


def condition_names(flow: Any) -> tuple[str, ...]:
    """Return the couplings that a flow or any of its parts is conditioned on.

    >>> from haarflow.flows.flow import Chain
    >>> from haarflow.flows.scalar.tails import QuarticTail
    >>> condition_names(Chain((QuarticTail(2), QuarticTail(2, condition=("lam",)))))
    ('lam',)
    """
    names = list(traits(flow).condition or ())
    for part in filter(dataclasses.is_dataclass, parts_of(flow)):
        names += condition_names(part)
    return tuple(dict.fromkeys(names))


def conditions(model: Model, given: Given) -> Condition:
    """Return a batch of values between 1/2 and 2 for every coupling the flow is conditioned on, None for none."""
    generator = given.generator(8)
    names = condition_names(model.flow)
    return {name: given.array(generator.uniform(0.5, 2.0, given.batch)) for name in names} or None


def computed_in(flow: Any, x: Array) -> str:
    """Return the precision in which a flow computes: the field's, or single where one of its nets does (`net_precision`).

    One coupling's way there and back see the same net, and are held to the field's precision; two computations of the
    net, on other backends or in other batches, differ by its own.

    >>> from haarflow.flows.nets import ConvNet
    >>> computed_in(ConvNet(1, (1, 2), net_precision="float32"), numpy.zeros(2))
    'float32'
    """
    if traits(flow).net_precision == "float32":
        return "float32"
    found = {computed_in(part, x) for part in parts_of(flow) if dataclasses.is_dataclass(part)}
    return "float32" if "float32" in found else precision_of(x)


def nearby(x: Array, seed: int = 0, precision: str | None = None) -> Array:
    """Return a field with every value moved by up to UNITS units in the last place of its size, of 1 at least.

    By unlike amounts: equal ones cancel in differences of links.
    """
    host, generator = to_host(x), numpy.random.default_rng(seed)
    coins = _coins(generator, host.shape)
    if host.dtype.kind == "c":
        coins = (coins + 1j * _coins(generator, host.shape)) / math.sqrt(2.0)
    step = UNITS * EPSILON[precision or precision_of(x)] * numpy.maximum(numpy.abs(host), 1.0)
    return backends.of(x).asarray((host + coins * step).astype(host.dtype), dtype=x.dtype)


def _coins(generator: numpy.random.Generator, shape: tuple[int, ...]) -> numpy.ndarray:
    return generator.choice([-1.0, 1.0], shape) * generator.uniform(0.5, 1.0, shape)


class Reach(NamedTuple):
    """How far rounding may carry the two results of a map, on the host: each component of the field, and log_det."""

    field: numpy.ndarray
    log_det: numpy.ndarray


def reach(
    function: Callable[..., Any],
    x: Array,
    group: Any,
    result: tuple[Any, ...] | None = None,
    precision: str | None = None,
) -> Reach:
    """Return how far rounding carries `function(x) -> (y, log_det)`: UNITS units in the last place of its results and
    four times the change of each number when the argument moves by as many, units of the field's precision or the given.

    Components of one field, and log-determinants of one batch, share what slopes below STEEP amount to; a steeper
    place, or a jump, excuses itself alone.
    """
    y, log_det = function(x) if result is None else result
    unit = UNITS * EPSILON[precision or precision_of(x)]
    n = components(group, tuple(y.shape)) / max(math.prod(tuple(log_det.shape)), 1)
    change, rest = numpy.zeros(tuple(y.shape)), numpy.zeros(tuple(log_det.shape))
    for seed in (0, 1):
        z, other = function(nearby(x, seed, precision))
        change = numpy.fmax(change, numpy.abs(apart(group, z, y)))
        rest = numpy.fmax(rest, numpy.abs(to_host(other).astype("float64") - to_host(log_det)))
    axes = tuple(range(rest.ndim, change.ndim))
    shared = numpy.minimum(numpy.max(change, axis=axes, keepdims=True), STEEP * unit)
    field = unit * _at_least(y, 1.0) + 4 * numpy.maximum(change, shared)
    rest = numpy.maximum(rest, min(float(numpy.max(rest, initial=0.0)), STEEP * unit * max(n, 1.0)))
    return Reach(field, unit * _at_least(log_det, max(n, 1.0)) + 4 * rest)


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
    off = numpy.abs(in_double(difference))
    limit = numpy.broadcast_to(to_host(allowed).astype("float64"), off.shape)
    if off.size == 0:
        return Worst(0.0, 1.0)
    ratios = numpy.where(numpy.isfinite(off / limit), off / limit, numpy.inf)
    place = int(numpy.argmax(ratios))
    return Worst(float(off.ravel()[place]), float(limit.ravel()[place]))


def _at_least(x: Array, least: float) -> numpy.ndarray:
    result: numpy.ndarray = numpy.maximum(numpy.abs(in_double(x)), least)
    return result


def size(x: Array) -> float:
    """Return the largest |x|, NaN where there is one."""
    return float(numpy.max(numpy.abs(in_double(x)), initial=0.0))


def largest_of(numbers: Array) -> float:
    """Return the largest of some numbers, infinity where one is NaN, 0 for none.

    >>> largest_of([1.0, float("nan")])
    inf
    """
    found = [math.inf if math.isnan(number) else number for number in numbers]
    return max(found, default=0.0)
