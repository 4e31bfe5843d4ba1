"""Paths between couplings: one runner for non-equilibrium Monte Carlo, stochastic flows, annealing and sequential Monte Carlo.

A protocol starts at couplings 0 and takes steps k = 1 ... n, each with its couplings, a flow f_k or none, and a Markov
kernel that leaves e^{-S_k} invariant or none:

    y = f_k(x_{k-1}),     x_k ~ kernel_k(y),     W = sum_k [S_k(f_k x_{k-1}) - S_{k-1}(x_{k-1}) - log_det_k],

and a path is a draw of e^{-S_n} with log w = log w_0 - W, w_0 the weight with which it started: E[w] = Z_n for a start
from a density, Z_n/Z_0 for one from equilibrium, whatever the protocol. Without flows this is Jarzynski's relation
(annealed importance sampling), without kernels a flow, with both a stochastic normalizing flow. Where the effective
sample size of a population of paths falls below a share `resample` of it, the paths are drawn anew with their weights
(sequential Monte Carlo).

`Path.reverse` is Crooks' path, from draws of e^{-S_n} back to the start by the inverse flows and the kernels'
reversals. Its log w is what `free_energy` takes from draws of the target: E_R[1/w] = 1/Z_n, and with the paths' own
weights Bennett's bridge.

Sources: arXiv:2201.08862 (stochastic flows on the lattice), 2210.03139, 2412.00200; Jarzynski, cond-mat/9610209;
Crooks, cond-mat/9901352; annealed importance sampling, physics/9803008.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Condition, Couplings, Key, Params, Theory, Tree
from haarflow.backends.types import Kernel as Kernel
from haarflow.core import random
from haarflow.core.acceleration import accelerated
from haarflow.core.chains.reversal import reversal
from haarflow.flows.proposals import Draws
from haarflow.flows.stochastic.resampling import resampled, running_ess
from haarflow.flows.stochastic.starts import Start
from haarflow.flows.stochastic.values import at_couplings, on_backend, stacked

START, RESAMPLING = 0x73746172, 0x72657361  # folded into the key of a draw, and into that of a step


class Step(NamedTuple):
    """One step of a protocol: the couplings that it reaches, a flow with its parameters, a kernel; None stands for none.

    The kernel runs at the step's couplings, whatever its own values say of them.
    """

    couplings: Mapping[str, float]
    flow: Any = None
    params: Params = None
    kernel: Any = None


@dataclass(frozen=True)
class Stretch:
    """Consecutive steps alike but for their numbers: the flow and the kernel, without values, of all of them."""

    flow: Any
    kernel: Any
    steps: int


class Moment(NamedTuple):
    """A path under way: the field, log w so far, and the couplings reached."""

    field: Tree
    log_w: Array
    couplings: dict[str, Array]


@dataclass(frozen=True)
class Path:
    """A protocol as a proposal, made by `path`; `values` are its numbers, which `init` puts on a backend.

    Draws come in populations of `population` that may depend on one another: by resampling, or as they start from one
    chain.
    """

    theory: Theory
    start: Start
    stretches: tuple[Stretch, ...]
    population: int = 1
    resample: float = 0.0
    values: Any = field(default=None, compare=False, repr=False)

    @property
    def steps(self) -> int:
        """The number of steps."""
        return sum(stretch.steps for stretch in self.stretches)

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the protocol's numbers on the key's backend: couplings, parameters of flows, values of kernels."""
        return {"start": self.start.init(key, dtype)} | on_backend(self.values, key, dtype)

    def draw(self, params: Params, key: Key, n: int, couplings: Couplings = None, condition: Condition = None) -> Draws:
        """Return the ends of n paths with their log weights; `couplings` and `condition` are the protocol's own.

        `info` holds the running effective sample size at the end, that of each path's population.
        Raises ValueError for n that is no multiple of the population.
        """
        if n % self.population:
            raise ValueError(f"paths come in populations of {self.population}, got n = {n}: ask for a multiple")
        moment = self.begun(params, key, n)
        for index, (stretch, numbers) in enumerate(zip(self.stretches, _numbers(params), strict=True)):
            moment = self._along(stretch, numbers, random.fold_in(key, index), moment)
        share = running_ess(moment.log_w, self.population)
        return Draws(moment.field, moment.log_w, info={"running_ess": share})

    def begun(self, params: Params, key: Key, n: int) -> Moment:
        """Return n paths at their start."""
        first = params["first"]
        x, log_w = self.start.draw(params["start"], random.fold_in(key, START), n, self.population, self.theory, first)
        return Moment(x, log_w, dict(first))

    def _along(self, stretch: Stretch, numbers: Tree, key: Key, moment: Moment) -> Moment:
        def body(moment: Moment, row: Tree) -> tuple[Moment, None]:
            return self.step(stretch, random.fold_in(key, row["number"]), moment, row), None

        moved: Moment = backends.of(key).scan(body, moment, _counted(numbers, key, stretch.steps))[0]
        return moved

    def step(self, stretch: Stretch, key: Key, moment: Moment, row: Tree) -> Moment:
        """Return the paths after one step with the numbers of `row`: `couplings`, `flow`, `kernel`."""
        theory, (x, log_w, now), new = accelerated(self.theory), moment, dict(row["couplings"])
        y, log_det = (x, 0.0) if stretch.flow is None else stretch.flow.forward(row["flow"], x, new)
        log_w = log_w + theory.action(x, now) - theory.action(y, new) + log_det
        if self.resample:
            y, log_w = resampled(random.fold_in(key, RESAMPLING), y, log_w, self.population, self.resample)
        if stretch.kernel is not None:
            kernel = stretch.kernel.with_values(at_couplings(row["kernel"], new))
            y = kernel.step(key, kernel.init(y))[0].field
        return Moment(y, log_w, new)

    def reverse(self, params: Params, key: Key, x: Tree) -> Array:
        """Return log w `(n,)` of Crooks' paths from configurations `(n, *field_shape)` of the target back to the start.

        The start must be a density. Raises ValueError for a path with resampling, and for a kernel whose reversal is
        not known.
        """
        if self.resample:
            raise ValueError("Crooks' reverse path is of a protocol without resampling: set resample=0")
        log_w = 0.0
        ends = [dict(params["first"]), *(_row(numbers["couplings"], -1) for numbers in _numbers(params))]
        for number in reversed(range(len(self.stretches))):
            numbers, stretch = _numbers(params)[number], self.stretches[number]
            before = _shifted(ends[number], numbers["couplings"])
            rows = _counted({**numbers, "before": before}, key, stretch.steps)
            flipped = tree_map(lambda leaf: array_namespace(leaf).flip(leaf, axis=0), rows)
            x, log_w = self._back(stretch, flipped, random.fold_in(key, number), x, log_w)
        return log_w + self.start.weigh(params["start"], x, self.theory, dict(params["first"]))

    def _back(self, stretch: Stretch, rows: Tree, key: Key, x: Tree, log_w: Array) -> tuple[Tree, Array]:
        theory = accelerated(self.theory)

        def body(carry: tuple[Tree, Array], row: Tree) -> tuple[tuple[Tree, Array], None]:
            (y, log_w), new, now = carry, dict(row["couplings"]), dict(row["before"])
            if stretch.kernel is not None:
                kernel = reversal(stretch.kernel).with_values(at_couplings(row["kernel"], new))
                y = kernel.step(random.fold_in(key, row["number"]), kernel.init(y))[0].field
            x, back = (y, 0.0) if stretch.flow is None else stretch.flow.inverse(row["flow"], y, new)
            return (x, log_w + theory.action(x, now) - theory.action(y, new) - back), None

        start = 0.0 * theory.action(x, _row(rows["couplings"], 0)) + log_w
        carry: tuple[Tree, Array] = backends.of(key).scan(body, (x, start), rows)[0]
        return carry


def path(
    theory: Theory,
    start: Start,
    first: Mapping[str, float],
    steps: Iterable[Step],
    population: int = 1,
    resample: float = 0.0,
    last: Mapping[str, float] | None = None,
) -> Path:
    """Return the path of a protocol: a start, the couplings there, and steps. Steps alike but for their numbers are one program.

    `last` are the couplings at which it has to end. Raises ValueError for no steps, couplings that are not finite or
    not those of all steps, an end at other couplings than `last`, and for a population or a share that make no sense.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.chains.heatbath_u1 import U1HeatBath
    >>> from haarflow.flows.priors import UniformLinks
    >>> from haarflow.flows.stochastic.starts import FromPrior
    >>> from haarflow.theories import U1Gauge
    >>> theory = U1Gauge((4, 4))
    >>> steps = [Step({"beta": beta}, kernel=U1HeatBath(theory)) for beta in (0.5, 1.0)]
    >>> jarzynski = path(theory, FromPrior(UniformLinks((4, 4))), {"beta": 0.0}, steps)
    >>> key = random.key(0, backend)
    >>> jarzynski.steps, jarzynski.draw(jarzynski.init(key), key, 5).log_w.shape
    (2, (5,))
    """
    steps, first = list(steps), _finite(first)
    _check(first, steps, population, resample, last)
    groups = [list(alike) for _, alike in groupby(steps, _form)]
    stretches = tuple(Stretch(*_form(alike[0]), len(alike)) for alike in groups)
    values = {"first": first} | {str(index): _stack(alike) for index, alike in enumerate(groups)}
    return Path(theory, start, stretches, int(population), float(resample), values)


def spaced(
    first: Mapping[str, float], last: Mapping[str, float], steps: int, power: float = 1.0
) -> list[dict[str, float]]:
    """Return the couplings of `steps` steps from `first`, which is not among them, to `last`: c_0 + (c_1 - c_0) (k/n)^power.

    >>> spaced({"beta": 0.0}, {"beta": 2.0}, 2, power=2.0)
    [{'beta': 0.5}, {'beta': 2.0}]
    """
    shares = [(k / steps) ** power for k in range(1, steps)]
    between = [{name: first[name] + share * (last[name] - first[name]) for name in last} for share in shares]
    return [*between, dict(last)]


def _form(step: Step) -> tuple[Any, Any]:
    """What the program of a step depends on."""
    return step.flow, None if step.kernel is None else step.kernel.with_values(None)


def _stack(alike: Sequence[Step]) -> dict[str, Any]:
    """The numbers of alike steps, stacked; the couplings of kernels are those of the steps."""
    return {
        "couplings": stacked([_finite(step.couplings) for step in alike]),
        "flow": stacked([step.params for step in alike]),
        "kernel": stacked([None if step.kernel is None else _without_couplings(step.kernel.values) for step in alike]),
    }


def _without_couplings(values: Any) -> Any:
    if isinstance(values, tuple):
        return tuple(map(_without_couplings, values))
    return {name: value for name, value in (values or {}).items() if name != "couplings"}


def _finite(couplings: Mapping[str, float]) -> dict[str, float]:
    found = {str(name): float(value) for name, value in couplings.items()}
    if wrong := [name for name, value in found.items() if not math.isfinite(value)]:
        raise ValueError(f"the couplings of a protocol are finite numbers, got {wrong[0]} = {found[wrong[0]]}")
    return found


def _check(
    first: Mapping[str, float], steps: list[Step], population: int, resample: float, last: Mapping[str, float] | None
) -> None:
    if not steps:
        raise ValueError("a protocol has at least one step, got none")
    for number, step in enumerate(steps, 1):
        if step.couplings.keys() != first.keys():
            raise ValueError(
                f"every step of a protocol has the couplings of its start, {', '.join(first)}, got "
                f"{', '.join(step.couplings) or 'none'} in step {number}"
            )
    if last is not None and _finite(steps[-1].couplings) != _finite(last):
        raise ValueError(
            f"the protocol ends at {_said(steps[-1].couplings)}, wanted {_said(last)}: add a step to there"
        )
    if int(population) != population or population < 1 or not 0.0 <= resample <= 1.0:
        raise ValueError(
            f"a population has 1 or more paths and is resampled below a share of 0 to 1, got {population} and {resample}"
        )
    if resample and population == 1:
        raise ValueError("resampling wants a population of two paths or more, got population = 1")


def _said(couplings: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in couplings.items())


def _numbers(params: Params) -> list[Tree]:
    """The numbers of all stretches, in order."""
    return [params[str(index)] for index in range(len(params) - 2)]


def _counted(numbers: Tree, key: Key, steps: int) -> Tree:
    return {**numbers, "number": random.indices(key, steps)}


def _row(tree: Tree, index: int) -> Any:
    return tree_map(lambda leaf: leaf[(index, ...)], tree)


def _shifted(first: Tree, couplings: Tree) -> Tree:
    """The couplings before each step."""
    return tree_map(
        lambda one, rows: array_namespace(rows).concat([array_namespace(rows).reshape(one, (1,)), rows[:-1]]),
        first,
        couplings,
    )
