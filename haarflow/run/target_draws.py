"""Configurations of the target on which a flow is trained: a Markov chain of their own.

The chain is the recipe's, with random numbers and starts of its own: configurations on which a flow was trained never serve the
bounds on ln Z and the coverage, which would come out too good.
"""

from __future__ import annotations

import dataclasses

from haarflow.backends.tree import tree_map
from haarflow.backends.types import Tree
from haarflow.core.chains import kernel as kernels
from haarflow.run.build import Plan, Setup
from haarflow.run.chain_start import begun
from haarflow.run.progress import Progress
from haarflow.run.runfolder import RunFolder

STREAM = "training chain"  # the name of its random numbers


def chain_of(setup: Setup, name: str = "") -> Plan:
    """Return the plan of the chain sampler that is named, or of the recipe's first that needs no flow.

    Raises ValueError where there is none.
    """
    chains = {label: plan for label, plan in setup.plans.items() if label in setup.kernels}
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
