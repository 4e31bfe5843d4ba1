"""How the Markov chains of a run begin, and the chain on whose configurations a flow is trained.

That chain is the recipe's, with random numbers and starts of its own: configurations on which a flow was trained never
serve the bounds on ln Z and the coverage, which would come out too good.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from haarflow.backends.tree import flatten, tree_map
from haarflow.backends.types import Tree
from haarflow.core import spaces
from haarflow.core.chains import kernel as kernels
from haarflow.core.chains import warmup
from haarflow.core.chains.kernel import Kernel
from haarflow.core.parts import described
from haarflow.run import replicas
from haarflow.run.build import Plan, Setup
from haarflow.run.progress import Progress
from haarflow.run.records import TuneLine
from haarflow.run.runfolder import RunFolder
from haarflow.run.samplers import rungs_of, starts_from_flow, target_acceptance

STREAM = "training chain"  # the name of its random numbers


def begun(
    setup: Setup, plan: Plan, folder: RunFolder, number: int, measure: Any, progress: Progress
) -> tuple[Kernel, Any]:
    """Return the kernel as it measures, and the field from which a block starts.

    Raises NotTuned where no step size is accepted.
    """
    kernel, field = setup.kernels[plan.name], _start(setup, plan, folder, number)
    if plan.tuning:
        line = folder.log().tuning(plan.name) if number else None
        if line is None:
            line, tuned = _tuned(setup, plan, kernel, _start(setup, plan, folder, 0))
            field = field if number else tuned
            folder.write_line(line)
            progress.say(
                f"{plan.name}: {line.steps} steps of {line.step_size:.4g}, tuned to an acceptance of {line.acceptance:.2f}"
            )
        return warmup.at(kernel, line.step_size, line.steps), field
    if number == 0 and plan.warmup and warmup.has_step_size(kernel.values):
        field = _settled(setup, plan, kernel, measure, field)
    return kernel, field


def _tuned(setup: Setup, plan: Plan, kernel: Kernel, field: Any) -> tuple[TuneLine, Any]:
    """The line of the warm-up that tunes HMC to its target, and the field after it; the same again after an interruption."""
    target, length = target_acceptance(plan.settings), plan.settings.steps * plan.settings.step_size
    key = setup.stream(f"{plan.name} tuning")
    try:
        found = warmup.tuned(kernel, key, kernel.init(field), plan.tuning, target, length)
    except warmup.NotTuned as failure:
        raise warmup.NotTuned(f"samplers.{plan.name}: {failure}") from None
    return TuneLine(plan.name, *found.record), found.state.field


def _settled(setup: Setup, plan: Plan, kernel: Kernel, measure: Any, field: Any) -> Any:
    """The start after one block with a quarter of HMC's step size.

    At a disordered start the energy error of leapfrog is as large as the energy that must be dissipated; with the full
    step size no trajectory would ever be accepted.
    """
    key = setup.stream(f"{plan.name} settle")
    gentler = kernel.with_values(warmup.with_step_size(kernel.values, lambda step_size: 0.25 * step_size))
    state, _ = kernels.run(gentler, key, gentler.init(field), plan.block, 0, measure, plan.settings.thin)
    return state.field


def _start(setup: Setup, plan: Plan, folder: RunFolder, number: int) -> Any:
    if number:
        block, (parts, rebuild) = (
            folder.read_block(plan.name, number - 1),
            flatten(described(setup.target.theory).spaces),
        )
        names = list(spaces.paths(rebuild(parts), "last"))
        return rebuild([setup.backend.asarray(block[name]) for name in names])
    key = setup.stream(f"{plan.name} start")
    if starts_from_flow(plan.settings):
        model, params, condition = setup.proposals[plan.name]
        return model.sample(tree_map(setup.backend.asarray, params), key, plan.chains, condition)[0]
    return replicas.hot_start(setup.target, plan.settings, key, plan.chains, setup.backend.dtype)


def chain_of(setup: Setup, name: str = "") -> Plan:
    """Return the plan of the chain sampler that is named, or of the recipe's first that needs no flow.

    Raises ValueError where there is none.
    """
    chains = {
        label: plan for label, plan in setup.plans.items() if label in setup.kernels and not rungs_of(plan.settings)
    }
    if not chains or (name and name not in chains):
        known = f"choose one of {', '.join(chains)}" if chains else "add one, such as [samplers.hmc]"
        raise ValueError(
            f"forward-kl learns from a Markov chain, and no chain sampler{f' {name!r}' * bool(name)} is there: {known}"
        )
    return chains[name or next(iter(chains))]


def target_draws(setup: Setup, name: str, count: int, folder: RunFolder, progress: Progress) -> Tree:
    """Return at least `count` configurations `(n, *field_shape)` of the chain after its warm-up.

    The same recipe gives the same ones, so that an interrupted training goes on with them.
    """
    plan = chain_of(setup, name)
    draws = -(-count // plan.chains)
    own = dataclasses.replace(plan, name=STREAM, draws=draws, block=max(1, min(draws, plan.block)))
    setup = dataclasses.replace(setup, kernels={STREAM: setup.kernels[plan.name]}, plans={STREAM: own})
    with progress.task(f"{plan.name} for the training", 1, 0, setup.waiting) as task:
        kernel, field = begun(setup, own, folder, 0, _field, progress)
        _, records = kernels.run(
            kernel, setup.stream(STREAM), kernel.init(field), own.total, 0, _field, plan.settings.thin
        )
        task.advance({})
    return tree_map(lambda part: _joined(part[own.warmup :, ...]), records["observables"])


def _field(field: Tree) -> Tree:
    return field


def _joined(part: Tree) -> Tree:
    """Draws `(draw, chain, ...)` one behind the other."""
    return part.reshape(-1, *part.shape[2:])
