"""Laws of paths between couplings, where Z of both ends is known: Jarzynski's and Crooks' relations for any protocol.

They are statements about ensembles of paths and hold for protocols as badly tuned as one likes, as long as weights do
not become so uneven that no draws can tell; the protocols checked are short and far from equilibrium.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.core import random
from haarflow.core.laws.law import Given, Law, Verdict, judge, to_host
from haarflow.core.parts import described
from haarflow.core.statistics import bennett, ess
from haarflow.flows.laws.weights import PULLS, mean_weight_is_z
from haarflow.flows.sampling.draws import draw
from haarflow.flows.stochastic.paths import START, Path
from haarflow.flows.stochastic.values import at_couplings

DRAWS = 2048
LIMIT = 5.0  # standard errors
ROUNDING = 1e4


@dataclass(frozen=True)
class KnownPath:
    """A path with ln Z of its end (over that of its start, where it starts from equilibrium), exact draws of the end and means.

    `exact(key, n)` returns configurations `(n, *field_shape)` of e^{-S} at the end, None where there are none; `means`
    are exact means of observables there. `at(couplings)` gives exact draws at a step's couplings, by which the law
    finds a kernel that moves its step's weight; None: `exact` alone.
    """

    path: Path
    couplings: Mapping[str, float] = field(compare=False)
    log_z: float = 0.0
    means: Mapping[str, float] = field(default_factory=dict, compare=False)
    draws_at: Callable[[Mapping[str, float]], Callable[[Any, int], Any]] | None = field(default=None, compare=False)

    def params(self, given: Given) -> Any:
        """Return the protocol's numbers on the backend."""
        return self.path.init(random.key(given.seed, given.backend), given.dtype)

    def forward(self, given: Given) -> Any:
        """Return the draws of paths, fields and log weights."""
        return draw(self.path, self.params(given), self.path.theory, given.key(21), DRAWS, self.couplings)

    def exact(self, given: Given, couplings: Mapping[str, float], salt: int) -> Any:
        """Return exact draws at some couplings on the backend."""
        assert self.draws_at is not None
        host = backends.get("numpy")
        drawn = self.draws_at(couplings)(random.fold_in(random.key(given.seed, host), salt), DRAWS)
        return tree_map(lambda part: given.array(to_host(part)), drawn)


def mean_path_weight(log_w: Any, log_z: float, population: int = 1) -> Verdict:
    """E[e^{-W} w_0] = Z_n for any protocol; populations are the independent draws.

    >>> mean_path_weight(numpy.log([0.5, 1.5] * 50), 0.0).passed
    True
    """
    rows = numpy.asarray(log_w, dtype="float64").reshape(-1, population)
    top = rows.max(axis=1, keepdims=True)
    found = mean_weight_is_z(top[:, 0] + numpy.log(numpy.exp(rows - top).mean(axis=1)), log_z)
    return judge(mean_path_weight, found.residual, LIMIT, PULLS, ess=ess(log_w))


def weighted_mean(log_w: Any, values: Mapping[str, Any], means: Mapping[str, float], population: int = 1) -> Verdict:
    """E[w O] / E[w] = the exact mean of O at the end of the path.

    >>> weighted_mean(numpy.zeros(100), {"O": numpy.asarray([1.0, -1.0] * 50)}, {"O": 0.0}).passed
    True
    """
    w = numpy.exp(numpy.asarray(log_w, dtype="float64") - numpy.max(log_w))
    rows, pulls = w.reshape(-1, population).sum(axis=1), {}
    for name, exact in means.items():
        terms = (w * (numpy.asarray(values[name], dtype="float64") - exact)).reshape(-1, population).sum(axis=1)
        error = math.sqrt(float((terms**2).sum()))
        pulls[name] = abs(float(terms.sum())) / error if error > 1e-13 * float(rows.sum()) else 0.0
    worst = max(pulls, key=lambda name: pulls[name])
    return judge(weighted_mean, pulls[worst], LIMIT, f"{PULLS}; worst: {worst}")


def crooks_bounds(log_w: Any, reverse: Any, log_z: float) -> Verdict:
    """E_F[log w] <= ln Z_n <= E_R[log w], and Bennett's bridge between both kinds of paths is ln Z_n.

    >>> crooks_bounds(numpy.zeros(100), numpy.zeros(100), 0.0).passed
    True
    """
    own, back = (numpy.asarray(one, dtype="float64") for one in (log_w, reverse))
    rounding = 1e-9 * (1.0 + float(numpy.abs(own).max()))
    errors = [max(float(one.std()) / math.sqrt(one.size), rounding) for one in (own, back)]
    below, above = (float(own.mean()) - log_z) / errors[0], (log_z - float(back.mean())) / errors[1]
    found = bennett(own, back[None, :])
    if found.value is None:
        return judge(crooks_bounds, math.inf, LIMIT, PULLS, note=found.note)
    bridge = abs(found.value - log_z) / max(found.error or 0.0, rounding)
    return judge(crooks_bounds, max(below, above, bridge), LIMIT, PULLS, bridge=found.value, below=below, above=above)


def deterministic_weight(path: Path, params: Any, key: Any, epsilon: float) -> Verdict:
    """Without kernels log w = log w_0 + S_0(x) - S_n(f(x)) + log_det of all flows in turn.

    On the same start, by a plain loop over the steps.
    """
    bare = replace(
        path, resample=0.0, stretches=tuple(replace(stretch, kernel=None) for stretch in path.stretches), population=1
    )
    start = random.fold_in(key, START)
    x, log_w = path.start.draw(params["start"], start, 8, 1, path.theory, params["first"])
    log_w, total = log_w + path.theory.action(x, params["first"]), 0.0
    for index, stretch in enumerate(path.stretches):
        for number in range(stretch.steps):
            row = tree_map(lambda leaf: leaf[(number, ...)], params[str(index)])  # noqa: B023 (used at once)
            couplings = dict(row["couplings"])
            if stretch.flow is not None:
                x, log_det = stretch.flow.forward(row["flow"], x, couplings)
                total = total + log_det
    action = path.theory.action(x, couplings)
    found = to_host(bare.draw(params, key, 8).log_w) - to_host(log_w - action + total)
    scale = 1.0 + float(numpy.abs(to_host(action)).max())
    return judge(deterministic_weight, found / scale, ROUNDING * epsilon * path.steps, "rounding of the actions")


def kernels_keep_their_weights(obj: KnownPath, given: Given) -> Verdict:
    """The kernel of step k leaves e^{-S_k} invariant: one step from exact draws changes no mean of an observable.

    Means before and after the step, of S_k and of the theory's observables; `step`, `couplings` and `observable` name
    the counterexample.
    """
    params = obj.params(given)
    worst: tuple[float, int, str, dict[str, float]] = (0.0, 0, "", {})
    for index, stretch in enumerate(obj.path.stretches):
        if stretch.kernel is None:
            continue
        for number in sorted({0, stretch.steps - 1}):
            row = tree_map(lambda leaf: leaf[(number, ...)], params[str(index)])  # noqa: B023 (used at once)
            at = {name: float(to_host(value)) for name, value in row["couplings"].items()}
            x = obj.exact(given, at, 31 + number)
            moved = _kernel_step(obj.path, stretch, given.key(41 + number), x, row)
            pull, name = _largest_change(obj.path.theory, x, moved, row["couplings"])
            worst = max(worst, (pull, number + 1, name, at), key=lambda found: found[0])
    pull, step, name, at = worst
    where = (
        f"; worst: {name} in step {step} at {', '.join(f'{one} = {value:g}' for one, value in at.items())}"
        if at
        else ""
    )
    return judge(kernels_keep_their_weights, pull, LIMIT, PULLS + where, step=step, couplings=at, observable=name)


def _kernel_step(path: Path, stretch: Any, key: Any, x: Any, row: Any) -> Any:
    kernel = stretch.kernel.with_values(at_couplings(row["kernel"], dict(row["couplings"])))
    return kernel.step(key, kernel.init(x))[0].field


def _largest_change(theory: Any, x: Any, moved: Any, couplings: Any) -> tuple[float, str]:
    measure = described(theory).observables
    tables = [
        {"action": theory.action(one, dict(couplings))} | (measure(one, dict(couplings)) if measure else {})
        for one in (x, moved)
    ]
    pulls = {}
    for name in tables[0]:
        before, after = (to_host(table[name]).astype("float64").reshape(DRAWS, -1).sum(axis=1) for table in tables)
        change = after - before
        error = float(change.std()) / math.sqrt(DRAWS)
        pulls[name] = abs(float(change.mean())) / error if error > 1e-13 * (1.0 + float(abs(before).max())) else 0.0
    name = max(pulls, key=lambda one: pulls[one])
    return pulls[name], name


def _mean(obj: KnownPath, given: Given) -> Verdict:
    return mean_path_weight(to_host(obj.forward(given).log_w), obj.log_z, obj.path.population)


def _observables(obj: KnownPath, given: Given) -> Verdict:
    draws, measure = obj.forward(given), described(obj.path.theory).observables
    assert measure is not None
    values = {name: to_host(one) for name, one in measure(draws.field, obj.couplings).items() if name in obj.means}
    return weighted_mean(to_host(draws.log_w), values, obj.means, obj.path.population)


def _crooks(obj: KnownPath, given: Given) -> Verdict:
    params, x = obj.params(given), obj.exact(given, obj.couplings, 30)
    reverse = obj.path.reverse(params, given.key(22), x)
    return crooks_bounds(to_host(obj.forward(given).log_w), to_host(reverse), obj.log_z)


def _deterministic(obj: KnownPath, given: Given) -> Verdict:
    return deterministic_weight(obj.path, obj.params(given), given.key(23), given.epsilon)


def _has_means(obj: KnownPath) -> str | None:
    return None if obj.means else "no exact means are known"


def _has_draws(obj: KnownPath) -> str | None:
    return None if obj.draws_at else "no exact draws are known"


def _has_reverse(obj: KnownPath) -> str | None:
    return _has_draws(obj) or ("a path with resampling has no reverse path" if obj.path.resample else None)


PATH_LAWS: tuple[Law, ...] = (
    Law(deterministic_weight, _deterministic),
    Law(mean_path_weight, _mean, sampled=True),
    Law(weighted_mean, _observables, _has_means, sampled=True),
    Law(crooks_bounds, _crooks, _has_reverse, sampled=True, programs=True),
    Law(kernels_keep_their_weights, kernels_keep_their_weights, _has_draws, sampled=True, programs=True),
)
