"""What the laws of a flow share: the fields and parameters of a `Given`, and bounds on rounding errors.

A law is checked on a flow whose functions the backend compiles once (flows/laws/compiled_flow.py).
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
ROUNDING = f"{UNITS} ulp, times the slope of the result"


class Case(NamedTuple):
    """A flow and concrete input, the arguments of every law of a flow. `x` is `(batch, *field_shape)`."""

    flow: Bound
    params: Params
    x: Array
    condition: Condition
    group: Group


def case(model: Model, given: Given, salt: int = 0, share: float = 1.0) -> Case:
    """Return a model's flow with the parameters, fields and condition of a `Given`, bound to its backend.

    Large parameters of real fields are halved until the flow and its inverse map numbers of order one to numbers below
    TALL: stacked affine couplings multiply by e^s with s linear in the output of the previous one. A NaN that has another
    cause is not removed by this.
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
    """Return parameters drawn by `init` plus normal noise; at the size zero all of them vanish.

    The standard deviation of the noise is that of the size divided by the root of a weight's number of inputs, so that
    SPREAD is about that of an output. Finally all parameters are multiplied by `share`.

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
    """Return fields in the style of `given`; huge real numbers are used only with parameters near the identity.

    An affine coupling multiplies by e^s with s linear in its context: at 30 and with large weights it overflows. Raises
    TooLarge if a batch, and the copies that a law makes, exceed a law's memory.
    """
    check_size(model.prior, given.batch)
    bounded = model.prior.group.name != "Real" or given.size in ("zero", "small")
    style = "haar" if given.style == "huge" and not bounded else given.style
    return dataclasses.replace(given, style=style).field(model.prior.group, model.prior.field_shape, salt)


def check_size(prior: Prior, n: int) -> None:
    """Raise TooLarge if n fields of a prior, and the copies that a law makes, exceed a law's memory.

    >>> from haarflow.flows.priors import Gaussian
    >>> check_size(Gaussian((8, 8)), 3)
    """
    shape = tuple(prior.field_shape)
    fits(n * LEAST * NUMBER * math.prod(shape), f"{n} fields {shape} and their copies")


def condition_names(flow: Any) -> tuple[str, ...]:
    """Return the couplings on which a flow or any of its parts is conditioned.

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
    """Return a batch of values between 1/2 and 2 for each coupling on which the flow is conditioned, None for none."""
    generator = given.generator(8)
    names = condition_names(model.flow)
    return {name: given.array(generator.uniform(0.5, 2.0, given.batch)) for name in names} or None


def computed_in(flow: Any, x: Array) -> str:
    """Return the precision in which a flow computes: the field's, or single if one of its nets does (`net_precision`).

    A coupling and its inverse evaluate the same net, and are checked in the field's precision; two evaluations of the net,
    on different backends or in different batches, differ by the net's precision.

    >>> from haarflow.flows.nets import ConvNet
    >>> computed_in(ConvNet(1, (1, 2), net_precision="float32"), numpy.zeros(2))
    'float32'
    """
    if traits(flow).net_precision == "float32":
        return "float32"
    precisions = {computed_in(part, x) for part in parts_of(flow) if dataclasses.is_dataclass(part)}
    return "float32" if "float32" in precisions else precision_of(x)


def nearby(x: Array, seed: int = 0, precision: str | None = None) -> Array:
    """Return a field with every value x shifted by up to UNITS ulp of max(|x|, 1), with a random sign.

    The shifts differ in size: equal ones would cancel in differences of links.
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
    """Bounds on the rounding errors of a map, on the host: of each component of the field, and of log_det."""

    field: numpy.ndarray
    log_det: numpy.ndarray


def reach(
    function: Callable[..., Any],
    x: Array,
    group: Any,
    result: tuple[Any, ...] | None = None,
    precision: str | None = None,
) -> Reach:
    """Return bounds on the rounding errors of `function(x) -> (y, log_det)`: UNITS ulp of the results, and four times
    the change of each number when the argument is shifted by UNITS ulp, in the field's precision or in `precision`.

    All components of one field, and all log-determinants of one batch, are allowed the largest of their errors as far as
    slopes are below STEEP; a steeper slope, or a discontinuity, raises only its own bound.
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
    """The difference that is largest in units of its bound, and that bound."""

    residual: float
    allowed: float

    @property
    def ratio(self) -> float:
        """The difference in units of its bound, infinite for NaN."""
        return largest_of([self.residual / self.allowed])


def worst(difference: Any, allowed: Any) -> Worst:
    """Return the entry of a difference that is largest in units of its bound; NaN and infinity are largest of all.

    >>> worst([1.0, -3.0], [0.5, 2.0])
    Worst(residual=1.0, allowed=0.5)
    """
    off = numpy.abs(in_double(difference))
    limit = numpy.broadcast_to(to_host(allowed).astype("float64"), off.shape)
    if off.size == 0:
        return Worst(0.0, 1.0)
    ratios = numpy.where(numpy.isfinite(off / limit), off / limit, numpy.inf)
    index = int(numpy.argmax(ratios))
    return Worst(float(off.ravel()[index]), float(limit.ravel()[index]))


def _at_least(x: Array, least: float) -> numpy.ndarray:
    result: numpy.ndarray = numpy.maximum(numpy.abs(in_double(x)), least)
    return result


def size(x: Array) -> float:
    """Return the largest |x|, NaN if there is one."""
    return float(numpy.max(numpy.abs(in_double(x)), initial=0.0))


def largest_of(numbers: Array) -> float:
    """Return the largest of some numbers, infinity if one is NaN, 0 for none.

    >>> largest_of([1.0, float("nan")])
    inf
    """
    comparable = [math.inf if math.isnan(number) else number for number in numbers]
    return max(comparable, default=0.0)
