"""The paths of a run: protocols from the recipe's settings, and their layers fitted before the first block is drawn.

metrics.jsonl gets one `PathLine` for each path with fitted layers: an interrupted run goes on with these numbers.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy

from haarflow.backends.types import Params
from haarflow.core.chains.kernel import Kernel, Repeat
from haarflow.core.groups.additive import U1, Real
from haarflow.core.groups.sun import SU
from haarflow.core.parts import described
from haarflow.core.spaces import Space
from haarflow.flows.priors import FreeField, HaarLinks, UniformLinks
from haarflow.flows.stochastic.fitting import NotFitted, fitted
from haarflow.flows.stochastic.paths import Path, Step, path, spaced
from haarflow.flows.stochastic.starts import FromChain, FromPrior, Start
from haarflow.flows.stochastic.values import flat_numbers, with_numbers
from haarflow.flows.sun.gradient_sweep import SUNGradientSweep
from haarflow.flows.u1.gradient_sweep import GradientSweep
from haarflow.run import sampler_settings
from haarflow.run.build import Plan, Setup
from haarflow.run.kernels import KERNELS, Proposal, in_turn
from haarflow.run.progress import Progress
from haarflow.run.records import PathLine
from haarflow.run.runfolder import RunFolder
from haarflow.run.target import Target


def check_paths(target: Target) -> None:
    """Raise ValueError for paths of a recipe that cannot be made, before anything is written; see `protocol`."""
    for name, words in target.recipe.samplers.items():
        if isinstance(words, sampler_settings.Path):
            protocol(target, name)


def with_paths(setup: Setup, folder: RunFolder, progress: Progress) -> Setup:
    """Return the set-up with the proposals of its paths, fitted now or read from the log."""
    plans = {name: plan for name, plan in setup.plans.items() if isinstance(plan.settings, sampler_settings.Path)}
    made = {name: _proposal(setup, plan, folder, progress) for name, plan in plans.items()}
    return dataclasses.replace(setup, proposals={**setup.proposals, **made})


def protocol(target: Target, name: str) -> Path:
    """Return the path of a sampler's settings, its layers as they are before they are fitted.

    Raises ValueError for couplings that the theory does not have, for a start where nothing can be drawn, and for
    layers that do not exist for the theory.

    >>> from haarflow.run.recipes import load
    >>> from haarflow.run.target import target_of
    >>> protocol(target_of(load("u1-path")), "path").start.prior
    UniformLinks(lattice=(16, 16))
    """
    words, theory = target.recipe.samplers[name], target.theory
    if unknown := [one for one in words.first if one not in target.couplings]:
        raise ValueError(
            f"samplers.{name}.first: there is no coupling {unknown[0]!r}; there are {', '.join(target.couplings)}"
        )
    first = target.couplings | {one: float(value) for one, value in words.first.items()}
    kernel, flow = _kernel(target, words), _layer(target, words, name)
    start: Start = _start(target, name, first) if not words.chain else FromChain(_moving(kernel, name), words.chain)
    numbers = None if flow is None else {"c": 0.0}
    steps = [Step(at, flow, numbers, kernel) for at in spaced(first, target.couplings, words.steps, words.power)]
    return path(theory, start, first, steps, words.population, words.resample, target.couplings)


def _moving(kernel: Kernel | None, name: str) -> Kernel:
    if kernel is None:
        raise ValueError(
            f"samplers.{name}.chain: paths from a chain need a kernel: name one in samplers.{name}.kernels"
        )
    return kernel


def _kernel(target: Target, words: sampler_settings.Path) -> Kernel | None:
    """The kernels of one step, None where there are none."""
    settings: dict[str, Any] = {
        "hmc": sampler_settings.HMC(steps=words.trajectory, step_size=words.step_size),
        "heatbath": sampler_settings.HeatBath(overrelaxation=words.overrelaxation),
        "metropolis": sampler_settings.Metropolis(width=words.width),
    }
    if not words.kernels:
        return None
    whole = in_turn(KERNELS[word].make(target.theory, target.couplings, settings[word], None) for word in words.kernels)
    return whole if words.sweeps == 1 else Repeat(whole, words.sweeps)


def _layer(target: Target, words: sampler_settings.Path, name: str) -> Any:
    if words.layers == "none":
        return None
    group = _group(target)
    if isinstance(group, U1):
        return GradientSweep(len(target.recipe.lattice))
    if isinstance(group, SU):
        return SUNGradientSweep(group.n, len(target.recipe.lattice))
    raise ValueError(
        f"samplers.{name}.layers: the gradient sweep is for links of U(1) and SU(N), got {target.name}: set layers = 'none'"
    )


def _start(target: Target, name: str, first: dict[str, float]) -> Start:
    """The prior that is e^{-S} at the couplings of the start: Haar links at beta = 0, a free field."""
    group, lattice = _group(target), target.recipe.lattice
    if isinstance(group, U1 | SU) and first.get("beta") == 0.0:
        return FromPrior(HaarLinks(lattice, group.n) if isinstance(group, SU) else UniformLinks(lattice))
    if isinstance(group, Real) and first.get("lam") == 0.0 and first.get("m2", 0.0) > 0.0:
        return FromPrior(FreeField(lattice, first["m2"]))
    at = ", ".join(f"{one} = {value:g}" for one, value in first.items())
    raise ValueError(
        f"samplers.{name}: paths start from an exact draw at beta = 0 of links, or at lam = 0, m2 > 0 of phi4, got {at}: set "
        f"samplers.{name}.first to such couplings, or samplers.{name}.chain to the warm-up of a chain there"
    )


def _group(target: Target) -> Any:
    """The group of the theory's fields, None for fields of several arrays."""
    space = described(target.theory).spaces
    return space.group if isinstance(space, Space) else None


def _proposal(setup: Setup, plan: Plan, folder: RunFolder, progress: Progress) -> Proposal:
    made, key = protocol(setup.target, plan.name), setup.stream(f"{plan.name} fit")
    model: Any = made  # what draws: blocks take any proposal
    params = made.init(key, setup.backend.dtype)
    if plan.settings.layers != "none":
        params = _with_layers(setup, plan, made, params, folder, progress)
    return Proposal(model, params, None)


def _with_layers(setup: Setup, plan: Plan, made: Path, params: Params, folder: RunFolder, progress: Progress) -> Params:
    line = folder.log().fitted(plan.name)
    if line is None:
        begun, pilot = time.process_time(), -(-plan.settings.pilot // made.population) * made.population
        with progress.task(f"layers of {plan.name}", 1, 0, setup.waiting) as task:
            key = setup.stream(f"{plan.name} fit")
            try:
                found = fitted(made, params, key, max(pilot, 2 * made.population), plan.settings.degree)
            except NotFitted as failure:
                raise NotFitted(f"samplers.{plan.name}: {failure}") from None
            task.advance({})
        numbers = flat_numbers(found["0"]["flow"]).tolist()
        line = PathLine(plan.name, numbers, pilot, time.process_time() - begun)
        folder.write_line(line)
    return {**params, "0": {**params["0"], "flow": with_numbers(params["0"]["flow"], numpy.asarray(line.numbers))}}
