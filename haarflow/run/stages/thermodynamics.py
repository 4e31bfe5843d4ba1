"""ln Z on several lattices or at several couplings, by the flow's draws and by integration over couplings with a chain.

Between couplings c(s) = c_0 + s (c_1 - c_0) an action that is linear in its couplings has

    d ln Z/ds = -<S(c_1) - S(c_0)>_s,

which the chain measures from couplings where ln Z is known, its fields carried from one s to the next. The flow gives ln Z
= ln <w> at each point alone: its model is opened on the point's lattice and told the point's couplings. metrics.jsonl gets one
`ThermodynamicsLine` for each point and method: an interrupted run goes on with the next.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Tree
from haarflow.core import random, statistics
from haarflow.core.chains import kernel as kernels
from haarflow.core.chains import warmup
from haarflow.core.parts import described
from haarflow.core.statistics import Estimate
from haarflow.flows.sampling.draws import draw
from haarflow.run import samplers
from haarflow.run.build import Setup
from haarflow.run.chains import chain_of
from haarflow.run.models import opened_model, refuse_extrapolation
from haarflow.run.progress import Progress
from haarflow.run.records import ThermodynamicsLine
from haarflow.run.runfolder import RunFolder
from haarflow.run.settings import Recipe, Thermodynamics
from haarflow.run.target import Target, target_of

SITES = 2**18  # of one block of the flow's draws
LINEAR = 1e-6  # relative departure of an action from a straight line between couplings, single precision included


class Point(NamedTuple):
    """Where ln Z is wanted: a lattice, and the value of the coupling along a curve."""

    lattice: tuple[int, ...]
    value: float | None = None


def points(recipe: Recipe, words: Thermodynamics) -> list[Point]:
    """Return the points of a recipe: for each extent the lattice and a wider one, or the values of a coupling.

    >>> from haarflow.run.recipes import load
    >>> recipe = load("phi4-thermodynamics")
    >>> points(recipe, recipe.thermodynamics)[:2]
    [Point(lattice=(2, 8), value=None), Point(lattice=(2, 10), value=None)]
    """
    _, *space = recipe.lattice
    wider = [words.wider + space[0], *space[1:]] if space else []
    lattices = [(extent, *other) for extent in words.extents for other in (space, wider)]
    values = [value for every in words.along.values() for value in every]
    return [Point(tuple(one)) for one in lattices] + [Point(recipe.lattice, value) for value in values]


def at(target: Target, point: Point) -> Target:
    """Return the target at a point."""
    moved = target_of(target.recipe, point.lattice)
    if point.value is None:
        return moved
    along = target.recipe.thermodynamics.along if target.recipe.thermodynamics else {}
    return dataclasses.replace(moved, couplings=moved.couplings | dict.fromkeys(along, point.value))


def check_thermodynamics(target: Target) -> None:
    """Raise ValueError for an integration that cannot start, before anything is written; see `measure_thermodynamics`."""
    words = target.recipe.thermodynamics
    if words is None or not words.first:
        return
    key = random.key(0, backends.get("numpy"))
    for point in points(target.recipe, words):
        there = at(target, point)
        _known(there, there.hot_start(key, 1, "float64"), there.couplings | words.first, there.couplings)


def measure_thermodynamics(setup: Setup, words: Thermodynamics, folder: RunFolder, progress: Progress) -> None:
    """Write the lines of all points and methods that the log does not have yet.

    Raises ValueError where ln Z is not known at the couplings from which chains start, and for an action that is not
    linear in its couplings.
    """
    wanted = points(setup.recipe, words)
    known = {(line.method, tuple(line.lattice), line.value) for line in folder.log().thermodynamics}
    methods = [name for name, used in (("flow", words.draws), ("integration", words.first)) if used]
    with progress.task("thermodynamics", len(wanted) * len(methods), len(known), setup.waiting) as task:
        for method in methods:
            missing = [point for point in wanted if (method, point.lattice, point.value) not in known]
            lines = _by_flow(setup, words, folder, missing) if method == "flow" else _integrated(setup, words, missing)
            for line in lines:
                folder.write_line(line)
                task.advance({} if line.log_z is None else {"ln Z": line.log_z})
                progress.stop.check()


def _by_flow(
    setup: Setup, words: Thermodynamics, folder: RunFolder, wanted: list[Point]
) -> Iterator[ThermodynamicsLine]:
    """ln Z, <S> and the slope by the flow's weights."""
    name = str(folder.model) if setup.recipe.flow else setup.recipe.model
    for point in wanted:
        begun, target = time.process_time(), at(setup.target, point)
        opened = opened_model(name, target, setup.own)
        if not setup.recipe.extrapolate:
            refuse_extrapolation(name, opened.card, target.couplings)
        condition = {word: target.couplings[word] for word in opened.card.get("condition") or ()} or None
        params = tree_map(setup.backend.asarray, opened.params)
        block = max(1, min(words.draws, SITES // math.prod(point.lattice)))
        key, parts = setup.stream(f"thermodynamics {point}"), []
        low, high = _ends(target.couplings, words)
        measure = _difference(target.theory, tuple(low.items()), tuple(high.items()))
        for index in range(-(-words.draws // block)):
            own = random.fold_in(key, index)
            one = draw(opened.model, params, target.theory, own, block, target.couplings, condition, measure)
            parts.append([setup.backend.to_numpy(part) for part in (one.log_w, *one.observables)])
        log_w, *actions = (numpy.concatenate(part) for part in zip(*parts, strict=True))
        weights = statistics.weights_of(log_w)
        means = {
            word: statistics.reweight(weights, values) for word, values in _at(actions, target.couplings, words).items()
        }
        yield _line("flow", point, statistics.log_z(weights), means, weights.ess, time.process_time() - begun)


def _ends(couplings: Mapping[str, float], words: Thermodynamics) -> tuple[dict[str, float], dict[str, float]]:
    """The couplings at both ends of the curve; a point's own where there is none."""
    low, high = ({name: values[index] for name, values in words.along.items()} for index in (0, -1))
    return {**couplings, **low}, {**couplings, **high}


def _at(
    actions: list[numpy.ndarray], couplings: Mapping[str, float], words: Thermodynamics
) -> dict[str, numpy.ndarray]:
    """The action at a point and, along a curve, its derivative there, of the actions at both ends."""
    low, high = actions
    if not words.along:
        return {"action": low}
    ((name, values),) = words.along.items()
    slope = (high - low) / (values[-1] - values[0])
    return {"action": low + (couplings[name] - values[0]) * slope, "slope": slope}


def _integrated(setup: Setup, words: Thermodynamics, wanted: list[Point]) -> Iterator[ThermodynamicsLine]:
    """ln Z by the chain: a line to each lattice's couplings, or one along the whole curve."""
    if words.along and wanted:  # the curve is one line: all of it is measured again after an interruption
        ((name, values),) = words.along.items()
        low, high = words.first[name], values[-1]
        places = [0.0, *((value - low) / (high - low) for value in values)]
        ends = Point(setup.recipe.lattice, high)
        lines = _along(setup, words, ends, places, high - low)[1:]
        whole = [line._replace(value=value) for value, line in zip(values, lines, strict=True)]
        yield from (line for line in whole if Point(setup.recipe.lattice, line.value) in wanted)
        return
    for point in wanted:
        places = [(index / (words.points - 1)) ** 2 for index in range(words.points)]
        yield _along(setup, words, point, places, None)[-1]


def _along(
    setup: Setup, words: Thermodynamics, end: Point, places: list[float], scale: float | None
) -> list[ThermodynamicsLine]:
    """The lines at all places 0 ... 1 between the first couplings and those of a point; slopes per `scale`."""
    begun, target = time.process_time(), at(setup.target, end)
    first, last = target.couplings | words.first, target.couplings
    settings = chain_of(setup, words.sampler).settings
    key, theory = setup.stream(f"integration {end}"), target.theory
    field = target.hot_start(random.fold_in(key, len(places)), settings.chains, setup.backend.dtype)
    start = _known(target, field, first, last)
    measure, slopes, actions = _difference(theory, tuple(first.items()), tuple(last.items())), [], []
    for index, place in enumerate(places):
        couplings = _between(first, last, place)
        kernel = samplers.kernel(theory, couplings, settings)
        warm = max(5, words.sweeps // 4)
        stream = random.fold_in(key, index)
        field = field if index else _settled(kernel, random.fold_in(stream, warm), field, warm, measure, settings.thin)
        state, _ = kernels.run(kernel, stream, kernel.init(field), warm, 0, measure, settings.thin)
        state, records = kernels.run(kernel, stream, state, words.sweeps, warm, measure, settings.thin)
        field = state.field
        low, high = (setup.backend.to_numpy(part).T for part in records["observables"])
        slopes.append(statistics.gamma_method(low - high))
        actions.append(statistics.gamma_method(low + place * (high - low)))
    curve = statistics.integrated(start, places, slopes)
    spent = (time.process_time() - begun) / len(places)
    return [
        _line(
            "integration",
            end,
            log_z,
            {"action": action} if scale is None else {"action": action, "slope": scaled(slope, -1.0 / scale)},
            None,
            spent if scale is not None else spent * len(places),
        )
        for log_z, action, slope in zip(curve, actions, slopes, strict=True)
    ]


def _settled(kernel: Any, key: Array, field: Tree, draws: int, measure: Any, thin: int) -> Tree:
    """The fields after draws with a quarter of HMC's step size: at a disordered start the full one is never accepted."""
    if not warmup.has_step_size(kernel.values):
        return field
    gentler = kernel.with_values(warmup.with_step_size(kernel.values, lambda step_size: 0.25 * step_size))
    return kernels.run(gentler, key, gentler.init(field), draws, 0, measure, thin)[0].field


def _between(first: Mapping[str, float], last: Mapping[str, float], place: float) -> dict[str, float]:
    return {name: first[name] + place * (last[name] - first[name]) for name in last}


def _known(target: Target, field: Tree, first: Mapping[str, float], last: Mapping[str, float]) -> Estimate:
    """ln Z at the first couplings: its exact value, or 0 where links have no action."""
    theory, middle = target.theory, _between(first, last, 0.5)
    low, half, high = (theory.action(field, couplings) for couplings in (first, middle, last))
    off = abs(float((low + high - 2.0 * half)[0])) / (1.0 + abs(float(low[0])) + abs(float(high[0])))
    if off > LINEAR:
        raise ValueError(
            "thermodynamics.first: the action is not linear in the couplings between there and the theory's"
        )
    exact = described(theory).exact
    found = None if exact is None else exact(dict(first)).get("ln_Z")
    if found is not None:
        return Estimate(float(found), 0.0)
    space: Any = described(theory).spaces
    if getattr(getattr(space, "group", None), "name", "Real") not in ("Real", "Complex") and not float(abs(low[0])):
        return Estimate(0.0, 0.0)
    said = ", ".join(f"{name} = {value:g}" for name, value in first.items())
    raise ValueError(
        f"thermodynamics.first: ln Z is not known at {said}: start at beta = 0 of links, or at lam = 0, m2 > 0"
    )


@lru_cache(maxsize=16)
def _difference(theory: Any, first: tuple[tuple[str, float], ...], last: tuple[tuple[str, float], ...]) -> Any:
    """The function that measures the action at both ends of a line; the same object for the same line, so that it compiles once."""
    return lambda field: (theory.action(field, dict(first)), theory.action(field, dict(last)))


def _line(
    method: str, point: Point, log_z: Estimate, means: Mapping[str, Estimate], ess: float | None, cpu_s: float
) -> ThermodynamicsLine:
    action = means["action"]
    slope = scaled(means["slope"], -1.0) if "slope" in means else Estimate(None, None)
    note = "; ".join(dict.fromkeys(one.note for one in (log_z, action, slope) if one.note))
    return ThermodynamicsLine(
        method, list(point.lattice), point.value, log_z.value, log_z.error, action.value, action.error,
        slope.value, slope.error, ess, note, cpu_s,
    )  # fmt: skip


def scaled(one: Estimate, factor: float) -> Estimate:
    """Return the estimate of a multiple."""
    value, error = one.value, one.error
    return one._replace(
        value=None if value is None else factor * value, error=None if error is None else abs(factor) * error
    )
